package sigv4

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what Signature Version 2 is made of; as an HMAC it stands
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Signature Version 2 of S3. Presigned URLs in it are what botocore still makes by default in AWS's old regions, so
// `aws s3 presign` and boto3; headers and forms in it are for clients that know nothing newer, where the
// administrator lets them. It signs only some query parameters; a URL with any other is refused, so there nothing
// is used that was not signed. In headers, those that only page through a listing may come unsigned, as at AWS.

// oldRegions are those in which AWS understands Signature Version 2.
var oldRegions = []string{
	"us-east-1", "us-west-1", "us-west-2", "eu-west-1", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1", "sa-east-1",
}

// oldSigned are the query parameters that Version 2 signs, in order.
var oldSigned = []string{
	"acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy", "requestPayment", "response-cache-control",
	"response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type", "response-expires",
	"tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
}

// oldUnsigned are the query parameters that a request signed in a header may have besides: none of them selects an
// operation or an object.
var oldUnsigned = []string{
	"prefix", "delimiter", "marker", "max-keys", "encoding-type", "key-marker", "version-id-marker", "upload-id-marker", "max-uploads",
	"max-parts", "part-number-marker", "list-type", "continuation-token", "start-after", "fetch-owner",
}

// parseOldHeader reads an Authorization header of Version 2: "AWS KEY:SIGNATURE".
func parseOldHeader(h http.Header, rest string, query url.Values) (*Signature, error) {
	key, signature, ok := strings.Cut(strings.TrimSpace(rest), ":")
	if !ok || !token(key, 128) {
		return nil, refuse(OldMalformed, "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature")
	}
	for name, values := range query {
		if len(values) > 1 || !slices.Contains(oldSigned, name) && !slices.Contains(oldUnsigned, name) {
			return nil, refuse(Unsupported, "The query parameter %s cannot be signed with the authorization mechanism you have provided. Please use AWS4-HMAC-SHA256.", name)
		}
	}
	s := &Signature{Old: true, InHeader: true, Hex: signature, Scope: Scope{AccessKeyID: key, Service: "s3"}}
	text := h.Get("X-Amz-Date")
	if text == "" {
		text = h.Get("Date")
	}
	t, err := http.ParseTime(text)
	if err != nil {
		if t, err = time.Parse(time.RFC1123Z, text); err != nil {
			if t, err = time.Parse(stampLayout, text); err != nil {
				return nil, refuse(NotAllowed, "AWS authentication requires a valid Date or x-amz-date header")
			}
		}
	}
	s.Time, s.stamp, s.Token = t.UTC(), t.UTC().Format(stampLayout), h.Get("X-Amz-Security-Token")
	s.Payload = UnsignedPayload
	return s, nil
}

// parseOld reads the parameters of a URL of Version 2.
func parseOld(h http.Header, query url.Values) (*Signature, error) {
	s := &Signature{Presigned: true, Old: true, Hex: query.Get("Signature")}
	s.Scope = Scope{AccessKeyID: query.Get("AWSAccessKeyId"), Service: "s3"}
	for name, values := range query {
		lower := strings.ToLower(name)
		amz := strings.HasPrefix(lower, "x-amz-")
		switch {
		case len(values) > 1, amz && h[http.CanonicalHeaderKey(name)] != nil, amz && lower != name:
			return nil, refuse(NotAllowed, "Query parameter %s is ambiguous", name)
		case amz, name == "AWSAccessKeyId", name == "Signature", name == "Expires", name == "content-type", name == "content-md5":
		case !slices.Contains(oldSigned, name):
			return nil, refuse(Unsupported, "The query parameter %s cannot be signed with the authorization mechanism you have provided. Please use AWS4-HMAC-SHA256.", name)
		}
	}
	if h["X-Amz-Content-Sha256"] != nil || query.Has("x-amz-content-sha256") {
		return nil, refuse(Unsupported, "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	}
	expires, err := strconv.ParseInt(query.Get("Expires"), 10, 64)
	if err != nil || expires < 0 || expires > 1<<40 {
		return nil, refuse(NotAllowed, "Invalid date (should be seconds since epoch): %s", query.Get("Expires"))
	}
	s.Time = time.Unix(expires, 0).UTC()
	s.Token = query.Get("x-amz-security-token")
	if !token(s.AccessKeyID, 128) {
		return nil, refuse(NotAllowed, "The AWS Access Key Id is not well-formed")
	}
	return s, nil
}

// VerifyOld checks a signature of Version 2. escapedPath is the path as it came, with the bucket in front
// where the host name has it.
func (s *Signature) VerifyOld(r *Request, escapedPath, region, secret string) error {
	if !s.InHeader && !slices.Contains(oldRegions, region) {
		return refuse(Unsupported, "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	}
	text := s.oldText(r, escapedPath)
	m := hmac.New(sha1.New, []byte(secret))
	m.Write([]byte(text))
	want := base64.StdEncoding.EncodeToString(m.Sum(nil))
	if subtle.ConstantTimeCompare([]byte(want), []byte(s.Hex)) != 1 {
		return &Error{Reason: Mismatch, Message: "The request signature we calculated does not match the signature you provided.", StringToSign: text}
	}
	return nil
}

// oldText is what Version 2 signs.
func (s *Signature) oldText(r *Request, escapedPath string) string {
	var b strings.Builder
	line := func(v string) { b.WriteString(v + "\n") }
	line(r.Method)
	for _, name := range []string{"content-md5", "content-type"} {
		if v := r.Header.Get(name); v != "" || s.InHeader {
			line(v)
		} else {
			line(r.Query.Get(name))
		}
	}
	switch {
	case !s.InHeader:
		line(r.Query.Get("Expires"))
	case r.Header.Get("X-Amz-Date") != "":
		line("")
	default:
		line(r.Header.Get("Date"))
	}
	amz := map[string]string{}
	for _, from := range []map[string][]string{r.Header, r.Query} {
		for name, values := range from {
			if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") {
				trimmed := make([]string, len(values))
				for i, v := range values {
					trimmed[i] = strings.TrimSpace(v)
				}
				amz[lower] = strings.Join(trimmed, ",")
			}
		}
	}
	names := make([]string, 0, len(amz))
	for name := range amz {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		line(name + ":" + amz[name])
	}
	b.WriteString(escapedPath)
	mark := byte('?')
	for _, name := range oldSigned {
		if !r.Query.Has(name) {
			continue
		}
		b.WriteByte(mark)
		mark = '&'
		b.WriteString(name)
		if v := r.Query.Get(name); v != "" {
			b.WriteString("=" + v)
		}
	}
	return b.String()
}
