// Package vici speaks strongSwan's control protocol (VICI) with one charon process: loading what it needs to know
// and listing what it has. A value is a string, a list of strings or a Section.
package vici

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Section is a message, or a part of one: each value is a string, []string or Section.
type Section map[string]any

// Get gives a string of a section, "" if there is none.
func (s Section) Get(key string) string {
	v, _ := s[key].(string)
	return v
}

// Sections gives the sections in a section.
func (s Section) Sections(yield func(string, Section) bool) {
	for key, v := range s {
		if in, ok := v.(Section); ok && !yield(key, in) {
			return
		}
	}
}

// Kinds of packets.
const (
	request    = 0
	response   = 1
	register   = 3
	unregister = 4
	confirm    = 5
	event      = 7
)

// Kinds of elements in a message.
const (
	sectionStart = 1
	sectionEnd   = 2
	keyValue     = 3
	listStart    = 4
	listItem     = 5
	listEnd      = 6
)

const maxPacket = 1 << 20

// Conn is a connection to a charon. It is not for concurrent use.
type Conn struct {
	c    *net.UnixConn
	wait time.Duration
}

// Dial connects to a charon's socket. wait bounds each call.
func Dial(path string, wait time.Duration) (*Conn, error) {
	c, err := net.DialTimeout("unix", path, wait)
	if err != nil {
		return nil, err
	}
	return &Conn{c.(*net.UnixConn), wait}, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.c.Close() }

// PID is the process at the other end.
func (c *Conn) PID() (int, error) {
	raw, err := c.c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	inner := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(inner, err); err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}

// Call sends a command and gives its answer; one that says "success = no" is an error.
func (c *Conn) Call(command string, in Section) (Section, error) {
	if err := c.send(request, command, encode(nil, in)); err != nil {
		return nil, fmt.Errorf("vici %s: %w", command, err)
	}
	kind, body, err := c.receive()
	if err == nil && kind != response {
		err = fmt.Errorf("answer of kind %d", kind)
	}
	if err != nil {
		return nil, fmt.Errorf("vici %s: %w", command, err)
	}
	out, err := decode(body)
	if err != nil {
		return nil, fmt.Errorf("vici %s: %w", command, err)
	}
	if out.Get("success") == "no" {
		return out, fmt.Errorf("vici %s: %s", command, out.Get("errmsg"))
	}
	return out, nil
}

// List sends a command whose results come as events of a name, and gives them.
func (c *Conn) List(command, name string, in Section) ([]Section, error) {
	fail := func(err error) ([]Section, error) { return nil, fmt.Errorf("vici %s: %w", command, err) }
	if err := c.send(register, name, nil); err != nil {
		return fail(err)
	}
	if kind, _, err := c.receive(); err != nil || kind != confirm {
		return fail(errors.Join(err, fmt.Errorf("registration answered by kind %d", kind)))
	}
	if err := c.send(request, command, encode(nil, in)); err != nil {
		return fail(err)
	}
	var out []Section
	for {
		kind, body, err := c.receive()
		switch {
		case err != nil:
			return fail(err)
		case kind == event:
			if len(body) < 1 || len(body) < 1+int(body[0]) {
				return fail(io.ErrUnexpectedEOF)
			}
			s, err := decode(body[1+int(body[0]):])
			if err != nil {
				return fail(err)
			}
			out = append(out, s)
			continue
		case kind != response:
			return fail(fmt.Errorf("answer of kind %d", kind))
		}
		if err := c.send(unregister, name, nil); err != nil {
			return fail(err)
		}
		if kind, _, err := c.receive(); err != nil || kind != confirm {
			return fail(errors.Join(err, fmt.Errorf("end of registration answered by kind %d", kind)))
		}
		return out, nil
	}
}

func (c *Conn) send(kind byte, name string, body []byte) error {
	if len(name) > 255 {
		return errors.New("the name is too long")
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(2+len(name)+len(body)))
	b = append(b, kind, byte(len(name)))
	b = append(append(b, name...), body...)
	if err := c.c.SetDeadline(time.Now().Add(c.wait)); err != nil {
		return err
	}
	_, err := c.c.Write(b)
	return err
}

func (c *Conn) receive() (kind byte, body []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(c.c, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxPacket {
		return 0, nil, fmt.Errorf("packet of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.c, b); err != nil {
		return 0, nil, err
	}
	return b[0], b[1:], nil
}

// encode appends a section's elements, in order of key.
func encode(b []byte, s Section) []byte {
	keys := make([]string, 0, len(s))
	for k := range s {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	name := func(kind byte, k string) { b = append(append(b, kind, byte(len(k))), k...) }
	value := func(v string) { b = append(binary.BigEndian.AppendUint16(b, uint16(len(v))), v...) }
	for _, k := range keys {
		switch v := s[k].(type) {
		case string:
			name(keyValue, k)
			value(v)
		case []string:
			name(listStart, k)
			for _, item := range v {
				b = append(b, listItem)
				value(item)
			}
			b = append(b, listEnd)
		case Section:
			name(sectionStart, k)
			b = append(encode(b, v), sectionEnd)
		}
	}
	return b
}

// decode reads a message.
func decode(b []byte) (Section, error) {
	d := decoder{b: b}
	s := d.section(0)
	if d.err == nil && len(d.b) > 0 {
		d.err = errors.New("more section ends than sections")
	}
	return s, d.err
}

type decoder struct {
	b   []byte
	err error
}

func (d *decoder) bytes(n int) string {
	if d.err != nil || len(d.b) < n {
		d.err, d.b = errors.Join(d.err, io.ErrUnexpectedEOF), nil
		return ""
	}
	out := string(d.b[:n])
	d.b = d.b[n:]
	return out
}

func (d *decoder) number(n int) (out int) {
	for _, c := range []byte(d.bytes(n)) {
		out = out<<8 | int(c)
	}
	return out
}

const maxDepth = 16

// section reads elements up to the section's end, or that of the message.
func (d *decoder) section(depth int) Section {
	s := Section{}
	for d.err == nil && len(d.b) > 0 {
		kind := d.number(1)
		if kind == sectionEnd && depth > 0 {
			return s
		}
		key := ""
		if kind == sectionStart || kind == keyValue || kind == listStart {
			key = d.bytes(d.number(1))
		}
		switch {
		case kind == keyValue:
			s[key] = d.bytes(d.number(2))
		case kind == sectionStart && depth < maxDepth:
			s[key] = d.section(depth + 1)
		case kind == listStart:
			s[key] = d.list()
		default:
			d.err = errors.Join(d.err, fmt.Errorf("unexpected element %d", kind))
		}
	}
	if depth > 0 && d.err == nil {
		d.err = io.ErrUnexpectedEOF
	}
	return s
}

func (d *decoder) list() []string {
	out := []string{}
	for d.err == nil {
		switch kind := d.number(1); kind {
		case listItem:
			out = append(out, d.bytes(d.number(2)))
		case listEnd:
			return out
		default:
			d.err = errors.Join(d.err, fmt.Errorf("element %d in a list", kind))
		}
	}
	return out
}
