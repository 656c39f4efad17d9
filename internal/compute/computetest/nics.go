package computetest

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"karri.dev/internal/compute"
)

// nics plugs a network card in and out, around a restart of the driver.
func nics(t *testing.T, b *bench) {
	tap := openTap(t)
	n := compute.NIC{ID: "eni-0123456789abcdef0", MAC: "02:00:00:00:00:01", MTU: 1450}
	if err := b.d.SetNIC(t.Context(), id, n, tap); !errors.Is(err, compute.ErrNotFound) {
		t.Errorf("a card for no machine: %v", err)
	}
	b.up(t, Obedient)
	own := len(b.is(t, compute.Running).NICs)
	for range 2 {
		if err := b.d.SetNIC(t.Context(), id, n, tap); err != nil {
			t.Fatal(err)
		}
	}
	tap.Close() // the driver has its own
	if list := b.is(t, compute.Running).NICs; len(list) != own+1 || list[own] != n {
		t.Errorf("cards %+v", list)
	}
	if err := b.d.Close(); err != nil {
		t.Fatal(err)
	}
	b.d = b.Open(t, b.dir)
	if list := b.is(t, compute.Running).NICs; len(list) != own+1 || list[own] != n {
		t.Errorf("cards after a restart %+v", list)
	}
	for range 2 { // and again, on a new tap
		Await(t, "the card's end", func() bool {
			err := b.d.DropNIC(t.Context(), id, n.ID)
			if err != nil && !errors.Is(err, compute.ErrHeld) {
				t.Fatal(err)
			}
			return err == nil
		})
		if list := b.is(t, compute.Running).NICs; len(list) != own {
			t.Errorf("cards %+v", list)
		}
		if err := b.d.SetNIC(t.Context(), id, n, openTap(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.d.Stop(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.d.SetNIC(t.Context(), id, n, openTap(t)); err == nil {
		t.Error("a card for a machine that is off")
	}
}

// openTap makes a tap that goes with its last file.
func openTap(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("needs taps: %v", err)
	}
	f := os.NewFile(uintptr(fd), "tap")
	t.Cleanup(func() { f.Close() })
	ifr, err := unix.NewIfreq("ct%d")
	if err != nil {
		t.Fatal(err)
	}
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		t.Skipf("needs taps: %v", err)
	}
	return f
}
