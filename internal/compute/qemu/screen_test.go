package qemu

import (
	"bytes"
	"errors"
	"image/jpeg"
	"os"
	"testing"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/compute/computetest"
)

func TestReadPPM(t *testing.T) {
	img, err := readPPM([]byte("P6\n2 1\n255\nabcdef"))
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b, _ := img.At(1, 0).RGBA(); r>>8 != 'd' || g>>8 != 'e' || b>>8 != 'f' {
		t.Errorf("%d %d %d", r>>8, g>>8, b>>8)
	}
	for _, bad := range []string{"", "P6", "P5\n2 1\n255\nabcdef", "P6\n2 1\n255\nabcde", "P6\n-2 -1\n255\nabcdef", "P6\n99999 99999\n255\n", "P6\n2 1\n65535\nabcdef"} {
		if _, err := readPPM([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzReadPPM(f *testing.F) {
	f.Add([]byte("P6\n2 1\n255\nabcdef"))
	f.Fuzz(func(t *testing.T, b []byte) { readPPM(b) })
}

// TestScreen looks at a machine that has nothing to boot: its BIOS says so on the display.
func TestScreen(t *testing.T) {
	t.Parallel()
	kernel, ramdisk := computetest.Guest(t)
	d := open(t, t.TempDir())
	defer cleanup(t, d)
	if _, err := d.Screen(t.Context(), id); !errors.Is(err, compute.ErrNotFound) {
		t.Errorf("no machine: %v", err)
	}
	blank := t.TempDir() + "/blank"
	if err := os.WriteFile(blank, make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	m := compute.Machine{
		ID: id, UUID: "ec2aaaaa-0000-4000-a000-000000000001", VCPUs: 1, MemoryMiB: 64, Display: true,
		Disks: []compute.Disk{{Name: "root", Base: blank, BaseFormat: "raw", SizeBytes: 1 << 20}},
	}
	if err := d.Start(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	for colours := 0; colours < 2; {
		picture, err := d.Screen(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		img, err := jpeg.Decode(bytes.NewReader(picture))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[uint32]bool{}
		for y := range img.Bounds().Dy() {
			for x := range img.Bounds().Dx() {
				r, _, _, _ := img.At(x, y).RGBA()
				seen[r>>14] = true
			}
		}
		colours = len(seen) // something is written
		time.Sleep(50 * time.Millisecond)
		if t.Context().Err() != nil {
			t.Fatal("the display stays blank")
		}
	}
	if err := d.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), guest(kernel, ramdisk, id, computetest.Talks), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Screen(t.Context(), id); !errors.Is(err, compute.ErrNoScreen) {
		t.Errorf("no display: %v", err)
	}
}
