package wiretest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/wire"
)

const requestID = "7a62c49f-347e-4fc4-9331-6e8eEXAMPLE"

// server answers one operation at a time, as the front door does, without its checks.
type server struct {
	service *wire.Service
	answer  any   // the result to give
	err     error // or the error
	// what came
	operation string
	request   any
	dump      string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	payload, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	s.dump = dump(s.service, r, payload)
	res, err := s.serve(r, payload)
	if err != nil {
		res = &wire.Response{RequestID: requestID, Namespace: s.service.Namespace("")}
		wire.EncodeError(s.service.Protocol, res, awserr.From(err))
	}
	for name, values := range res.Header {
		w.Header()[name] = values
	}
	if res.Stream == nil && r.Method != "HEAD" {
		w.Header().Set("Content-Length", strconv.Itoa(len(res.Body)))
	}
	if res.Status != 0 {
		w.WriteHeader(res.Status)
	}
	w.Write(res.Body)
	if res.Stream != nil {
		io.Copy(w, res.Stream)
	}
}

// Do makes the server the SDK's HTTP client too: no sockets are needed to compare bytes.
func (s *server) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	// As if it had gone over the wire: the server must not see what the client's URL keeps beside the bytes.
	target, err := url.ParseRequestURI(r.URL.RequestURI())
	if err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	in.URL, in.RequestURI = target, r.URL.RequestURI()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, in)
	res := w.Result()
	res.Header = http.Header{}
	for name, values := range w.Header() { // as a client reads it from the wire
		res.Header[http.CanonicalHeaderKey(name)] = values
	}
	return res, nil
}

func (s *server) serve(r *http.Request, payload []byte) (*wire.Response, error) {
	req, op, err := route(s.service, r, payload)
	if err != nil {
		return nil, err
	}
	s.operation = op.Name
	if s.request, err = op.Decode(req); err != nil {
		return nil, err
	}
	if s.err != nil {
		return nil, s.err
	}
	res := &wire.Response{RequestID: requestID, Namespace: s.service.Namespace(req.Version)}
	return res, op.Encode(res, s.answer)
}

func route(service *wire.Service, r *http.Request, payload []byte) (*wire.Request, *wire.Operation, error) {
	if service.Protocol == wire.JSON {
		op, err := service.Target(r.Header.Get("X-Amz-Target"))
		return &wire.Request{Body: bytes.NewReader(payload), Length: int64(len(payload))}, op, err
	}
	if service.Protocol == wire.RestJSON {
		_, op, labels, err := service.MatchPath(r.Method, r.URL.EscapedPath())
		return &wire.Request{Form: r.URL.Query(), Header: r.Header, Labels: labels, Body: bytes.NewReader(payload), Length: int64(len(payload))}, op, err
	}
	if service.Protocol != wire.RestXML {
		form, err := url.ParseQuery(string(payload))
		if err != nil {
			return nil, nil, err
		}
		op, err := service.Lookup(form.Get("Action"))
		return &wire.Request{Version: form.Get("Version"), Form: form}, op, err
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	_, op, err := service.Match(r.Method, bucket, key, query, r.Header)
	return &wire.Request{
		Form: query, Header: r.Header, Labels: []wire.Label{{Name: "Bucket", Text: bucket}, {Name: "Key", Text: key}},
		Body: bytes.NewReader(payload), Length: int64(len(payload)),
	}, op, err
}

// dump writes a request without what differs from run to run.
func dump(service *wire.Service, r *http.Request, payload []byte) string {
	var b strings.Builder
	if service.Protocol == wire.JSON {
		var b bytes.Buffer
		if err := json.Indent(&b, payload, "", " "); err != nil {
			panic(err)
		}
		return r.Header.Get("X-Amz-Target") + "\n" + b.String() + "\n"
	}
	if service.Protocol != wire.RestXML && service.Protocol != wire.RestJSON {
		lines := strings.Split(string(payload), "&")
		slices.Sort(lines)
		return strings.Join(lines, "\n") + "\n"
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\n", r.Method, r.URL.RequestURI())
	var lines []string
	for name, values := range r.Header {
		switch name {
		case "Authorization", "User-Agent", "X-Amz-Date", "Accept-Encoding", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request",
			"X-Amz-Content-Sha256", "Expect":
			continue
		}
		for _, v := range values {
			lines = append(lines, name+": "+v+"\n")
		}
	}
	slices.Sort(lines)
	fmt.Fprintf(&b, "%s\n%s\n", strings.Join(lines, ""), payload)
	return b.String()
}
