package frontdoor

import (
	"crypto/tls"
	"net/http"
	"strconv"
	"strings"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/aws/sigv4"
)

// AccessLogger is what an S3 service that keeps server access logs implements.
type AccessLogger interface {
	// Logs says whether a bucket's requests are logged.
	Logs(bucket string) bool
	// Accessed is told of every request to such a bucket that was answered. It keeps nothing of it but copies.
	Accessed(call.Access)
}

// accessed tells the service's access log of the exchange.
func (x *exchange) accessed() {
	if x.service == nil || x.resource == "" {
		return
	}
	bucket, key, _ := strings.Cut(x.resource, "/")
	logger, ok := x.service.api.(AccessLogger)
	if !ok || !logger.Logs(bucket) {
		return
	}
	a := call.Access{
		Info: &x.info, Bucket: bucket, Key: key, Method: x.r.Method, URI: x.r.Method + " " + x.r.RequestURI + " " + x.r.Proto, Status: x.status, Sent: x.bytes, Size: -1,
		Referer: x.r.Header.Get("Referer"), Host: x.r.Host, Total: x.d.deps.Now().Sub(x.info.Time), Turn: x.began,
	}
	if x.failure != nil {
		a.Error = x.failure.Code
	}
	switch h := x.w.Header(); {
	case a.Key == "":
	case x.r.Method == http.MethodPut && x.r.ContentLength >= 0:
		a.Size = x.r.ContentLength
		if n, err := strconv.ParseInt(x.r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64); err == nil {
			a.Size = n
		}
	case x.failure == nil && (x.info.Operation == "GetObject" || x.info.Operation == "HeadObject"):
		size := h.Get("Content-Length")
		if _, whole, ok := strings.Cut(h.Get("Content-Range"), "/"); ok {
			size = whole
		}
		if n, err := strconv.ParseInt(size, 10, 64); err == nil {
			a.Size = n
		}
	}
	if v := map[string][]string(x.w.Header())["x-amz-version-id"]; len(v) == 1 { // S3's headers stay as S3 writes them
		a.VersionID = v[0]
	}
	a.Signature, a.AuthType = signedBy(x.sig)
	if t := x.r.TLS; t != nil {
		a.Cipher, a.TLS = tls.CipherSuiteName(t.CipherSuite), strings.Replace(tls.VersionName(t.Version), "TLS 1.", "TLSv1.", 1)
	}
	logger.Accessed(a)
}

func signedBy(sig *sigv4.Signature) (version, kind string) {
	if sig == nil {
		return "", ""
	}
	version, kind = "SigV4", "AuthHeader"
	if sig.Old {
		version = "SigV2"
	}
	if sig.Presigned {
		kind = "QueryString"
	}
	return version, kind
}
