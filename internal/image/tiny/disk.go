package tiny

import (
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// The disk: sector 0 boot code and partition table; then, in the gap before the first partition, the kernel's
// setup code with the command line, the kernel, the ramdisk; then one ext4 partition that keeps what the guest
// writes.
const (
	sector     = 512
	stateStart = 24 << 20 // bytes
	stateSize  = 32 << 20
	stateLabel = "karri-state"

	// Where the boot code puts things in the guest's memory; see boot.S.
	setupAddress   = 0x10000
	commandAddress = 0x1e000
	kernelAddress  = 0x100000
)

//go:generate sh -c "as --32 boot.S -o /tmp/boot.o && ld -m elf_i386 -Ttext 0x7c00 --oformat binary /tmp/boot.o -o boot.bin"

// bootCode is boot.S assembled; its extents are at extentsOffset.
//
//go:embed boot.bin
var bootCode []byte

const extentsOffset = 0x180

func writeDisk(ctx context.Context, f *os.File, kernel, ramdisk []byte) error {
	if err := f.Truncate(stateStart + stateSize); err != nil {
		return err
	}
	boot, err := bootArea(kernel, ramdisk)
	if err != nil {
		return err
	}
	if len(boot) > stateStart {
		return fmt.Errorf("kernel and ramdisk need %d bytes, there is room for %d", len(boot), stateStart)
	}
	if _, err := f.WriteAt(boot, 0); err != nil {
		return err
	}
	// A fixed UUID and hash seed keep the image the same; times are those of the epoch.
	cmd := exec.CommandContext(ctx, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-L", stateLabel,
		"-U", "6b617272-692d-7469-6e79-000000000001",
		"-O", "^resize_inode,^metadata_csum,^64bit", "-J", "size=4",
		"-E", fmt.Sprintf("offset=%d,lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0,hash_seed=6b617272-692d-7469-6e79-000000000002", stateStart),
		f.Name(), fmt.Sprint(stateSize/4096))
	cmd.Env = append(os.Environ(), "LC_ALL=C", "E2FSPROGS_FAKE_TIME=1", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mke2fs: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// bootArea gives the disk's first sectors: boot code, partition table, kernel and ramdisk.
func bootArea(kernel, ramdisk []byte) ([]byte, error) {
	setup, body, err := splitKernel(kernel)
	if err != nil {
		return nil, fmt.Errorf("kernel: %w", err)
	}
	le := binary.LittleEndian

	// The setup zone is read in one piece and holds the command line at its end.
	zone := make([]byte, commandAddress-setupAddress+sector)
	copy(zone, setup)
	copy(zone[commandAddress-setupAddress:], CommandLine+"\x00")
	ramdiskAddress := alignUp(le.Uint64(zone[0x258:])+uint64(le.Uint32(zone[0x260:])), 1<<20)
	if ramdiskAddress > 1<<30 {
		return nil, errors.New("it wants to be loaded too high")
	}
	zone[0x210] = 0xff // boot loader: none that has a number
	zone[0x211] |= 0x80
	le.PutUint32(zone[0x218:], uint32(ramdiskAddress))
	le.PutUint32(zone[0x21c:], uint32(len(ramdisk)))
	le.PutUint16(zone[0x224:], commandAddress-setupAddress-0x200) // end of the heap
	le.PutUint32(zone[0x228:], commandAddress)

	disk := make([]byte, sector)
	copy(disk, bootCode)
	at := extentsOffset
	for _, x := range []struct {
		data    []byte
		address uint32
	}{{zone, setupAddress}, {body, kernelAddress}, {ramdisk, uint32(ramdiskAddress)}} {
		le.PutUint32(disk[at:], uint32(len(disk)/sector))
		disk = append(disk, x.data...)
		disk = append(disk, make([]byte, -len(disk)&(sector-1))...)
		le.PutUint32(disk[at+4:], uint32(len(disk)/sector)-le.Uint32(disk[at:]))
		le.PutUint32(disk[at+8:], x.address)
		at += 12
	}

	le.PutUint32(disk[0x1b8:], 0x6b617272) // disk signature
	p := disk[0x1be:]
	p[0] = 0x80
	copy(p[1:], []byte{0xfe, 0xff, 0xff}) // CHS: see LBA
	p[4] = 0x83
	copy(p[5:], []byte{0xfe, 0xff, 0xff})
	le.PutUint32(p[8:], stateStart/sector)
	le.PutUint32(p[12:], stateSize/sector)
	disk[0x1fe], disk[0x1ff] = 0x55, 0xaa
	return disk, nil
}

// splitKernel divides a bzImage into its real-mode setup code and the rest.
func splitKernel(kernel []byte) (setup, body []byte, err error) {
	if len(kernel) < 0x400 || string(kernel[0x202:0x206]) != "HdrS" {
		return nil, nil, errors.New("not a bzImage")
	}
	if v := binary.LittleEndian.Uint16(kernel[0x206:]); v < 0x20a {
		return nil, nil, fmt.Errorf("boot protocol %#x is too old", v)
	}
	n := (int(kernel[0x1f1]) + 1) * sector
	if n > commandAddress-setupAddress-0x4000 || n > len(kernel) {
		return nil, nil, fmt.Errorf("setup code of %d bytes", n)
	}
	return kernel[:n], kernel[n:], nil
}

func alignUp(n, to uint64) uint64 { return (n + to - 1) / to * to }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
