package qmp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite golden files")

// dial gives a client whose QEMU plays a script: "> line" must be received, "< line" is sent.
func dial(t *testing.T, script string, onEvent func(Event)) (*Client, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	played := make(chan error, 1)
	go func() {
		defer l.Close()
		conn, err := l.Accept()
		if err != nil {
			played <- err
			return
		}
		defer conn.Close()
		played <- play(conn, script)
	}()
	t.Cleanup(func() {
		if err := <-played; err != nil {
			t.Error(err)
		}
	})
	return Dial(t.Context(), path, onEvent)
}

func play(conn net.Conn, script string) error {
	r := bufio.NewReader(conn)
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "< "):
			if _, err := fmt.Fprintf(conn, "%s\r\n", line[2:]); err != nil {
				return err
			}
		case strings.HasPrefix(line, "> "):
			got, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if line == "> *" { // anything
				continue
			}
			if diff := cmp.Diff(line[2:], strings.TrimSpace(got)); diff != "" {
				return fmt.Errorf("sent (-want +got):\n%s", diff)
			}
		}
	}
	return nil
}

const greeting = `< {"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}
> {"execute":"qmp_capabilities","id":1}
< {"return": {}, "id": 1}
`

// TestTranscripts replays conversations recorded with QEMU 7.2.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.qmp")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out, events bytes.Buffer // events belong to the reading goroutine until it has ended
			c, err := dial(t, string(script), func(e Event) {
				fmt.Fprintf(&events, "event %s %s at %d.%06d\n", e.Name, e.Data, e.Time.Unix(), e.Time.Nanosecond()/1000)
			})
			if err != nil {
				fmt.Fprintf(&out, "dial: %v\n", err)
			} else {
				for line := range strings.Lines(string(script)) {
					do, ok := strings.CutPrefix(strings.TrimSpace(line), "# do ")
					if !ok {
						continue
					}
					var result any
					err := c.Do(t.Context(), do, nil, &result)
					fmt.Fprintf(&out, "%s: %v, %v\n", do, result, err)
				}
				<-c.Done()
				c.Close()
				out.Write(events.Bytes())
			}
			golden := strings.TrimSuffix(file, ".qmp") + ".golden"
			if *update {
				if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnswersOutOfOrder(t *testing.T) {
	c, err := dial(t, greeting+`> *
> *
< {"return": 3, "id": 3}
< {"return": "nobody", "id": 99}
< {"return": 2, "id": 2}
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := make(chan int, 2)
	for range 2 {
		go func() {
			var n int
			if err := c.Do(t.Context(), "same", nil, &n); err != nil {
				t.Error(err)
			}
			got <- n
		}()
	}
	if a, b := <-got, <-got; a+b != 5 || a == b {
		t.Errorf("answers %d and %d", a, b)
	}
}

func TestCancelledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	// The event comes when the command has been received: only then is it given up.
	c, err := dial(t, greeting+`> {"execute":"slow","id":2}
< {"event": "RECEIVED"}
> {"execute":"quick","id":3}
< {"return": {}, "id": 2}
< {"return": {}, "id": 3}
`, func(Event) { cancel() })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Do(ctx, "slow", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("slow: %v", err)
	}
	// The late answer to a command that was given up must not disturb the next one.
	if err := c.Do(t.Context(), "quick", nil, nil); err != nil {
		t.Errorf("quick: %v", err)
	}
}

func TestSilentPeer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // the connection waits in the backlog: no greeting ever comes
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, path, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial = %v", err)
	}
}

func TestClosed(t *testing.T) {
	c, err := dial(t, greeting, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if err := c.Do(t.Context(), "any", nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Do after the end = %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestFilePassing(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*net.UnixConn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		conn, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = conn.(*net.UnixConn)
	}
	defer ends[1].Close()
	fmt.Fprintf(ends[1], "{\"QMP\": {}}\r\n{\"return\": {}, \"id\": 1}\r\n")
	c, err := New(t.Context(), ends[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("through the socket")
	answered := make(chan error, 1)
	go func() { answered <- c.DoWithFile(t.Context(), "getfd", map[string]string{"fdname": "x"}, nil, f) }()
	buf, oob := make([]byte, 4096), make([]byte, 64)
	for {
		_, n, _, _, err := ends[1].ReadMsgUnix(buf, oob)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			continue
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil {
			t.Fatal(err)
		}
		got, err := unix.ParseUnixRights(&msgs[0])
		if err != nil {
			t.Fatal(err)
		}
		g := os.NewFile(uintptr(got[0]), "")
		defer g.Close()
		text := make([]byte, 32)
		k, _ := g.ReadAt(text, 0)
		if string(text[:k]) != "through the socket" {
			t.Errorf("read %q", text[:k])
		}
		fmt.Fprintf(ends[1], "{\"return\": {}, \"id\": 2}\r\n")
		if err := <-answered; err != nil {
			t.Error(err)
		}
		return
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte(`{"QMP": {}}` + "\n"))
	f.Add([]byte(`{"return": {}, "id": 1}` + "\r\n" + `{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}` + "\n"))
	f.Add([]byte(`{"error": {"class": "GenericError", "desc": "no"}, "id": 7}` + "\n"))
	f.Add([]byte("{\"id\": -1}\n[]\nnull\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(data), 16)
		for range len(data) + 1 {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			var v any
			_ = m.decode("x", &v)
		}
		t.Error("no end")
	})
}

func TestMessageTooLong(t *testing.T) {
	r := bufio.NewReader(bytes.NewReader(append(bytes.Repeat([]byte("x"), maxMessage+1), '\n')))
	if _, err := readMessage(r); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("err = %v", err)
	}
}
