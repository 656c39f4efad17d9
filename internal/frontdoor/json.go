package frontdoor

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/aws/wire"
)

// serveJSON serves the JSON protocol: the operation in X-Amz-Target, one object as the body.
func (x *exchange) serveJSON(sig *sigv4.Signature) error {
	if x.r.Method != http.MethodPost {
		return awserr.New("UnknownOperationException", "The HTTP method %s is not supported", x.r.Method).WithStatus(http.StatusMethodNotAllowed)
	}
	if sig == nil { // before a body is read of someone unknown
		return authz.Unsigned(x.service.Protocol)
	}
	if x.r.ContentLength > maxForm {
		return tooLarge()
	}
	body, err := io.ReadAll(io.LimitReader(&movingReader{x}, maxForm+1))
	switch {
	case err != nil:
		return awserr.New("SerializationException", "The request body could not be read").Because(err)
	case len(body) > maxForm:
		return tooLarge()
	}
	digest := sha256.Sum256(body)
	if _, err := x.authenticate(sig, hex.EncodeToString(digest[:])); err != nil {
		return err
	}
	if len(x.query) > 0 && !sig.Presigned {
		return awserr.New("UnknownOperationException", "A request of this protocol has no parameters in its URL")
	}
	found, err := x.service.Target(x.r.Header.Get("X-Amz-Target"))
	if err != nil {
		return err
	}
	op := x.service.operations[found.Name]
	x.choose(op)
	x.form = flatten(body)
	return x.call(op, &wire.Request{Header: x.r.Header, Body: bytes.NewReader(body), Length: int64(len(body))}, false)
}

// flatten gives the plain values of a JSON object by their paths, as a form would have them, for the audit record.
func flatten(body []byte) url.Values {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var all any
	out := url.Values{}
	if dec.Decode(&all) != nil {
		return out
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, e := range v {
				walk(dotted(path, name), e)
			}
		case []any:
			for i, e := range v {
				walk(dotted(path, strconv.Itoa(i+1)), e)
			}
		case string:
			out.Set(path, v)
		case json.Number:
			out.Set(path, v.String())
		case bool:
			out.Set(path, strconv.FormatBool(v))
		}
	}
	walk("", all)
	return out
}

func dotted(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
