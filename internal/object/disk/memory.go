package disk

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2/vfs"
)

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

// carefulFS makes Write leave its argument alone, as os.File does and vfs.File need not: a buffer is written
// while its digest is computed.
type carefulFS struct{ vfs.FS }

func (f carefulFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	return carefulFile{file}, nil
}

type carefulFile struct{ vfs.File }

func (f carefulFile) Write(p []byte) (int, error) { return f.File.Write(bytes.Clone(p)) }
