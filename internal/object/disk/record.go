package disk

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"karri.dev/internal/object"
)

// recordVersion is the first byte of every record. A new layout takes the next number, and the decoder keeps
// reading the old ones. Layout 1 had neither versions nor attributes, disks or encryption.
const recordVersion = 2

var errRecord = errors.New("bad record")

// content says where an object's bytes are.
type content struct {
	kind contentKind
	id   uint64
	disk uint64 // of a file: which of the engine's folders holds it
}

type contentKind byte

const (
	empty  contentKind = iota // no bytes
	inline                    // in the index
	file                      // one file
	parts                     // several files; the index has their list
)

// objectRecord is a version in the index. Headers and attributes come last: a listing does not read them.
type objectRecord struct {
	object.Meta
	content content
	upload  string // the upload that it was made by
	seq     uint64 // orders the versions of a key; 0 in layout 1
	null    bool   // it is the null version
	sealed  []byte // what the bytes are encrypted with; empty if they are not
}

// partRecord is a part: of an upload, or of a multipart object.
type partRecord struct {
	object.Part
	content content // empty or file
}

const (
	flagNull = 1 << iota
	flagMarker
)

func (o *objectRecord) encode() []byte {
	b := append(make([]byte, 0, 256), recordVersion)
	b = appendContent(b, o.content)
	b = binary.AppendUvarint(b, uint64(o.Size))
	b = binary.AppendVarint(b, o.Modified.UnixNano())
	b = binary.AppendUvarint(b, uint64(o.Parts))
	b = binary.AppendUvarint(b, o.seq)
	var flags byte
	if o.null {
		flags |= flagNull
	}
	if o.Marker {
		flags |= flagMarker
	}
	b = append(b, flags)
	b = appendString(b, o.ETag, o.ChecksumAlgorithm, o.Checksum, o.ChecksumType, o.upload, o.Owner, o.Class, string(o.sealed))
	b = appendPairs(b, o.Headers)
	return appendAttributes(b, o.Attributes)
}

// decodeObject reads a record; headers and attributes only if asked for. The version id is the caller's to fill in.
func decodeObject(b []byte, key string, full bool) (objectRecord, error) {
	d := decoder{b: b}
	version := d.version()
	o := objectRecord{content: d.content(version), null: true}
	o.Key = key
	o.Size = int64(d.uvarint())
	o.Modified = time.Unix(0, d.varint()).UTC()
	o.Parts = int(d.uvarint())
	if version > 1 {
		o.seq = d.uvarint()
		flags := d.byte()
		o.null, o.Marker = flags&flagNull != 0, flags&flagMarker != 0
	}
	o.ETag, o.ChecksumAlgorithm, o.Checksum, o.ChecksumType, o.upload = d.string(), d.string(), d.string(), d.string(), d.string()
	if version > 1 {
		o.Owner, o.Class, o.sealed = d.string(), d.string(), d.bytes()
	}
	o.Encryption = encryption(o.sealed)
	if full {
		o.Headers = d.pairs()
		if version > 1 {
			o.Attributes = d.attributes()
		}
	}
	return o, d.err
}

func (p *partRecord) encode(b []byte) []byte {
	b = appendContent(append(b, recordVersion), p.content)
	b = binary.AppendUvarint(b, uint64(p.Number))
	b = binary.AppendUvarint(b, uint64(p.Size))
	b = binary.AppendVarint(b, p.Modified.UnixNano())
	return appendString(b, p.ETag, p.ChecksumAlgorithm, p.Checksum)
}

func (d *decoder) part() partRecord {
	p := partRecord{content: d.content(d.version())}
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

// uploadRecord is an upload under way.
type uploadRecord struct {
	object.Upload
	sealed []byte // what the parts are encrypted with; empty if they are not
}

func (u *uploadRecord) encode() []byte {
	b := append(make([]byte, 0, 256), recordVersion)
	b = binary.AppendVarint(b, u.Started.UnixNano())
	b = appendString(b, u.Initiator, u.ChecksumAlgorithm, u.ChecksumType)
	b = appendPairs(b, u.Headers)
	b = appendString(b, u.Owner, u.Class, string(u.sealed))
	return appendAttributes(b, u.Attributes)
}

func decodeUpload(b []byte, key, id string) (uploadRecord, error) {
	d := decoder{b: b}
	version := d.version()
	u := uploadRecord{Upload: object.Upload{Key: key, ID: id, Started: time.Unix(0, d.varint()).UTC()}}
	u.Initiator, u.ChecksumAlgorithm, u.ChecksumType = d.string(), d.string(), d.string()
	u.Headers = d.pairs()
	if version > 1 {
		u.Owner, u.Class, u.sealed = d.string(), d.string(), d.bytes()
		u.Attributes = d.attributes()
	}
	u.Encryption = encryption(u.sealed)
	return u, d.err
}

func appendContent(b []byte, c content) []byte {
	b = append(b, byte(c.kind))
	return binary.AppendUvarint(binary.AppendUvarint(b, c.id), c.disk)
}

func appendAttributes(b []byte, a object.Attributes) []byte {
	b = appendPairs(b, a.Tags)
	b = appendString(b, a.Lock.Mode)
	var until int64
	if !a.Lock.Until.IsZero() {
		until = a.Lock.Until.UnixNano()
	}
	b = binary.AppendVarint(b, until)
	hold := byte(0)
	if a.Lock.Hold {
		hold = 1
	}
	hold |= byte(slices.Index(object.Replications, a.Replication)) << 1
	b = appendString(append(b, hold), string(a.ACL))
	return appendString(b, a.Awaits...) // to the end of the record
}

func appendString(b []byte, values ...string) []byte {
	for _, s := range values {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func appendPairs(b []byte, pairs map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(pairs)))
	var room [8]string
	names := room[:0]
	for name := range pairs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b = appendString(b, name, pairs[name])
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

func (d *decoder) version() byte {
	v := d.byte()
	if v < 1 || v > recordVersion {
		d.fail()
	}
	return v
}

func (d *decoder) content(version byte) content {
	c := content{kind: contentKind(d.byte()), id: d.uvarint()}
	if version > 1 {
		c.disk = d.uvarint()
	}
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

// bytes gives nil if there are none.
func (d *decoder) bytes() []byte {
	if s := d.string(); s != "" {
		return []byte(s)
	}
	return nil
}

func (d *decoder) pairs() map[string]string {
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

func (d *decoder) attributes() (a object.Attributes) {
	a.Tags = d.pairs()
	a.Lock.Mode = d.string()
	if until := d.varint(); until != 0 {
		a.Lock.Until = time.Unix(0, until).UTC()
	}
	state := d.byte()
	a.Lock.Hold = state&1 == 1
	if state >>= 1; int(state) < len(object.Replications) {
		a.Replication = object.Replications[state]
	} else {
		d.fail()
	}
	a.ACL = d.bytes()
	for len(d.b) > 0 && d.err == nil {
		a.Awaits = append(a.Awaits, d.string())
	}
	return a
}
