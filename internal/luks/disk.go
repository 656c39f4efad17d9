package luks

import (
	"errors"
	"io"
)

// ReadAt implements io.ReaderAt. Beyond the container's end there is io.EOF.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	first := off / sector * sector
	buf := make([]byte, (off+int64(len(p))-first+sector-1)/sector*sector)
	n, err := d.f.ReadAt(buf, d.from+first)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	n -= n % sector
	for at := 0; at < n; at += sector {
		d.c.Decrypt(buf[at:at+sector], buf[at:at+sector], uint64((first+int64(at))/sector))
	}
	done := 0
	if skip := int(off - first); n > skip {
		done = copy(p, buf[skip:n])
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// WriteAt implements io.WriterAt. Parts of sectors are read first: nobody else may write there meanwhile.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	first := off / sector * sector
	buf := make([]byte, (off+int64(len(p))-first+sector-1)/sector*sector)
	for _, edge := range []int64{0, int64(len(buf)) - sector} {
		if _, err := d.ReadAt(buf[edge:edge+sector], first+edge); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
	}
	copy(buf[off-first:], p)
	for at := 0; at < len(buf); at += sector {
		d.c.Encrypt(buf[at:at+sector], buf[at:at+sector], uint64((first+int64(at))/sector))
	}
	if _, err := d.f.WriteAt(buf, d.from+first); err != nil {
		return 0, err
	}
	d.size = max(d.size, first+int64(len(buf)))
	return len(p), nil
}

// Truncate writes zeros from the end of what was written through d up to size: a container's holes are none.
func (d *Disk) Truncate(size int64) error {
	zeros := make([]byte, 1<<20)
	for d.size < size {
		if _, err := d.WriteAt(zeros[:min(int64(len(zeros)), size-d.size)], d.size); err != nil {
			return err
		}
	}
	return nil
}

// Sync makes durable what was written, if the file can.
func (d *Disk) Sync() error {
	if s, ok := d.f.(interface{ Sync() error }); ok {
		return s.Sync()
	}
	return nil
}
