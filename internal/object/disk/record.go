package disk

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"

	"karri.dev/internal/object"
)

// recordVersion is the first byte of every record. A new layout takes the next number, and the decoder keeps
// reading the old ones.
const recordVersion = 1

var errRecord = errors.New("bad record")

// content says where an object's bytes are.
type content struct {
	kind contentKind
	id   uint64
}

type contentKind byte

const (
	empty  contentKind = iota // no bytes
	inline                    // in the index
	file                      // one file
	parts                     // several files; the index has their list
)

// objectRecord is an object in the index. Headers come last: a listing does not read them.
type objectRecord struct {
	object.Meta
	content content
	upload  string // the upload that it was made by
}

// partRecord is a part: of an upload, or of a multipart object.
type partRecord struct {
	object.Part
	content content // empty or file
}

func (o *objectRecord) encode() []byte {
	b := append(make([]byte, 0, 256), recordVersion)
	b = append(b, byte(o.content.kind))
	b = binary.AppendUvarint(b, o.content.id)
	b = binary.AppendUvarint(b, uint64(o.Size))
	b = binary.AppendVarint(b, o.Modified.UnixNano())
	b = binary.AppendUvarint(b, uint64(o.Parts))
	b = appendString(b, o.ETag, o.ChecksumAlgorithm, o.Checksum, o.ChecksumType, o.upload)
	return appendHeaders(b, o.Headers)
}

// decodeObject reads a record; headers only if asked for.
func decodeObject(b []byte, key string, headers bool) (objectRecord, error) {
	d := decoder{b: b}
	d.version()
	o := objectRecord{content: d.content()}
	o.Key = key
	o.Size = int64(d.uvarint())
	o.Modified = time.Unix(0, d.varint()).UTC()
	o.Parts = int(d.uvarint())
	o.ETag, o.ChecksumAlgorithm, o.Checksum, o.ChecksumType, o.upload = d.string(), d.string(), d.string(), d.string(), d.string()
	if headers {
		o.Headers = d.headers()
	}
	return o, d.err
}

func (p *partRecord) encode(b []byte) []byte {
	b = append(b, recordVersion, byte(p.content.kind))
	b = binary.AppendUvarint(b, p.content.id)
	b = binary.AppendUvarint(b, uint64(p.Number))
	b = binary.AppendUvarint(b, uint64(p.Size))
	b = binary.AppendVarint(b, p.Modified.UnixNano())
	return appendString(b, p.ETag, p.ChecksumAlgorithm, p.Checksum)
}

func (d *decoder) part() partRecord {
	d.version()
	p := partRecord{content: d.content()}
	p.Number = int(d.uvarint())
	p.Size = int64(d.uvarint())
	p.Modified = time.Unix(0, d.varint()).UTC()
	p.ETag, p.ChecksumAlgorithm, p.Checksum = d.string(), d.string(), d.string()
	return p
}

func decodePart(b []byte) (partRecord, error) {
	d := decoder{b: b}
	p := d.part()
	return p, d.err
}

// decodeParts reads the list of a multipart object.
func decodeParts(b []byte) ([]partRecord, error) {
	d := decoder{b: b}
	var out []partRecord
	for len(d.b) > 0 && d.err == nil {
		out = append(out, d.part())
	}
	return out, d.err
}

func encodeUpload(u object.Upload) []byte {
	b := append(make([]byte, 0, 256), recordVersion)
	b = binary.AppendVarint(b, u.Started.UnixNano())
	b = appendString(b, u.Initiator, u.ChecksumAlgorithm, u.ChecksumType)
	return appendHeaders(b, u.Headers)
}

func decodeUpload(b []byte, key, id string) (object.Upload, error) {
	d := decoder{b: b}
	d.version()
	u := object.Upload{Key: key, ID: id, Started: time.Unix(0, d.varint()).UTC()}
	u.Initiator, u.ChecksumAlgorithm, u.ChecksumType = d.string(), d.string(), d.string()
	u.Headers = d.headers()
	return u, d.err
}

func appendString(b []byte, values ...string) []byte {
	for _, s := range values {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func appendHeaders(b []byte, headers map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(headers)))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		b = appendString(b, name, headers[name])
	}
	return b
}

// decoder reads a record; after an error it gives zero values.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail() { d.b, d.err = nil, errRecord }

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) version() {
	if d.byte() != recordVersion {
		d.fail()
	}
}

func (d *decoder) content() content {
	c := content{kind: contentKind(d.byte()), id: d.uvarint()}
	if c.kind > parts {
		d.fail()
	}
	return c
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) headers() map[string]string {
	n := d.uvarint()
	if n == 0 || n > uint64(len(d.b)) {
		if n > 0 {
			d.fail()
		}
		return nil
	}
	h := make(map[string]string, n)
	for range n {
		name := d.string()
		h[name] = d.string()
	}
	return h
}
