package sigv4

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Parse finds the signature in a request. Both nil means that the request is not signed.
func Parse(h http.Header, query url.Values) (*Signature, error) {
	auth := h["Authorization"]
	presigned := query.Has("X-Amz-Algorithm") || query.Has("X-Amz-Signature") || query.Has("X-Amz-Credential")
	old := query.Has("AWSAccessKeyId") && query.Has("Signature")
	switch {
	case len(auth) > 0 && (presigned || old), len(auth) > 1, presigned && old:
		return nil, refuse(TwoMechanisms, "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified")
	case old:
		return parseOld(h, query)
	case presigned:
		return parseQuery(h, query)
	case len(auth) == 1:
		if rest, ok := strings.CutPrefix(strings.TrimSpace(auth[0]), "AWS "); ok {
			return parseOldHeader(h, rest, query)
		}
		return parseHeader(h, auth[0])
	}
	return nil, nil
}

func parseHeader(h http.Header, auth string) (*Signature, error) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(auth), " ")
	if scheme != algorithm {
		return nil, refuse(Unsupported, "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	}
	var credential, signed, signature string
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		var to *string
		switch name {
		case "Credential":
			to = &credential
		case "SignedHeaders":
			to = &signed
		case "Signature":
			to = &signature
		}
		if !ok || to == nil || *to != "" {
			return nil, refuse(Incomplete, "Invalid key=value pair (missing equal-sign) in Authorization header.")
		}
		*to = value
	}
	for _, f := range []struct{ name, value string }{{"Credential", credential}, {"Signature", signature}, {"SignedHeaders", signed}} {
		if f.value == "" {
			return nil, refuse(Incomplete, "Authorization header requires '%s' parameter.", f.name)
		}
	}
	s := &Signature{Hex: signature}
	var ok bool
	if s.Scope, ok = parseScope(credential); !ok {
		return nil, refuse(Incomplete, "Credential must have 5 elements: AKID/YYYYMMDD/REGION/SERVICE/aws4_request.")
	}
	if s.Signed, ok = parseSigned(signed); !ok {
		return nil, refuse(Incomplete, "SignedHeaders must be lower-case names in ascending order, separated by semicolons.")
	}
	if !isHex64(s.Hex) {
		return nil, refuse(Incomplete, "Signature must be 64 lower-case hexadecimal digits.")
	}
	var err error
	if s.Time, err = headerTime(h); err != nil {
		return nil, err
	}
	s.stamp = s.Time.Format(stampLayout)
	for _, f := range []struct {
		name string
		to   *string
	}{{"X-Amz-Security-Token", &s.Token}, {"X-Amz-Content-Sha256", &s.Payload}} {
		switch v := h[f.name]; len(v) {
		case 0:
		case 1:
			*f.to = strings.TrimSpace(v[0])
		default:
			return nil, refuse(Incomplete, "Header %s occurs more than once.", strings.ToLower(f.name))
		}
	}
	if s.Date != s.stamp[:8] {
		return nil, refuse(WrongScope, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP")
	}
	return s, nil
}

// headerTime reads X-Amz-Date, or Date where that is missing.
func headerTime(h http.Header) (time.Time, error) {
	if v := h["X-Amz-Date"]; len(v) > 0 {
		if len(v) > 1 {
			return time.Time{}, refuse(Incomplete, "Header x-amz-date occurs more than once.")
		}
		if t, ok := parseStamp(v[0]); ok {
			return t, nil
		}
		return time.Time{}, refuse(Incomplete, "Date must be in ISO-8601 'basic format'. Got '%s'.", v[0])
	}
	v := h["Date"]
	if len(v) != 1 {
		return time.Time{}, refuse(Incomplete, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	if t, ok := parseStamp(v[0]); ok {
		return t, nil
	}
	t, err := http.ParseTime(v[0])
	if err != nil {
		return time.Time{}, refuse(Incomplete, "Date header is not a date.")
	}
	return t.UTC(), nil
}

// parseStamp reads YYYYMMDDTHHMMSSZ, and nothing that formats differently.
func parseStamp(s string) (time.Time, bool) {
	if len(s) != len(stampLayout) || s[8] != 'T' || s[15] != 'Z' || !digits(s[:8]) || !digits(s[9:15]) {
		return time.Time{}, false
	}
	n := func(i, j int) int { v, _ := strconv.Atoi(s[i:j]); return v }
	t := time.Date(n(0, 4), time.Month(n(4, 6)), n(6, 8), n(9, 11), n(11, 13), n(13, 15), 0, time.UTC)
	ok := t.Month() == time.Month(n(4, 6)) && t.Day() == n(6, 8) && t.Hour() == n(9, 11) && t.Minute() == n(11, 13) && t.Second() == n(13, 15)
	return t, ok
}

func parseSigned(s string) ([]string, bool) {
	if len(s) > 8192 {
		return nil, false
	}
	names := strings.Split(s, ";")
	for i, n := range names {
		if n == "" || i > 0 && names[i-1] >= n {
			return nil, false
		}
		for j := range len(n) {
			if c := n[j]; c <= ' ' || c >= 0x7f || c >= 'A' && c <= 'Z' || c == ':' {
				return nil, false
			}
		}
	}
	return names, true
}

func parseQuery(h http.Header, query url.Values) (*Signature, error) {
	for name, values := range query {
		if len(values) > 1 && len(name) > 6 && strings.EqualFold(name[:6], "X-Amz-") {
			return nil, refuse(QueryMalformed, "Query parameter %s occurs more than once", name)
		}
	}
	if a := query.Get("X-Amz-Algorithm"); a != algorithm && a != "" {
		return nil, refuse(QueryMalformed, "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")
	}
	for _, n := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders"} {
		if query.Get(n) == "" {
			return nil, queryIncomplete()
		}
	}
	s := &Signature{Presigned: true, Hex: query.Get("X-Amz-Signature"), Token: query.Get("X-Amz-Security-Token")}
	var ok bool
	if s.Scope, ok = parseScope(query.Get("X-Amz-Credential")); !ok {
		return nil, refuse(QueryMalformed, "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
	}
	if s.Time, ok = parseStamp(query.Get("X-Amz-Date")); !ok {
		return nil, refuse(QueryMalformed, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
	}
	if s.stamp = query.Get("X-Amz-Date"); s.Date != s.stamp[:8] {
		return nil, refuse(QueryMalformed, "Error parsing the X-Amz-Credential parameter; incorrect date \"%s\". This date in the credential must be in the format \"yyyyMMdd\".", s.Date)
	}
	if s.Signed, ok = parseSigned(query.Get("X-Amz-SignedHeaders")); !ok {
		return nil, refuse(QueryMalformed, "X-Amz-SignedHeaders must be lower-case names in ascending order, separated by semicolons.")
	}
	if !isHex64(s.Hex) {
		return nil, refuse(QueryMalformed, "X-Amz-Signature must be 64 lower-case hexadecimal digits.")
	}
	if err := s.parseExpires(query); err != nil {
		return nil, err
	}
	header := h["X-Amz-Content-Sha256"]
	if len(header) > 1 || len(header) == 1 && query.Has("X-Amz-Content-Sha256") {
		return nil, refuse(QueryMalformed, "X-Amz-Content-Sha256 occurs more than once")
	}
	s.Payload = query.Get("X-Amz-Content-Sha256")
	if len(header) == 1 {
		s.Payload = strings.TrimSpace(header[0])
	}
	return s, nil
}

func queryIncomplete() error {
	return refuse(QueryMalformed, "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
}

// parseExpires reads the lifetime. S3 requires it; elsewhere the usual skew counts where it is missing.
func (s *Signature) parseExpires(query url.Values) error {
	v := query.Get("X-Amz-Expires")
	if v == "" {
		if s.Service == "s3" {
			return queryIncomplete()
		}
		return nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	switch {
	case err != nil:
		return refuse(QueryMalformed, "X-Amz-Expires should be a number")
	case n < 0:
		return refuse(QueryMalformed, "X-Amz-Expires must be non-negative")
	case n > int64(MaxExpires/time.Second):
		return refuse(QueryMalformed, "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	case n == 0:
		return refuse(Expired, "Request has expired")
	}
	s.Expires = time.Duration(n) * time.Second
	return nil
}
