package sigv4

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
)

// Bounds of the aws-chunked encoding. AWS refuses small chunks too, but for the last of the data.
const (
	maxChunkHeader = 256
	minChunk       = 8 << 10
	maxTrailer     = 8 << 10
	chunkSignature = "chunk-signature="
)

// chunked unwraps aws-chunked: "SIZE[;chunk-signature=HEX]\r\nDATA\r\n" …, a chunk of size 0, trailers.
type chunked struct {
	r        *bufio.Reader
	body     *Body
	declared []string // trailers announced, canonical names
	trailers bool     // this encoding ends with trailers

	proof    *Proof // nil: chunks are not signed
	previous string // signature of the chunk before
	current  string // the one that this chunk claims
	hash     hash.Hash

	inChunk   int64 // bytes of this chunk still to come
	remaining int64 // bytes of the payload still to come
	small     bool  // the chunk before was a small one: only the end may follow
	started   bool
	err       error
}

func newChunked(raw io.Reader, h http.Header, payload string, proof *Proof) (*Body, error) {
	n, err := decodedLength(h)
	if err != nil {
		return nil, err
	}
	c := &chunked{r: bufio.NewReaderSize(raw, 16<<10), remaining: n, trailers: payload != streamingSigned}
	if payload != streamingUnsignedTrailer {
		if proof == nil {
			return nil, awserr.New("AccessDenied", "Anonymous requests cannot have a signed payload").WithStatus(403)
		}
		c.proof, c.previous, c.hash = proof, proof.seed, sha256.New()
	}
	for _, v := range h["X-Amz-Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
			if !c.trailers || !strings.HasPrefix(name, "X-Amz-Checksum-") {
				return nil, awserr.New("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
			}
			c.declared = append(c.declared, name)
		}
	}
	c.body = &Body{Reader: c, Length: n, announced: c.declared}
	return c.body, nil
}

func (c *chunked) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.read(p)
	c.err = err
	return n, err
}

func (c *chunked) read(p []byte) (int, error) {
	if c.remaining == 0 {
		if err := c.end(); err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	if c.inChunk == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if int64(len(p)) > c.inChunk {
		p = p[:c.inChunk]
	}
	n, err := c.r.Read(p)
	if err != nil {
		return 0, truncated(err)
	}
	if c.hash != nil {
		c.hash.Write(p[:n])
	}
	c.inChunk -= int64(n)
	c.remaining -= int64(n)
	if c.inChunk > 0 {
		return n, nil
	}
	// The chunk's last bytes, and with them the payload's, leave only when they have been checked.
	if err := c.closeChunk(); err != nil {
		return 0, err
	}
	if c.remaining > 0 {
		return n, nil
	}
	if err := c.end(); err != nil {
		return 0, err
	}
	return n, io.EOF
}

// next reads the header of a chunk with data.
func (c *chunked) next() error {
	size, err := c.header()
	if err != nil {
		return err
	}
	switch {
	case size == 0 || size > c.remaining:
		return badLength()
	case c.started && c.small:
		return awserr.New("InvalidChunkSizeError", "Only the last chunk is allowed to have a size less than 8192 bytes").WithStatus(403)
	}
	c.started, c.small, c.inChunk = true, size < minChunk, size
	return nil
}

// header reads a chunk's header line and keeps the signature it claims.
func (c *chunked) header() (int64, error) {
	line, err := c.line(maxChunkHeader)
	if err != nil {
		return 0, err
	}
	digits, extension, has := bytes.Cut(line, []byte{';'})
	if len(digits) == 0 || len(digits) > 15 {
		return 0, malformed()
	}
	var size int64
	for _, d := range digits {
		v, ok := hexDigit(d)
		if !ok {
			return 0, malformed()
		}
		size = size<<4 | v
	}
	if c.proof == nil {
		if has {
			return 0, malformed()
		}
		return size, nil
	}
	sig, ok := bytes.CutPrefix(extension, []byte(chunkSignature))
	if !ok || !isHex64(string(sig)) {
		return 0, malformed()
	}
	c.current = string(sig)
	return size, nil
}

// hexDigit is strict: no sign, no prefix, no underscore.
func hexDigit(d byte) (int64, bool) {
	v, err := strconv.ParseUint(string(rune(d)), 16, 8)
	return int64(v), err == nil
}

// closeChunk reads the line end after the data and checks the chunk's signature.
func (c *chunked) closeChunk() error {
	var end [2]byte
	if _, err := io.ReadFull(c.r, end[:]); err != nil {
		return truncated(err)
	}
	if end != [2]byte{'\r', '\n'} {
		return malformed()
	}
	return c.checkChunk()
}

func (c *chunked) checkChunk() error {
	if c.proof == nil {
		return nil
	}
	digest := c.hash.Sum(nil)
	c.hash.Reset()
	return c.check("AWS4-HMAC-SHA256-PAYLOAD\n", EmptyPayload+"\n"+hex.EncodeToString(digest), c.current)
}

// check compares a signature that is chained to the one before it.
func (c *chunked) check(kind, tail, claimed string) error {
	m := hmac.New(sha256.New, c.proof.key[:])
	io.WriteString(m, kind+c.proof.stamp+"\n"+c.proof.scope+"\n"+c.previous+"\n"+tail)
	want := hex.EncodeToString(m.Sum(nil))
	if subtle.ConstantTimeCompare([]byte(want), []byte(claimed)) != 1 {
		return awserr.New("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.").
			WithStatus(403).With("AWSAccessKeyId", c.proof.accessKeyID).With("SignatureProvided", claimed)
	}
	c.previous = claimed
	return nil
}

// end reads the chunk of size 0, the trailers, and makes sure that nothing follows.
func (c *chunked) end() error {
	size, err := c.header()
	if err != nil {
		return err
	}
	if size != 0 {
		return badLength()
	}
	if err := c.checkChunk(); err != nil {
		return err
	}
	if c.trailers {
		err = c.readTrailers()
	} else {
		err = c.lastLine()
	}
	if err != nil {
		return err
	}
	if _, err := c.r.ReadByte(); err != io.EOF {
		if err != nil {
			return truncated(err)
		}
		return malformed()
	}
	return nil
}

// lastLine accepts the empty line after the last chunk, which some clients leave out.
func (c *chunked) lastLine() error {
	if _, err := c.r.Peek(1); err == io.EOF {
		return nil
	}
	line, err := c.line(2)
	if err == nil && len(line) > 0 {
		err = malformed()
	}
	return err
}

func (c *chunked) readTrailers() error {
	got := http.Header{}
	var canonical strings.Builder
	for signed, total := false, 0; ; {
		if _, err := c.r.Peek(1); err == io.EOF && (c.proof == nil || signed) {
			break
		}
		line, err := c.line(maxTrailer)
		if err != nil {
			return err
		}
		if total += len(line); total > maxTrailer {
			return badTrailer()
		}
		if len(line) == 0 {
			if c.proof == nil || signed {
				break
			}
			continue // AWS's grammar has an empty line before the trailer's signature
		}
		name, value, ok := strings.Cut(string(line), ":")
		value = strings.TrimSpace(value)
		if !ok || signed {
			return badTrailer()
		}
		if c.proof != nil && strings.EqualFold(name, "x-amz-trailer-signature") {
			digest := sha256.Sum256([]byte(canonical.String()))
			if err := c.check("AWS4-HMAC-SHA256-TRAILER\n", hex.EncodeToString(digest[:]), value); err != nil {
				return err
			}
			signed = true
			continue
		}
		key := textproto.CanonicalMIMEHeaderKey(name)
		if !c.announced(key) || got.Get(key) != "" || value == "" {
			return badTrailer()
		}
		got[key] = []string{value}
		canonical.WriteString(strings.ToLower(name) + ":" + value + "\n")
	}
	if len(got) != len(c.declared) {
		return badTrailer()
	}
	c.body.trailer = got
	return nil
}

func (c *chunked) announced(key string) bool {
	for _, d := range c.declared {
		if d == key {
			return true
		}
	}
	return false
}

// line reads a line of at most limit bytes and strips its end, "\r\n" or (in trailers) "\n".
func (c *chunked) line(limit int) ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		return nil, malformed()
	case err != nil:
		return nil, truncated(err)
	case len(line) > limit:
		return nil, malformed()
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'}), nil
}

func truncated(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return incomplete(err)
}

func badLength() error {
	return awserr.New("IncompleteBody", "You did not provide the number of bytes specified by the x-amz-decoded-content-length header")
}

func malformed() error {
	return awserr.New("IncompleteBody", "The request body is not well-formed aws-chunked data")
}

func badTrailer() error {
	return awserr.New("MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
}
