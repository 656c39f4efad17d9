package netns

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"karri.dev/internal/network/rules"
)

// This file says in the kernel's words what package rules says in nft's.

var nftTypes = map[rules.Type]nftables.SetDatatype{
	rules.IfName: nftables.TypeIFName, rules.EtherAddr: nftables.TypeEtherAddr, rules.IPv4Addr: nftables.TypeIPAddr, rules.IPv6Addr: nftables.TypeIP6Addr,
	rules.DevGroup: nftables.TypeDevGroup, rules.Mark: nftables.TypeMark, rules.Verdict: nftables.TypeVerdict,
	rules.Client: nftables.TypeEtherAddr,
}

func encodeFamily(f string) nftables.TableFamily {
	switch f {
	case "arp":
		return nftables.TableFamilyARP
	case "ip6":
		return nftables.TableFamilyIPv6
	case "bridge":
		return nftables.TableFamilyBridge
	}
	return nftables.TableFamilyIPv4
}

// encodeSet gives the set's description. The id must be unique in a transaction.
func encodeSet(t *nftables.Table, s rules.Set, id uint32) *nftables.Set {
	out := &nftables.Set{Table: t, ID: id, Name: s.Name, IsMap: s.Value != rules.None, Dynamic: s.Dynamic}
	types := make([]nftables.SetDatatype, len(s.Key))
	for i, k := range s.Key {
		types[i] = nftTypes[k]
	}
	if len(types) > 1 {
		out.KeyType = nftables.MustConcatSetType(types...)
		out.Concatenation = true
	} else {
		out.KeyType = types[0]
		out.KeyByteOrder = binaryutil.NativeEndian // else nft lists names and groups as nothing
		if s.Key[0] == rules.IPv4Addr || s.Key[0] == rules.IPv6Addr {
			out.KeyByteOrder = binaryutil.BigEndian
		}
	}
	if out.IsMap {
		out.DataType = nftTypes[s.Value]
	}
	if s.Dynamic {
		out.Size = rules.DynamicSize
	}
	if s.Lasting {
		out.HasTimeout, out.Timeout = true, rules.LearnedFor
	}
	return out
}

func encodeElement(s rules.Set, e rules.Element) (nftables.SetElement, error) {
	var out nftables.SetElement
	parts := strings.Split(e.Key, " . ")
	if len(parts) != len(s.Key) {
		return out, fmt.Errorf("set %s: element %q has not %d parts", s.Name, e.Key, len(s.Key))
	}
	for i, k := range s.Key {
		b, err := encodeValue(k, parts[i])
		if err != nil {
			return out, fmt.Errorf("set %s: %w", s.Name, err)
		}
		for len(s.Key) > 1 && len(b)%4 != 0 {
			b = append(b, 0)
		}
		out.Key = append(out.Key, b...)
	}
	switch s.Value {
	case rules.None:
	case rules.Verdict:
		v := encodeVerdict(rules.Do(e.Value))
		out.VerdictData = v
	default:
		b, err := encodeValue(s.Value, e.Value)
		if err != nil {
			return out, fmt.Errorf("map %s: %w", s.Name, err)
		}
		out.Val = b
	}
	return out, nil
}

func encodeValue(t rules.Type, v string) ([]byte, error) {
	switch t {
	case rules.IfName:
		return ifname(v), nil
	case rules.EtherAddr, rules.Client:
		return net.ParseMAC(v)
	case rules.IPv4Addr, rules.IPv6Addr:
		a, err := netip.ParseAddr(v)
		return a.AsSlice(), err
	case rules.DevGroup, rules.Mark:
		n, err := strconv.ParseUint(v, 10, 32)
		return binaryutil.NativeEndian.PutUint32(uint32(n)), err
	}
	return nil, fmt.Errorf("no value of type %d", t)
}

func ifname(s string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, s)
	return b
}

func encodeVerdict(d rules.Do) *expr.Verdict {
	word, chain, _ := strings.Cut(string(d), " ")
	kinds := map[string]expr.VerdictKind{
		"accept": expr.VerdictAccept, "drop": expr.VerdictDrop, "return": expr.VerdictReturn,
		"jump": expr.VerdictJump, "goto": expr.VerdictGoto,
	}
	return &expr.Verdict{Kind: kinds[word], Chain: chain}
}

// register gives the number of the register at an offset of so many 4-byte words.
func register(words int) uint32 {
	if words%4 == 0 {
		return uint32(unix.NFT_REG_1 + words/4)
	}
	return uint32(unix.NFT_REG32_00 + words)
}

// load gives the expressions that put fields side by side into registers, as a set's key wants them.
func load(fields ...rules.Field) []expr.Any {
	var out, deps []expr.Any
	words := 0
	for _, f := range fields {
		reg := register(words)
		payload := func(base expr.PayloadBase, offset, length uint32) {
			out = append(out, &expr.Payload{DestRegister: reg, Base: base, Offset: offset, Len: length})
			words += int(length+3) / 4
		}
		meta := func(key expr.MetaKey, length int) {
			out = append(out, &expr.Meta{Key: key, Register: reg})
			words += length / 4
		}
		switch f {
		case rules.InName:
			meta(expr.MetaKeyIIFNAME, 16)
		case rules.OutName:
			meta(expr.MetaKeyOIFNAME, 16)
		case rules.InGroup:
			meta(expr.MetaKeyIIFGROUP, 4)
		case rules.OutGroup:
			meta(expr.MetaKeyOIFGROUP, 4)
		case rules.EtherSource:
			deps = []expr.Any{
				&expr.Meta{Key: expr.MetaKeyIIFTYPE, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint16(unix.ARPHRD_ETHER)},
			}
			payload(expr.PayloadBaseLLHeader, 6, 6)
		case rules.Marked:
			meta(expr.MetaKeyMARK, 4)
		case rules.NextHop:
			out = append(out, &expr.Rt{Register: reg, Key: expr.RtNexthop4})
			words++
		case rules.NextHop6:
			out = append(out, &expr.Rt{Register: reg, Key: expr.RtNexthop6})
			words += 4
		case rules.IPSource:
			payload(expr.PayloadBaseNetworkHeader, 12, 4)
		case rules.IPDest:
			payload(expr.PayloadBaseNetworkHeader, 16, 4)
		case rules.IP6Source:
			payload(expr.PayloadBaseNetworkHeader, 8, 16)
		case rules.IP6Dest:
			payload(expr.PayloadBaseNetworkHeader, 24, 16)
		case rules.ARPEther:
			payload(expr.PayloadBaseNetworkHeader, 8, 6)
		case rules.ARPSource:
			payload(expr.PayloadBaseNetworkHeader, 14, 4)
		case rules.DHCPClient:
			payload(expr.PayloadBaseTransportHeader, 36, 6)
		case rules.DHCPYours:
			payload(expr.PayloadBaseTransportHeader, 24, 4)
		}
	}
	return append(deps, out...)
}

func encodeRule(r rules.Rule) []expr.Any {
	var out []expr.Any
	for _, t := range r {
		out = append(out, encodeTerm(t)...)
	}
	return out
}

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

func encodeTerm(term rules.Term) []expr.Any {
	switch t := term.(type) {
	case rules.Name:
		return append(load(t.Field), equal(ifname(t.Name)))
	case rules.Group:
		return append(load(t.Field), equal(binaryutil.NativeEndian.PutUint32(t.Group)))
	case rules.Prefix:
		out := load(t.Field)
		if !t.Prefix.IsSingleIP() {
			out = append(out, &expr.Bitwise{
				SourceRegister: 1, DestRegister: 1, Len: uint32(t.Prefix.Addr().BitLen() / 8),
				Mask: net.CIDRMask(t.Prefix.Bits(), t.Prefix.Addr().BitLen()), Xor: make([]byte, t.Prefix.Addr().BitLen()/8),
			})
		}
		return append(out, equal(t.Prefix.Addr().AsSlice()))
	case rules.In:
		return append(load(t.Fields[:]...), &expr.Lookup{SourceRegister: 1, SetName: t.Set, Invert: t.Not})
	case rules.Jump:
		return append(load(t.Fields[:]...), &expr.Lookup{SourceRegister: 1, SetName: t.Map, IsDestRegSet: true})
	case rules.Proto:
		return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{t.Number})}
	case rules.Ports:
		out := []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}}
		from, to := binaryutil.BigEndian.PutUint16(t.From), binaryutil.BigEndian.PutUint16(t.To)
		if t.From == t.To {
			return append(out, equal(from))
		}
		return append(out, &expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: from}, &expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: to})
	case rules.ICMP:
		header := func(offset uint32, v int) []expr.Any {
			return []expr.Any{
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 1},
				equal([]byte{byte(v)}),
			}
		}
		out := header(0, t.Type)
		if t.Code >= 0 {
			out = append(out, header(1, t.Code)...)
		}
		return out
	case rules.State:
		if t.State == rules.Unknown {
			const confirmed = 8
			return []expr.Any{
				&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
				&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(confirmed), Xor: make([]byte, 4)},
				equal(make([]byte, 4)),
			}
		}
		if t.State == rules.Reply {
			return []expr.Any{&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1}, equal([]byte{1})}
		}
		bits := map[rules.ConnState]uint32{
			rules.Established: expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED,
			rules.Invalid:     expr.CtStateBitINVALID, rules.New: expr.CtStateBitNEW,
		}
		return []expr.Any{
			&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{
				SourceRegister: 1, DestRegister: 1, Len: 4,
				Mask: binaryutil.NativeEndian.PutUint32(bits[t.State]), Xor: make([]byte, 4),
			},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
		}
	case rules.SetMark:
		return append(load(t.Field),
			&expr.Lookup{SourceRegister: 1, SetName: t.Map, DestRegister: 1, IsDestRegSet: true},
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true})
	case rules.MaxSegment:
		return []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{2}, Xor: []byte{0}}, // SYN
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0}},
			&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(t))},
			&expr.Exthdr{SourceRegister: 1, Type: 2, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt},
		}
	case rules.MarkAs:
		return []expr.Any{
			&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(uint32(t))},
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
		}
	case rules.OneIn:
		return []expr.Any{
			&expr.Numgen{Register: 1, Modulus: uint32(t), Type: unix.NFT_NG_RANDOM},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)},
		}
	case rules.SNAT:
		return []expr.Any{
			&expr.Immediate{Register: 1, Data: t.To.AsSlice()},
			&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
		}
	case rules.NAT:
		field, kind := rules.IPDest, expr.NATTypeDestNAT
		if t.Source {
			field, kind = rules.IPSource, expr.NATTypeSourceNAT
		}
		return append(load(field),
			&expr.Lookup{SourceRegister: 1, SetName: t.Map, DestRegister: 1, IsDestRegSet: true},
			&expr.NAT{Type: kind, Family: unix.NFPROTO_IPV4, RegAddrMin: 1})
	case rules.Fragment:
		if t.V6 {
			const present = 1
			return []expr.Any{&expr.Exthdr{DestRegister: 1, Type: unix.IPPROTO_FRAGMENT, Len: 1, Flags: present, Op: expr.ExthdrOpIpv6}, equal([]byte{1})}
		}
		return []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 6, Len: 2},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 2, Mask: []byte{0x3f, 0xff}, Xor: make([]byte, 2)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 2)},
		}
	case rules.Origin:
		return append(load(rules.InName),
			&expr.Lookup{SourceRegister: 1, SetName: t.Map, DestRegister: 1, IsDestRegSet: true},
			&expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true})
	case rules.Over:
		limit := &expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(t.Rate), Over: true, Unit: expr.LimitTimeSecond, Burst: uint32(t.Burst)}
		if t.Bytes {
			limit.Type, limit.Rate, limit.Burst = expr.LimitTypePktBytes, limit.Rate<<10, limit.Burst<<10
		}
		return append(load(rules.InName), &expr.Dynset{
			SrcRegKey: 1, SetName: t.Set, Operation: unix.NFT_DYNSET_OP_UPDATE, Exprs: []expr.Any{limit},
		})
	case rules.Conns:
		return append(load(rules.InName), &expr.Dynset{
			SrcRegKey: 1, SetName: t.Set, Operation: unix.NFT_DYNSET_OP_ADD,
			Exprs: []expr.Any{&expr.Connlimit{Count: uint32(t.Count), Flags: expr.NFT_CONNLIMIT_F_INV}},
		})
	case rules.EtherType:
		return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseLLHeader, Offset: 12, Len: 2}, equal(binaryutil.BigEndian.PutUint16(uint16(t)))}
	case rules.SourcePort:
		return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2}, equal(binaryutil.BigEndian.PutUint16(uint16(t)))}
	case rules.ARPTarget:
		return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 24, Len: 4}, equal(netip.Addr(t).AsSlice())}
	case rules.Gives:
		return append(load(rules.DHCPYours), &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)})
	case rules.Learn:
		return append(load(rules.OutName, rules.DHCPClient, rules.DHCPYours),
			&expr.Dynset{SrcRegKey: 1, SetName: t.Set, Operation: unix.NFT_DYNSET_OP_UPDATE})
	case rules.ToSelf:
		mac, _ := net.ParseMAC(string(t))
		return []expr.Any{
			&expr.Immediate{Register: 1, Data: make([]byte, 4)}, // PACKET_HOST
			&expr.Meta{Key: expr.MetaKeyPKTTYPE, Register: 1, SourceRegister: true},
			&expr.Immediate{Register: 1, Data: mac},
			&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseLLHeader, Offset: 0, Len: 6},
		}
	case rules.Log:
		return []expr.Any{&expr.Log{
			Key:   1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX | 1<<unix.NFTA_LOG_SNAPLEN,
			Group: rules.LogGroup, Snaplen: rules.LogBytes, Data: []byte(t),
		}}
	case rules.Do:
		return []expr.Any{encodeVerdict(t)}
	}
	panic(fmt.Sprintf("netns: no encoding for a %T", term)) // a term without an encoding is a bug, found by the encoding test
}
