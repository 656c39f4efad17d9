package importmanifest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// good is as ec2-import-volume writes it.
const good = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<manifest><version>2010-11-15</version><file-format>VMDK</file-format>
<importer><name>ec2-upload-disk-image</name><version>1.0.0</version><release>2010-11-15</release></importer>
<self-destruct-url>https://s3/disks/manifest.xml?Signature=x</self-destruct-url>
<import><size>15</size><volume-size>8</volume-size><parts count="2">
<part index="0"><byte-range start="0" end="9"/><key>d/disk.part0</key><head-url>https://x</head-url><get-url>http://169.254.169.254/</get-url><delete-url>https://x</delete-url></part>
<part index="1"><byte-range start="10" end="14"/><key>d/disk.part1</key></part>
</parts></import></manifest>`

func TestParse(t *testing.T) {
	m, err := Parse([]byte(good))
	if err != nil || m.Format != "vmdk" || m.Size != 15 || m.VolumeGiB != 8 || len(m.Parts) != 2 || m.Parts[1] != (Part{"d/disk.part1", 5}) {
		t.Fatalf("%+v %v", m, err)
	}
	for name, change := range map[string][2]string{
		"no XML":      {"<manifest>", "<manifest"},
		"another":     {"manifest>", "x>"},
		"version":     {"2010-11-15</version><file", "2011-11-15</version><file"},
		"a gap":       {`start="10"`, `start="11"`},
		"overlap":     {`start="10"`, `start="9"`},
		"too short":   {`end="14"`, `end="13"`},
		"too long":    {`end="14"`, `end="15"`},
		"backwards":   {`end="9"`, `end="-1"`},
		"overflow":    {`end="14"`, `end="9223372036854775807"`},
		"no key":      {"<key>d/disk.part1</key>", ""},
		"count":       {`count="2"`, `count="3"`},
		"order":       {`index="1"`, `index="0"`},
		"no size":     {"<size>15", "<size>0"},
		"huge number": {"<size>15", "<size>99999999999999999999"},
	} {
		var bad *Invalid
		if _, err := Parse([]byte(strings.ReplaceAll(good, change[0], change[1]))); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Documents that are meant to cost whoever reads them.
func TestBombs(t *testing.T) {
	entities := `<!DOCTYPE manifest [<!ENTITY a0 "x">`
	for i := range 30 {
		entities += fmt.Sprintf(`<!ENTITY a%d "&a%d;&a%d;">`, i+1, i, i)
	}
	for name, doc := range map[string]string{
		"entities":        entities + "]>" + strings.Replace(good, "2010-11-15", "&a30;", 1),
		"external entity": `<!DOCTYPE manifest [<!ENTITY a SYSTEM "file:///etc/passwd">]>` + strings.Replace(good, "2010-11-15", "&a;", 1),
		"deep":            strings.Repeat("<manifest>", MaxBytes/10),
		"deep inside":     "<manifest><version>2010-11-15</version>" + strings.Repeat("<a>", MaxBytes/4),
		"large":           good + strings.Repeat(" ", MaxBytes),
		"many parts":      strings.Replace(good, "</parts>", strings.Repeat(`<part index="2"/>`, 20000)+"</parts>", 1),
	} {
		var bad *Invalid
		if _, err := Parse([]byte(doc)); !errors.As(err, &bad) || len(bad.Reason) > 400 {
			t.Errorf("%s: %.500v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Parse(raw)
		if err != nil {
			return
		}
		sum := int64(0)
		for _, p := range m.Parts {
			if p.Size <= 0 {
				t.Fatalf("%+v", m)
			}
			sum += p.Size
		}
		if sum != m.Size {
			t.Fatalf("%+v", m)
		}
	})
}
