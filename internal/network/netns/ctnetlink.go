package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// This file speaks conntrack's part of netlink, as a stream: a table can have a quarter of a million entries, which
// nobody wants in memory at once.

// Messages and attributes of ctnetlink that are read here.
const (
	ctGet      = 1
	ctGetStats = 5

	ctaOrig, ctaReply, ctaMark, ctaCountOrig, ctaCountReply, ctaID = 1, 2, 8, 9, 10, 12

	ctaTupleIP, ctaTupleProto = 1, 2
)

// tuple is one direction of a connection.
type tuple struct {
	source, dest         netip.Addr
	protocol             uint8
	sourcePort, destPort uint16
}

// entry is one entry of conntrack's table.
type entry struct {
	id                       uint32
	mark                     uint32
	orig, reply              tuple
	packets, bytes           uint64 // of the original direction
	replyPackets, replyBytes uint64
}

// conntrack is a socket that asks, or listens, in one namespace. The kernel's packet log speaks the same way.
type conntrack struct {
	fd        int
	subsystem uint16
}

// openConntrack opens a socket in the namespace, subscribed to multicast groups.
func (s *space) openConntrack(groups ...int) (*conntrack, error) {
	c := &conntrack{fd: -1, subsystem: unix.NFNL_SUBSYS_CTNETLINK}
	err := s.enter(func() (err error) {
		c.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		return unix.Bind(c.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	})
	for _, g := range groups {
		err = errors.Join(err, unix.SetsockoptInt(c.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g))
	}
	if err == nil {
		err = unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("open conntrack: %w", err)
	}
	return c, nil
}

func (c *conntrack) close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}

func (c *conntrack) request(kind uint16, flags uint16) error {
	b := binary.NativeEndian.AppendUint32(nil, 20)
	b = binary.NativeEndian.AppendUint16(b, c.subsystem<<8|kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|flags)
	b = append(b, make([]byte, 8)...)
	b = append(b, unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0)
	return unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// receive hands over the messages of one read.
func (c *conntrack) receive(buf []byte, each func(kind uint8, body []byte) (bool, error)) (bool, error) {
	n, _, err := unix.Recvfrom(c.fd, buf, 0)
	if errors.Is(err, unix.EINTR) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	messages, err := syscall.ParseNetlinkMessage(buf[:n])
	if err != nil {
		return false, err
	}
	for _, m := range messages {
		switch {
		case m.Header.Type == unix.NLMSG_DONE:
			return false, nil
		case m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4:
			if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
				return false, unix.Errno(-code)
			}
			return false, nil
		case m.Header.Type>>8 != c.subsystem || len(m.Data) < 4:
		default:
			if more, err := each(uint8(m.Header.Type), m.Data[4:]); err != nil || !more {
				return more, err
			}
		}
	}
	return true, nil
}

// size says how many entries the table has, and how many fit.
func (c *conntrack) size() (entries, room uint32, err error) {
	if err := c.request(ctGetStats, 0); err != nil {
		return 0, 0, fmt.Errorf("ask conntrack for its size: %w", err)
	}
	buf := make([]byte, 4096)
	for more := true; more && err == nil; {
		more, err = c.receive(buf, func(_ uint8, body []byte) (bool, error) {
			attributes(body, func(kind uint16, v []byte) {
				if len(v) == 4 && kind == 1 {
					entries = binary.BigEndian.Uint32(v)
				} else if len(v) == 4 && kind == 2 {
					room = binary.BigEndian.Uint32(v)
				}
			})
			return false, nil
		})
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read conntrack's size: %w", err)
	}
	return entries, room, nil
}

// dump hands over all entries.
func (c *conntrack) dump(each func(entry)) error {
	if err := c.request(ctGet, unix.NLM_F_DUMP); err != nil {
		return fmt.Errorf("ask for connections: %w", err)
	}
	buf := make([]byte, 64<<10)
	for {
		more, err := c.receive(buf, func(_ uint8, body []byte) (bool, error) {
			each(parseEntry(body))
			return true, nil
		})
		if err != nil {
			return fmt.Errorf("read connections: %w", err)
		}
		if !more {
			return nil
		}
	}
}

// attributes walks netlink attributes.
func attributes(b []byte, each func(kind uint16, value []byte)) {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return
		}
		each(binary.NativeEndian.Uint16(b[2:])&0x3fff, b[4:n])
		b = b[min(len(b), (n+3)&^3):]
	}
}

func parseEntry(b []byte) (e entry) {
	attributes(b, func(kind uint16, v []byte) {
		switch kind {
		case ctaOrig:
			e.orig = parseTuple(v)
		case ctaReply:
			e.reply = parseTuple(v)
		case ctaMark:
			e.mark = be32(v)
		case ctaID:
			e.id = be32(v)
		case ctaCountOrig:
			e.packets, e.bytes = parseCounters(v)
		case ctaCountReply:
			e.replyPackets, e.replyBytes = parseCounters(v)
		}
	})
	return e
}

func parseTuple(b []byte) (t tuple) {
	attributes(b, func(kind uint16, v []byte) {
		switch kind {
		case ctaTupleIP:
			attributes(v, func(kind uint16, v []byte) {
				a, _ := netip.AddrFromSlice(v)
				if kind == 1 || kind == 3 {
					t.source = a
				} else {
					t.dest = a
				}
			})
		case ctaTupleProto:
			attributes(v, func(kind uint16, v []byte) {
				switch {
				case kind == 1 && len(v) == 1:
					t.protocol = v[0]
				case kind == 2 && len(v) == 2:
					t.sourcePort = binary.BigEndian.Uint16(v)
				case kind == 3 && len(v) == 2:
					t.destPort = binary.BigEndian.Uint16(v)
				}
			})
		}
	})
	return t
}

func parseCounters(b []byte) (packets, bytes uint64) {
	attributes(b, func(kind uint16, v []byte) {
		if len(v) != 8 {
			return
		}
		if kind == 1 {
			packets = binary.BigEndian.Uint64(v)
		} else if kind == 2 {
			bytes = binary.BigEndian.Uint64(v)
		}
	})
	return packets, bytes
}

func be32(v []byte) uint32 {
	if len(v) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(v)
}
