package kvmprobe

import (
	"fmt"
	"io"
	"os"
	"runtime"
)

const deviceEnv = "KARRI_KVM_DEVICE="

// ChildMain runs the small guests and says on standard output how they did; it is for a process of its own,
// which may hang or die with them. The result is the exit status.
func ChildMain() int {
	device := os.Getenv(deviceEnv[:len(deviceEnv)-1])
	if device == "" {
		device = "/dev/kvm"
	}
	return runGuests(device, os.Stdout)
}

func runGuests(device string, out io.Writer) int {
	runtime.LockOSThread() // KVM wants a processor's calls from one thread
	for _, g := range guests {
		fmt.Fprintf(out, "run %s\n", g.name)
		if err := g.run(device); err != nil {
			fmt.Fprintf(out, "failed %v\n", err)
			return 1
		}
	}
	fmt.Fprintln(out, "done")
	return 0
}
