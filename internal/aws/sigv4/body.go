package sigv4

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
)

// Values of x-amz-content-sha256 besides a digest.
const (
	UnsignedPayload          = "UNSIGNED-PAYLOAD"
	streamingSigned          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamingSignedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamingUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

	// EmptyPayload is the digest of nothing.
	EmptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// prompt is the size up to which a body with a signed digest is read and checked before anyone acts on it.
const prompt = 64 << 10

// Body is an S3 payload: unwrapped, and checked while it is read. The last byte of a body of known length is
// handed out only when all of it has been checked, so a reader that stops there is safe too. Errors of Read
// are AWS errors.
type Body struct {
	io.Reader
	// Length is the payload's length, -1 unknown.
	Length    int64
	trailer   http.Header
	announced []string
}

// Close implements io.Closer; the HTTP server closes what is beneath.
func (b *Body) Close() error { return nil }

// Trailer gives the trailing headers that the client sent (x-amz-checksum-…), by canonical name. It is
// complete once the body has been read to its end, and nil where there are none.
func (b *Body) Trailer() http.Header { return b.trailer }

// Announced gives the canonical names of the trailers that will come, known before the body is read.
func (b *Body) Announced() []string { return b.announced }

// NewBody takes S3's payload out of an HTTP body of contentLength bytes (-1 unknown). payload is the value
// of x-amz-content-sha256; a nil proof means that the request is anonymous, and then only what needs no
// key can be checked.
func NewBody(r io.Reader, contentLength int64, h http.Header, payload string, proof *Proof) (*Body, error) {
	if proof != nil && proof.payload != payload {
		return nil, errors.New("sigv4: payload is not the one that was signed")
	}
	raw := &rawBody{r}
	switch payload {
	case "":
		if proof == nil {
			return &Body{Reader: raw, Length: contentLength}, nil
		}
		return nil, awserr.New("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
	case UnsignedPayload:
		return &Body{Reader: raw, Length: contentLength}, nil
	case streamingSigned, streamingSignedTrailer, streamingUnsignedTrailer:
		return newChunked(raw, h, payload, proof)
	}
	if strings.HasPrefix(payload, "STREAMING-") {
		return nil, awserr.New("NotImplemented", "The payload signature %s is not implemented", payload).WithStatus(501)
	}
	if !isHex64(payload) {
		return nil, awserr.New("InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.").
			With("ArgumentName", "x-amz-content-sha256").With("ArgumentValue", payload)
	}
	digest := &digestReader{r: raw, h: sha256.New(), want: payload, left: contentLength}
	if contentLength < 0 || contentLength > prompt {
		return &Body{Reader: digest, Length: contentLength}, nil
	}
	small := make([]byte, contentLength)
	if _, err := io.ReadFull(raw, small); err != nil {
		return nil, incomplete(err)
	}
	digest.h.Write(small)
	if err := digest.check(); err != nil {
		return nil, err
	}
	return &Body{Reader: bytes.NewReader(small), Length: contentLength}, nil
}

// rawBody gives the HTTP layer's errors AWS names.
type rawBody struct{ r io.Reader }

func (b *rawBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		err = incomplete(err)
	}
	return n, err
}

// incomplete names an error of reading a request's body.
func incomplete(err error) error {
	var aws *awserr.Error
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &aws):
		return err
	case errors.As(err, &large):
		return awserr.New("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	}
	return awserr.New("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header").Because(err)
}

// digestReader checks a body's SHA-256.
type digestReader struct {
	r    io.Reader
	h    hash.Hash
	want string
	left int64 // until the end, negative: unknown
	err  error
}

func (d *digestReader) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.r.Read(p)
	d.h.Write(p[:n])
	if d.left >= 0 {
		d.left -= int64(n)
	}
	if err == io.EOF || err == nil && d.left == 0 && n > 0 {
		if bad := d.check(); bad != nil {
			n, err = 0, bad
		} else {
			err = io.EOF
		}
	}
	d.err = err
	return n, err
}

func (d *digestReader) check() error {
	got := hex.EncodeToString(d.h.Sum(nil))
	if subtle.ConstantTimeCompare([]byte(got), []byte(d.want)) == 1 {
		return nil
	}
	return awserr.New("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.").
		With("ClientComputedContentSHA256", d.want).With("S3ComputedContentSHA256", got)
}

// decodedLength reads x-amz-decoded-content-length.
func decodedLength(h http.Header) (int64, error) {
	v := h["X-Amz-Decoded-Content-Length"]
	if len(v) == 1 && digits(v[0]) {
		if n, err := strconv.ParseInt(v[0], 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, awserr.New("MissingContentLength", "You must provide the Content-Length HTTP header.").WithStatus(411)
}
