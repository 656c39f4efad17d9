package qemu

import (
	"log/slog"
	"os/exec"
	"syscall"
	"testing"

	"karri.dev/internal/compute"
	"karri.dev/internal/compute/computetest"
)

func open(t testing.TB, dir string) *Driver {
	t.Helper()
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("needs qemu-system-x86")
	}
	d, err := New(Config{Dir: dir}, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func guest(kernel, ramdisk, id string, b computetest.Behaviour) compute.Machine {
	return compute.Machine{
		ID: id, UUID: "ec2d4a71-05c4-4f22-8bd1-6e3a1a2b3c4d", Type: "t3.nano", VCPUs: 1, MemoryMiB: 128,
		Kernel: kernel, Ramdisk: ramdisk, CommandLine: "console=ttyS0 quiet panic=-1 karri.do=" + string(b),
	}
}

func kill(t *testing.T, d compute.Driver, id string) {
	t.Helper()
	if err := syscall.Kill(computetest.StatusOf(t, d, id).PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestContract(t *testing.T) {
	kernel, ramdisk := computetest.Guest(t)
	computetest.Run(t, computetest.Harness{
		Open: func(t *testing.T, dir string) compute.Driver { return open(t, dir) },
		Machine: func(_ *testing.T, id string, b computetest.Behaviour) compute.Machine {
			return guest(kernel, ramdisk, id, b)
		},
		Crash:    kill,
		Parallel: true,
	})
}
