package sigv4

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what Signature Version 2 is made of; as an HMAC it stands
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"
)

// ParseForm reads the signature of a browser's form: what signs is the form's policy, in base64. field gives a
// field by its name in lower case. nil means that the form is not signed.
func ParseForm(field func(string) string) (*Signature, error) {
	if v := field("awsaccesskeyid"); v != "" {
		if !token(v, 128) {
			return nil, refuse(NotAllowed, "The AWS Access Key Id is not well-formed")
		}
		return &Signature{Old: true, Scope: Scope{AccessKeyID: v, Service: "s3"}, Hex: field("signature"), Token: field("x-amz-security-token")}, nil
	}
	name := field("x-amz-algorithm")
	if name == "" && field("x-amz-credential") == "" && field("x-amz-signature") == "" {
		return nil, nil
	}
	if name != algorithm {
		return nil, refuse(QueryMalformed, "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")
	}
	s := &Signature{Hex: field("x-amz-signature"), Token: field("x-amz-security-token")}
	var ok bool
	if s.Scope, ok = parseScope(field("x-amz-credential")); !ok {
		return nil, refuse(QueryMalformed, "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
	}
	t, err := time.Parse(stampLayout, field("x-amz-date"))
	if err != nil || !strings.HasPrefix(field("x-amz-date"), s.Date) {
		return nil, refuse(QueryMalformed, "X-Amz-Date must be formatted \"yyyyMMddTHHmmssZ\"")
	}
	s.Time, s.stamp = t, field("x-amz-date")
	if !isHex64(s.Hex) {
		return nil, refuse(QueryMalformed, "X-Amz-Signature must be 64 lower-case hexadecimal digits")
	}
	return s, nil
}

// VerifyForm checks the signature of a form's policy.
func (s *Signature) VerifyForm(policy, secret string) error {
	want := ""
	if s.Old {
		m := hmac.New(sha1.New, []byte(secret))
		m.Write([]byte(policy))
		want = base64.StdEncoding.EncodeToString(m.Sum(nil))
	} else {
		key := deriveKey(secret, s.Scope)
		sum := mac(&key, []byte(policy))
		want = hex.EncodeToString(sum[:])
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(s.Hex)) != 1 {
		return &Error{Reason: Mismatch, Message: "The request signature we calculated does not match the signature you provided.", StringToSign: policy}
	}
	return nil
}
