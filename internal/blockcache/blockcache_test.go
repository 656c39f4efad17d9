package blockcache

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// TestGet: one read for all who ask at the same time; the oldest goes; an error is not kept.
func TestGet(t *testing.T) {
	c := New[int](2)
	var reads atomic.Int64
	get := func(key int) string {
		data, err := c.Get(key, func() ([]byte, error) {
			reads.Add(1)
			return fmt.Append(nil, key), nil
		})
		if err != nil {
			t.Error(err)
		}
		return string(data)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got := get(1); got != "1" {
				t.Errorf("got %q", got)
			}
		})
	}
	wg.Wait()
	get(2)
	get(1)
	if n := reads.Load(); n != 2 {
		t.Fatalf("%d reads of 2 blocks", n)
	}
	get(3)
	if get(2); reads.Load() != 3 {
		t.Fatal("a block that there was room for was read again")
	}
	if get(1); reads.Load() != 4 {
		t.Fatal("the oldest block is still there")
	}
	broken := errors.New("broken")
	for range 2 {
		tried := false
		if _, err := c.Get(9, func() ([]byte, error) { tried = true; return nil, broken }); !errors.Is(err, broken) || !tried {
			t.Fatalf("%v, tried %v", err, tried)
		}
	}
}
