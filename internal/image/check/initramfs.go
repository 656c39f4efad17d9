package check

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// maxUnpacked bounds what an initial ramdisk may become, in bytes.
const maxUnpacked = 1 << 30

// errUnknownPacking says that an initial ramdisk is packed in a way that is not read here.
var errUnknownPacking = errors.New("it is packed in a way that is not read here")

// ramdiskModules gives the names of the kernel modules in an initial ramdisk: cpio archives one after another,
// each packed or not.
func ramdiskModules(data []byte) (map[string]bool, error) {
	modules := map[string]bool{}
	r := bufio.NewReader(bytes.NewReader(data))
	for {
		magic, err := r.Peek(6)
		if len(magic) == 0 {
			return modules, nil
		}
		switch {
		case magic[0] == 0:
			r.Discard(1) // padding between archives
			continue
		case err != nil:
			return modules, err
		case string(magic) == "070701" || string(magic) == "070702":
			if err := archive(r, modules); err != nil {
				return modules, err
			}
			continue
		}
		unpacked, err := unpack(r, magic)
		if err != nil {
			return modules, err
		}
		// What is packed comes last.
		return modules, archive(bufio.NewReader(io.LimitReader(unpacked, maxUnpacked)), modules)
	}
}

func unpack(r io.Reader, magic []byte) (io.Reader, error) {
	switch {
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		return gzip.NewReader(r)
	case bytes.HasPrefix(magic, []byte("\x28\xb5\x2f\xfd")):
		d, err := zstd.NewReader(r, zstd.WithDecoderMaxMemory(256<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return d, nil
	case bytes.HasPrefix(magic, []byte("BZh")):
		return bzip2.NewReader(r), nil
	}
	return nil, errUnknownPacking
}

// archive reads one archive of the "newc" kind to its trailer.
func archive(r *bufio.Reader, modules map[string]bool) error {
	var header [110]byte
	for at := 0; ; {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return fmt.Errorf("read the initial ramdisk: %w", err)
		}
		size, err := strconv.ParseUint(string(header[54:62]), 16, 32)
		if err != nil {
			return fmt.Errorf("read the initial ramdisk: %w", err)
		}
		length, err := strconv.ParseUint(string(header[94:102]), 16, 32)
		if err != nil || length > 4096 {
			return errors.New("read the initial ramdisk: a name is too long")
		}
		name := make([]byte, int(length)+pad(110+int(length)))
		if _, err := io.ReadFull(r, name); err != nil {
			return fmt.Errorf("read the initial ramdisk: %w", err)
		}
		at += 110 + len(name)
		file := string(bytes.TrimRight(name, "\x00"))
		if file == "TRAILER!!!" {
			return nil
		}
		if _, err := r.Discard(int(size) + pad(int(size))); err != nil {
			return fmt.Errorf("read the initial ramdisk: %w", err)
		}
		if m, ok := moduleName(file); ok {
			modules[m] = true
		}
	}
}

func pad(n int) int { return -n & 3 }

// moduleName gives the name of a kernel module's file.
func moduleName(file string) (string, bool) {
	name, _, ok := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_"), ok
}
