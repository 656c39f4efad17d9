package frontdoor

import (
	"net/http"
	"net/url"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/wire"
)

// maxUnsigned is the largest body that is read of somebody who did not sign: a SAML response of 100,000 characters with
// every one of them escaped, and a policy.
const maxUnsigned = 320 << 10

// unsignedForm says whether a request without a signature can be one of the few that need none, in a body.
func (x *exchange) unsignedForm() bool {
	n := x.r.ContentLength
	return x.r.Method == http.MethodPost && x.r.URL.Path == "/" && n > 0 && n <= maxUnsigned && isForm(x.r.Header) &&
		x.d.throttle.allow(sourceIP(x.r).String(), x.info.Time)
}

// actionOf gives the action that a form asks for; "" if it is not clear.
func actionOf(body []byte) string {
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form["Action"]) != 1 {
		return ""
	}
	return form["Action"][0]
}

// serveUnsigned serves the operations whose own parameters prove who calls, and refuses all others.
func (x *exchange) serveUnsigned(action string, body []byte) error {
	x.info.Operation = x.known(action)
	op := x.service.operations[action]
	if op == nil || !op.Unsigned || x.service.Protocol != wire.Query {
		return authz.Unsigned(x.service.Protocol)
	}
	if m := x.r.Method; m != http.MethodPost && m != http.MethodGet {
		return awserr.New("MethodNotAllowed", "The HTTP method %s is not supported", m).WithStatus(http.StatusMethodNotAllowed)
	}
	return x.ask(body)
}
