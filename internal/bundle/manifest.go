// Package bundle reads and writes bundles: the form in which EC2's first tools brought images into a cloud. An
// image is a tar stream, compressed, encrypted and cut into parts; a signed manifest names the parts with their
// digests and holds the key, once for the cloud and once for the user. Nothing here opens a file or speaks to a
// network, and whatever is read is taken for hostile.
package bundle

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"regexp"
	"strings"
)

// Limits on what is taken.
const (
	MaxManifest = 4 << 20 // bytes
	MaxParts    = 20000
	PartSize    = 10 << 20 // of every part but the last, as the tools cut them
	version     = "2007-10-10"
)

// Invalid says what is wrong with somebody's bundle; Reason is shown to its owner.
type Invalid struct{ Reason string }

func (e *Invalid) Error() string { return e.Reason }

func invalid(format string, args ...any) error { return &Invalid{fmt.Sprintf(format, args...)} }

// Kinds of images.
const (
	Machine = "machine"
	Kernel  = "kernel"
	Ramdisk = "ramdisk"
)

// Mapping is a virtual device of a block device mapping.
type Mapping struct {
	Virtual string `xml:"virtual"`
	Device  string `xml:"device"`
}

// Part is one part of a bundle.
type Part struct {
	Name   string // a plain file name
	Digest string // SHA-1, hex
}

// Manifest is a bundle's manifest.
type Manifest struct {
	Architecture       string
	KernelID           string // "" = none; of a kernel itself the word "true" stands here on the wire
	RamdiskID          string
	Mappings           []Mapping
	ProductCodes       []string
	Name, User, Kind   string
	Digest             string // SHA-1 of the tar stream, hex
	Size, BundledSize  int64  // of the image, and of all parts together; bytes
	CloudKey, CloudIV  []byte // encrypted
	UserKey, UserIV    []byte // encrypted
	Parts              []Part
	signed, signature  []byte
	BundlerName, Tools string // who made it
}

type machineXML struct {
	XMLName      xml.Name  `xml:"machine_configuration"`
	Architecture string    `xml:"architecture"`
	KernelID     string    `xml:"kernel_id,omitempty"`
	RamdiskID    string    `xml:"ramdisk_id,omitempty"`
	Mappings     []Mapping `xml:"block_device_mapping>mapping"`
	ProductCodes []string  `xml:"product_codes>product_code"`
}

type textXML struct {
	Algorithm string `xml:"algorithm,attr"`
	Text      string `xml:",chardata"`
}

type partXML struct {
	Index    int     `xml:"index,attr"`
	Filename string  `xml:"filename"`
	Digest   textXML `xml:"digest"`
}

type imageXML struct {
	XMLName     xml.Name `xml:"image"`
	Name        string   `xml:"name"`
	User        string   `xml:"user"`
	Type        string   `xml:"type"`
	Digest      textXML  `xml:"digest"`
	Size        int64    `xml:"size"`
	BundledSize int64    `xml:"bundled_size"`
	CloudKey    textXML  `xml:"ec2_encrypted_key"`
	UserKey     textXML  `xml:"user_encrypted_key"`
	CloudIV     string   `xml:"ec2_encrypted_iv"`
	UserIV      string   `xml:"user_encrypted_iv"`
	Parts       struct {
		Count int       `xml:"count,attr"`
		Part  []partXML `xml:"part"`
	} `xml:"parts"`
}

var (
	partName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._ +@=,-]{0,254}$`)
	hexDigest = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// ValidName says whether an image can be bundled under a name.
func ValidName(name string) bool { return partName.MatchString(name + ".part.0") }

// Parse reads a manifest. What is signed is read from the very bytes that the signature covers, so that nothing
// else in the document can stand for it.
func Parse(raw []byte) (*Manifest, error) {
	if len(raw) > MaxManifest {
		return nil, invalid("The manifest has more than %d bytes", MaxManifest)
	}
	for _, word := range []string{"<!", "<![CDATA["} {
		if bytes.Contains(raw, []byte(word)) {
			return nil, invalid("The manifest has markup that no bundle has: %s", word)
		}
	}
	var top struct {
		XMLName   xml.Name `xml:"manifest"`
		Version   string   `xml:"version"`
		Name      string   `xml:"bundler>name"`
		Release   string   `xml:"bundler>version"`
		Signature string   `xml:"signature"`
	}
	if err := xml.Unmarshal(raw, &top); err != nil {
		return nil, invalid("The manifest is not XML: %v", err)
	}
	if v := strings.TrimSpace(top.Version); v != version {
		return nil, invalid("The manifest has the version %.40q: bundles of version %s are taken", v, version)
	}
	machine, err := element(raw, "machine_configuration")
	if err != nil {
		return nil, err
	}
	img, err := element(raw, "image")
	if err != nil {
		return nil, err
	}
	var mx machineXML
	var ix imageXML
	if err := xml.Unmarshal(machine, &mx); err != nil {
		return nil, invalid("The manifest's machine_configuration cannot be read: %v", err)
	}
	if err := xml.Unmarshal(img, &ix); err != nil {
		return nil, invalid("The manifest's image cannot be read: %v", err)
	}
	m := &Manifest{
		Architecture: strings.TrimSpace(mx.Architecture), KernelID: strings.TrimSpace(mx.KernelID), RamdiskID: strings.TrimSpace(mx.RamdiskID),
		Mappings: mx.Mappings, ProductCodes: mx.ProductCodes, Name: strings.TrimSpace(ix.Name), User: strings.TrimSpace(ix.User),
		Kind: strings.TrimSpace(ix.Type), Digest: digestText(ix.Digest), Size: ix.Size, BundledSize: ix.BundledSize,
		signed: append(append([]byte(nil), machine...), img...), BundlerName: top.Name, Tools: top.Release,
	}
	return m, m.read(&ix, top.Signature)
}

// element gives the bytes of the document's one element of a name.
func element(raw []byte, name string) ([]byte, error) {
	open, end := []byte("<"+name+">"), []byte("</"+name+">")
	if bytes.Count(raw, open) != 1 || bytes.Count(raw, end) != 1 {
		return nil, invalid("The manifest must have one element %s", name)
	}
	from, to := bytes.Index(raw, open), bytes.Index(raw, end)
	if to < from {
		return nil, invalid("The manifest's element %s ends before it begins", name)
	}
	return raw[from : to+len(end)], nil
}

func digestText(t textXML) string { return strings.ToLower(strings.TrimSpace(t.Text)) }

// read checks and takes over the rest.
func (m *Manifest) read(ix *imageXML, signature string) error {
	if m.Kind == "" {
		m.Kind = Machine
	}
	if m.KernelID == "true" {
		m.Kind, m.KernelID = Kernel, ""
	}
	if m.RamdiskID == "true" {
		m.Kind, m.RamdiskID = Ramdisk, ""
	}
	switch {
	case m.Kind != Machine && m.Kind != Kernel && m.Kind != Ramdisk:
		return invalid("The manifest's image has the type %.40q", m.Kind)
	case !hexDigest.MatchString(m.Digest):
		return invalid("The manifest has no SHA-1 digest of its image")
	case m.Size <= 0 || m.BundledSize <= 0:
		return invalid("The manifest has no sizes")
	case len(ix.Parts.Part) == 0 || len(ix.Parts.Part) > MaxParts || ix.Parts.Count != len(ix.Parts.Part):
		return invalid("The manifest has %d parts and says that there are %d: 1 to %d are possible", len(ix.Parts.Part), ix.Parts.Count, MaxParts)
	}
	for _, f := range []struct {
		name, text string
		to         *[]byte
	}{
		{"ec2_encrypted_key", ix.CloudKey.Text, &m.CloudKey},
		{"ec2_encrypted_iv", ix.CloudIV, &m.CloudIV},
		{"user_encrypted_key", ix.UserKey.Text, &m.UserKey},
		{"user_encrypted_iv", ix.UserIV, &m.UserIV},
		{"signature", signature, &m.signature},
	} {
		b, err := hex.DecodeString(strings.TrimSpace(f.text))
		if err != nil || len(b) == 0 || len(b) > 1024 {
			return invalid("The manifest's %s is not the hexadecimal text that it should be", f.name)
		}
		*f.to = b
	}
	seen := map[string]bool{}
	for i, p := range ix.Parts.Part {
		part := Part{Name: strings.TrimSpace(p.Filename), Digest: digestText(p.Digest)}
		switch {
		case p.Index != i:
			return invalid("Part %d of the manifest has the index %d", i, p.Index)
		case !partName.MatchString(part.Name) || seen[part.Name]:
			return invalid("Part %d of the manifest has the file name %.60q", i, part.Name)
		case !hexDigest.MatchString(part.Digest):
			return invalid("Part %d of the manifest has no SHA-1 digest", i)
		}
		seen[part.Name] = true
		m.Parts = append(m.Parts, part)
	}
	return nil
}

// Verify says whether one of these certificates signed the manifest.
func (m *Manifest) Verify(certs []*x509.Certificate) bool {
	sum := sha1.Sum(m.signed)
	for _, c := range certs {
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], m.signature) == nil {
			return true
		}
	}
	return false
}

// encode makes the manifest's document, signed with the user's key.
func (m *Manifest) encode(key *rsa.PrivateKey) ([]byte, error) {
	mx := machineXML{Architecture: m.Architecture, KernelID: m.KernelID, RamdiskID: m.RamdiskID, Mappings: m.Mappings, ProductCodes: m.ProductCodes}
	switch m.Kind {
	case Kernel:
		mx.KernelID = "true"
	case Ramdisk:
		mx.RamdiskID = "true"
	}
	sha := func(text string) textXML { return textXML{"SHA1", text} }
	enc := func(b []byte) textXML { return textXML{"AES-128-CBC", hex.EncodeToString(b)} }
	ix := imageXML{
		Name: m.Name, User: m.User, Type: m.Kind, Digest: sha(m.Digest), Size: m.Size, BundledSize: m.BundledSize, CloudKey: enc(m.CloudKey),
		UserKey: enc(m.UserKey), CloudIV: hex.EncodeToString(m.CloudIV), UserIV: hex.EncodeToString(m.UserIV),
	}
	ix.Parts.Count = len(m.Parts)
	for i, p := range m.Parts {
		ix.Parts.Part = append(ix.Parts.Part, partXML{i, p.Name, sha(p.Digest)})
	}
	machine, err := xml.Marshal(&mx)
	if err != nil {
		return nil, err
	}
	img, err := xml.Marshal(&ix)
	if err != nil {
		return nil, err
	}
	signed := append(machine, img...)
	sum := sha1.Sum(signed)
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA1, sum[:])
	if err != nil {
		return nil, fmt.Errorf("sign the manifest: %w", err)
	}
	return fmt.Appendf(nil, `<?xml version="1.0"?><manifest><version>%s</version><bundler><name>karri</name><version>1</version><release>1</release></bundler>%s<signature>%x</signature></manifest>`,
		version, signed, signature), nil
}
