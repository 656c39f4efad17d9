package frontdoor

import (
	"net/http"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
)

// Buckets is what the front door asks S3 for besides its operations. The service that is registered as "s3" may
// implement it.
type Buckets interface {
	// CrossOrigin gives the headers that let a page of origin use a bucket with method and these headers (in lower
	// case); nil if no rule of the bucket's does. configured says whether it has rules at all.
	CrossOrigin(bucket, origin, method string, headers []string) (allow http.Header, configured bool, err error)
	// Website gives a bucket's website configuration, or the AWS error.
	Website(bucket string) (*shape.WebsiteConfiguration, error)
	// OldSignatures says whether an account may still sign with Version 2 in headers and forms.
	OldSignatures(account string) bool
	// Accelerated says whether a bucket may be used by its accelerated endpoint.
	Accelerated(bucket string) bool
}

// buckets gives the Buckets of the service at hand, nil if it has none.
func (x *exchange) buckets() Buckets {
	b, _ := x.service.api.(Buckets)
	return b
}

// preflight answers a browser that asks whether a page may send a request: never signed, decided by the bucket's
// CORS rules alone.
func (x *exchange) preflight(bucket, key string) error {
	x.info.Operation = "PreflightObject"
	x.resource = strings.TrimSuffix(bucket+"/"+key, "/")
	h := x.r.Header
	origin, method := h.Get("Origin"), h.Get("Access-Control-Request-Method")
	bad := func(message string) error { return awserr.New("BadRequest", "%s", message) }
	switch {
	case origin == "":
		return bad("Insufficient information. Origin request header needed.")
	case !slices.Contains([]string{"GET", "PUT", "HEAD", "POST", "DELETE"}, method):
		if method == "" {
			method = "null"
		}
		return bad("Invalid Access-Control-Request-Method: " + method)
	}
	kind := "BUCKET"
	if key != "" {
		kind = "OBJECT"
	}
	forbidden := func(message string) error {
		return awserr.New("AccessForbidden", "%s", message).WithStatus(http.StatusForbidden).With("Method", method).With("ResourceType", kind)
	}
	var asked []string
	for name := range strings.SplitSeq(strings.Join(h.Values("Access-Control-Request-Headers"), ","), ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			asked = append(asked, name)
		}
	}
	b := x.buckets()
	if b == nil || bucket == "" {
		return forbidden("CORSResponse: CORS is not enabled for this bucket.")
	}
	allow, configured, err := b.CrossOrigin(bucket, origin, method, asked)
	switch {
	case err != nil:
		return err
	case !configured:
		return forbidden("CORSResponse: CORS is not enabled for this bucket.")
	case allow == nil:
		return forbidden("CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.")
	}
	if len(asked) > 0 {
		allow.Set("Access-Control-Allow-Headers", strings.Join(asked, ", "))
	}
	x.out.Header = allow
	return x.send()
}

// crossOrigin adds to an answer what lets the page that asked see it. Nothing is added where the bucket has no rule.
func (x *exchange) crossOrigin(bucket string) {
	origin := x.r.Header.Get("Origin")
	b := x.buckets()
	if origin == "" || b == nil || bucket == "" {
		return
	}
	allow, _, err := b.CrossOrigin(bucket, origin, x.r.Method, nil)
	if err != nil {
		return // the answer itself will say why
	}
	for name, values := range allow {
		x.w.Header()[name] = values
	}
}
