package frontdoor_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
)

// heap gives the bytes that are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// Thousands of connections that say little or nothing cost little, and others are served meanwhile.
func TestIdleConnections(t *testing.T) {
	c, _ := newS3(t)
	addr := strings.TrimPrefix(c.serve(t), "http://")
	before := heap()
	const connections = 2000
	for i := range connections {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		switch i % 3 {
		case 1: // a head that never ends
			fmt.Fprintf(conn, "GET /bucket/key HTTP/1.1\r\nHost: %s\r\nX-Slow: ", addr)
		case 2: // a body that never comes
			if _, err := io.WriteString(conn, c.raw(1<<30, "")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if res, _ := talk(t, addr, c.raw(4, "")+"data"); res.StatusCode != 200 {
		t.Errorf("among them: %s", res.Status)
	}
	// Client's and server's ends are both in this process.
	if each := (heap() - before) / connections; each > 128<<10 {
		t.Errorf("%d bytes for each connection", each)
	} else {
		t.Logf("%d bytes for each connection", each)
	}
}
