// Package kvmprobe finds out whether KVM really runs guests here. /dev/kvm can open, make machines and even
// run simple ones, and still fail on what every kernel does (nested clouds, PVM hosts). So small guests
// that do such things are run in a child process under a time limit, and then, where a kernel is at hand, one is
// booted by QEMU. The answer comes with its reason in words, and is kept until the host or QEMU changes.
package kvmprobe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/durable"
)

// Config says what to probe with.
type Config struct {
	// Exe and Args run a program that calls ChildMain: our own, with a hidden subcommand. Required.
	Exe  string
	Args []string
	// CacheFile keeps the answer; "" = none.
	CacheFile string
	Binary    string // QEMU's, default qemu-system-x86_64
	// Kernel and Ramdisk are booted as the last step when all before went well; "" = not. Marker is what
	// the guest's serial console must say, default the kernel's own first words.
	Kernel, Ramdisk, Marker string

	Device       string        // default /dev/kvm
	GuestTimeout time.Duration // of all small guests together, default 900 ms
	BootTimeout  time.Duration // default 10 s; real KVM needs a tenth
}

// Probe answers "kvm" or "tcg", and why. It never fails: what cannot be found out is a reason for TCG.
func Probe(ctx context.Context, cfg Config, log *slog.Logger) compute.Accel {
	if cfg.Binary == "" {
		cfg.Binary = "qemu-system-x86_64"
	}
	if cfg.Marker == "" {
		cfg.Marker = "Linux version"
	}
	if cfg.Device == "" {
		cfg.Device = "/dev/kvm"
	}
	if cfg.GuestTimeout == 0 {
		cfg.GuestTimeout = 900 * time.Millisecond
	}
	if cfg.BootTimeout == 0 {
		cfg.BootTimeout = 10 * time.Second
	}
	key := cacheKey(cfg)
	if a, ok := cached(cfg.CacheFile, key); ok {
		return a
	}
	a := compute.Accel{Name: "kvm"}
	words, err := probe(ctx, cfg)
	a.Reason = words
	if err != nil {
		a = compute.Accel{Name: "tcg", Reason: err.Error()}
	}
	if ctx.Err() == nil { // else it says nothing of the host
		if err := remember(cfg.CacheFile, key, a); err != nil {
			log.Warn("KVM probe not kept", "err", err)
		}
	}
	return a
}

// probe gives words for KVM, or an error that says why not.
func probe(ctx context.Context, cfg Config) (string, error) {
	f, err := os.OpenFile(cfg.Device, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("there is no %s", cfg.Device)
	}
	if err != nil {
		return "", fmt.Errorf("%s cannot be opened: %w", cfg.Device, err)
	}
	f.Close()
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	hint := hints(string(cpuinfo), func(module string) bool {
		_, err := os.Stat("/sys/module/" + module)
		return err == nil
	})
	if err := smallGuests(ctx, cfg); err != nil {
		if hint != "" {
			return "", fmt.Errorf("%s is there, but %w (%s)", cfg.Device, err, hint)
		}
		return "", fmt.Errorf("%s is there, but %w", cfg.Device, err)
	}
	if cfg.Kernel == "" {
		return "small guests ran; no kernel was at hand to boot", nil
	}
	took, err := boot(ctx, cfg)
	if err != nil {
		return "", fmt.Errorf("small guests ran under KVM, but %w", err)
	}
	return fmt.Sprintf("small guests ran and a kernel booted in %d ms", took.Milliseconds()), nil
}

// hints says in words what makes KVM unlikely. It does not decide.
func hints(cpuinfo string, loaded func(module string) bool) string {
	var words []string
	flags := false
	for line := range strings.Lines(cpuinfo) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "flags" {
			for _, f := range strings.Fields(value) {
				flags = flags || f == "vmx" || f == "svm"
			}
			break
		}
	}
	if !flags {
		words = append(words, "the processor shows no vmx or svm")
	}
	if loaded("kvm_pvm") && !loaded("kvm_intel") && !loaded("kvm_amd") {
		words = append(words, "KVM here is kvm_pvm, without kvm_intel or kvm_amd")
	}
	return strings.Join(words, "; ")
}

// smallGuests runs the child. One that hangs in the kernel is killed and, should even that not end it, left.
func smallGuests(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.GuestTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, cfg.Exe, cfg.Args...)
	c.Env = append(os.Environ(), deviceEnv+cfg.Device)
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("no guest was run: %w", err)
	}
	defer r.Close()
	c.Stdout = w
	if err := c.Start(); err != nil {
		w.Close()
		return fmt.Errorf("no guest was run: %w", err)
	}
	w.Close()
	go c.Wait() // ends with the child, whenever that is
	stop := context.AfterFunc(ctx, func() { r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	return judge(r, ctx)
}

// judge reads what the child says: "run NAME" before each guest, "failed WORDS", and "done" at the end.
func judge(r io.Reader, ctx context.Context) error {
	at := "starting"
	lines := bufio.NewScanner(io.LimitReader(r, 64<<10))
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "run":
			at = rest
		case "failed":
			return fmt.Errorf("a small guest failed: %s: %s", at, rest)
		case "done":
			return nil
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("a small guest did not end in time: %s", at)
	}
	return fmt.Errorf("the process of a small guest died: %s", at)
}

// boot boots the kernel with QEMU until the marker is seen.
func boot(ctx context.Context, cfg Config) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.BootTimeout)
	defer cancel()
	begun := time.Now()
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "256M",
		"-no-reboot", "-serial", "stdio", "-kernel", cfg.Kernel, "-append", "console=ttyS0 panic=-1",
	}
	if cfg.Ramdisk != "" {
		args = append(args, "-initrd", cfg.Ramdisk)
	}
	c := exec.CommandContext(ctx, cfg.Binary, args...)
	var complaints bytes.Buffer
	c.Stderr = &complaints
	c.WaitDelay = time.Second
	out, err := c.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("QEMU was not run: %w", err)
	}
	if err := c.Start(); err != nil {
		return 0, fmt.Errorf("QEMU was not run: %w", err)
	}
	seen := false
	lines := bufio.NewScanner(io.LimitReader(out, 1<<20))
	for !seen && lines.Scan() {
		seen = strings.Contains(lines.Text(), cfg.Marker)
	}
	took := time.Since(begun)
	late := ctx.Err() != nil
	cancel()
	c.Wait()
	switch said := strings.TrimSpace(complaints.String()); {
	case seen:
		return took, nil
	case late:
		return 0, fmt.Errorf("a kernel did not boot within %v", cfg.BootTimeout)
	default:
		return 0, fmt.Errorf("QEMU ended before a kernel had booted: %.200s", said)
	}
}

// answer is what is kept.
type answer struct {
	Key   string        `json:"key"`
	Accel compute.Accel `json:"accel"`
}

// cacheKey changes with the boot, with QEMU, with the device's rights and with what is probed.
func cacheKey(cfg Config) string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	parts := []string{strings.TrimSpace(string(boot)), cfg.Kernel}
	binary, _ := exec.LookPath(cfg.Binary)
	for _, file := range []string{binary, cfg.Device} {
		if fi, err := os.Stat(file); err == nil && fi.Mode().IsRegular() {
			// In place of its version: asking QEMU costs tens of milliseconds and says less.
			parts = append(parts, fmt.Sprintf("%s %d %d", file, fi.Size(), fi.ModTime().UnixNano()))
		} else if err == nil {
			parts = append(parts, file+" "+fi.Mode().String())
		}
	}
	return strings.Join(parts, "\n")
}

func cached(file, key string) (compute.Accel, bool) {
	data, err := os.ReadFile(file)
	if err != nil || key == "" {
		return compute.Accel{}, false
	}
	var a answer
	if json.Unmarshal(data, &a) != nil || a.Key != key || a.Accel.Name != "kvm" && a.Accel.Name != "tcg" {
		return compute.Accel{}, false
	}
	return a.Accel, true
}

func remember(file, key string, a compute.Accel) error {
	if file == "" || key == "" {
		return nil
	}
	data, err := json.MarshalIndent(answer{key, a}, "", "\t")
	if err != nil {
		return err
	}
	return durable.WriteFile(file, data, 0o600)
}
