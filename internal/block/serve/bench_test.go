package serve

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// BenchmarkAgainstFile compares QEMU on a volume that is served (TLS over loopback, through a socket as a node's
// driver has it) with QEMU on the file itself: the ratio of their times. No guest is in between.
func BenchmarkAgainstFile(b *testing.B) {
	for _, x := range []struct {
		name string
		args []string
	}{
		{"read 1M", []string{"-c", "400", "-s", "1M", "-d", "8"}},
		{"read 4k", []string{"-c", "4000", "-s", "4096", "-d", "8"}},
		{"write 4k flushed", []string{"-w", "--flush-interval=1", "-c", "400", "-s", "4096", "-d", "1"}},
	} {
		b.Run(x.name, func(b *testing.B) {
			r := newRig(b)
			if err := os.WriteFile(r.path, make([]byte, 512<<20), 0o600); err != nil {
				b.Fatal(err)
			}
			r.s.Set(r.grant("node-a"))
			socket := r.as(node("node-a"))
			var file, served time.Duration
			run := func(image string) time.Duration {
				began := time.Now()
				args := append([]string{"bench", "-t", "writeback", "--image-opts"}, x.args...)
				if out, err := exec.Command("qemu-img", append(args, image)...).CombinedOutput(); err != nil {
					b.Fatalf("%v %s", err, out)
				}
				return time.Since(began)
			}
			for b.Loop() {
				served += run("driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=" + socket + ",file.export=" + vol)
				r.s.Set(nil)
				file += run("driver=raw,file.driver=file,file.filename=" + r.path)
				r.s.Set(r.grant("node-a"))
			}
			b.ReportMetric(file.Seconds()/served.Seconds(), "of-file-speed")
		})
	}
}
