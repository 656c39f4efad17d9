package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/jail"
)

const secret = "TOP-SECRET-OF-THE-HOST"

// made gives a disk of 3 MiB with a pattern, and images of it by qemu-img.
func made(t testing.TB, format Format, args ...string) (path string, content []byte) {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("needs qemu-img")
	}
	dir := t.TempDir()
	content = make([]byte, 3<<20)
	for i := 1 << 20; i < 2<<20; i++ {
		content[i] = byte(i * 7 >> 3)
	}
	copy(content, "first sector")
	raw := filepath.Join(dir, "raw")
	if err := os.WriteFile(raw, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if format == Raw {
		return raw, content
	}
	driver := string(format)
	if format == VHD {
		driver, args = "vpc", append(args, "-o", "force_size=on")
	}
	path = filepath.Join(dir, "image")
	qemu(t, append(append([]string{"convert", "-f", "raw", "-O", driver}, args...), raw, path)...)
	return path, content
}

func qemu(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %q: %v: %s", args, err, out)
	}
}

func inspect(t testing.TB, path string, format Format) (Info, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return Inspect(f, i.Size(), format, 0)
}

func refused(t testing.TB, path string, format Format, want string) {
	t.Helper()
	info, err := inspect(t, path, format)
	var bad *Invalid
	if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
		t.Errorf("%s as %s: %+v, %v; want a refusal with %q", filepath.Base(path), format, info, err, want)
	}
}

// patched gives a copy of path with b at offset (from the end if negative).
func patched(t testing.TB, path string, offset int, b []byte) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if offset < 0 {
		offset += len(data)
	}
	copy(data[offset:], b)
	out := filepath.Join(t.TempDir(), "patched")
	if err := os.WriteFile(out, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

func ova(t testing.TB, files map[string][]byte, order ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range order {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.ova")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func ovf(disks ...string) []byte {
	s := `<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"><References>`
	for i, d := range disks {
		s += fmt.Sprintf(`<File ovf:href="%s" ovf:id="f%d"/>`, d, i)
	}
	s += "</References><DiskSection>"
	for i := range disks {
		s += fmt.Sprintf(`<Disk ovf:diskId="d%d" ovf:fileRef="f%d" ovf:capacity="3145728"/>`, i, i)
	}
	return []byte(s + "</DiskSection></Envelope>")
}

var good = []struct {
	name   string
	format Format
	args   []string
}{
	{"raw", Raw, nil},
	{"qcow2", QCOW2, nil},
	{"qcow2-v2", QCOW2, []string{"-o", "compat=0.10"}},
	{"qcow2-compressed", QCOW2, []string{"-c"}},
	{"qcow2-zstd", QCOW2, []string{"-c", "-o", "compression_type=zstd"}},
	{"qcow2-small-clusters", QCOW2, []string{"-o", "cluster_size=512"}},
	{"vmdk", VMDK, nil},
	{"vmdk-stream", VMDK, []string{"-o", "subformat=streamOptimized"}},
	{"vhd", VHD, nil},
	{"vhd-fixed", VHD, []string{"-o", "subformat=fixed"}},
	{"vhdx", VHDX, nil},
	{"vhdx-fixed", VHDX, []string{"-o", "subformat=fixed"}},
}

func TestGoodImagesBecomeTheSameDisk(t *testing.T) {
	check := func(t *testing.T, path string, format Format, content []byte) {
		info, err := inspect(t, path, format)
		if err != nil {
			t.Fatal(err)
		}
		if info.VirtualSize != int64(len(content)) {
			t.Fatalf("size %d, want %d", info.VirtualSize, len(content))
		}
		if !bytes.Equal(copied(t, path, info), content) {
			t.Error("the converted disk differs")
		}
	}
	for _, g := range good {
		t.Run(g.name, func(t *testing.T) {
			path, content := made(t, g.format, g.args...)
			check(t, path, g.format, content)
		})
	}
	t.Run("ova", func(t *testing.T) {
		disk, content := made(t, VMDK, "-o", "subformat=streamOptimized")
		data, err := os.ReadFile(disk)
		if err != nil {
			t.Fatal(err)
		}
		check(t, ova(t, map[string][]byte{"a.ovf": ovf("disk.vmdk"), "disk.vmdk": data}, "a.ovf", "disk.vmdk"), OVA, content)
	})
	t.Run("a qcow2 header on a raw disk stays data", func(t *testing.T) {
		host := hostFile(t)
		content := make([]byte, 1<<20)
		evil := filepath.Join(t.TempDir(), "evil")
		qemu(t, "create", "-q", "-u", "-f", "qcow2", "-b", host, "-F", "raw", evil, "1M")
		data, err := os.ReadFile(evil)
		if err != nil {
			t.Fatal(err)
		}
		copy(content, data)
		path := filepath.Join(t.TempDir(), "raw")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		check(t, path, Raw, content)
	})
}

func converter(t testing.TB) *Converter {
	t.Helper()
	c, err := NewConverter(ConverterConfig{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Probe(t.Context()); errors.Is(err, jail.ErrNoJail) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	return c
}

// copied gives the disk's content after it was made a qcow2 file, as qemu-img reads it; the file must be clean.
func copied(t testing.TB, path string, info Info) (content []byte) {
	t.Helper()
	dst := filepath.Join(t.TempDir(), "out.qcow2")
	if err := Copy(t.Context(), info, path, dst); err != nil {
		t.Fatal(err)
	}
	qemu(t, "check", "-q", "-f", "qcow2", dst)
	qemu(t, "convert", "-f", "qcow2", "-O", "raw", dst, dst+".raw")
	content, err := os.ReadFile(dst + ".raw")
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func hostFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "host-secret")
	if err := os.WriteFile(path, bytes.Repeat([]byte(secret), 1<<20/len(secret)), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// hostile gives images that refer to a file of the host.
func hostile(t testing.TB) map[string]struct {
	path   string
	format Format
	want   string
} {
	host, dir := hostFile(t), t.TempDir()
	type image = struct {
		path   string
		format Format
		want   string
	}
	out := map[string]image{}
	create := func(name string, want string, args ...string) {
		path := filepath.Join(dir, name)
		qemu(t, append(append([]string{"create", "-q", "-f", "qcow2"}, args...), path, "1M")...)
		out[name] = image{path, QCOW2, want}
	}
	create("backing", "backing file", "-u", "-b", host, "-F", "raw")
	create("json", "backing file", "-u", "-b", `json:{"driver":"raw","file":{"driver":"file","filename":"`+host+`"}}`, "-F", "raw")
	create("data-file", "another file", "-o", "data_file="+filepath.Join(dir, "data"))
	data, err := os.ReadFile(out["data-file"].path)
	if err != nil {
		t.Fatal(err)
	}
	// Now the name leads to the host's file.
	data = bytes.Replace(data, []byte(filepath.Join(dir, "data")), []byte(host), 1)
	if err := os.WriteFile(out["data-file"].path, data, 0o600); err != nil {
		t.Fatal(err)
	}

	text := "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 2048 FLAT \"" + host + "\" 0\n"
	flat := filepath.Join(dir, "flat.vmdk")
	if err := os.WriteFile(flat, []byte(text+strings.Repeat("\n", 1024)), 0o600); err != nil {
		t.Fatal(err)
	}
	out["vmdk-flat"] = image{flat, VMDK, "Unsupported VMDK"}

	sparse, _ := made(t, VMDK)
	block := make([]byte, 20*512)
	copy(block, text)
	out["vmdk-embedded-flat"] = image{patched(t, sparse, 512, block), VMDK, "other files"}
	zero := make([]byte, 8) // qemu follows the descriptor if the capacity is 0
	out["vmdk-capacity-0"] = image{patched(t, patched(t, sparse, 512, block), 12, zero), VMDK, "size is 0"}
	clear(block)
	copy(block, "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=00000001\nparentFileNameHint=\""+host+"\"\ncreateType=\"monolithicSparse\"\nRW 6144 SPARSE \"x\"\n")
	out["vmdk-parent"] = image{patched(t, sparse, 512, block), VMDK, "parent"}
	return out
}

func TestHostileImagesAreRefused(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("needs qemu-img")
	}
	for name, h := range hostile(t) {
		t.Run(name, func(t *testing.T) { refused(t, h.path, h.format, h.want) })
	}
}

// The second line: had a hostile image got past Inspect, then qemu-img finds nothing of the host in its jail.
func TestJailHidesTheHost(t *testing.T) {
	c := converter(t)
	for name, h := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			dst := filepath.Join(t.TempDir(), "out")
			err := c.run(t.Context(), Info{Format: h.format, VirtualSize: 1 << 20}, h.path, dst, []string{"-O", "qcow2"}, nil)
			if err == nil {
				data, err := os.ReadFile(dst)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(data, []byte(secret)) {
					t.Error("the image holds the host's file")
				}
			} else if _, err := os.Stat(dst); err == nil {
				t.Error("a failed conversion left a file")
			}
		})
	}
}

func TestJailHasNothing(t *testing.T) {
	c := converter(t)
	in := hostFile(t)
	var out bytes.Buffer
	script := `ls /; ls /etc /home /root /proc /sys 2>&1; id 2>&1; touch /x 2>&1; test -r /in && echo input; touch /out/y && echo output`
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chown(dir, 65534, 65534), os.Chown(in, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("needs busybox")
	}
	err := c.jail(1<<20).Run(t.Context(), in, dir, &out, "busybox", "sh", "-c", script)
	got := out.String()
	for _, bad := range []string{"passwd", "uid=0", "tmp"} {
		if strings.Contains(got, bad) {
			t.Errorf("the jail shows %q", bad)
		}
	}
	if !strings.Contains(got, "output") || !strings.Contains(got, "input") || !strings.Contains(got, "Read-only") {
		t.Errorf("the jail says %q, %v", got, err)
	}
}

func TestCancelKillsAll(t *testing.T) {
	c := converter(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	err := c.jail(1<<20).Run(ctx, "", "", nil, "busybox", "sh", "-c", "busybox sleep 1000 & busybox sleep 1000")
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	qcow, _ := made(t, QCOW2)
	vmdk, _ := made(t, VMDK)
	stream, _ := made(t, VMDK, "-o", "subformat=streamOptimized")
	vhd, _ := made(t, VHD)
	fixed, _ := made(t, VHD, "-o", "subformat=fixed")
	vhdx, _ := made(t, VHDX)
	raw, _ := made(t, Raw)

	for name, c := range map[string]struct {
		path   string
		format Format
		want   string
	}{
		"raw as qcow2":     {raw, QCOW2, "not a QCOW2"},
		"raw as vmdk":      {raw, VMDK, "not a VMDK"},
		"raw as vhd":       {raw, VHD, "not a VHD"},
		"raw as vhdx":      {raw, VHDX, "not a VHDX"},
		"raw as ova":       {raw, OVA, "not an OVA"},
		"qcow2 as vmdk":    {qcow, VMDK, "not a VMDK"},
		"vmdk as qcow2":    {vmdk, QCOW2, "not a QCOW2"},
		"unknown":          {raw, "iso", "not supported"},
		"huge qcow2":       {patched(t, qcow, 24, []byte{0x7f}), QCOW2, "exceeds the limit"},
		"empty qcow2":      {patched(t, qcow, 24, make([]byte, 8)), QCOW2, "size is 0"},
		"qcow2 version 9":  {patched(t, qcow, 4, []byte{0, 0, 0, 9}), QCOW2, "version 9"},
		"qcow2 clusters":   {patched(t, qcow, 20, []byte{0, 0, 0, 63}), QCOW2, "clusters"},
		"qcow2 short L1":   {patched(t, qcow, 36, []byte{0, 0, 0, 0}), QCOW2, "first-level"},
		"qcow2 far L1":     {patched(t, qcow, 40, []byte{0x7f}), QCOW2, "cut off"},
		"qcow2 encrypted":  {patched(t, qcow, 32, []byte{0, 0, 0, 2}), QCOW2, "encrypted"},
		"qcow2 corrupt":    {patched(t, qcow, 79, []byte{2}), QCOW2, "corrupt"},
		"qcow2 feature":    {patched(t, qcow, 75, []byte{2}), QCOW2, "unknown features"},
		"huge vmdk":        {patched(t, vmdk, 12, []byte{0, 0, 0, 0, 0, 1}), VMDK, "exceeds the limit"},
		"overflowing vmdk": {patched(t, vmdk, 12, bytes.Repeat([]byte{0xff}, 8)), VMDK, "exceeds the limit"},
		"vmdk grains":      {patched(t, vmdk, 20, []byte{3}), VMDK, "grains"},
		"vhd checksum":     {patched(t, vhd, -400, []byte{1}), VHD, "checksum"},
		"vhd parent":       {vhdWith(t, vhd, 60, 4), VHD, "parent"},
		"huge vhd":         {vhdWith(t, vhd, 48, 0x7fffffff), VHD, "exceeds the limit"},
		"vhdx header":      {patched(t, patched(t, vhdx, 64<<10, []byte("x")), 128<<10, []byte("x")), VHDX, "damaged"},
		"several disks":    {ova(t, map[string][]byte{"a.ovf": ovf("a.raw", "b.raw"), "a.raw": make([]byte, 512), "b.raw": make([]byte, 512)}, "a.ovf", "a.raw", "b.raw"), OVA, "2 disks"},
		"no OVF":           {ova(t, map[string][]byte{"a.vmdk": {1}}, "a.vmdk"), OVA, "no OVF"},
		"disk not there":   {ova(t, map[string][]byte{"a.ovf": ovf("../../etc/passwd.vmdk")}, "a.ovf"), OVA, "no file"},
		"disk twice":       {ova(t, map[string][]byte{"a.ovf": ovf("d.raw"), "d.raw": {1}}, "a.ovf", "d.raw", "d.raw"), OVA, "twice"},
		"XML":              {ova(t, map[string][]byte{"a.ovf": []byte("<Envelope><")}, "a.ovf"), OVA, "OVF file parsing"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.path, c.format, c.want) })
	}

	for name, c := range map[string]struct {
		path   string
		format Format
	}{"qcow2": {qcow, QCOW2}, "vmdk": {vmdk, VMDK}, "stream": {stream, VMDK}, "vhd": {vhd, VHD}, "fixed": {fixed, VHD}, "vhdx": {vhdx, VHDX}} {
		i, err := os.Stat(c.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int64{0, 100, 600, 70000, i.Size() / 2, i.Size() * 9 / 10} {
			if size >= i.Size() || name == "stream" && size > i.Size()/2 { // qemu pads it
				continue
			}
			cut := filepath.Join(t.TempDir(), name+fmt.Sprint(size))
			data, err := os.ReadFile(c.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(cut, data[:size], 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, cut, c.format, "")
		}
	}
}

// vhdWith sets a word in both footers of a dynamic VHD, with the right checksum.
func vhdWith(t testing.TB, path string, at int, value uint32) string {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	footer := data[len(data)-512:]
	binary.BigEndian.PutUint32(footer[at:], value)
	var sum uint32
	for i, b := range footer {
		if i < 64 || i >= 68 {
			sum += uint32(b)
		}
	}
	binary.BigEndian.PutUint32(footer[64:], ^sum)
	copy(data, footer)
	out := filepath.Join(t.TempDir(), "vhd")
	if err := os.WriteFile(out, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

func fuzz(f *testing.F, format Format) {
	for _, g := range good {
		if g.format == format {
			path, _ := made(f, g.format, g.args...)
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data[:min(len(data), 1<<19)])
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := Inspect(bytes.NewReader(data), int64(len(data)), format, 0)
		var bad *Invalid
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("%v is not the image's fault", err)
		}
		if err == nil {
			readAll(t, data, info)
		}
		if err == nil && (info.VirtualSize <= 0 || info.VirtualSize > DefaultMaxSize || info.Offset < 0 || info.Offset+info.Length > int64(len(data))) {
			t.Fatalf("accepted: %+v", info)
		}
	})
}

// readAll reads what an accepted image says is data: whatever it is, that ends, with bytes or an error.
func readAll(t *testing.T, data []byte, info Info) {
	d, err := Open(bytes.NewReader(data), info)
	if err != nil {
		return
	}
	if d.Size() != info.VirtualSize {
		t.Fatalf("a disk of %d bytes, not %d", d.Size(), info.VirtualSize)
	}
	buf := make([]byte, 64<<10)
	for at, n := int64(0), 0; n < 64; n++ {
		from, to, err := d.Next(at)
		if err != nil || from >= d.Size() {
			return
		}
		if from < at || to <= from || to > d.Size() {
			t.Fatalf("from %d there is data from %d to %d, of %d", at, from, to, d.Size())
		}
		if got, err := d.ReadAt(buf[:min(int64(len(buf)), to-from)], from); err != nil && got > len(buf) {
			t.Fatal(err)
		}
		at = to
	}
}

func FuzzQCOW2(f *testing.F) { fuzz(f, QCOW2) }
func FuzzVMDK(f *testing.F)  { fuzz(f, VMDK) }
func FuzzVHD(f *testing.F)   { fuzz(f, VHD) }
func FuzzVHDX(f *testing.F)  { fuzz(f, VHDX) }
func FuzzOVA(f *testing.F) {
	f.Add([]byte("x"))
	for _, o := range []string{
		ova(f, map[string][]byte{"a.ovf": ovf("d.raw"), "d.raw": make([]byte, 512)}, "a.ovf", "d.raw"),
	} {
		data, err := os.ReadFile(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	fuzz(f, OVA)
}

// What is exported is taken again, with the same bytes.
func TestExportedDisksComeBack(t *testing.T) {
	c, err := NewConverter(ConverterConfig{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Probe(t.Context()); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	raw := filepath.Join(dir, "raw")
	data := make([]byte, 5<<20)
	copy(data[1<<20:], bytes.Repeat([]byte("karri"), 1000))
	if err := os.WriteFile(raw, data, 0o600); err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(dir, "disk")
	if err := Copy(t.Context(), Info{Format: Raw, VirtualSize: int64(len(data)), Length: int64(len(data))}, raw, disk); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"raw", "vmdk", "vhd"} {
		out, back, plain := filepath.Join(dir, format), filepath.Join(dir, format+".back"), filepath.Join(dir, format+".raw")
		if err := c.Export(t.Context(), disk, format, out, nil); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		info, err := InspectFile(out, Format(format), 0)
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if err := Copy(t.Context(), info, out, back); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if err := c.Export(t.Context(), back, "raw", plain, nil); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		got, err := os.ReadFile(plain)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes came back, not the same: %v", format, len(got), err)
		}
	}
	if err := c.Export(t.Context(), disk, "qcow2", filepath.Join(dir, "x"), nil); err == nil {
		t.Error("an unknown format is exported")
	}
}
