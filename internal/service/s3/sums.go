package s3

import (
	"context"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"net/http"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/checksum"
)

// given are the checksum members that requests and answers share.
type given struct{ crc32, crc32c, crc64nvme, sha1, sha256 string }

func (g given) of(a checksum.Algorithm) string {
	switch a {
	case checksum.CRC32:
		return g.crc32
	case checksum.CRC32C:
		return g.crc32c
	case checksum.CRC64NVME:
		return g.crc64nvme
	case checksum.SHA1:
		return g.sha1
	case checksum.SHA256:
		return g.sha256
	}
	return ""
}

// answer fills the member of one algorithm.
func answer(algorithm, value string) (g given) {
	switch checksum.Algorithm(algorithm) {
	case checksum.CRC32:
		g.crc32 = value
	case checksum.CRC32C:
		g.crc32c = value
	case checksum.CRC64NVME:
		g.crc64nvme = value
	case checksum.SHA1:
		g.sha1 = value
	case checksum.SHA256:
		g.sha256 = value
	}
	return g
}

// one gives the checksum that a client sent, if any; there may be one only.
func (g given) one() (a checksum.Algorithm, value string, err error) {
	for _, x := range checksum.All() {
		v := g.of(x)
		if v == "" {
			continue
		}
		if a != "" {
			return "", "", invalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		a, value = x, v
	}
	return a, value, nil
}

// trailing is a payload that knows checksums only at its end; sigv4.Body is one.
type trailing interface {
	Announced() []string
	Trailer() http.Header
}

// sums computes and checks checksums of a body while it is read.
type sums struct {
	body   io.Reader
	store  checksum.Algorithm // the one that is kept
	sent   checksum.Algorithm // the one that the client sent, "" if none
	want   string             // its value, "" if it comes as a trailer
	tail   trailing
	hashes map[checksum.Algorithm]hash.Hash
}

// newSums reads what a request says of its checksum. keep is the algorithm to store; "" means the client's, or
// the default where it sent none.
func newSums(body io.Reader, g given, sdk string, keep checksum.Algorithm) (*sums, error) {
	s := &sums{body: body, hashes: map[checksum.Algorithm]hash.Hash{}}
	var err error
	if s.sent, s.want, err = g.one(); err != nil {
		return nil, err
	}
	if s.want != "" && !s.sent.Valid(s.want) {
		return nil, invalidRequest("Value for %s header is invalid.", s.sent.Header())
	}
	if err := s.announced(); err != nil {
		return nil, err
	}
	if sdk != "" {
		a, ok := checksum.Parse(sdk)
		switch {
		case !ok:
			return nil, invalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
		case s.sent == "":
			return nil, invalidRequest("x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
		case a != s.sent:
			return nil, invalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
		}
	}
	if s.store = keep; keep == "" {
		if s.store = s.sent; s.sent == "" {
			s.store = checksum.Default
		}
	}
	s.hashes[s.store] = s.store.New()
	if s.sent != "" && s.sent != s.store {
		s.hashes[s.sent] = s.sent.New()
	}
	return s, nil
}

// announced finds the checksum that will come as a trailer.
func (s *sums) announced() error {
	tail, ok := s.body.(trailing)
	if !ok {
		return nil
	}
	for _, name := range tail.Announced() {
		a, ok := checksum.Parse(strings.TrimPrefix(strings.ToLower(name), "x-amz-checksum-"))
		if !ok {
			return invalidRequest("The value specified in the x-amz-trailer header is not supported")
		}
		if s.sent != "" {
			return invalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		s.sent, s.tail = a, tail
	}
	return nil
}

func (s *sums) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	for _, h := range s.hashes {
		h.Write(p[:n])
	}
	return n, err
}

// value is what is to be stored, once the body is read to its end and found to be right.
func (s *sums) value() (string, error) {
	if s.tail != nil {
		s.want = s.tail.Trailer().Get(s.sent.Header())
		if !s.sent.Valid(s.want) {
			return "", invalidRequest("Value for %s trailing header is invalid.", s.sent.Header())
		}
	}
	if s.sent != "" && checksum.Encode(s.hashes[s.sent]) != s.want {
		return "", badChecksum(s.sent)
	}
	return checksum.Encode(s.hashes[s.store]), nil
}

// result is value in the form that object.Put asks for.
func (s *sums) result() (algorithm, value, kind string, err error) {
	value, err = s.value()
	return string(s.store), value, checksum.FullObject, err
}

func badChecksum(a checksum.Algorithm) error {
	return awserr.New("BadDigest", "The %s you specified did not match the calculated checksum.", a)
}

// contentMD5 reads Content-MD5.
func contentMD5(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != 16 {
		return nil, awserr.New("InvalidDigest", "The Content-MD5 you specified was invalid.")
	}
	return b, nil
}

// checkLength judges Content-Length.
func checkLength(n *int64) (int64, error) {
	switch {
	case n == nil:
		return 0, awserr.New("MissingContentLength", "You must provide the Content-Length HTTP header.").WithStatus(411)
	case *n > maxPut:
		return 0, tooLarge(*n, maxPut)
	}
	return *n, nil
}

// slow names what a client that went away or fell asleep leaves behind.
func slow(err error) error {
	if err != nil && awserr.Code(err) == "" && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return awserr.New("RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.").Because(err)
	}
	return err
}
