package frontdoor

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"net/url"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/aws/wire"
)

// serveRESTJSON serves the RestJSON protocol: method and path say the operation; the payload is JSON, or bytes.
func (x *exchange) serveRESTJSON(sig *sigv4.Signature) error {
	route, found, labels, err := x.service.MatchPath(x.r.Method, x.r.URL.EscapedPath())
	x.info.Operation = route.Name
	switch {
	case sig == nil: // before a body is read of someone unknown
		return authz.Unsigned(x.service.Protocol)
	case err != nil:
		return err
	case x.r.ContentLength > maxForm:
		return tooLarge()
	}
	op := x.service.operations[found.Name]
	body, err := io.ReadAll(io.LimitReader(&movingReader{x}, maxForm+1))
	switch {
	case err != nil:
		return awserr.New("ValidationException", "The request body could not be read").Because(err)
	case len(body) > maxForm:
		return tooLarge()
	}
	sum := sha256.Sum256(body)
	digest := hex.EncodeToString(sum[:])
	// Where the payload need not be signed some clients say so, and some leave the word to be understood.
	switch _, err = x.authenticate(sig, digest); {
	case err == nil:
	case op.UnsignedPayload && (sig.Payload == sigv4.UnsignedPayload || sig.Payload == ""):
		if _, err := x.authenticate(sig, sigv4.UnsignedPayload); err != nil {
			return err
		}
	default:
		return err
	}
	x.choose(op)
	x.form = url.Values{}
	if len(body) > 0 && !op.UnsignedPayload {
		x.form = flatten(body)
	}
	maps.Copy(x.form, x.query)
	for _, l := range labels {
		x.form.Set(l.Name, l.Text)
	}
	return x.call(op, &wire.Request{Form: x.query, Header: x.r.Header, Labels: labels, Body: bytes.NewReader(body), Length: int64(len(body))}, false)
}
