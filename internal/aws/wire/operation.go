// Package wire turns HTTP requests into typed values and typed answers into bytes, once per AWS protocol.
// It knows no service: generated code in internal/aws/shape/<service> describes each one with a Service.
package wire

import (
	"context"
	"io"
	"net/http"
	"net/url"
)

// Protocol is how a service speaks on the wire.
type Protocol uint8

const (
	EC2      Protocol = iota + 1 // form in, XML out; lists without "member"
	Query                        // form in, XML out; lists with "member", results in a wrapper (IAM, STS)
	RestXML                      // method, path, headers and XML (S3)
	JSON                         // X-Amz-Target and JSON
	RestJSON                     // method, path, headers and JSON (EBS)
)

// Service describes one AWS service; generated.
type Service struct {
	Name       string // signing name: "ec2"
	Protocol   Protocol
	APIVersion string // newest version: "2016-11-15"
	// TargetPrefix stands before the operation's name in X-Amz-Target (JSON).
	TargetPrefix string
	// Namespace gives the XML namespace of an API version; a client gets that of the version it asked for.
	Namespace  func(version string) string
	Operations []Operation // those served, in order of name
	// Known names every operation of AWS's description, served or not, with its route for REST
	// services: an unknown sub-resource must never fall through to the plain bucket or object operation.
	Known []Route
}

// Route says how a REST operation is recognised. Query protocols use the name alone.
type Route struct {
	Name   string
	Method string // "" for query protocols
	Path   string // as AWS writes it: "/{Bucket}/{Key+}?uploads"
	// What selects it besides method and path: query parameters ("uploads", "list-type=2", "uploadId") and
	// a header, all of which must be there. Accepts names parameters that select other operations and
	// that this one understands too ("partNumber" of GetObject).
	Query   []string
	Header  string
	Accepts []string
}

// Operation is one operation served; generated.
type Operation struct {
	Route
	// Unsigned says that nobody has to sign it: what it brings along proves who calls.
	Unsigned bool
	// UnsignedPayload says that signatures need not cover its payload (RestJSON).
	UnsignedPayload bool
	// Decode makes the typed input (a pointer to the request struct); errors are AWS errors.
	Decode func(*Request) (any, error)
	// Invoke calls the operation's method of api, which implements the service's generated API interface.
	Invoke func(ctx context.Context, api, in any) (any, error)
	// Encode writes the typed output.
	Encode func(w *Response, out any) error
}

// Label is a part of the path with its name, decoded.
type Label struct{ Name, Text string }

// Request is a request ready for decoding.
type Request struct {
	Version string      // API version asked for ("" = newest)
	Form    url.Values  // query protocols: the merged form; REST: the URL's query
	Header  http.Header // REST and JSON
	Labels  []Label     // REST: of the path ("Bucket", "Key")
	Body    io.Reader   // REST and JSON: the payload, already verified or verified while it is read
	Length  int64       // REST: the decoded payload's length, -1 unknown
}

// Response is an answer under construction.
type Response struct {
	RequestID string
	HostID    string // REST: what S3 calls x-amz-id-2
	Namespace string
	Status    int // 0 means 200
	Header    http.Header
	Body      []byte        // appended to by the codec
	Stream    io.ReadCloser // REST: a streaming payload in place of Body; the front door closes it
	Length    int64         // REST: the length of Stream, -1 unknown
}
