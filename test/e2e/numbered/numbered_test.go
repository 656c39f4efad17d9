package numbered

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// after is a report that ends the writer after some writes.
type after struct {
	n    int
	text bytes.Buffer
}

var errEnough = errors.New("enough")

func (a *after) Write(p []byte) (int, error) {
	if a.n--; a.n < 0 {
		return 0, errEnough
	}
	return a.text.Write(p)
}

func written(t *testing.T, last Numbers, writes int) (*os.File, []byte, string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(Streams * Slots * stride); err != nil {
		t.Fatal(err)
	}
	report := &after{n: writes}
	if err := Write(f, last, report); !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	return f, dump(t, f), report.text.String()
}

func dump(t *testing.T, f *os.File) []byte {
	t.Helper()
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	if err := errors.Join(Dump(f, w), w.Flush()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestCheck(t *testing.T) {
	_, d, report := written(t, Numbers{}, 2000)
	last, err := Check(d)
	if err != nil {
		t.Fatal(err)
	}
	var sum uint64
	for _, n := range last {
		sum += n
	}
	if lines := strings.Count(report, "\n"); lines != 2000 || sum < 2000 || sum > 2000+Streams {
		t.Errorf("%d reported, %v written", lines, last)
	}
	if last.Lacks(last) != nil {
		t.Error("nothing is lacking")
	}
	more := last
	more[2] += 1
	if last.Lacks(more) == nil {
		t.Error("a write is lost")
	}
	at := func(stream int, n uint64) []byte {
		o := (stream*Slots + slot(stream, n)) * Block
		return d[o : o+Block]
	}
	for name, harm := range map[string]func(){
		"the last but one is lost": func() { clear(at(1, last[1]-1)) },
		"torn":                     func() { copy(at(1, last[1])[512:], make([]byte, 512)) },
		"foreign":                  func() { copy(at(1, last[1]), at(2, last[2])) },
		"not what others saw": func() {
			for n := uint64(1); n <= last[0]; n++ { // the stream as it was long ago
				clear(at(0, n))
			}
			Encode(at(0, 1), 0, 1, Numbers{})
		},
	} {
		whole := bytes.Clone(d)
		harm()
		if _, err := Check(d); err == nil {
			t.Errorf("%s: not found", name)
		}
		copy(d, whole)
	}
	if _, err := Check(d[1:]); err == nil {
		t.Error("a short dump")
	}
}
