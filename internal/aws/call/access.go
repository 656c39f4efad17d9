package call

import "time"

// Access is what a server access log says of one S3 request, beside its Info. "" is unknown.
type Access struct {
	*Info
	Bucket, Key string
	Method      string
	URI         string // the request line's
	Status      int
	Error       string // code
	Sent        int64  // bytes of the body
	Size        int64  // of the object; -1: none
	Total       time.Duration
	Turn        time.Duration // until the answer began
	Referer     string
	VersionID   string
	Signature   string // "SigV4", "SigV2"
	AuthType    string // "AuthHeader", "QueryString"
	Cipher, TLS string
	Host        string
}
