package admin

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestCall(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	type number struct{ N int }
	served := make(chan error, 1)
	go func() {
		served <- Serve(ctx, dir, slog.New(slog.DiscardHandler), map[string]Method{
			"double": Handle(func(_ context.Context, in number) (number, error) {
				if in.N < 0 {
					return number{}, errors.New("no negative numbers")
				}
				return number{2 * in.N}, nil
			}),
		})
	}()
	for { // until the socket is there
		if _, err := os.Stat(Socket(dir)); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	var out number
	if err := Call(ctx, dir, "double", number{21}, &out); err != nil || out.N != 42 {
		t.Fatal(out, err)
	}
	if err := Call(ctx, dir, "double", number{-1}, &out); err == nil || err.Error() != "no negative numbers" {
		t.Fatal(err)
	}
	if err := Call(ctx, dir, "halve", number{1}, &out); err == nil {
		t.Fatal("an unknown method answered")
	}
	if info, err := os.Stat(filepath.Dir(Socket(dir))); err == nil && info.Mode().Perm() != 0o700 {
		t.Fatalf("the socket's directory is open to others: %v", info.Mode())
	}
	cancel()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := Call(context.Background(), dir, "double", number{1}, &out); !errors.Is(err, ErrNotRunning) {
		t.Fatal(err)
	}
}
