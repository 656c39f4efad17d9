package wiretest

import (
	"io"
	"net/http"
)

// Transport carries the requests of AWS's Go SDK over sockets without the SDK's race: as soon as an answer has
// come, smithy-go (1.28, and since 2020) closes the request's body, whose WriteTo then gives io.EOF, an error
// by io.WriterTo's contract. net/http looks once more into a body that is already sent; when the answer was
// faster than that, it takes the error for a failed request and closes the connection under the answer: "use
// of closed network connection", or "invalid UTF-8" where a character was cut. The SDK retries the first since
// 2025 (aws-sdk-go-v2 issue 2737). Answers of less than a buffer, 4 kB, come through anyway.
type Transport struct{ http.Transport }

// RoundTrip hides the body's WriteTo.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r = r.Clone(r.Context())
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return t.Transport.RoundTrip(r)
}
