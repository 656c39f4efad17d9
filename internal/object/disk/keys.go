package disk

import (
	"bytes"
	"encoding/binary"
)

// Tables of the index; the first byte of every key.
const (
	tableDropped = 'b' // bucket → nothing: dropped buckets
	tableContent = 'd' // content id → inline bytes, or the list of a multipart object's parts
	tableTallies = 'c' // bucket → what it holds
	tableDisks   = 'k' // disk → the folder where it was last
	tableFiles   = 'f' // file id → nothing: files that something names
	tableMeta    = 'm' // name → value
	tableNotes   = 'q' // queue, number → note
	tableNulls   = 'n' // bucket, key → sequence number of the null version, if that is in tableOlder
	tableObjects = 'o' // bucket, key → latest version, unless it is a delete marker
	tableOlder   = 'v' // bucket, key, inverted sequence number → every other version, and delete markers
	tableParts   = 'p' // bucket, key, upload id, number → part
	tableUploads = 'u' // bucket, key, upload id → upload
)

var (
	keyEpoch   = []byte{tableMeta, 'e'}
	keyTallied = []byte{tableMeta, 't'} // tableTallies is complete
	keySelf    = []byte{tableMeta, 'i'} // what tells this engine from others
	keyVersion = []byte{tableMeta, 'v'} // the key that version ids are made with
)

func droppedKey(bucket string) []byte { return bucketPrefix(tableDropped, bucket) }

func tallyKey(bucket string) []byte { return bucketPrefix(tableTallies, bucket) }

func contentKey(id uint64) []byte { return binary.BigEndian.AppendUint64([]byte{tableContent}, id) }

func fileKey(id uint64) []byte { return binary.BigEndian.AppendUint64([]byte{tableFiles}, id) }

func objectKey(bucket, key string) []byte { return append(bucketPrefix(tableObjects, bucket), key...) }

func nullKey(bucket, key string) []byte { return append(bucketPrefix(tableNulls, bucket), key...) }

// olderPrefix begins the keys of a key's older versions, newest first.
func olderPrefix(bucket, key string) []byte { return escape(bucketPrefix(tableOlder, bucket), key) }

func olderKey(bucket, key string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(olderPrefix(bucket, key), ^seq)
}

func noteKey(queue string, id uint64) []byte {
	return binary.BigEndian.AppendUint64(bucketPrefix(tableNotes, queue), id)
}

// uploadKey sorts by key, then by id, which begins with the time.
func uploadKey(bucket, key, id string) []byte {
	return append(escape(bucketPrefix(tableUploads, bucket), key), id...)
}

func partPrefix(bucket, key, id string) []byte {
	return escape(escape(bucketPrefix(tableParts, bucket), key), id)
}

func partKey(bucket, key, id string, number int) []byte {
	return binary.BigEndian.AppendUint16(partPrefix(bucket, key, id), uint16(number))
}

// bucketPrefix begins the keys of one bucket: the length first, so that no bucket is the beginning of another.
func bucketPrefix(table byte, bucket string) []byte {
	b := make([]byte, 0, 2*len(bucket)+64)
	b = append(b, table)
	b = binary.AppendUvarint(b, uint64(len(bucket)))
	return append(b, bucket...)
}

// splitKey undoes objectKey and olderKey.
func splitKey(b []byte) (bucket, key string, ok bool) {
	table := b[0]
	n, size := binary.Uvarint(b[1:])
	if size <= 0 || n > uint64(len(b)-1-size) {
		return "", "", false
	}
	b = b[1+size:]
	bucket, b = string(b[:n]), b[n:]
	if table == tableObjects {
		return bucket, string(b), true
	}
	key, _, ok = unescape(b)
	return bucket, key, ok
}

// escape appends s and an end so that what follows does not disturb the order: 00 becomes 00 ff, the end is 00 01.
func escape(b []byte, s string) []byte {
	for i := range len(s) {
		b = append(b, s[i])
		if s[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 1)
}

// unescape undoes escape and gives what follows it.
func unescape(b []byte) (s string, rest []byte, ok bool) {
	var out []byte
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 || i+1 >= len(b) {
			return "", nil, false
		}
		out = append(out, b[:i]...)
		switch b[i+1] {
		case 1:
			return string(out), b[i+2:], true
		case 0xff:
			out = append(out, 0)
			b = b[i+2:]
		default:
			return "", nil, false
		}
	}
}

// after gives the first key above all that begin with prefix; nil if there is none.
func after(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := bytes.Clone(prefix[:i+1])
			end[i]++
			return end
		}
	}
	return nil
}
