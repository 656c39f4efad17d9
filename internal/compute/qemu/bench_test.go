package qemu

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/compute/computetest"
)

// BenchmarkUserland compares the time from Start to a guest's first line with that of a bare QEMU with plain
// flags, run by turns. On a busy host the ratio of CPU seconds says more than that of the wall's.
//
//	go test -run '^$' -bench Userland -benchtime 10x ./internal/compute/qemu
func BenchmarkUserland(b *testing.B) {
	kernel, ramdisk := computetest.Guest(b)
	m := guest(kernel, ramdisk, id, computetest.Deaf)
	m.MemoryMiB = 256
	d := open(b, b.TempDir())
	defer cleanup(b, d)
	ours, bare := best{math.Inf(1), math.Inf(1)}, best{math.Inf(1), math.Inf(1)}
	started := math.Inf(1)
	for b.Loop() {
		begun := time.Now()
		if err := d.Start(b.Context(), m, nil); err != nil {
			b.Fatal(err)
		}
		started = min(started, time.Since(begun).Seconds())
		computetest.AwaitConsole(b, d, id, computetest.Up)
		ours.add(begun, computetest.StatusOf(b, d, id).PID)
		if err := d.Remove(b.Context(), id); err != nil {
			b.Fatal(err)
		}
		bareRun(b, m, &bare)
	}
	b.ReportMetric(ours.wall, "s/karri")
	b.ReportMetric(bare.wall, "s/bare")
	b.ReportMetric(ours.wall/bare.wall, "ratio")
	b.ReportMetric(ours.cpu/bare.cpu, "cpu-ratio")
	b.ReportMetric(started*1000, "ms/Start")
}

// best is the shortest wall and CPU time, in seconds.
type best struct{ wall, cpu float64 }

func (x *best) add(begun time.Time, pid int) {
	x.wall = min(x.wall, time.Since(begun).Seconds())
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	user, _ := strconv.Atoi(string(fields[11]))
	system, _ := strconv.Atoi(string(fields[12]))
	x.cpu = min(x.cpu, float64(user+system)/100)
}

func bareRun(b *testing.B, m compute.Machine, result *best) {
	c := exec.Command("qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-display", "none", "-serial", "stdio",
		"-kernel", m.Kernel, "-initrd", m.Ramdisk, "-append", m.CommandLine)
	begun := time.Now()
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	var seen []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(seen, []byte(computetest.Up)) {
		n, err := out.Read(buf)
		if err != nil && err != io.EOF {
			b.Fatal(err)
		}
		seen = append(seen, buf[:n]...)
	}
	result.add(begun, c.Process.Pid)
	c.Process.Kill()
	c.Wait()
}
