package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"karri.dev/internal/compute"
	"karri.dev/internal/compute/kvmprobe"
	"karri.dev/internal/durable"
)

// ProbeCommand is the hidden command by which the program runs the KVM probe's guests in a process of its own.
const ProbeCommand = "__kvm-probe"

// findAccel says how machines run here: as the operator says, or as the probe finds.
func findAccel(ctx context.Context, dir, wanted string, log *slog.Logger) (compute.Accel, error) {
	switch wanted {
	case "kvm", "tcg":
		return compute.Accel{Name: wanted, Reason: "by configuration"}, nil
	case "":
	default:
		return compute.Accel{}, fmt.Errorf("--accel: want kvm or tcg, not %q", wanted)
	}
	exe, err := os.Executable()
	if err != nil {
		return compute.Accel{}, err
	}
	return kvmprobe.Probe(ctx, kvmprobe.Config{Exe: exe, Args: []string{ProbeCommand}, CacheFile: under(dir, "kvm-probe.json")}, log), nil
}

// The node's id is kept beside its engines' directories, so that `karri down` finds what belongs to it.
func writeID(dir, id string) error {
	return durable.WriteFile(under(dir, "id"), []byte(id+"\n"), 0o600)
}

func readID(dir string) (string, error) {
	data, err := os.ReadFile(under(dir, "id"))
	if os.IsNotExist(err) {
		return "", nil
	}
	return strings.TrimSpace(string(data)), err
}
