package disk

import "github.com/cockroachdb/pebble/v2/vfs"

// memoryDisk is how large a file system in memory says it is, in bytes.
const memoryDisk = 1 << 40

// InMemory gives a file system in memory, for simulations and tests: the engine on it is the same but forgets
// everything with its process.
func InMemory() vfs.FS { return memoryFS{vfs.NewMem()} }

// memoryFS is a vfs.MemFS that knows how much space there is.
type memoryFS struct{ vfs.FS }

func (memoryFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: memoryDisk, TotalBytes: memoryDisk}, nil
}
