// Package numbered is a disk whose every block says which write it is of: a guest writes them and reports each after
// its fsync, and whoever reads the disk can tell a lost write, a torn one, and a state that never was.
//
// There are a few streams, each with slots of its own and one write at a time: write n of a stream goes to slot(n),
// over what an earlier write left there, and begins when write n-1 was synced. A block also holds how far the other streams
// were when it was written, so that a snapshot that has it must have those writes too.
package numbered

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

const (
	Streams = 4
	Slots   = 256      // of each stream
	Block   = 4096     // bytes of a write
	stride  = 64 << 10 // from slot to slot: a cluster of qcow2 each
)

var magic = [8]byte{'n', 'u', 'm', 'b', 'e', 'r', 'e', 'd'}

// Numbers holds a write's number for each stream; 0: none.
type Numbers [Streams]uint64

// Offset gives the place of a write.
func Offset(stream int, n uint64) int64 { return slotOffset(stream, slot(stream, n)) }

func slotOffset(stream, slot int) int64 { return int64(stream*Slots+slot) * stride }

func slot(stream int, n uint64) int { return int(mix(n<<8|uint64(stream)) % Slots) }

// mix is splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Encode fills block with write n of a stream. seen: what was synced when it began.
func Encode(block []byte, stream int, n uint64, seen Numbers) {
	le := binary.LittleEndian
	copy(block, magic[:])
	le.PutUint64(block[8:], uint64(stream))
	le.PutUint64(block[16:], n)
	for i, s := range seen {
		le.PutUint64(block[24+8*i:], s)
	}
	x := n<<8 | uint64(stream)
	for at := 24 + 8*Streams; at < Block; at += 8 {
		x = mix(x)
		le.PutUint64(block[at:], x)
	}
}

// decode gives the write whose block it is; n = 0 for zeros.
func decode(block []byte, stream int) (n uint64, seen Numbers, err error) {
	want := make([]byte, Block)
	if bytes.Equal(block, want) {
		return 0, seen, nil
	}
	le := binary.LittleEndian
	n = le.Uint64(block[16:])
	for i := range seen {
		seen[i] = le.Uint64(block[24+8*i:])
	}
	Encode(want, stream, n, seen)
	if n == 0 || !bytes.Equal(block, want) {
		return 0, seen, fmt.Errorf("a block of stream %d is torn or foreign: it begins with %x", stream, block[:64])
	}
	return n, seen, nil
}

// Check reads the slots of all streams, as Dump gives them, and gives the last write of each stream. It is an error
// if that state never was: if an earlier write is missing, or one that another stream saw done.
func Check(dump []byte) (last Numbers, err error) {
	if len(dump) != Streams*Slots*Block {
		return last, fmt.Errorf("the dump has %d bytes", len(dump))
	}
	var have [Streams][Slots]uint64
	var seen Numbers
	for stream := range Streams {
		for s := range Slots {
			at := (stream*Slots + s) * Block
			n, saw, err := decode(dump[at:at+Block], stream)
			if err != nil {
				return last, err
			}
			if n > 0 && slot(stream, n) != s {
				return last, fmt.Errorf("write %d of stream %d is in slot %d", n, stream, s)
			}
			have[stream][s] = n
			last[stream] = max(last[stream], n)
			for i := range seen {
				seen[i] = max(seen[i], saw[i])
			}
		}
	}
	for stream := range Streams {
		var want [Slots]uint64
		for n := uint64(1); n <= last[stream]; n++ {
			want[slot(stream, n)] = n
		}
		for s := range Slots {
			if have[stream][s] != want[s] {
				return last, fmt.Errorf("stream %d: slot %d has write %d, not %d, though write %d is there", stream, s, have[stream][s], want[s], last[stream])
			}
		}
		if last[stream] < seen[stream] {
			return last, fmt.Errorf("stream %d ends with write %d, and another's block was written after its write %d", stream, last[stream], seen[stream])
		}
	}
	return last, nil
}

// Lacks says which writes are missing of those that were acknowledged.
func (n Numbers) Lacks(acknowledged Numbers) error {
	for i := range n {
		if n[i] < acknowledged[i] {
			return fmt.Errorf("stream %d: writes %d to %d were acknowledged and are lost", i, n[i]+1, acknowledged[i])
		}
	}
	return nil
}
