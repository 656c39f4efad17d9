package kvmprobe

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// The test binary is its own child: the first argument says how it behaves.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case "child":
			os.Exit(ChildMain())
		case "good":
			fmt.Println("run one\nrun two\ndone")
			os.Exit(0)
		case "hangs":
			fmt.Println("run forever")
			time.Sleep(time.Hour)
		case "dies":
			fmt.Println("run briefly")
			os.Exit(3)
		case "fails":
			fmt.Println("run badly\nfailed it crashed")
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

var discard = slog.New(slog.DiscardHandler)

func config(t *testing.T, child string) Config {
	device := filepath.Join(t.TempDir(), "kvm")
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return Config{Exe: os.Args[0], Args: []string{child}, Device: device, GuestTimeout: 20 * time.Second}
}

func TestProbe(t *testing.T) {
	for child, want := range map[string]string{
		"good":  "kvm: small guests ran; no kernel was at hand to boot",
		"dies":  "tcg: $ is there, but the process of a small guest died: briefly",
		"fails": "tcg: $ is there, but a small guest failed: badly: it crashed",
		"hangs": "tcg: $ is there, but a small guest did not end in time: ",
	} {
		cfg := config(t, child)
		if child == "hangs" {
			cfg.GuestTimeout = 200 * time.Millisecond
		}
		a := Probe(t.Context(), cfg, discard)
		if got := a.Name + ": " + strings.ReplaceAll(a.Reason, cfg.Device, "$"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", child, got)
		}
	}
	if a := Probe(t.Context(), Config{Device: "/nonexistent"}, discard); a.Name != "tcg" || a.Reason != "there is no /nonexistent" {
		t.Errorf("no device: %+v", a)
	}
	cfg := config(t, "good")
	cfg.Kernel, cfg.Binary = "/nonexistent", "/bin/false"
	if a := Probe(t.Context(), cfg, discard); a.Name != "tcg" || !strings.Contains(a.Reason, "QEMU ended before a kernel had booted") {
		t.Errorf("boot fails: %+v", a)
	}
	script := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho '[ 0.0] Linux version 6.1'\nexec sleep 100\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg.Binary = script
	if a := Probe(t.Context(), cfg, discard); a.Name != "kvm" || !strings.Contains(a.Reason, "a kernel booted") {
		t.Errorf("boots: %+v", a)
	}
}

func TestCache(t *testing.T) {
	cfg := config(t, "good")
	cfg.CacheFile = filepath.Join(t.TempDir(), "kvm.json")
	first := Probe(t.Context(), cfg, discard)
	cfg.Args = []string{"fails"} // not asked again
	if a := Probe(t.Context(), cfg, discard); a != first || a.Name != "kvm" {
		t.Errorf("cached: %+v", a)
	}
	script := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(script, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg.Binary = script // another QEMU
	if a := Probe(t.Context(), cfg, discard); a.Name != "tcg" {
		t.Errorf("after a change: %+v", a)
	}
	for _, text := range []string{"", "{}", "garbage", `{"key":"x","accel":{"name":"kvm"}}`} {
		if err := os.WriteFile(cfg.CacheFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if a := Probe(t.Context(), cfg, discard); a.Name != "tcg" {
			t.Errorf("cache %q: %+v", text, a)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	os.Remove(cfg.CacheFile)
	Probe(ctx, cfg, discard)
	if _, err := os.Stat(cfg.CacheFile); err == nil {
		t.Error("a cancelled probe was kept")
	}
}

// TestThisHost checks that whatever is found here is consistent with what runs.
func TestThisHost(t *testing.T) {
	begun := time.Now()
	a := Probe(t.Context(), Config{Exe: os.Args[0], Args: []string{"child"}}, discard)
	t.Logf("%s: %s (in %v)", a.Name, a.Reason, time.Since(begun))
	if _, err := os.Stat("/sys/module/kvm_pvm"); err == nil && a.Name != "tcg" {
		t.Errorf("a PVM host is taken for real KVM: %+v", a)
	}
}

func TestHints(t *testing.T) {
	none := func(string) bool { return false }
	if got := hints("flags\t: fpu svm sse\n", none); got != "" {
		t.Errorf("good host: %q", got)
	}
	got := hints("flags\t: fpu sse\n", func(m string) bool { return m == "kvm_pvm" })
	if !strings.Contains(got, "no vmx or svm") || !strings.Contains(got, "kvm_pvm") {
		t.Errorf("bad host: %q", got)
	}
}

func TestNotKVM(t *testing.T) {
	var out bytes.Buffer
	if runGuests("/dev/null", &out) == 0 || !strings.Contains(out.String(), "failed version") {
		t.Errorf("out: %s", out.String())
	}
}

// The kernel's structures have fixed sizes, which are also in the numbers of the calls.
func TestLayout(t *testing.T) {
	if n := unsafe.Sizeof(sregs{}); n != kvmSetSregs>>16&0x3fff {
		t.Errorf("sregs: %d bytes", n)
	}
	if n := unsafe.Sizeof(regs{}); n != kvmSetRegs>>16&0x3fff {
		t.Errorf("regs: %d bytes", n)
	}
}
