// Command guests measures how fast `karri up` starts and how fast its guests do, beside bare QEMUs of the same
// image in turns. test/bench/launch runs it in a network namespace.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// userland is the first line of the tiny guest's userland.
const userland = "karri-tiny: userland up"

// hopeless ends a wait for a guest.
const hopeless = time.Minute

func main() {
	var b bench
	flag.StringVar(&b.karri, "karri", "bin/karri", "the binary")
	flag.StringVar(&b.dir, "dir", "", "an empty folder for everything")
	flag.IntVar(&b.rounds, "rounds", 5, "launches of one guest, each beside a bare one")
	flag.IntVar(&b.many, "many", 8, "guests at once in the last measurement; 0: skip it")
	flag.Parse()
	if err := b.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "guests:", err)
		os.Exit(1)
	}
}

type bench struct {
	karri, dir   string
	rounds, many int
	cloud        *cloud
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) run(ctx context.Context) (err error) {
	if out, err := command(ctx, b.karri, "image", "build", "tiny", "-o", b.path("tiny.raw")); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	var ready time.Duration
	if b.cloud, ready, err = startCloud(ctx, b.karri, b.path("data")); err != nil {
		return err
	}
	defer b.cloud.stop()
	info, err := os.Stat(b.karri)
	if err != nil {
		return err
	}
	fmt.Printf("| what | figure |\n| --- | ---: |\n")
	fmt.Printf("| size of the binary | %.1f MB |\n", float64(info.Size())/1e6)
	fmt.Printf("| `karri up` until ready, the first time | %.2f s |\n", ready.Seconds())
	time.Sleep(10 * time.Second)
	fmt.Printf("| resident memory of `karri up`, idle for 10 s | %d MB |\n", b.cloud.resident()/1_000_000)
	if err := b.cloud.prepare(ctx, b.path("tiny.raw")); err != nil {
		return err
	}
	// The first launch fills the node's image cache and the page cache; it is shown and not counted.
	first, err := b.one(ctx)
	if err != nil {
		return err
	}
	if _, err := b.bare(ctx, 1); err != nil {
		return err
	}
	fmt.Printf("| first launch of an image: call until userland | %.2f s |\n", first.userland.Seconds())
	if err := b.single(ctx); err != nil {
		return err
	}
	if b.many > 0 {
		return b.crowd(ctx)
	}
	return nil
}

// single launches one guest at a time.
func (b *bench) single(ctx context.Context) error {
	var launches, started, logins, bares []time.Duration
	for range b.rounds {
		bare, err := b.bare(ctx, 1)
		if err != nil {
			return err
		}
		l, err := b.one(ctx)
		if err != nil {
			return err
		}
		bares, launches, logins = append(bares, bare), append(launches, l.userland), append(logins, l.login)
		started = append(started, l.started)
	}
	fmt.Printf("| RunInstances call until QEMU runs the guest, median of %d | %d ms |\n", b.rounds, median(started).Milliseconds())
	fmt.Printf("| RunInstances call until userland, median of %d | %.2f s |\n", b.rounds, median(launches).Seconds())
	fmt.Printf("| bare `qemu-system-x86_64` until userland, median of %d | %.2f s |\n", b.rounds, median(bares).Seconds())
	fmt.Printf("| ratio | %.2f |\n", median(launches).Seconds()/median(bares).Seconds())
	fmt.Printf("| RunInstances call until SSH login, median of %d | %.2f s |\n", b.rounds, median(logins).Seconds())
	return nil
}

// crowd launches several at once, three times.
func (b *bench) crowd(ctx context.Context) error {
	var launches, bares []time.Duration
	for range 3 {
		bare, err := b.bare(ctx, b.many)
		if err != nil {
			return err
		}
		began := time.Now()
		ids, err := b.cloud.launch(ctx, b.many)
		if err != nil {
			return err
		}
		if err := b.cloud.userland(ctx, ids...); err != nil {
			return err
		}
		bares, launches = append(bares, bare), append(launches, time.Since(began))
		if err := b.cloud.terminate(ctx, ids...); err != nil {
			return err
		}
	}
	fmt.Printf("| %d at once: one RunInstances call until the last userland, median of 3 | %.2f s |\n", b.many, median(launches).Seconds())
	fmt.Printf("| %d bare QEMUs at once until the last userland, median of 3 | %.2f s |\n", b.many, median(bares).Seconds())
	fmt.Printf("| ratio | %.2f |\n", median(launches).Seconds()/median(bares).Seconds())
	return nil
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

// launch is how long one launch took from the call on: until QEMU ran the guest, until the guest's userland and
// until a login.
type launch struct{ started, userland, login time.Duration }

// one launches a guest and ends it.
func (b *bench) one(ctx context.Context) (l launch, err error) {
	began := time.Now()
	ids, err := b.cloud.launch(ctx, 1)
	if err != nil {
		return l, err
	}
	if err := b.cloud.userland(ctx, ids...); err != nil {
		return l, err
	}
	l.userland = time.Since(began)
	if err := b.cloud.login(ctx, ids[0]); err != nil {
		return l, err
	}
	l.login = time.Since(began)
	at, err := b.cloud.started(ids[0])
	if err != nil {
		return l, err
	}
	l.started = at.Sub(began)
	return l, b.cloud.terminate(ctx, ids...)
}

// bare starts QEMUs as one does by hand, and gives the time until the last one's userland.
func (b *bench) bare(ctx context.Context, count int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, hopeless)
	defer cancel()
	for i := range count {
		if out, err := command(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-b", b.path("tiny.raw"), "-F", "raw", b.path(fmt.Sprintf("bare%d.qcow2", i))); err != nil {
			return 0, fmt.Errorf("%w: %s", err, out)
		}
		_ = os.Remove(b.path(fmt.Sprintf("bare%d.log", i)))
	}
	began := time.Now()
	var all sync.WaitGroup
	errs := make([]error, count)
	for i := range count {
		all.Go(func() {
			log := b.path(fmt.Sprintf("bare%d.log", i))
			stop, err := spawn("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-smp", "2", "-m", "512", "-display", "none",
				"-drive", "if=virtio,file="+b.path(fmt.Sprintf("bare%d.qcow2", i)), "-nic", "user,model=virtio-net-pci", "-serial", "file:"+log)
			if err != nil {
				errs[i] = err
				return
			}
			defer stop()
			errs[i] = every(ctx, 10*time.Millisecond, func() (bool, error) {
				text, err := os.ReadFile(log)
				if errors.Is(err, os.ErrNotExist) {
					err = nil
				}
				return bytes.Contains(text, []byte(userland)), err
			})
		})
	}
	all.Wait()
	return time.Since(began), errors.Join(errs...)
}

// every asks until the answer is yes.
func every(ctx context.Context, pause time.Duration, ask func() (bool, error)) error {
	for {
		if yes, err := ask(); yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
