package sigv4

import (
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Request is what a signature covers.
type Request struct {
	Method string
	// Path is the decoded path for S3, which signs it encoded once; the path as sent for every other
	// service, which signs it encoded again.
	Path          string
	Query         url.Values // parsed; X-Amz-Signature is left out of it
	Host          string
	Header        http.Header
	ContentLength int64 // -1 unknown; counts where a signed content-length is not in Header
	Payload       string
}

const upperHex = "0123456789ABCDEF"

// appendEscaped encodes as AWS does: all but unreserved characters, and slashes where keep is set.
func appendEscaped(b []byte, s string, keepSlash bool) []byte {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == '~', c == '/' && keepSlash:
			b = append(b, c)
		default:
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return b
}

// appendCanonical appends the canonical request.
func appendCanonical(b []byte, r *Request, signed []string) []byte {
	b = append(b, r.Method...)
	b = append(b, '\n')
	if r.Path == "" {
		b = append(b, '/')
	}
	b = appendEscaped(b, r.Path, true)
	b = append(b, '\n')
	b = appendQuery(b, r.Query)
	b = append(b, '\n')
	for _, name := range signed {
		b = append(b, name...)
		b = append(b, ':')
		b = appendHeader(b, r, name)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	for i, name := range signed {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, name...)
	}
	b = append(b, '\n')
	return append(b, r.Payload...)
}

func appendQuery(b []byte, query url.Values) []byte {
	if len(query) == 0 {
		return b
	}
	pairs := make([]string, 0, len(query))
	var one []byte
	for name, values := range query {
		if name == "X-Amz-Signature" {
			continue
		}
		for _, v := range values {
			one = append(appendEscaped(one[:0], name, false), '=')
			pairs = append(pairs, string(appendEscaped(one, v, false)))
		}
	}
	// '=' sorts behind '-', '.' and '%', so compare names before values.
	slices.SortFunc(pairs, func(x, y string) int {
		xn, xv, _ := strings.Cut(x, "=")
		yn, yv, _ := strings.Cut(y, "=")
		if c := strings.Compare(xn, yn); c != 0 {
			return c
		}
		return strings.Compare(xv, yv)
	})
	for i, p := range pairs {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, p...)
	}
	return b
}

func appendHeader(b []byte, r *Request, name string) []byte {
	if name == "host" {
		return appendTrimmed(b, r.Host)
	}
	values, ok := r.Header[canonicalName(name)]
	if !ok && name == "content-length" && r.ContentLength >= 0 {
		return strconv.AppendInt(b, r.ContentLength, 10)
	}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendTrimmed(b, v)
	}
	return b
}

// canonicalName saves the allocation for the names that every client signs.
func canonicalName(name string) string {
	switch name {
	case "x-amz-date":
		return "X-Amz-Date"
	case "x-amz-content-sha256":
		return "X-Amz-Content-Sha256"
	case "amz-sdk-invocation-id":
		return "Amz-Sdk-Invocation-Id"
	case "amz-sdk-request":
		return "Amz-Sdk-Request"
	case "x-amz-security-token":
		return "X-Amz-Security-Token"
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// appendTrimmed trims s and folds runs of spaces.
func appendTrimmed(b []byte, s string) []byte {
	s = strings.Trim(s, " \t")
	space := false
	for i := range len(s) {
		if s[i] == ' ' {
			if space {
				continue
			}
			space = true
		} else {
			space = false
		}
		b = append(b, s[i])
	}
	return b
}
