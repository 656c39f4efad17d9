package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/sim"
)

// load is one measurement: clients that send requests one after the other, each on its own connection.
type load struct {
	name    string
	clients int
	// next gives a client's requests in turn.
	next func(client, n int) []byte
	want string // what a right answer contains
}

// signed gives a signed request as bytes.
func (s *server) signed(number int, service string, form url.Values) ([]byte, error) {
	a := s.hello.Accounts[number]
	r, err := sim.Account{Account: resource.Account{ID: a.ID}, Key: identity.Key{ID: a.Key, Secret: a.Secret}}.
		Request("http://"+s.hello.Addr, service, form, time.Now())
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = r.Write(&b)
	return b.Bytes(), err
}

// measure runs a load and prints its line of the report.
func (b *bench) measure(s *server, l load) error {
	// A little to begin with, so that connections, caches and buffers are there.
	if _, _, err := l.run(s.hello.Addr, min(b.length/10, time.Second)); err != nil {
		return err
	}
	if b.profile != "" {
		name, err := filepath.Abs(filepath.Join(b.profile, strings.ReplaceAll(l.name, " ", "-")+".pprof"))
		if err != nil {
			return err
		}
		if _, err := s.do("profile", name); err != nil {
			return err
		}
	}
	before, err := s.do("usage")
	if err != nil {
		return err
	}
	began := time.Now()
	took, count, err := l.run(s.hello.Addr, b.length)
	elapsed := time.Since(began)
	if err != nil {
		return err
	}
	after, err := s.do("usage")
	if err != nil {
		return err
	}
	if b.profile != "" {
		if _, err := s.do("stop"); err != nil {
			return err
		}
	}
	slices.Sort(took)
	n := time.Duration(count)
	fmt.Printf("| %s | %.0f | %s | %s | %s | %d | %d |\n", l.name, float64(count)/elapsed.Seconds(),
		short(took[len(took)/2]), short(took[len(took)*99/100]), short((after.CPU-before.CPU)/n),
		(after.Mallocs-before.Mallocs)/uint64(count), (after.Bytes-before.Bytes)/uint64(count))
	return nil
}

// short rounds to three digits or so.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// run sends for some time and gives how long each request took.
func (l *load) run(addr string, length time.Duration) (took []time.Duration, count int, err error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	end := time.Now().Add(length)
	for client := range l.clients {
		all.Go(func() {
			mine, e := l.client(addr, client, end)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
			if err == nil {
				err = e
			}
		})
	}
	all.Wait()
	if err == nil && len(took) == 0 {
		err = fmt.Errorf("no request was answered")
	}
	return took, len(took), err
}

func (l *load) client(addr string, client int, end time.Time) (took []time.Duration, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 64<<10)
	var body bytes.Buffer
	for n := 0; time.Now().Before(end); n++ {
		began := time.Now()
		if _, err := conn.Write(l.next(client, n)); err != nil {
			return took, err
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return took, err
		}
		body.Reset()
		if _, err := io.Copy(&body, res.Body); err != nil {
			return took, err
		}
		res.Body.Close()
		took = append(took, time.Since(began))
		if res.StatusCode != http.StatusOK || !bytes.Contains(body.Bytes(), []byte(l.want)) {
			return took, fmt.Errorf("%s: %s", res.Status, body.Bytes()[:min(body.Len(), 500)])
		}
	}
	return took, nil
}
