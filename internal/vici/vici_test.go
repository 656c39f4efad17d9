package vici

import (
	"net"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func TestMessage(t *testing.T) {
	in := Section{"a": "x", "l": []string{"1", "", "3"}, "s": Section{"in": Section{"deep": "y"}, "e": Section{}}}
	out, err := decode(encode(nil, in))
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Fatalf("%v, %v", out, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(nil, Section{"a": "x", "l": []string{"1"}, "s": Section{"k": "v"}}))
	f.Add([]byte{1, 1, 'a'})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(encode(nil, s))
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("%v became %v, %v", s, again, err)
		}
	})
}

// TestConn talks with a charon of the test's own: what it answers is what the protocol says.
func TestConn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vici")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		s, err := l.Accept()
		if err != nil {
			return
		}
		far := &Conn{s.(*net.UnixConn), 5 * time.Second}
		answer := func(kind byte, body []byte) { // an answer has no name
			_, _ = s.Write(append([]byte{0, 0, 0, byte(1 + len(body)), kind}, body...))
		}
		for {
			kind, body, err := far.receive()
			if err != nil {
				return
			}
			name := string(body[1 : 1+body[0]])
			switch {
			case kind == register || kind == unregister:
				answer(confirm, nil)
			case name == "list-sas":
				_ = far.send(event, "list-sa", encode(nil, Section{"tun": Section{"state": "ESTABLISHED"}}))
				answer(response, nil)
			default:
				answer(response, encode(nil, Section{"success": "no", "errmsg": "bad " + name}))
			}
		}
	}()
	c, err := Dial(path, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Call("load-conn", Section{"x": "y"}); err == nil || err.Error() != "vici load-conn: bad load-conn" {
		t.Error(err)
	}
	list, err := c.List("list-sas", "list-sa", nil)
	if want := []Section{{"tun": Section{"state": "ESTABLISHED"}}}; err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("%v, %v", list, err)
	}
	if pid, err := c.PID(); err != nil || pid <= 0 {
		t.Error(pid, err)
	}
}
