package objecttest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"karri.dev/internal/object"
)

// entry is a listed object or common prefix.
type entry struct {
	Name   string
	Prefix bool
}

// expected lists keys as the contract says.
func expected(keys map[string]bool, o object.ListOptions) []entry {
	var out []entry
	seen := map[string]bool{}
	for k := range keys {
		if !strings.HasPrefix(k, o.Prefix) {
			continue
		}
		if o.Delimiter != "" {
			if i := strings.Index(k[len(o.Prefix):], o.Delimiter); i >= 0 {
				common := k[:len(o.Prefix)+i+len(o.Delimiter)]
				if k > o.After && common != o.After && !seen[common] {
					seen[common] = true
					out = append(out, entry{common, true})
				}
				continue
			}
		}
		if k > o.After {
			out = append(out, entry{k, false})
		}
	}
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func entries(l object.Listing) []entry {
	var out []entry
	for _, m := range l.Objects {
		out = append(out, entry{m.Key, false})
	}
	for _, p := range l.Prefixes {
		out = append(out, entry{p, true})
	}
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// listAll lists page by page.
func listAll(t rapid.TB, e object.Engine, bucket string, o object.ListOptions) []entry {
	var out []entry
	for {
		l, err := e.List(context.Background(), bucket, o)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		page := entries(l)
		out = append(out, page...)
		if len(page) > o.Max || l.Truncated && len(page) < o.Max {
			t.Fatalf("page of %d, max %d, truncated %v", len(page), o.Max, l.Truncated)
		}
		if !l.Truncated {
			if l.Next != "" {
				t.Fatalf("the last page has a next: %q", l.Next)
			}
			return out
		}
		if l.Next != page[len(page)-1].Name {
			t.Fatalf("next is %q after %q", l.Next, page[len(page)-1].Name)
		}
		o.After = l.Next
	}
}

func listEdges(t *testing.T, e object.Engine) {
	for _, k := range []string{"a", "photos/", "photos/2006/jan", "photos/2006/feb", "photos/2007", "photos0", "z"} {
		put(t, e, "b", k, []byte(k))
	}
	for name, c := range map[string]struct {
		o    object.ListOptions
		want []string
	}{
		"all":              {object.ListOptions{}, []string{"a", "photos/", "photos/2006/feb", "photos/2006/jan", "photos/2007", "photos0", "z"}},
		"delimiter":        {object.ListOptions{Delimiter: "/"}, []string{"a", "photos/", "photos0", "z"}},
		"prefix":           {object.ListOptions{Prefix: "photos/", Delimiter: "/"}, []string{"photos/", "photos/2006/", "photos/2007"}},
		"no slash":         {object.ListOptions{Prefix: "photos", Delimiter: "/"}, []string{"photos/", "photos0"}},
		"after object":     {object.ListOptions{After: "a", Delimiter: "/"}, []string{"photos/", "photos0", "z"}},
		"after prefix":     {object.ListOptions{After: "photos/", Delimiter: "/"}, []string{"photos0", "z"}},
		"after in prefix":  {object.ListOptions{After: "photos/2006/feb", Delimiter: "/"}, []string{"photos/", "photos0", "z"}},
		"after the prefix": {object.ListOptions{After: "z", Prefix: "photos/"}, nil},
		"before it":        {object.ListOptions{After: "a", Prefix: "photos/2006"}, []string{"photos/2006/feb", "photos/2006/jan"}},
		"long delimiter":   {object.ListOptions{Delimiter: "/200"}, []string{"a", "photos/", "photos/200", "photos0", "z"}},
		"nothing":          {object.ListOptions{Prefix: "nope"}, nil},
	} {
		for limit := 1; limit < 9; limit++ {
			c.o.Max = limit
			var got []string
			for _, x := range listAll(t, e, "b", c.o) {
				got = append(got, x.Name)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Fatalf("%s, pages of %d: %s", name, limit, d)
			}
		}
	}
	if l, err := e.List(t.Context(), "b", object.ListOptions{}); err != nil || l.Truncated || len(l.Objects) > 0 {
		t.Fatalf("a page of none: %+v, %v", l, err)
	}
	l, err := e.List(t.Context(), "b", object.ListOptions{Max: 1})
	if m := l.Objects[0]; err != nil || m.Size != 1 || m.ETag != ETag([]byte("a")) || m.Modified.IsZero() {
		t.Fatalf("listed: %+v, %v", m, err)
	}
}

// listModel compares random listings of random buckets with a model.
func listModel(t *testing.T, e object.Engine) {
	key := rapid.StringOfN(rapid.RuneFrom([]rune("ab/\x00")), 1, 6, -1)
	part := rapid.StringOfN(rapid.RuneFrom([]rune("ab/\x00")), 0, 3, -1)
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		bucket := fmt.Sprint("model-", n)
		keys := map[string]bool{}
		for _, k := range rapid.SliceOfN(key, 0, 25).Draw(t, "keys") {
			if rapid.IntRange(0, 9).Draw(t, "raw") == 0 {
				k += "\xff"
			}
			keys[k] = true
			if _, err := e.Put(t.Context(), bucket, object.Put{Key: k, Body: strings.NewReader(k), Size: -1}); err != nil {
				t.Fatal(err)
			}
		}
		for _, k := range rapid.SliceOfN(key, 0, 5).Draw(t, "deleted") {
			delete(keys, k)
			if _, err := e.Delete(t.Context(), bucket, object.Delete{Key: k}); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 {
			o := object.ListOptions{
				Prefix: part.Draw(t, "prefix"), Delimiter: rapid.SampledFrom([]string{"", "/", "a", "//", "\x00"}).Draw(t, "delimiter"),
				After: part.Draw(t, "after"), Max: rapid.IntRange(1, 30).Draw(t, "max"),
			}
			if d := cmp.Diff(expected(keys, o), listAll(t, e, bucket, o)); d != "" {
				t.Fatalf("%#v of %#v: %s", o, keys, d)
			}
		}
	})
}
