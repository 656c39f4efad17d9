package nbd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"karri.dev/internal/sparse"
)

const (
	parallel   = 16       // requests of a connection under way
	inFlight   = 64 << 20 // bytes of their data
	maxExtents = 256      // in an answer about a range
)

// request is a client's.
type request struct {
	flags, kind uint16
	cookie      uint64
	off         int64
	length      uint32
	data        []byte // of a write
}

// transmit carries out requests until the client leaves.
func (s *session) transmit(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	defer s.conn.Close() // what is still to be answered fails
	failed := make(chan error, 1)
	slots := make(chan struct{}, parallel)
	room := newBudget(inFlight)
	in := bufio.NewReaderSize(s.conn, 64<<10)
	head := make([]byte, 28)
	for {
		if _, err := io.ReadFull(in, head); err != nil {
			select {
			case err = <-failed:
			default:
			}
			return err
		}
		if be.Uint32(head) != magicRequest {
			return fmt.Errorf("a request begins with %#x", head[:4])
		}
		r := request{flags: be.Uint16(head[4:]), kind: be.Uint16(head[6:]), cookie: be.Uint64(head[8:]), off: int64(be.Uint64(head[16:])), length: be.Uint32(head[24:])}
		if r.kind == cmdDisconnect {
			work.Wait() // then what it asked for before is answered
			return nil
		}
		cost := int64(0)
		if r.kind == cmdRead || r.kind == cmdWrite {
			if r.length > maxRequest {
				if r.kind == cmdWrite {
					return fmt.Errorf("a write of %d bytes", r.length)
				}
				r.kind = ^uint16(0) // refused below
			} else {
				cost = int64(r.length)
			}
		}
		room.take(cost)
		if r.kind == cmdWrite {
			r.data = make([]byte, r.length)
			if _, err := io.ReadFull(in, r.data); err != nil {
				return err
			}
		}
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots; room.give(cost) }()
			if err := s.carryOut(r); err != nil {
				select {
				case failed <- err: // the first one is the cause
				default:
				}
				s.conn.Close()
			}
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// carryOut does a request and answers it. An error is one of the connection.
func (s *session) carryOut(r request) error {
	size := s.export.Disk.Size()
	if r.kind != cmdFlush && (r.off < 0 || r.off > size || int64(r.length) > size-r.off) {
		no := syscall.EINVAL
		if r.kind == cmdWrite || r.kind == cmdWriteZeroes {
			no = syscall.ENOSPC
		}
		return s.answer(r, no)
	}
	w := s.export.Write
	switch r.kind {
	case cmdRead:
		return s.read(r)
	case cmdBlockStatus:
		if !s.meta || r.length == 0 {
			return s.answer(r, syscall.EINVAL)
		}
		return s.blockStatus(r)
	case cmdFlush:
		if w == nil {
			return s.answer(r, nil)
		}
		return s.answer(r, w.Sync())
	case cmdWrite, cmdTrim, cmdWriteZeroes:
		if w == nil {
			return s.answer(r, syscall.EPERM)
		}
	default:
		return s.answer(r, syscall.EINVAL)
	}
	var err error
	switch r.kind {
	case cmdWrite:
		_, err = w.WriteAt(r.data, r.off)
	case cmdTrim:
		err = w.Discard(r.off, int64(r.length))
	case cmdWriteZeroes:
		err = w.Zero(r.off, int64(r.length), r.flags&cmdNoHole == 0)
	}
	if err == nil && r.flags&cmdFUA != 0 {
		err = w.Sync()
	}
	return s.answer(r, err)
}

// send writes an answer in one piece.
func (s *session) send(parts ...[]byte) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	buffers := net.Buffers(parts)
	_, err := buffers.WriteTo(s.conn)
	return err
}

// chunk begins a part of a structured answer.
func chunk(r request, flags, kind uint16, length int) []byte {
	out := make([]byte, 20, 32)
	be.PutUint32(out, magicChunk)
	be.PutUint16(out[4:], flags)
	be.PutUint16(out[6:], kind)
	be.PutUint64(out[8:], r.cookie)
	be.PutUint32(out[16:], uint32(length))
	return out
}

// answer answers a request that has no data, or none any more.
func (s *session) answer(r request, err error) error {
	no := uint32(0)
	if err != nil {
		no = errno(err)
	}
	if s.structured && (r.kind == cmdRead || r.kind == cmdBlockStatus) {
		if err == nil {
			return s.send(chunk(r, chunkDone, chunkNone, 0))
		}
		out := chunk(r, chunkDone, chunkError, 6)
		out = be.AppendUint32(out, no)
		return s.send(be.AppendUint16(out, 0)) // no message
	}
	out := make([]byte, 16)
	be.PutUint32(out, magicSimple)
	be.PutUint32(out[4:], no)
	be.PutUint64(out[8:], r.cookie)
	return s.send(out)
}

func (s *session) read(r request) error {
	if r.length == 0 && s.structured {
		return s.answer(r, nil)
	}
	if s.structured && r.flags&cmdDF == 0 {
		if from, _, err := s.export.Disk.Next(r.off); err == nil && from >= r.off+int64(r.length) {
			out := chunk(r, chunkDone, chunkHole, 12)
			out = be.AppendUint64(out, uint64(r.off))
			return s.send(be.AppendUint32(out, r.length))
		}
	}
	data := make([]byte, r.length)
	if n, err := s.export.Disk.ReadAt(data, r.off); n < len(data) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return s.answer(r, err)
	}
	if !s.structured {
		out := make([]byte, 16)
		be.PutUint32(out, magicSimple)
		be.PutUint64(out[8:], r.cookie)
		return s.send(out, data)
	}
	return s.send(be.AppendUint64(chunk(r, chunkDone, chunkData, 8+len(data)), uint64(r.off)), data)
}

func (s *session) blockStatus(r request) error {
	body := make([]byte, 4, 4+8*16)
	be.PutUint32(body, contextID)
	hole := uint32(stateHole | stateZero)
	if s.export.Backing {
		hole = stateHole
	}
	add := func(length int64, state uint32) {
		body = be.AppendUint32(body, uint32(length))
		body = be.AppendUint32(body, state)
	}
	for at, end, n := r.off, r.off+int64(r.length), 0; at < end && n < maxExtents; n++ {
		from, to, err := extent(s.export.Disk, at, end)
		if err != nil {
			return s.answer(r, err)
		}
		if from > at {
			add(from-at, hole)
			at = from
		} else {
			add(to-at, 0)
			at = to
		}
		if r.flags&cmdReqOne != 0 {
			break
		}
	}
	return s.send(chunk(r, chunkDone, chunkBlock, len(body)), body)
}

// extent gives the first range with data at or after at, within end, ranges that touch put together.
func extent(d sparse.Disk, at, end int64) (from, to int64, err error) {
	from, to, err = d.Next(at)
	for err == nil && to < end && from < end {
		var next, until int64
		if next, until, err = d.Next(to); err != nil || next > to || until <= to {
			break
		}
		to = until
	}
	return min(from, end), min(to, end), err
}

// budget bounds how much memory requests take.
type budget struct {
	mu   sync.Mutex
	more *sync.Cond
	left int64
}

func newBudget(n int64) *budget {
	b := &budget{left: n}
	b.more = sync.NewCond(&b.mu)
	return b
}

func (b *budget) take(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.left < n {
		b.more.Wait()
	}
	b.left -= n
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
	b.more.Broadcast()
}
