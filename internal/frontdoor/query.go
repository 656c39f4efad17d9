package frontdoor

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/aws/wire"
)

// maxForm is the largest body of the EC2 and Query protocols.
const maxForm = 1 << 20

// serveQuery serves the EC2 and Query protocols: parameters in the URL, in the body, or in both.
func (x *exchange) serveQuery(sig *sigv4.Signature) error {
	if m := x.r.Method; m != http.MethodPost && m != http.MethodGet {
		return awserr.New("MethodNotAllowed", "The HTTP method %s is not supported", m).WithStatus(http.StatusMethodNotAllowed)
	}
	body, err := x.readForm()
	if err != nil {
		return err
	}
	payload := sigv4.EmptyPayload
	if len(body) > 0 {
		digest := sha256.Sum256(body)
		payload = hex.EncodeToString(digest[:])
	}
	if _, err := x.authenticate(sig, payload); err != nil {
		return err
	}
	return x.ask(body)
}

// ask serves the operation that URL and body ask for, whoever does.
func (x *exchange) ask(body []byte) error {
	form, err := x.merge(body)
	if err != nil {
		return err
	}
	x.form = form
	op, err := x.operation(form)
	if err != nil {
		return err
	}
	dryRun := x.service.Protocol == wire.EC2 && form.Get("DryRun") == "true"
	return x.call(op, &wire.Request{Version: form.Get("Version"), Form: form, Length: -1}, dryRun)
}

// readForm reads the body, which must be a form if there is one.
func (x *exchange) readForm() ([]byte, error) {
	n := x.r.ContentLength
	if n == 0 {
		return nil, nil
	}
	if n > maxForm {
		return nil, tooLarge()
	}
	var body []byte
	var err error
	if n > 0 {
		body = make([]byte, n)
		_, err = io.ReadFull(&movingReader{x}, body)
	} else {
		body, err = io.ReadAll(io.LimitReader(&movingReader{x}, maxForm+1))
	}
	switch {
	case err != nil:
		return nil, awserr.New("IncompleteBody", "The request body could not be read").Because(err)
	case len(body) > maxForm:
		return nil, tooLarge()
	case len(body) > 0 && x.r.Header.Get("Content-Type") != "" && !isForm(x.r.Header):
		return nil, awserr.New("MalformedHttpRequestException", "The request body must be application/x-www-form-urlencoded")
	}
	return body, nil
}

func tooLarge() error {
	return awserr.New("RequestEntityTooLarge", "The request body is larger than %d bytes", maxForm).WithStatus(http.StatusRequestEntityTooLarge)
}

// merge makes one form of the URL's and the body's parameters. A name that occurs twice is refused: nobody
// could say which one was meant.
func (x *exchange) merge(body []byte) (url.Values, error) {
	form := url.Values{}
	if len(body) > 0 {
		var err error
		if form, err = url.ParseQuery(string(body)); err != nil {
			return nil, awserr.New("MalformedQueryString", "The query string contains a syntax error")
		}
	}
	for name, values := range x.query {
		form[name] = append(form[name], values...)
	}
	for name, values := range form {
		if len(values) > 1 {
			return nil, awserr.New("MalformedQueryString", "The parameter %.100s occurs more than once", name)
		}
		if len(name) > 6 && name[:6] == "X-Amz-" {
			delete(form, name)
		}
	}
	return form, nil
}

// known gives the action if AWS has it; other text never reaches a record or a label.
func (x *exchange) known(action string) string {
	if s := x.d.byAction[action]; s != nil {
		return action
	}
	return ""
}

// operation finds the operation that a form asks for.
func (x *exchange) operation(form url.Values) (*operation, error) {
	action, version := form.Get("Action"), form.Get("Version")
	x.info.Operation = x.known(action)
	if err := x.service.CheckVersion(version); err != nil {
		return nil, err
	}
	x.out.Namespace = x.service.Namespace(version)
	found, err := x.service.Lookup(action)
	if err != nil {
		return nil, err
	}
	op := x.service.operations[found.Name]
	x.choose(op)
	return op, nil
}
