// Package qmp speaks QEMU's machine protocol: JSON lines over a unix socket, commands with answers, events
// in between, and open files handed over beside a command.
package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrClosed says that the connection is gone: QEMU ended, or Close was called.
var ErrClosed = errors.New("qmp: connection closed")

// Error is QEMU's refusal of a command.
type Error struct {
	Command string `json:"-"`
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

func (e *Error) Error() string { return fmt.Sprintf("qmp %s: %s (%s)", e.Command, e.Desc, e.Class) }

// Event is something that QEMU says unasked.
type Event struct {
	Name string
	Data json.RawMessage
	Time time.Time
}

// Client is one connection. Its methods may be called concurrently.
type Client struct {
	conn    *net.UnixConn
	onEvent func(Event)
	done    chan struct{} // closed when the reader has ended

	sending sync.Mutex // one command's bytes at a time

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan message
	err     error // why the connection ended
}

// Dial connects to the socket of a QEMU and negotiates. onEvent is called for every event, in order, by the
// reading goroutine: it must not block and must not wait for a command. nil drops events.
func Dial(ctx context.Context, path string, onEvent func(Event)) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("qmp: %w", err)
	}
	return New(ctx, conn.(*net.UnixConn), onEvent)
}

// New negotiates on an open connection, which it owns from now on. See Dial.
func New(ctx context.Context, conn *net.UnixConn, onEvent func(Event)) (*Client, error) {
	c := &Client{conn: conn, onEvent: onEvent, done: make(chan struct{}), waiting: map[uint64]chan message{}}
	// The greeting comes unasked; a cancelled context must end the wait for it.
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	r := bufio.NewReaderSize(conn, 64<<10)
	greeting, err := readMessage(r)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil && greeting.Greeting == nil {
		err = errors.New("no QMP greeting")
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("qmp: greeting: %w", errors.Join(err, ctx.Err()))
	}
	go c.read(r)
	if err := c.Do(ctx, "qmp_capabilities", nil, nil); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Do runs a command. args is nil or becomes the JSON object of its arguments; result is nil or takes its
// answer. The context ends the wait, not the command.
func (c *Client) Do(ctx context.Context, command string, args, result any) error {
	return c.do(ctx, command, args, result, nil)
}

// DoWithFile is Do for commands that take an open file (add-fd, getfd). The caller keeps its own.
func (c *Client) DoWithFile(ctx context.Context, command string, args, result any, f *os.File) error {
	return c.do(ctx, command, args, result, f)
}

func (c *Client) do(ctx context.Context, command string, args, result any, f *os.File) error {
	answer := make(chan message, 1)
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return fmt.Errorf("qmp %s: %w", command, c.err)
	}
	c.next++
	id := c.next
	c.waiting[id] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, id)
		c.mu.Unlock()
	}()

	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        uint64 `json:"id"`
	}{command, args, id})
	if err != nil {
		return fmt.Errorf("qmp %s: %w", command, err)
	}
	if err := c.send(ctx, append(line, '\n'), f); err != nil {
		return fmt.Errorf("qmp %s: %w", command, err)
	}
	select {
	case m := <-answer:
		return m.decode(command, result)
	case <-ctx.Done():
		return fmt.Errorf("qmp %s: %w", command, ctx.Err())
	case <-c.done:
	}
	select { // the answer may have come just before the end
	case m := <-answer:
		return m.decode(command, result)
	default:
		return fmt.Errorf("qmp %s: %w", command, c.Err())
	}
}

// send writes one line. Half a line would garble all that follows: an error there ends the connection.
func (c *Client) send(ctx context.Context, line []byte, f *os.File) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	c.conn.SetWriteDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { c.conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	var rights []byte
	if f != nil {
		rights = unix.UnixRights(int(f.Fd()))
	}
	n, _, err := c.conn.WriteMsgUnix(line, rights, nil)
	if err == nil && n < len(line) {
		_, err = c.conn.Write(line[n:])
	}
	if err != nil {
		c.fail(err)
		return errors.Join(err, ctx.Err())
	}
	return nil
}

func (c *Client) read(r *bufio.Reader) {
	defer close(c.done)
	for {
		m, err := readMessage(r)
		if err != nil {
			c.fail(err)
			return
		}
		switch {
		case m.Event != "":
			if c.onEvent != nil {
				at := time.Unix(m.Timestamp.Seconds, m.Timestamp.Microseconds*1000)
				c.onEvent(Event{Name: m.Event, Data: m.Data, Time: at})
			}
		case m.Return != nil || m.Error != nil:
			c.mu.Lock()
			answer := c.waiting[m.ID]
			delete(c.waiting, m.ID)
			c.mu.Unlock()
			if answer != nil { // nil: nobody waits any more
				answer <- m
			}
		}
	}
}

func (c *Client) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	c.mu.Unlock()
	c.conn.Close()
}

// Done is closed when the connection has ended; Err says why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is nil while the connection lives.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and returns when no more events are delivered. QEMU runs on.
func (c *Client) Close() error {
	c.fail(net.ErrClosed)
	<-c.done
	return nil
}
