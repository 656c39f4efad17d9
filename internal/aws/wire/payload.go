package wire

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // Content-MD5 is what clients send
	"crypto/sha1" //nolint:gosec // one of S3's checksums
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net/textproto"

	"karri.dev/internal/aws/awserr"
)

// crc64NVME is the polynomial of S3's CRC64NVME, reversed.
const crc64NVME = 0x9a6c9329ac4bc9b5

// readPayload reads a whole payload that is kept in memory, and checks it against the digests in the
// headers. An x-amz-checksum-* header that is a member of the operation is about the object instead.
func (d *Decoder) readPayload() ([]byte, *awserr.Error) {
	if d.request.Body == nil {
		return nil, nil
	}
	payload, err := io.ReadAll(io.LimitReader(d.request.Body, maxXMLBytes+1))
	if err != nil {
		return nil, awserr.From(err)
	}
	if len(payload) > maxXMLBytes {
		return nil, awserr.New("MaxMessageLengthExceeded", "Your request was too big.")
	}
	d.verified = map[string]bool{}
	for _, digest := range []struct {
		name, header string
		hash         func() hash.Hash
	}{
		{"Content-MD5", "content-md5", md5.New},
		{"CRC32", "x-amz-checksum-crc32", func() hash.Hash { return crc32.NewIEEE() }},
		{"CRC32C", "x-amz-checksum-crc32c", func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }},
		{"CRC64NVME", "x-amz-checksum-crc64nvme", func() hash.Hash { return crc64.New(crc64.MakeTable(crc64NVME)) }},
		{"SHA1", "x-amz-checksum-sha1", sha1.New},
		{"SHA256", "x-amz-checksum-sha256", sha256.New},
	} {
		want := d.Header(digest.header, textproto.CanonicalMIMEHeaderKey(digest.header))
		if !want.Set || d.known(digest.header) {
			continue
		}
		sum, err := base64.StdEncoding.DecodeString(want.Text)
		h := digest.hash()
		if err != nil || len(sum) != h.Size() {
			return nil, awserr.New("InvalidDigest", "The %s you specified was invalid.", digest.name)
		}
		h.Write(payload)
		if !bytes.Equal(h.Sum(nil), sum) {
			return nil, awserr.New("BadDigest", "The %s you specified did not match what we received.", digest.name)
		}
		d.verified[digest.header] = true
	}
	return payload, nil
}
