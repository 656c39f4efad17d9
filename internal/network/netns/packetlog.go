package netns

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"karri.dev/internal/network/rules"
)

// denied is one packet that rules have dropped.
type denied struct {
	in, out int // numbers of the interfaces
	word    string
	packet  tuple
	bytes   uint64
}

// Attributes of the kernel's packet log.
const (
	nfulaIn, nfulaOut, nfulaPayload, nfulaPrefix = 4, 5, 9, 10

	nfulaCommand, nfulaMode = 1, 2
)

// openPacketLog opens the namespace's group of rules.Log.
func (s *space) openPacketLog() (*conntrack, error) {
	c, err := s.openConntrack()
	if err != nil {
		return nil, err
	}
	c.subsystem = unix.NFNL_SUBSYS_ULOG
	config := func(attribute uint16, value []byte) error {
		body := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
		body = append(binary.NativeEndian.AppendUint16(body, attribute), value...)
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		b := binary.NativeEndian.AppendUint32(nil, uint32(20+len(body)))
		b = binary.NativeEndian.AppendUint16(b, unix.NFNL_SUBSYS_ULOG<<8|1)
		b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
		b = append(b, make([]byte, 8)...)
		b = append(b, unix.AF_UNSPEC, unix.NFNETLINK_V0)
		b = binary.BigEndian.AppendUint16(b, rules.LogGroup)
		if err := unix.Sendto(c.fd, append(b, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		_, err := c.receive(make([]byte, 4096), func(uint8, []byte) (bool, error) { return true, nil })
		return err
	}
	if err = config(nfulaCommand, []byte{1}); err == nil { // bind
		err = config(nfulaMode, []byte{0, 0, 0, rules.LogBytes, 2, 0}) // packets' heads
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("open the packet log: %w", err)
	}
	_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	return c, nil
}

func parseDenied(b []byte) (d denied) {
	attributes(b, func(kind uint16, v []byte) {
		switch kind {
		case nfulaIn:
			d.in = int(be32(v))
		case nfulaOut:
			d.out = int(be32(v))
		case nfulaPrefix:
			for len(v) > 0 && v[len(v)-1] == 0 {
				v = v[:len(v)-1]
			}
			d.word = string(v)
		case nfulaPayload:
			d.packet, d.bytes = parsePacket(v)
		}
	})
	return d
}

// parsePacket reads the head of an IP packet. Ports of what has none are 0.
func parsePacket(b []byte) (t tuple, length uint64) {
	var rest []byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		t.source, _ = netip.AddrFromSlice(b[12:16])
		t.dest, _ = netip.AddrFromSlice(b[16:20])
		t.protocol, length = b[9], uint64(binary.BigEndian.Uint16(b[2:]))
		rest = b[min(len(b), int(b[0]&15)*4):]
	case len(b) >= 40 && b[0]>>4 == 6:
		t.source, _ = netip.AddrFromSlice(b[8:24])
		t.dest, _ = netip.AddrFromSlice(b[24:40])
		t.protocol, length = b[6], 40+uint64(binary.BigEndian.Uint16(b[4:]))
		rest = b[40:]
	}
	if (t.protocol == unix.IPPROTO_TCP || t.protocol == unix.IPPROTO_UDP || t.protocol == unix.IPPROTO_SCTP) && len(rest) >= 4 {
		t.sourcePort, t.destPort = binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
	}
	return t, length
}
