package checksum

import (
	"encoding/hex"
	"testing"

	"pgregory.net/rapid"
)

func sum(a Algorithm, b []byte) string {
	h := a.New()
	h.Write(b)
	return Encode(h)
}

// The check values are those of the catalogues of CRCs, and of the standards, for "123456789".
func TestKnownValues(t *testing.T) {
	for a, want := range map[Algorithm]string{
		CRC32: "cbf43926", CRC32C: "e3069283", CRC64NVME: "ae8b14860a799888",
		SHA1:   "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
		SHA256: "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
	} {
		h := a.New()
		h.Write([]byte("123456789"))
		if got := hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
	if got := sum(CRC32, []byte("123456789")); got != "y/Q5Jg==" {
		t.Errorf("encoded: %s", got)
	}
}

func TestCombine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SampledFrom([]Algorithm{CRC32, CRC32C, CRC64NVME}).Draw(t, "algorithm")
		var whole []byte
		var parts []Part
		for _, b := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 0, 6).Draw(t, "parts") {
			whole = append(whole, b...)
			parts = append(parts, Part{sum(a, b), int64(len(b))})
		}
		got, err := a.Join(FullObject, parts)
		if want := sum(a, whole); err != nil || got != want {
			t.Fatalf("%s: %s, want %s, %v", a, got, want, err)
		}
	})
}

func TestJoin(t *testing.T) {
	if _, err := SHA256.Join(FullObject, nil); err == nil {
		t.Error("SHA256 has no full-object checksum")
	}
	if _, err := CRC64NVME.Join(Composite, nil); err == nil {
		t.Error("CRC64NVME has no composite checksum")
	}
	if _, err := CRC32.Join(Composite, []Part{{Value: "nonsense"}}); err == nil {
		t.Error("nonsense is joined")
	}
	got, err := CRC32.Join(Composite, []Part{{sum(CRC32, []byte("a")), 1}, {sum(CRC32, []byte("b")), 1}})
	h := CRC32.New()
	for _, s := range []string{"a", "b"} {
		p := CRC32.New()
		p.Write([]byte(s))
		h.Write(p.Sum(nil))
	}
	if want := Encode(h) + "-2"; err != nil || got != want {
		t.Errorf("composite: %s, want %s, %v", got, want, err)
	}
}

func TestValid(t *testing.T) {
	for _, bad := range []string{"", "y/Q5Jg=", "y/Q5Jg", "y/Q5Jh==", "AAAAAAAA", "y/Q5\nJg==", "-"} {
		if CRC32.Valid(bad) {
			t.Errorf("%q is valid", bad)
		}
	}
	if !CRC32.Valid("y/Q5Jg==") {
		t.Error("a value is not valid")
	}
}

func TestParse(t *testing.T) {
	for _, a := range All() {
		if got, ok := Parse(string(a)); !ok || got != a || a.Header() == "" || a.Size() == 0 {
			t.Errorf("%s: %s, %v", a, got, ok)
		}
		if !a.Allows(a.Type()) {
			t.Errorf("%s does not allow its own type", a)
		}
	}
	if _, ok := Parse("MD5"); ok {
		t.Error("MD5 is parsed")
	}
}
