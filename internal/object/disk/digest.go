package disk

import (
	"crypto/md5"
	"hash"

	"karri.dev/internal/object"
)

// digest computes a body's sum, nearly always its MD5, in a goroutine of its own, beside the reading and writing: MD5 is the slowest step.
// Two buffers go round: the writer fills one while the other is summed.
type digest struct {
	hash hash.Hash
	free chan *[]byte
	full chan run
	done chan struct{}
}

type run struct {
	buffer *[]byte
	n      int // bytes of the body in it
}

func newDigest(h hash.Hash) *digest {
	d := &digest{hash: h, free: make(chan *[]byte, 2), full: make(chan run, 2), done: make(chan struct{})}
	for range cap(d.free) {
		d.free <- buffers.Get().(*[]byte)
	}
	go d.work()
	return d
}

func (d *digest) work() {
	defer close(d.done)
	for r := range d.full {
		d.hash.Write((*r.buffer)[:r.n])
		d.free <- r.buffer
	}
}

// buffer waits for a free one. The writer gives it on with add or giveBack.
func (d *digest) buffer() *[]byte { return <-d.free }

func (d *digest) add(b *[]byte, n int) { d.full <- run{b, n} }

func (d *digest) giveBack(b *[]byte) { d.free <- b }

// sum ends the goroutine.
func (d *digest) sum() [md5.Size]byte {
	close(d.full)
	<-d.done
	for range cap(d.free) {
		buffers.Put(<-d.free)
	}
	return begin(d.hash)
}

// newSum is what sums a body.
func newSum(p *object.Put) hash.Hash {
	if p.Sum != nil {
		return p.Sum
	}
	return md5.New()
}

// begin gives the first bytes of a sum, as many as MD5 has.
func begin(h hash.Hash) [md5.Size]byte { return [md5.Size]byte(h.Sum(nil)[:md5.Size]) }
