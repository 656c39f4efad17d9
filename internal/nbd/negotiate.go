package nbd

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
)

var be = binary.BigEndian

// session is one connection.
type session struct {
	conn       net.Conn
	open       func(ctx context.Context, name string) (Export, error)
	export     Export
	structured bool
	metaOf     string // the export for which base:allocation was chosen
	meta       bool   // it is in use

	sending sync.Mutex
}

// negotiate goes through the handshake. served is false for a client that leaves.
func (s *session) negotiate(ctx context.Context) (served bool, err error) {
	hello := make([]byte, 18)
	be.PutUint64(hello, magicInit)
	be.PutUint64(hello[8:], magicOption)
	be.PutUint16(hello[16:], flagFixed|flagNoZeros)
	if _, err := s.conn.Write(hello); err != nil {
		return false, err
	}
	var flags [4]byte
	if _, err := io.ReadFull(s.conn, flags[:]); err != nil {
		return false, err
	}
	client := be.Uint32(flags[:])
	if client&^(flagFixed|flagNoZeros) != 0 {
		return false, fmt.Errorf("client flags %#x are not known", client)
	}
	for {
		head := make([]byte, 16)
		if _, err := io.ReadFull(s.conn, head); err != nil {
			return false, err
		}
		option, length := be.Uint32(head[8:]), be.Uint32(head[12:])
		if be.Uint64(head) != magicOption {
			return false, fmt.Errorf("an option begins with %#x", head[:8])
		}
		if length > maxOption { // not worth reading
			return false, fmt.Errorf("an option of %d bytes", length)
		}
		data := make([]byte, length)
		if _, err := io.ReadFull(s.conn, data); err != nil {
			return false, err
		}
		switch option {
		case optExportName:
			if s.export, err = s.open(ctx, string(data)); err != nil {
				return false, err // the protocol has no other answer
			}
			s.meta = s.structured && s.metaOf == string(data) && s.metaOf != ""
			out := make([]byte, 10, 134)
			be.PutUint64(out, uint64(s.export.Disk.Size()))
			be.PutUint16(out[8:], flagsOf(s.export))
			if client&flagNoZeros == 0 {
				out = out[:134]
			}
			_, err = s.conn.Write(out)
			return err == nil, err
		case optAbort:
			return false, s.reply(option, repAck, nil)
		case optStructured:
			if len(data) > 0 {
				err = s.reply(option, repInvalid, nil)
				break
			}
			s.structured = true
			err = s.reply(option, repAck, nil)
		case optInfo, optGo:
			var done bool
			if done, err = s.info(ctx, option, data); done || err != nil {
				return done, err
			}
		case optListMeta, optSetMeta:
			err = s.metaContext(ctx, option, data)
		case optList: // who needs one knows its name
			err = s.reply(option, repPolicy, nil)
		default:
			err = s.reply(option, repUnsupported, nil)
		}
		if err != nil {
			return false, err
		}
	}
}

func (s *session) reply(option, kind uint32, data []byte) error {
	out := make([]byte, 20, 20+len(data))
	be.PutUint64(out, magicReply)
	be.PutUint32(out[8:], option)
	be.PutUint32(out[12:], kind)
	be.PutUint32(out[16:], uint32(len(data)))
	_, err := s.conn.Write(append(out, data...))
	return err
}

func flagsOf(e Export) uint16 {
	flags := uint16(sendHasFlags | sendDF | sendMultiConn)
	if e.Write == nil {
		return flags | sendReadOnly
	}
	return flags | sendFlush | sendFUA | sendTrim | sendWriteZeroes
}

// info answers INFO and GO; done says that transmission begins.
func (s *session) info(ctx context.Context, option uint32, data []byte) (done bool, err error) {
	name, rest, ok := cutString(data)
	if !ok || len(rest) < 2 || len(rest) != 2+2*int(be.Uint16(rest)) {
		return false, s.reply(option, repInvalid, nil)
	}
	if len(name) > maxName {
		return false, s.reply(option, repTooBig, nil)
	}
	e, err := s.open(ctx, name)
	if err != nil {
		return false, s.reply(option, repUnknown, []byte(err.Error()))
	}
	defer func() {
		if !done && e.Close != nil {
			e.Close()
		}
	}()
	about := make([]byte, 12)
	be.PutUint16(about, infoExport)
	be.PutUint64(about[2:], uint64(e.Disk.Size()))
	be.PutUint16(about[10:], flagsOf(e))
	if err := s.reply(option, repInfo, about); err != nil {
		return false, err
	}
	for i := 2; i < len(rest); i += 2 {
		if be.Uint16(rest[i:]) != infoBlockSize {
			continue
		}
		sizes := make([]byte, 14)
		be.PutUint16(sizes, infoBlockSize)
		be.PutUint32(sizes[2:], 1)
		be.PutUint32(sizes[6:], preferredSize)
		be.PutUint32(sizes[10:], maxRequest)
		if err := s.reply(option, repInfo, sizes); err != nil {
			return false, err
		}
	}
	if err := s.reply(option, repAck, nil); err != nil || option == optInfo {
		return false, err
	}
	s.export, s.meta = e, s.structured && s.metaOf == name && name != ""
	return true, nil
}

// metaContext lists or chooses metadata contexts.
func (s *session) metaContext(ctx context.Context, option uint32, data []byte) error {
	name, rest, ok := cutString(data)
	if !ok || len(rest) < 4 || len(name) > maxName || !s.structured {
		return s.reply(option, repInvalid, nil)
	}
	queries, rest := be.Uint32(rest), rest[4:]
	chosen := queries == 0 && option == optListMeta
	for range queries {
		var q string
		if q, rest, ok = cutString(rest); !ok {
			return s.reply(option, repInvalid, nil)
		}
		chosen = chosen || q == contextName || q == "base:" && option == optListMeta
	}
	if len(rest) != 0 {
		return s.reply(option, repInvalid, nil)
	}
	e, err := s.open(ctx, name)
	if err != nil {
		return s.reply(option, repUnknown, []byte(err.Error()))
	}
	if e.Close != nil {
		e.Close()
	}
	if option == optSetMeta {
		s.metaOf = ""
	}
	if chosen {
		id := make([]byte, 4)
		if option == optSetMeta {
			s.metaOf = name
			be.PutUint32(id, contextID)
		}
		if err := s.reply(option, repMeta, append(id, contextName...)); err != nil {
			return err
		}
	}
	return s.reply(option, repAck, nil)
}

// cutString takes a string with its length before it.
func cutString(data []byte) (text string, rest []byte, ok bool) {
	if len(data) < 4 {
		return "", nil, false
	}
	n := be.Uint32(data)
	if uint64(n) > uint64(len(data)-4) {
		return "", nil, false
	}
	return string(bytes.Clone(data[4 : 4+n])), data[4+n:], true
}
