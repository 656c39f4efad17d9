package s3

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
)

const metaPrefix = "X-Amz-Meta-"

// headers are the system metadata that clients set.
type headers struct {
	cacheControl, disposition, encoding, language, contentType, expires string

	user map[string]string // by lower-case name
}

func (h headers) check() error {
	size := 0
	for k, v := range h.user {
		size += len(k) + len(v)
	}
	if size > maxMetadata {
		return awserr.New("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size").
			With("Size", strconv.Itoa(size)).With("MaxSizeAllowed", strconv.Itoa(maxMetadata))
	}
	return nil
}

// stored gives the form that the engine keeps.
func (h headers) stored() map[string]string {
	if h.contentType == "" {
		h.contentType = defaultContent
	}
	m := map[string]string{}
	for name, v := range map[string]string{
		"Cache-Control": h.cacheControl, "Content-Disposition": h.disposition, "Content-Encoding": withoutChunked(h.encoding),
		"Content-Language": h.language, "Content-Type": h.contentType, "Expires": h.expires,
	} {
		if v != "" {
			m[name] = v
		}
	}
	for k, v := range h.user {
		m[metaPrefix+strings.ToLower(k)] = v
	}
	return m
}

// loaded is the way back.
func loaded(m map[string]string) headers {
	h := headers{
		cacheControl: m["Cache-Control"], disposition: m["Content-Disposition"], encoding: m["Content-Encoding"],
		language: m["Content-Language"], contentType: m["Content-Type"], expires: m["Expires"],
	}
	for k, v := range m {
		if name, ok := strings.CutPrefix(k, metaPrefix); ok {
			if h.user == nil {
				h.user = map[string]string{}
			}
			h.user[name] = v
		}
	}
	return h
}

// withoutChunked takes aws-chunked, the encoding of the transfer, out of the object's.
func withoutChunked(encoding string) string {
	list := strings.Split(encoding, ",")
	list = slices.DeleteFunc(list, func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), "aws-chunked") })
	return strings.TrimSpace(strings.Join(list, ","))
}

// redirectKey is where an object keeps x-amz-website-redirect-location.
const redirectKey = "X-Amz-Website-Redirect-Location"

func validRedirect(to string) bool {
	return to == "" || len(to) <= maxMetadata && (strings.HasPrefix(to, "/") || strings.HasPrefix(to, "http://") || strings.HasPrefix(to, "https://"))
}

// redirecting gives an object's stored headers with a website's redirect, in place of another one if there is.
func redirecting(m map[string]string, to string) map[string]string {
	if to == "" && m[redirectKey] == "" {
		return m
	}
	out := maps.Clone(m)
	delete(out, redirectKey)
	if to != "" {
		out[redirectKey] = to
	}
	return out
}
