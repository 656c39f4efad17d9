// Package importmanifest reads the manifests of ImportVolume and ImportInstance: a disk image's file in parts, as the
// EC2 API tools and euca2ools wrote them. What a manifest says is its writer's word: the keys in it are names, which
// whoever uses them must be allowed to read. The presigned URLs beside the keys are never followed.
package importmanifest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

// MaxBytes bounds a manifest. Each of its parts takes about 2 KB, nearly all of it signatures.
const MaxBytes = 8 << 20

const maxParts = 10_000

// Invalid says what is wrong with a manifest, in words for its owner.
type Invalid struct{ Reason string }

func (e *Invalid) Error() string { return e.Reason }

func invalid(format string, args ...any) error { return &Invalid{fmt.Sprintf(format, args...)} }

// Manifest is a disk image in parts, which lie in the manifest's bucket.
type Manifest struct {
	Format    string // lower case
	Size      int64  // bytes of the image's file
	VolumeGiB int64
	Parts     []Part // in order, without gaps
}

// Part is a piece of the file.
type Part struct {
	Key  string
	Size int64
}

// Parse reads a manifest.
func Parse(raw []byte) (*Manifest, error) {
	var m struct {
		XMLName xml.Name `xml:"manifest"`
		Version string   `xml:"version"`
		Format  string   `xml:"file-format"`
		Import  struct {
			Size   int64 `xml:"size"`
			Volume int64 `xml:"volume-size"`
			Parts  struct {
				Count int `xml:"count,attr"`
				List  []struct {
					Index int `xml:"index,attr"`
					Range struct {
						Start int64 `xml:"start,attr"`
						End   int64 `xml:"end,attr"`
					} `xml:"byte-range"`
					Key string `xml:"key"`
				} `xml:"part"`
			} `xml:"parts"`
		} `xml:"import"`
	}
	if len(raw) > MaxBytes {
		return nil, invalid("the manifest has more than %d MiB", MaxBytes>>20)
	}
	if err := xml.NewDecoder(bytes.NewReader(raw)).Decode(&m); err != nil {
		return nil, invalid("the manifest cannot be read: %.200s", err)
	}
	parts := m.Import.Parts.List
	switch {
	case m.Version != "2010-11-15":
		return nil, invalid("the manifest's version is %.40q, not 2010-11-15", m.Version)
	case m.Import.Size <= 0:
		return nil, invalid("the manifest gives the image %d bytes", m.Import.Size)
	case len(parts) == 0 || len(parts) > maxParts || m.Import.Parts.Count != len(parts):
		return nil, invalid("the manifest has %d parts, and says %d", len(parts), m.Import.Parts.Count)
	}
	out := &Manifest{Format: strings.ToLower(m.Format), Size: m.Import.Size, VolumeGiB: m.Import.Volume}
	at := int64(0)
	for i, p := range parts {
		if p.Index != i || p.Range.Start != at || p.Range.End < at || p.Range.End >= out.Size || p.Key == "" || len(p.Key) > 1024 {
			return nil, invalid("part %d of the manifest is not what comes after byte %d", i, at)
		}
		out.Parts = append(out.Parts, Part{p.Key, p.Range.End + 1 - at})
		at = p.Range.End + 1
	}
	if at != out.Size {
		return nil, invalid("the manifest's parts end at byte %d of %d", at, out.Size)
	}
	return out, nil
}
