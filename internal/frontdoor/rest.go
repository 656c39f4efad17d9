package frontdoor

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/aws/wire"
)

// serveREST serves S3. The bucket stands in the host name or in the path; the key is the rest of the path,
// byte for byte, so the path is never cleaned.
func (x *exchange) serveREST(sig *sigv4.Signature, t target) error {
	if err := x.checkHeaders(); err != nil {
		return err
	}
	// Split as it was signed, decoded: an escaped slash never changes which bucket is meant.
	bucket, key := t.bucket, strings.TrimPrefix(x.r.URL.Path, "/")
	if bucket == "" {
		bucket, key, _ = strings.Cut(key, "/")
	}
	switch {
	case t.website && x.buckets() != nil:
		return x.serveWebsite(bucket)
	case t.fast && (x.buckets() == nil || !x.buckets().Accelerated(bucket)):
		return awserr.New("InvalidRequest", "S3 Transfer Acceleration is not configured on this bucket")
	case x.r.Method == http.MethodOptions:
		return x.preflight(bucket, key)
	}
	x.crossOrigin(bucket)
	if x.r.Method == http.MethodPost && key == "" && bucket != "" && sig == nil && isUpload(x.r.Header) {
		return x.servePost(bucket)
	}
	payload := ""
	if sig != nil {
		payload = sig.Payload
		if payload == "" && sig.Presigned {
			payload = sigv4.UnsignedPayload
		}
	} else if v := x.r.Header["X-Amz-Content-Sha256"]; len(v) == 1 {
		payload = v[0]
	}
	proof, err := x.authenticate(sig, payload)
	if err != nil {
		return err
	}
	header, form := x.r.Header, x.query
	if rewritten(header, sig) {
		header = header.Clone()
	}
	if sig != nil && sig.Presigned {
		form = hoist(header, form)
		if sig.Old { // it has these two in the URL as well
			for _, name := range []string{"Content-Type", "Content-Md5"} {
				if v := x.query.Get(strings.ToLower(name)); v != "" && header[name] == nil {
					header.Set(name, v)
				}
			}
		}
	}
	dropChunkedEncoding(header)
	x.info.Payer = header.Get("X-Amz-Request-Payer")
	if header.Get("X-Amz-Replication-Status") == "REPLICA" { // not of AWS's API; S3 servers tell each other so
		x.info.Replica = true
		header.Del("X-Amz-Replication-Status")
	}
	x.form = form
	op, err := x.match(bucket, key, form, header)
	if err != nil {
		return err
	}
	if x.info.Anonymous() { // before anything is read of someone unknown; where nothing can be granted to everyone, it ends here
		err := x.d.deps.Authorizer.Authorize(x.r.Context(), authz.Call{Info: &x.info, Service: x.service.Service, Operation: op.Name})
		if err != nil {
			return err
		}
	}
	if x.r.Method == http.MethodPut && x.r.ContentLength < 0 && header.Get("X-Amz-Decoded-Content-Length") == "" {
		return awserr.New("MissingContentLength", "You must provide the Content-Length HTTP header.").WithStatus(http.StatusLengthRequired)
	}
	body, err := sigv4.NewBody(&movingReader{x}, x.r.ContentLength, x.r.Header, payload, proof)
	if err != nil {
		return err
	}
	return x.call(op, &wire.Request{Form: form, Header: header, Labels: labels(bucket, key), Body: body, Length: body.Length}, false)
}

// rewritten says whether the operation gets other headers than the client sent.
func rewritten(h http.Header, sig *sigv4.Signature) bool {
	return sig != nil && sig.Presigned || h["Content-Encoding"] != nil || h["X-Amz-Replication-Status"] != nil
}

func labels(bucket, key string) []wire.Label {
	return []wire.Label{{Name: "Bucket", Text: bucket}, {Name: "Key", Text: key}}
}

// maxHeaders is S3's limit of a request's headers and parameters. Session tokens do not count.
const maxHeaders = 8 << 10

func (x *exchange) checkHeaders() error {
	size := len(x.r.URL.RawQuery) - len(x.query.Get("X-Amz-Security-Token"))
	for name, values := range x.r.Header {
		for _, v := range values {
			if name != "X-Amz-Security-Token" {
				size += len(name) + len(v)
			}
		}
	}
	if size > maxHeaders {
		return awserr.New("RequestHeaderSectionTooLarge", "Your request header and query-string parameters exceed the maximum allowed size.").
			With("MaxSizeAllowed", strconv.Itoa(maxHeaders))
	}
	return nil
}

// match finds the operation.
func (x *exchange) match(bucket, key string, query url.Values, header http.Header) (*operation, error) {
	route, found, err := x.service.Match(x.r.Method, bucket, key, query, header)
	x.info.Operation = route.Name
	x.resource = bucket
	if key != "" {
		x.resource += "/" + key
	}
	if err != nil {
		return nil, err
	}
	op := x.service.operations[found.Name]
	x.choose(op)
	return op, nil
}

// hoist moves the x-amz- parameters of a presigned URL that are not about the signature to the headers they
// stand for, and leaves the signature out. Checksums mean nothing there, as at AWS: SDKs put that of an empty body in, as
// they know no other yet.
func hoist(header http.Header, query url.Values) url.Values {
	form := make(url.Values, len(query))
	for name, values := range query {
		if len(name) <= 6 || !strings.EqualFold(name[:6], "X-Amz-") {
			form[name] = values
			continue
		}
		switch key := http.CanonicalHeaderKey(name); key {
		case "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Signedheaders", "X-Amz-Signature",
			"X-Amz-Security-Token", "X-Amz-Content-Sha256", "X-Amz-Sdk-Checksum-Algorithm":
		case "X-Amz-Checksum-Crc32", "X-Amz-Checksum-Crc32c", "X-Amz-Checksum-Crc64nvme", "X-Amz-Checksum-Sha1", "X-Amz-Checksum-Sha256":
		default:
			if _, there := header[key]; !there {
				header[key] = values
			}
		}
	}
	return form
}

// dropChunkedEncoding takes aws-chunked, which is about the transport, out of Content-Encoding.
func dropChunkedEncoding(header http.Header) {
	values, ok := header["Content-Encoding"]
	if !ok {
		return
	}
	var kept []string
	for _, v := range values {
		for e := range strings.SplitSeq(v, ",") {
			if e = strings.TrimSpace(e); e != "" && !strings.EqualFold(e, "aws-chunked") {
				kept = append(kept, e)
			}
		}
	}
	if kept == nil {
		header.Del("Content-Encoding")
		return
	}
	header["Content-Encoding"] = []string{strings.Join(kept, ",")}
}
