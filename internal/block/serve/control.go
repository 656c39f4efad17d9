package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// The zone tells the server over a socket in the zone's data directory: a JSON request and a JSON answer, one after
// the other. The connection is held as long as both live, so that either knows of the other's end.

type request struct {
	Grants []Grant `json:"grants"`
	End    bool    `json:"end,omitempty"` // the server is to end
}

type answer struct {
	Refused map[string]string `json:"refused,omitempty"`
}

// Control listens at path for the zone until ctx ends. end is called when the zone wants the server to end.
func (s *Server) Control(ctx context.Context, path string, end func()) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path) // in a directory that is ours alone
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		all.Go(func() {
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			in, out := json.NewDecoder(conn), json.NewEncoder(conn)
			for {
				var r request
				if in.Decode(&r) != nil {
					return
				}
				var a answer
				if r.End {
					s.Set(nil)
				} else {
					a.Refused = s.Set(r.Grants)
				}
				if out.Encode(a) != nil {
					return
				}
				if r.End {
					end()
					return
				}
			}
		})
	}
}

// Controller is the zone's end.
type Controller struct {
	path  string
	start func() error // a server process, when there is none
	lost  chan struct{}

	mu   sync.Mutex
	conn net.Conn
	in   *json.Decoder
}

// NewController makes the zone's end of the socket at path. start starts a server there.
func NewController(path string, start func() error) *Controller {
	return &Controller{path: path, start: start, lost: make(chan struct{}, 1)}
}

// Lost says that the server may have ended; it holds at most one word.
func (c *Controller) Lost() <-chan struct{} { return c.lost }

// controlTime bounds an answer: it waits for what is under way on the disks.
const controlTime = time.Minute

// Set tells the server who may have what; it starts one where none is. When it returns without an error, nobody else
// has anything.
func (c *Controller) Set(ctx context.Context, grants []Grant) (refused map[string]string, err error) {
	a, err := c.ask(ctx, request{Grants: grants}, true)
	return a.Refused, err
}

// End ends the server, if there is one.
func (c *Controller) End(ctx context.Context) error {
	_, err := c.ask(ctx, request{End: true}, false)
	if errors.Is(err, errNone) {
		return nil
	}
	return err
}

var errNone = errors.New("no server of volumes runs")

func (c *Controller) ask(ctx context.Context, r request, start bool) (answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for fresh := false; ; {
		if c.conn == nil {
			if err := c.connect(ctx, start); err != nil {
				return answer{}, err
			}
			fresh = true
		}
		a, err := c.exchange(r)
		if err == nil {
			return a, nil
		}
		c.conn.Close()
		c.conn = nil
		if fresh || ctx.Err() != nil {
			return answer{}, fmt.Errorf("server of volumes: %w", err)
		}
	}
}

func (c *Controller) exchange(r request) (a answer, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(controlTime)); err != nil {
		return a, err
	}
	if err := json.NewEncoder(c.conn).Encode(r); err != nil {
		return a, err
	}
	return a, c.in.Decode(&a)
}

// connect reaches the server, and starts it if it may.
func (c *Controller) connect(ctx context.Context, start bool) error {
	conn, err := net.Dial("unix", c.path)
	if err != nil && !start {
		return fmt.Errorf("%w: %w", errNone, err)
	}
	if err != nil {
		if err := c.start(); err != nil {
			return fmt.Errorf("start the server of volumes: %w", err)
		}
		for end := time.Now().Add(10 * time.Second); ; {
			if conn, err = net.Dial("unix", c.path); err == nil {
				break
			}
			if time.Now().After(end) {
				return fmt.Errorf("the server of volumes does not come up: %w", err)
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	c.conn, c.in = conn, json.NewDecoder(conn)
	if second, err := net.Dial("unix", c.path); err == nil {
		go c.watch(second)
	}
	return nil
}

// watch says on lost when the server ends. Nothing is said on the connection.
func (c *Controller) watch(conn net.Conn) {
	io.Copy(io.Discard, conn)
	conn.Close()
	select {
	case c.lost <- struct{}{}:
	default:
	}
}
