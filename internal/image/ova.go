package image

import (
	"archive/tar"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
)

// Limits of an OVA: members looked at, disks, and the OVF document's bytes.
const (
	ovaMembers = 1000
	ovaDisks   = 20
	ovfBytes   = 1 << 20
)

// member is a file in the archive, stored as it is.
type member struct{ offset, size int64 }

// inspectOVA finds the disks of an OVA, in the OVF's order. They are read where they lie in the archive.
func inspectOVA(f file, maxSize int64) ([]Info, error) {
	members, document, err := ovaList(f)
	if err != nil {
		return nil, err
	}
	disks, err := ovfDisks(document)
	if err != nil {
		return nil, err
	}
	var out []Info
	total := uint64(0)
	for _, href := range disks {
		m, ok := members[href]
		if !ok {
			return nil, invalid("the archive has no file %.100q, which the OVF names", href)
		}
		var format Format
		switch strings.ToLower(path.Ext(href)) {
		case ".vmdk":
			format = VMDK
		case ".vhd":
			format = VHD
		case ".vhdx":
			format = VHDX
		case ".qcow2":
			format = QCOW2
		case ".img", ".raw":
			format = Raw
		default:
			return nil, invalid("the disk %.100q of the OVF has no known format", href)
		}
		info, err := Inspect(io.NewSectionReader(f.r, m.offset, m.size), m.size, format, maxSize)
		if err != nil {
			return nil, err
		}
		if total += uint64(info.VirtualSize); total > uint64(maxSize) {
			return nil, tooLarge(total, maxSize)
		}
		info.Offset = m.offset
		out = append(out, info)
	}
	return out, nil
}

func ovaList(f file) (members map[string]member, document []byte, err error) {
	s := io.NewSectionReader(f.r, 0, f.size)
	r := tar.NewReader(s)
	members = map[string]member{}
	for {
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF) && document != nil:
			return members, document, nil
		case errors.Is(err, io.EOF):
			return nil, nil, invalid("OVF file parsing error: the archive has no OVF document")
		case err != nil && len(members) == 0:
			return nil, nil, invalid("the file is not an OVA archive")
		case err != nil:
			return nil, nil, invalid("the archive is damaged or cut off")
		}
		if len(members) == ovaMembers {
			return nil, nil, invalid("the archive has more than %d files", ovaMembers)
		}
		if h.Typeflag != tar.TypeReg {
			continue // links lead nowhere here: only files in the archive count
		}
		for k := range h.PAXRecords {
			if strings.HasPrefix(k, "GNU.sparse") {
				return nil, nil, invalid("the archive has sparse files")
			}
		}
		// The reader has read just the header's blocks: the data is where it stands.
		at, err := s.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, nil, err
		}
		if h.Size > f.size-at {
			return nil, nil, invalid("the archive is cut off in %.100q", h.Name)
		}
		name := path.Clean(h.Name)
		if _, twice := members[name]; twice {
			return nil, nil, invalid("the archive has %.100q twice", name)
		}
		members[name] = member{at, h.Size}
		if strings.EqualFold(path.Ext(name), ".ovf") {
			if document != nil || h.Size > ovfBytes {
				return nil, nil, invalid("OVF file parsing error: several OVF documents, or a huge one")
			}
			if document, err = io.ReadAll(r); err != nil {
				return nil, nil, err
			}
		}
	}
}

// ovfDisks gives the files of the document's disks.
func ovfDisks(document []byte) (hrefs []string, err error) {
	type file struct {
		Href        string `xml:"href,attr"`
		ID          string `xml:"id,attr"`
		Compression string `xml:"compression,attr"`
		ChunkSize   string `xml:"chunkSize,attr"`
	}
	var envelope struct {
		Files []file `xml:"References>File"`
		Disks []struct {
			FileRef string `xml:"fileRef,attr"`
			Parent  string `xml:"parentRef,attr"`
		} `xml:"DiskSection>Disk"`
	}
	if err := xml.NewDecoder(bytes.NewReader(document)).Decode(&envelope); err != nil {
		return nil, invalid("OVF file parsing error: %.200s", err)
	}
	if n := len(envelope.Disks); n < 1 || n > ovaDisks {
		return nil, invalid("the OVF has %d disks: from 1 to %d are supported", n, ovaDisks)
	}
	for _, disk := range envelope.Disks {
		if disk.Parent != "" {
			return nil, invalid("the OVF's disk has a parent")
		}
		at := slices.IndexFunc(envelope.Files, func(f file) bool { return f.ID == disk.FileRef })
		if at < 0 {
			return nil, invalid("the OVF names no file for its disk")
		}
		f := envelope.Files[at]
		if f.Compression != "" && f.Compression != "identity" || f.ChunkSize != "" {
			return nil, invalid("the OVF's disk is compressed or in pieces")
		}
		href := path.Clean(f.Href)
		if slices.Contains(hrefs, href) {
			return nil, invalid("the OVF has the disk %.100q twice", href)
		}
		hrefs = append(hrefs, href)
	}
	return hrefs, nil
}
