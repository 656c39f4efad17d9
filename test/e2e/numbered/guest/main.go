// Command guest is what a guest runs on a numbered disk: "write DISK LAST…" writes on after the last write of each
// stream, "read DISK" gives the slots of all streams, "measure DISK SECONDS" says how fast the disk is, and "sync DISK N" makes
// so many synced writes.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"time"

	"karri.dev/test/e2e/numbered"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "numbered:", err)
		os.Exit(1)
	}
}

func run(what, path string, args []string) error {
	if what == "read" {
		disk, err := numbered.Direct(path)
		if err != nil {
			return err
		}
		defer disk.Close()
		out := bufio.NewWriterSize(os.Stdout, 1<<20)
		if err := numbered.Dump(disk, out); err != nil {
			return err
		}
		return out.Flush()
	}
	if what == "measure" || what == "sync" {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		if what == "sync" {
			return numbered.Sync(path, n, os.Stdout)
		}
		return numbered.Measure(path, time.Duration(n)*time.Second, os.Stdout)
	}
	var last numbered.Numbers
	for i := range last {
		n, err := strconv.ParseUint(args[i], 10, 64)
		if err != nil {
			return err
		}
		last[i] = n
	}
	disk, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer disk.Close()
	return numbered.Write(disk, last, os.Stdout)
}
