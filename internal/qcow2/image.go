package qcow2

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"karri.dev/internal/sparse"
)

// Image is a qcow2 file that stands alone and is made of a disk while it is read, from its beginning to its end: nothing
// of it is kept. Clusters: header, refcount table, refcount blocks, first-level table, second-level tables, data in the
// disk's order.
type Image struct {
	disk     sparse.Disk
	size     int64    // of the disk
	has      []uint64 // a bit for each cluster of the disk: it has data
	tables   []int64  // second-level ones that there are: their numbers
	data     int64    // clusters
	refs, l1 int64    // clusters of refcount blocks and of the first-level table
}

const (
	perL2     = cluster / 8
	perRefs   = cluster / 2     // refcounts in a block
	pieceData = 16              // clusters that are read at once
	copied    = uint64(1) << 63 // in an entry: the refcount is 1
)

// NewImage plans the file. What Next gives is taken for data; look has it read, to find what is zeros all the same.
// progress is told percentages of that.
func NewImage(ctx context.Context, d sparse.Disk, look bool, progress func(percent int)) (*Image, error) {
	size := d.Size()
	if size <= 0 || size > maxSize {
		return nil, fmt.Errorf("qcow2: a disk of %d bytes", size)
	}
	clusters := (size + cluster - 1) / cluster
	i := &Image{disk: d, size: size, has: make([]uint64, (clusters+63)/64)}
	mark := i.mark
	wait := func() error { return nil }
	if look {
		mark, wait = i.lookers(ctx, progress)
	}
	for at := int64(0); at < size; {
		from, to, err := d.Next(at)
		if err != nil {
			return nil, errors.Join(err, wait())
		}
		if from >= size {
			break
		}
		if ctx.Err() != nil {
			return nil, errors.Join(context.Cause(ctx), wait())
		}
		// Whole words of the bit map, so that nobody else looks at the same one.
		if look {
			to = min(to, (from/cluster/64+1)*64*cluster)
		}
		mark(from/cluster, (to+cluster-1)/cluster)
		at = to
	}
	if err := wait(); err != nil {
		return nil, err
	}
	for t := range (clusters + perL2 - 1) / perL2 {
		n := 0
		for _, w := range i.has[t*perL2/64 : min(int64(len(i.has)), (t+1)*perL2/64)] {
			n += bits.OnesCount64(w)
		}
		if n > 0 {
			i.tables = append(i.tables, t)
			i.data += int64(n)
		}
	}
	i.l1 = ((clusters+perL2-1)/perL2*8 + cluster - 1) / cluster
	for others := 2 + i.l1 + int64(len(i.tables)) + i.data; ; i.refs++ { // they count themselves
		if i.refs*perRefs >= others+i.refs {
			break
		}
	}
	return i, nil
}

func (i *Image) mark(from, to int64) {
	for c := from; c < to; c++ {
		i.has[c/64] |= 1 << (c % 64)
	}
}

// lookers read clusters and mark those that are not zeros. No two of them are at work on one word of the map, since
// ranges come in order and a range ends with its word: one goroutine takes all ranges of a word.
func (i *Image) lookers(ctx context.Context, progress func(int)) (mark func(from, to int64), wait func() error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0) + 1)
	pool := sync.Pool{New: func() any { b := make([]byte, 64*cluster); return &b }}
	type run struct{ from, to int64 }
	var word []run
	flush := func() {
		runs := word
		word = nil
		if len(runs) == 0 {
			return
		}
		progress(int(runs[0].from * cluster * 100 / i.size))
		g.Go(func() error {
			buf := pool.Get().(*[]byte)
			defer pool.Put(buf)
			for _, r := range runs {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				b := (*buf)[:(r.to-r.from)*cluster]
				if err := sparse.ReadFull(i.disk, b, r.from*cluster); err != nil {
					return err
				}
				for c := r.from; c < r.to; c++ {
					if !sparse.IsZero(b[:cluster]) {
						i.has[c/64] |= 1 << (c % 64)
					}
					b = b[cluster:]
				}
			}
			return nil
		})
	}
	return func(from, to int64) {
			if len(word) > 0 && word[0].from/64 != from/64 {
				flush()
			}
			word = append(word, run{from, to})
		}, func() error {
			flush()
			return g.Wait()
		}
}

// Size is the length of the file.
func (i *Image) Size() int64 { return (i.first() + i.data) * cluster }

// first is the first cluster of data.
func (i *Image) first() int64 { return 2 + i.refs + i.l1 + int64(len(i.tables)) }

// head gives the clusters before the second-level tables.
func (i *Image) head() []byte {
	be := binary.BigEndian
	h := make([]byte, (2+i.refs+i.l1)*cluster)
	be.PutUint32(h[0:], magic)
	be.PutUint32(h[4:], 3)
	be.PutUint32(h[20:], clusterBits)
	be.PutUint64(h[sizeOffset:], uint64(i.size))
	be.PutUint32(h[36:], uint32((i.size+perL1-1)/perL1))
	be.PutUint64(h[40:], uint64(2+i.refs)*cluster)
	be.PutUint64(h[48:], 1*cluster)
	be.PutUint32(h[56:], 1) // one cluster of refcount table covers 16 TiB
	be.PutUint32(h[96:], 4)
	be.PutUint32(h[100:], headerSize)
	for n := range i.refs {
		be.PutUint64(h[cluster+8*n:], uint64(2+n)*cluster)
	}
	for n := range i.first() + i.data {
		be.PutUint16(h[2*cluster+2*n:], 1)
	}
	for n, t := range i.tables {
		be.PutUint64(h[(2+i.refs)*cluster+8*t:], uint64(2+i.refs+i.l1+int64(n))*cluster|copied)
	}
	return h
}

// Reader reads the file, several pieces at once. Close it.
func (i *Image) Reader(ctx context.Context) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	r := &imageReader{ctx: ctx, cancel: cancel, pieces: make(chan chan piece, runtime.GOMAXPROCS(0)+1)}
	go i.produce(r)
	return r
}

type piece struct {
	data   []byte
	buffer *[]byte // of the pool, that data is in
	err    error
}

type imageReader struct {
	ctx    context.Context
	cancel context.CancelFunc
	pieces chan chan piece // in the file's order; closed after the last one, and when ctx ends
	now    piece
	rest   []byte // of its data
	pool   sync.Pool
	err    error
}

func (r *imageReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		if r.now.buffer != nil {
			r.pool.Put(r.now.buffer)
		}
		r.now = piece{}
		switch next, more := <-r.pieces; {
		case more:
			r.now = <-next
			r.rest, r.err = r.now.data, r.now.err
		case r.ctx.Err() != nil:
			r.err = context.Cause(r.ctx)
		default:
			r.err = io.EOF
		}
	}
	if r.err != nil {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Close ends the reading ahead.
func (r *imageReader) Close() error {
	r.cancel()
	for next := range r.pieces {
		<-next
	}
	r.rest, r.err = nil, io.ErrClosedPipe
	return nil
}

// produce has pieces made ahead of who reads the file.
func (i *Image) produce(r *imageReader) {
	defer close(r.pieces)
	send := func(f func() piece) bool {
		next := make(chan piece, 1)
		select {
		case r.pieces <- next:
			go func() { next <- f() }()
			return true
		case <-r.ctx.Done():
			return false
		}
	}
	if !send(func() piece { return piece{data: i.head()} }) {
		return
	}
	at := uint64(i.first()) * cluster
	for _, t := range i.tables {
		start := at
		if !send(func() piece { return piece{data: i.table(t, start)} }) {
			return
		}
		for _, w := range i.words(t) {
			at += uint64(bits.OnesCount64(w)) * cluster
		}
	}
	var list []int64
	flush := func() bool {
		clusters := list
		list = nil
		return len(clusters) == 0 || send(func() piece { return i.clusters(clusters, &r.pool) })
	}
	for _, t := range i.tables {
		for n, w := range i.words(t) {
			for ; w != 0; w &= w - 1 {
				if list = append(list, t*perL2+int64(n)*64+int64(bits.TrailingZeros64(w))); len(list) == pieceData && !flush() {
					return
				}
			}
		}
	}
	flush()
}

func (i *Image) words(table int64) []uint64 {
	return i.has[table*perL2/64 : min(int64(len(i.has)), (table+1)*perL2/64)]
}

// table gives a second-level table, whose first data is at a place in the file.
func (i *Image) table(t int64, at uint64) []byte {
	b := make([]byte, cluster)
	for n, w := range i.words(t) {
		for ; w != 0; w &= w - 1 {
			binary.BigEndian.PutUint64(b[8*(n*64+bits.TrailingZeros64(w)):], at|copied)
			at += cluster
		}
	}
	return b
}

// clusters reads clusters of the disk, which come in order.
func (i *Image) clusters(list []int64, pool *sync.Pool) piece {
	buf, ok := pool.Get().(*[]byte)
	if !ok {
		b := make([]byte, pieceData*cluster)
		buf = &b
	}
	b := (*buf)[:int64(len(list))*cluster]
	for from := 0; from < len(list); {
		to := from + 1
		for to < len(list) && list[to] == list[to-1]+1 {
			to++
		}
		if err := sparse.ReadFull(i.disk, b[from*cluster:to*cluster], list[from]*cluster); err != nil {
			return piece{err: err}
		}
		from = to
	}
	return piece{data: b, buffer: buf}
}
