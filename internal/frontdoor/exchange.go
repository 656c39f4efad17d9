package frontdoor

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"karri.dev/internal/audit"
	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/aws/wire"
	"karri.dev/internal/guestapi"
)

// exchange is one request and its answer.
type exchange struct {
	d        *Door
	w        http.ResponseWriter
	r        *http.Request
	ctl      *http.ResponseController
	info     call.Info
	query    url.Values // of the URL
	form     url.Values // parameters, for the audit record
	resource string     // S3: BUCKET[/KEY], likewise
	bucket   string     // in the host name
	service  *service
	metrics  *operationMetrics
	out      wire.Response
	buffer   *[]byte // out.Body's room
	sent     bool    // the status line is out: errors can only cut the connection
	failure  *awserr.Error

	sig    *sigv4.Signature // for the access log, as the rest
	status int
	bytes  int64 // of the answer's body
	began  time.Duration
}

// largestKept is the largest answer whose room is kept for others.
const largestKept = 8 << 20 // a thousand instances

func (d *Door) begin(w http.ResponseWriter, r *http.Request) *exchange {
	// S3 lets every client that asks go on. net/http does not where there is no body, and botocore, which asks with empty
	// ones too, then takes the connection's next answer apart wrongly and hangs.
	if r.ContentLength == 0 && r.ProtoAtLeast(1, 1) && strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		w.WriteHeader(http.StatusContinue)
	}
	x := &exchange{d: d, w: w, r: r, ctl: http.NewResponseController(w), metrics: d.metrics.other}
	x.info.Time = d.deps.Now()
	x.info.SourceIP = sourceIP(r)
	way := guestapi.From(r.Context())
	x.info.SourceVPC, x.info.SourceEndpoint = way.VPC, way.Endpoint
	if x.info.Secure = r.TLS != nil; x.info.Secure {
		x.info.Signed.TLS = strings.TrimPrefix(tls.VersionName(r.TLS.Version), "TLS ")
	}
	x.info.UserAgent = r.Header.Get("User-Agent")
	x.buffer = d.buffers.Get().(*[]byte)
	x.out.Body = (*x.buffer)[:0]
	x.out.Length = -1
	return x
}

// serve does the whole way of a request.
func (x *exchange) serve() error {
	var err error
	if x.query, err = parseQuery(x.r.URL.RawQuery); err != nil {
		x.aim(target{service: "s3", region: x.d.Region()})
		return err
	}
	sig, err := sigv4.Parse(x.r.Header, x.query)
	x.sig = sig
	var peeked []byte
	var unread error
	action := x.query.Get("Action")
	if sig == nil && err == nil && x.unsignedForm() {
		if peeked, unread = x.readForm(); unread == nil && action == "" {
			action = actionOf(peeked)
		}
	}
	t := x.d.route(x.r, action, sig)
	x.aim(t)
	switch {
	case err != nil:
		return x.refusal(sig, err)
	case unread != nil:
		return unread
	case x.r.Method == http.MethodConnect || x.r.URL.Path == "*":
		return awserr.New("MethodNotAllowed", "The specified method is not allowed against this resource.").WithStatus(http.StatusMethodNotAllowed)
	case x.service.Protocol == wire.RestXML:
		return x.serveREST(sig, t)
	case x.service.Protocol == wire.JSON:
		return x.serveJSON(sig)
	case x.service.Protocol == wire.RestJSON:
		return x.serveRESTJSON(sig)
	}
	if sig == nil {
		return x.serveUnsigned(action, peeked)
	}
	return x.serveQuery(sig)
}

// parseQuery is strict: what net/url would drop in silence is refused, so nothing is used that was not signed.
func parseQuery(raw string) (url.Values, error) {
	if raw == "" {
		return nil, nil
	}
	v, err := url.ParseQuery(raw)
	if err != nil {
		return nil, awserr.New("InvalidURI", "Couldn't parse the specified URI.")
	}
	return v, nil
}

// aim sets what the request is meant for, and with it the words of its answer.
func (x *exchange) aim(t target) {
	x.service, x.bucket = x.d.services[t.service], t.bucket
	if x.service == nil {
		x.service = unknown(t.service, x.r.Header)
	}
	x.info.Service, x.info.Region = x.service.Name, t.region
	h := x.w.Header()
	switch x.service.Protocol {
	case wire.RestXML:
		x.info.RequestID = strings.ToUpper(x.d.deps.IDs.Hex(8))
		x.out.HostID = base64.StdEncoding.EncodeToString([]byte(x.info.RequestID + x.d.deps.IDs.Hex(16)))
		x.info.HostID = x.out.HostID
		h["x-amz-request-id"] = []string{x.info.RequestID}
		h["x-amz-id-2"] = []string{x.out.HostID}
		h["Server"] = []string{"AmazonS3"}
	case wire.EC2:
		x.info.RequestID = x.d.deps.IDs.UUID()
		h["X-Amzn-Requestid"] = []string{x.info.RequestID}
		h["Server"] = []string{"AmazonEC2"}
		h["Cache-Control"] = []string{"no-cache, no-store"}
	default:
		x.info.RequestID = x.d.deps.IDs.UUID()
		h["X-Amzn-Requestid"] = []string{x.info.RequestID}
	}
	x.out.RequestID = x.info.RequestID
	if x.service.Namespace != nil {
		x.out.Namespace = x.service.Namespace("")
	}
}

// choose sets the operation.
func (x *exchange) choose(op *operation) {
	x.info.Operation, x.metrics = op.Name, op.metrics
}

// call decodes, authorises and invokes, and encodes the answer.
func (x *exchange) call(op *operation, req *wire.Request, dryRun bool) error {
	if x.info.Anonymous() {
		if !x.d.throttle.allow(x.info.SourceIP.String(), x.info.Time) {
			return tooFast(x.service.Service)
		}
	} else if !x.d.throttle.allow(x.info.AccountID, x.info.Time) {
		return tooFast(x.service.Service)
	}
	if err := withinSession(&x.info); err != nil {
		return err
	}
	in, err := op.Decode(req)
	if err != nil {
		return err
	}
	ctx := call.With(x.r.Context(), &x.info)
	err = x.d.deps.Authorizer.Authorize(ctx, authz.Call{Info: &x.info, Service: x.service.Service, Operation: op.Name, Input: in})
	if err != nil {
		return err
	}
	if dryRun {
		return awserr.New("DryRunOperation", "Request would have succeeded, but DryRun flag is set.").WithStatus(http.StatusPreconditionFailed)
	}
	if x.service.Protocol != wire.RestXML {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, x.d.cfg.Timeout)
		defer cancel()
	}
	out, err := op.Invoke(ctx, x.service.api, in)
	if err != nil {
		return err
	}
	if err := op.Encode(&x.out, out); err != nil {
		return err
	}
	return x.send()
}

// send writes the answer.
func (x *exchange) send() error {
	h := x.w.Header()
	for name, values := range x.out.Header {
		h[name] = values
	}
	if x.info.Charged {
		h["x-amz-request-charged"] = []string{"requester"}
	}
	status := x.out.Status
	if status == 0 {
		status = http.StatusOK
	}
	stream := x.out.Stream
	if stream != nil {
		defer stream.Close()
	}
	length := int64(len(x.out.Body))
	if stream != nil || x.r.Method == http.MethodHead && x.out.Length >= 0 {
		length = x.out.Length
	}
	bodyless := status == http.StatusNoContent || status == http.StatusNotModified
	if !bodyless && length >= 0 && h["Content-Length"] == nil {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	x.sent, x.status, x.began = true, status, x.d.deps.Now().Sub(x.info.Time)
	x.extend()
	x.w.WriteHeader(status)
	if x.r.Method == http.MethodHead || bodyless {
		return nil
	}
	if stream == nil {
		n, err := x.w.Write(x.out.Body)
		x.bytes = int64(n)
		return err
	}
	_, err := io.Copy(&movingWriter{x}, stream)
	return err
}

// fail ends an exchange with an error, if there is one.
func (x *exchange) fail(err error) {
	if err == nil {
		return
	}
	x.failure = x.name(err)
	if x.sent {
		// The answer has begun: only a broken connection can still say that it is not whole.
		x.d.deps.Log.Debug("answer was cut", "request", x.info.RequestID, "err", err)
		panic(http.ErrAbortHandler)
	}
	if x.failure.Status >= 500 && x.failure.Code == "InternalError" {
		x.d.deps.Log.Error("call failed", "request", x.info.RequestID, "service", x.info.Service, "operation", x.info.Operation, "err", err)
	}
	x.answer(x.failure)
}

// name makes an AWS error of any error.
func (x *exchange) name(err error) *awserr.Error {
	if awserr.Code(err) == "" && canceled(err) {
		if x.r.Context().Err() != nil {
			return awserr.New("RequestCanceled", "The client closed the connection").WithStatus(499).Because(err)
		}
		if x.service.Protocol == wire.RestXML {
			return awserr.New("RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period.").Because(err)
		}
		return awserr.New("ServiceUnavailable", "The request took too long").WithStatus(http.StatusServiceUnavailable).Because(err)
	}
	e := awserr.From(err)
	switch {
	case e.Code == "InternalError" && x.service.Protocol == wire.Query:
		return awserr.New("InternalFailure", "%s", e.Message).WithStatus(http.StatusInternalServerError).Because(err)
	case e.Code == "AccessDenied" && x.service.Protocol == wire.JSON:
		return awserr.New("AccessDeniedException", "%s", e.Message).Because(err)
	case e.Code == "AccessDenied" && x.service.Protocol == wire.RestJSON:
		return awserr.New("AccessDeniedException", "%s", e.Message).WithStatus(http.StatusForbidden).Because(err)
	case e.Code == "InternalError" && x.service.Protocol == wire.RestJSON:
		return awserr.New("InternalServerException", "%s", e.Message).WithStatus(http.StatusInternalServerError).Because(err)
	}
	return e
}

// answer writes an error.
func (x *exchange) answer(e *awserr.Error) {
	x.out.Header = http.Header{}
	x.out.Length = -1
	wire.EncodeError(x.service.Protocol, &x.out, e)
	if err := x.send(); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		x.d.deps.Log.Debug("error was not sent", "request", x.info.RequestID, "err", err)
	}
}

// recover makes an InternalError of a panic.
func (x *exchange) recover() {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	x.d.deps.Log.Error("panic", "request", x.info.RequestID, "service", x.info.Service, "operation", x.info.Operation, "panic", p, "stack", string(debug.Stack()))
	if x.service == nil {
		x.aim(target{service: "s3", region: x.d.Region()})
	}
	x.failure = x.name(awserr.New("InternalError", "An internal error has occurred").WithStatus(http.StatusInternalServerError))
	if x.sent {
		panic(http.ErrAbortHandler)
	}
	x.answer(x.failure)
}

// end counts and records the exchange.
func (x *exchange) end() {
	code, message := "", ""
	if x.failure != nil {
		code, message = x.failure.Code, x.failure.Message
	}
	x.accessed()
	x.metrics.observe(code, x.d.deps.Now().Sub(x.info.Time))
	if x.d.deps.Audit != nil && x.service != nil {
		x.d.deps.Audit.Record(audit.New(&x.info, x.form, x.resource, code, message))
	}
	if cap(x.out.Body) <= largestKept {
		*x.buffer = x.out.Body
		x.d.buffers.Put(x.buffer)
	}
	x.out.Body = nil
}

// extend gives the client another StallTimeout to take bytes.
func (x *exchange) extend() {
	// A writer that has no deadlines (in tests) does without.
	_ = x.ctl.SetWriteDeadline(time.Now().Add(x.d.cfg.StallTimeout))
}

// movingWriter cuts clients that stop reading, however long the whole answer takes.
type movingWriter struct{ x *exchange }

func (m *movingWriter) Write(p []byte) (int, error) {
	m.x.extend()
	n, err := m.x.w.Write(p)
	m.x.bytes += int64(n)
	return n, err
}

// movingReader cuts clients that stop sending.
type movingReader struct{ x *exchange }

func (m *movingReader) Read(p []byte) (int, error) {
	_ = m.x.ctl.SetReadDeadline(time.Now().Add(m.x.d.cfg.StallTimeout))
	return m.x.r.Body.Read(p)
}
