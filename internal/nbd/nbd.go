// Package nbd serves disks by the Network Block Device protocol, as its specification says
// (github.com/NetworkBlockDevice/nbd, doc/proto.md): the fixed newstyle handshake, structured replies, and the metadata
// context base:allocation. What can be written acknowledges nothing that its device has not.
//
// Requests of a connection are carried out concurrently, and answered in the order in which they end. Who may have
// which disk is the business of whoever accepts connections: by TLS, by the socket's place, and by open.
package nbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"karri.dev/internal/sparse"
)

// Export is a disk that is served. The methods of what it holds are called concurrently.
type Export struct {
	Disk  sparse.Disk
	Write Writer // nil: it is read-only
	// Backing says that what the disk does not hold shall count as not allocated, rather than as zeros, which it reads
	// as anyway: whoever copies a backing file into what lies over it then leaves such ranges out.
	Backing bool
	// Close is called when the connection has ended and no request is under way; nil = nothing.
	Close func()
}

// Writer is how a disk is written to.
type Writer interface {
	io.WriterAt
	// Sync returns when all that was written before it was called is durable.
	Sync() error
	// Zero makes a range read as zeros. With punch it need not take space afterwards.
	Zero(off, length int64, punch bool) error
	// Discard says that what is in a range is not needed any more.
	Discard(off, length int64) error
}

// ErrUnknown says that there is no export of that name, for this client.
var ErrUnknown = errors.New("no such export")

// Serve serves one connection until the client leaves or ctx ends. open gives the export that the client names; it is
// called at most once for what is then served, and for each question about one.
func Serve(ctx context.Context, conn net.Conn, open func(ctx context.Context, name string) (Export, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	s := &session{conn: conn, open: open}
	served, err := s.negotiate(ctx)
	if err != nil || !served {
		return quiet(err)
	}
	if s.export.Close != nil {
		defer s.export.Close()
	}
	return quiet(s.transmit(ctx))
}

// quiet makes no error of a client that leaves without saying so.
func quiet(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("nbd: %w", err)
	}
	return nil
}

// Facts of the protocol.
const (
	magicInit     = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption   = 0x49484156454f5054 // "IHAVEOPT"
	magicReply    = 0x3e889045565a9    // of an option
	magicRequest  = 0x25609513
	magicSimple   = 0x67446698
	magicChunk    = 0x668e33ef
	maxRequest    = 32 << 20 // bytes of data
	maxOption     = 64 << 10
	maxName       = 4096
	preferredSize = 4096 // of blocks

	flagFixed   = 1 << 0
	flagNoZeros = 1 << 1

	optExportName = 1
	optAbort      = 2
	optList       = 3
	optInfo       = 6
	optGo         = 7
	optStructured = 8
	optListMeta   = 9
	optSetMeta    = 10

	repAck         = 1
	repServer      = 2
	repInfo        = 3
	repMeta        = 4
	repUnsupported = 1<<31 | 1
	repPolicy      = 1<<31 | 2
	repInvalid     = 1<<31 | 3
	repUnknown     = 1<<31 | 6
	repTooBig      = 1<<31 | 9

	infoExport    = 0
	infoBlockSize = 3

	sendHasFlags    = 1 << 0
	sendReadOnly    = 1 << 1
	sendFlush       = 1 << 2
	sendFUA         = 1 << 3
	sendTrim        = 1 << 5
	sendWriteZeroes = 1 << 6
	sendDF          = 1 << 7
	sendMultiConn   = 1 << 8

	cmdRead        = 0
	cmdWrite       = 1
	cmdDisconnect  = 2
	cmdFlush       = 3
	cmdTrim        = 4
	cmdWriteZeroes = 6
	cmdBlockStatus = 7

	cmdFUA    = 1 << 0
	cmdNoHole = 1 << 1
	cmdDF     = 1 << 2
	cmdReqOne = 1 << 3

	chunkDone  = 1 << 0
	chunkNone  = 0
	chunkData  = 1
	chunkHole  = 2
	chunkBlock = 5
	chunkError = 1<<15 | 1

	stateHole = 1 << 0
	stateZero = 1 << 1

	// contextID is the id that base:allocation gets, the only one there is.
	contextID   = 1
	contextName = "base:allocation"
)

// errno gives the protocol's number for an error.
func errno(err error) uint32 {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return uint32(syscall.EIO)
	}
	switch no {
	case syscall.EPERM, syscall.ENOMEM, syscall.EINVAL, syscall.ENOSPC, syscall.EIO:
		return uint32(no)
	case syscall.EDQUOT, syscall.EFBIG:
		return uint32(syscall.ENOSPC)
	}
	return uint32(syscall.EIO)
}
