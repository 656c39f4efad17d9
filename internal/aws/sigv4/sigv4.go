// Package sigv4 checks AWS Signature Version 4 as AWS does, in headers, in presigned URLs and over S3's
// chunked payloads, and signs the few requests that Karri makes itself.
//
// A request is checked in steps, so that a caller can look up the secret in between:
//
//	sig, err := sigv4.Parse(header, query)              // what the client claims; nil = unsigned
//	err = sig.CheckTime(now)
//	proof, err := verifier.Verify(sig, req, secret)     // who it is
//	body, err := sigv4.NewBody(req.Body, …, proof)      // S3: the payload, checked while it is read
//
// What is signed is compared in decoded form (the parsed query, the decoded path of S3), so a handler that
// uses the same parsed values uses exactly what was signed.
package sigv4

import (
	"fmt"
	"strings"
	"time"
)

// Limits of the protocol.
const (
	MaxSkew    = 15 * time.Minute
	MaxExpires = 7 * 24 * time.Hour

	algorithm   = "AWS4-HMAC-SHA256"
	stampLayout = "20060102T150405Z"
)

// Reason says why a request was refused. Services name the same reason differently.
type Reason uint8

const (
	Incomplete       Reason = iota + 1 // Authorization header lacks something or is not well-formed
	QueryMalformed                     // the same for query parameters
	Unsupported                        // another algorithm or an older signature version
	TwoMechanisms                      // signed in the header and in the query
	WrongScope                         // credential scope of another date, region or service
	Skewed                             // clock differs by more than MaxSkew
	Expired                            // a presigned URL's time is over
	NotYet                             // a presigned URL's time has not come
	Mismatch                           // signature is wrong
	HeadersNotSigned                   // host or an x-amz- header is there but not signed
	NotAllowed                         // a URL of Version 2 that is not well-formed
	OldMalformed                       // an Authorization header of Version 2 that is not well-formed
)

// Error is a refusal.
type Error struct {
	Reason  Reason
	Message string

	// Names lists headers not signed.
	Names []string
	// Of a Mismatch, both as computed here.
	StringToSign, CanonicalRequest string
}

func (e *Error) Error() string { return "signature: " + e.Message }

func refuse(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Message: fmt.Sprintf(format, args...)}
}

// Scope is a credential and where it counts.
type Scope struct {
	AccessKeyID string
	Date        string // YYYYMMDD
	Region      string
	Service     string
}

// String gives the scope without the key, as it stands in the string to sign.
func (s Scope) String() string {
	return s.Date + "/" + s.Region + "/" + s.Service + "/aws4_request"
}

// Signature is what a request claims about itself. Nothing of it is true before Verify.
type Signature struct {
	Scope
	Time      time.Time
	Presigned bool
	Old       bool          // Version 2: Hex is base64; of a URL, Time is when it ends
	InHeader  bool          // Old, and in the Authorization header
	Expires   time.Duration // of a presigned URL
	Token     string        // session token, "" for long-lived keys
	Payload   string        // x-amz-content-sha256; "" where the client gave none
	Signed    []string      // names of signed headers, lower case, ascending
	Hex       string        // the signature

	stamp string // Time as it is signed
}

// Covers says whether the header (lower case) is signed.
func (s *Signature) Covers(name string) bool {
	for _, n := range s.Signed {
		if n == name {
			return true
		}
	}
	return false
}

// CheckTime refuses signatures that are too old, too new or over.
func (s *Signature) CheckTime(now time.Time) error {
	now = now.UTC()
	if s.Old && !s.InHeader {
		if !now.Before(s.Time) {
			return refuse(Expired, "Request has expired")
		}
		return nil
	}
	late, soon := now.Add(-MaxSkew), now.Add(MaxSkew)
	switch {
	case s.Presigned && s.Expires > 0:
		if s.Time.After(soon) {
			return refuse(NotYet, "Request is not valid yet")
		}
		if !now.Before(s.Time.Add(s.Expires)) {
			return refuse(Expired, "Request has expired")
		}
	case s.Time.Before(late):
		return refuse(Skewed, "Signature expired: %s is now earlier than %s (%s - 15 min.)",
			s.stamp, late.Format(stampLayout), now.Format(stampLayout))
	case s.Time.After(soon):
		return refuse(Skewed, "Signature not yet current: %s is still later than %s (%s + 15 min.)",
			s.stamp, soon.Format(stampLayout), now.Format(stampLayout))
	}
	return nil
}

// parseScope takes KEY/DATE/REGION/SERVICE/aws4_request apart.
func parseScope(s string) (Scope, bool) {
	p := strings.Split(s, "/")
	if len(p) != 5 || p[4] != "aws4_request" {
		return Scope{}, false
	}
	sc := Scope{p[0], p[1], p[2], p[3]}
	ok := token(sc.AccessKeyID, 128) && len(sc.Date) == 8 && digits(sc.Date) && token(sc.Region, 64) && token(sc.Service, 64)
	return sc, ok
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// token says whether s is a short, plain name.
func token(s string, longest int) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= longest
}

func isHex64(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
