package ec2

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"

	"karri.dev/internal/aws/awserr"
)

// clientToken makes a call that creates something idempotent: what it made keeps the token, and with it a
// digest of the parameters.
type clientToken struct{ token string }

// tokenOf reads a request's client token; parameters are all others that make the result what it is.
func tokenOf(token string, parameters ...any) (clientToken, error) {
	if token == "" {
		return clientToken{}, nil
	}
	if len(token) > maxClientToken || strings.Contains(token, " ") {
		return clientToken{}, errValue(token, "clientToken")
	}
	data, err := json.Marshal(parameters)
	if err != nil {
		return clientToken{}, err
	}
	sum := sha256.Sum256(data)
	return clientToken{token + " " + hex.EncodeToString(sum[:8])}, nil
}

// tokenOfRequest is tokenOf with all of a request (a pointer to a struct) but its ClientToken and DryRun.
func tokenOfRequest(in any) (clientToken, error) {
	given := reflect.ValueOf(in).Elem()
	rest := reflect.New(given.Type()).Elem()
	rest.Set(given)
	rest.FieldByName("ClientToken").SetZero()
	rest.FieldByName("DryRun").SetZero()
	return tokenOf(given.FieldByName("ClientToken").String(), rest.Interface())
}

// same says whether what has the stored token was made by a call with this one.
func (t clientToken) same(stored string) bool {
	mine, _, _ := strings.Cut(t.token, " ")
	theirs, _, _ := strings.Cut(stored, " ")
	return mine != "" && mine == theirs
}

// check refuses a token that was used with other parameters.
func (t clientToken) check(stored string) error {
	if t.token != stored {
		return awserr.New("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
	}
	return nil
}
