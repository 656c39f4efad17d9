package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"karri.dev/internal/object"
	"karri.dev/internal/object/objecttest"
)

// TestNoPlainBytes: what is stored shows nothing of a body, and what was written before there was a key stays
// readable.
func TestNoPlainBytes(t *testing.T) {
	fs := vfs.FS(InMemory())
	small, large := bytes.Repeat([]byte("secret word "), 100), bytes.Repeat([]byte("secret word "), 20000)
	write := func(e *Engine, name string) {
		t.Helper()
		for k, b := range map[string][]byte{"small": small, "large": large} {
			if _, err := e.Put(t.Context(), "b", object.Put{Key: name + k, Body: bytes.NewReader(b), Size: -1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	stored := func(dir string) (all []byte) {
		t.Helper()
		names, err := fs.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			f, err := fs.Open(fs.PathJoin(dir, n))
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(f) // a folder cannot be read
			all = append(all, b...)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	found := func(e *Engine) bool {
		t.Helper()
		all := stored("/o/index")
		for i := range folderCount {
			all = append(all, stored(e.home().folder(i))...)
		}
		return bytes.Contains(all, []byte("secret word secret"))
	}
	e := open(t, Config{Dir: "/o", FS: fs, Sealer: sealer(t)})
	write(e, "new-")
	if err := e.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if found(e) {
		t.Fatal("a body can be read in the files")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, Config{Dir: "/o", FS: fs})
	if _, err := e.Get(t.Context(), "b", "new-small", ""); !errors.Is(err, object.ErrCorrupt) {
		t.Fatalf("read without the key: %v", err)
	}
	write(e, "old-")
	if err := e.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if !found(e) { // else this test finds nothing ever
		t.Fatal("what is not encrypted is not found either")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, Config{Dir: "/o", FS: fs, Sealer: sealer(t)})
	for name, want := range map[string]string{"new-": object.ByCloud, "old-": ""} {
		for k, body := range map[string][]byte{"small": small, "large": large} {
			m, err := e.Head(t.Context(), "b", name+k, "")
			if err != nil || m.Encryption != want || m.ETag != objecttest.ETag(body) || !bytes.Equal(bodyOf(t, e, name+k), body) {
				t.Fatalf("%s%s: %+v, %v", name, k, m, err)
			}
		}
	}
}

func bodyOf(t *testing.T, e *Engine, key string) []byte {
	t.Helper()
	o, err := e.Get(t.Context(), "b", key, "")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	r, err := o.Range(0, o.Meta().Size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTampering: whoever changes encrypted blocks, and their checksums with them, is found out.
func TestTampering(t *testing.T) {
	fs := InMemory()
	e := open(t, Config{Dir: "/o", FS: fs, Sealer: sealer(t)})
	body := objecttest.Bytes(1, 3*blockData)
	var donor []byte
	for name, change := range map[string]func(block []byte, id uint64) []byte{
		"":     func(block []byte, _ uint64) []byte { donor = bytes.Clone(block); return block }, // first: see below
		"bit":  func(block []byte, _ uint64) []byte { block[100] ^= 1; return block },
		"tag":  func(block []byte, _ uint64) []byte { block[blockData-1] ^= 1; return block },
		"zero": func(block []byte, _ uint64) []byte { return make([]byte, len(block)) },
		"other": func(block []byte, _ uint64) []byte {
			if donor == nil {
				return make([]byte, len(block))
			}
			return bytes.Clone(donor)
		},
	} {
		key := "o" + name
		if _, err := e.Put(t.Context(), "b", object.Put{Key: key, Body: bytes.NewReader(body), Size: -1}); err != nil {
			t.Fatal(err)
		}
		o, err := e.Get(t.Context(), "b", key, "")
		if err != nil {
			t.Fatal(err)
		}
		id := o.(*openObject).pin.id
		rewrite(t, fs, e.home().name(id), func(raw []byte) []byte {
			block := change(bytes.Clone(raw[:blockSize]), id)
			binary.BigEndian.PutUint32(block[blockData:], blockCRC(block[:blockData], id, 0))
			return append(block, raw[blockSize:]...)
		})
		r, err := o.Range(0, int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(r)
		if name == "" && err != nil || name != "" && !errors.Is(err, object.ErrCorrupt) {
			t.Errorf("%q: %v", name, err)
		}
		if err := errors.Join(r.Close(), o.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
