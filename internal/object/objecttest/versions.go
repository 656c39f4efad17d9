package objecttest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/object"
)

func putVersion(t testing.TB, e object.Engine, bucket, key, body string, v object.Versioning) object.Meta {
	t.Helper()
	m, err := e.Put(t.Context(), bucket, object.Put{Key: key, Versioning: v, Owner: "me", Body: strings.NewReader(body), Size: int64(len(body))})
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return m
}

func remove(t testing.TB, e object.Engine, bucket string, d object.Delete) object.Deleted {
	t.Helper()
	out, err := e.Delete(t.Context(), bucket, d)
	if err != nil {
		t.Fatalf("delete %q %s: %v", d.Key, d.VersionID, err)
	}
	return out
}

// wantVersion fails unless a version has this body; "" is a delete marker, "-" none.
func wantVersion(t testing.TB, e object.Engine, bucket, key, version, body string) {
	t.Helper()
	o, err := e.Get(t.Context(), bucket, key, version)
	m, headErr := e.Head(t.Context(), bucket, key, version)
	var marker *object.MarkerError
	switch {
	case body == "-":
		want := object.ErrNoVersion
		if version == "" {
			want = object.ErrNotFound
		}
		wantErr(t, "get of "+version, err, want)
		wantErr(t, "head of "+version, headErr, want)
		if errors.As(err, &marker) {
			t.Fatalf("version %q is a delete marker", version)
		}
		return
	case body == "":
		if !errors.As(err, &marker) || !errors.As(headErr, &marker) || version != "" && marker.Marker.VersionID != version || marker.Marker.Key != key {
			t.Fatalf("version %q: %v, want a delete marker", version, err)
		}
		return
	case err != nil || headErr != nil:
		t.Fatalf("version %q: %v, %v", version, err, headErr)
	}
	defer closing(t, o)
	if got := string(readRange(t, o, 0, o.Meta().Size)); got != body || version != "" && m.VersionID != version || m.ETag != ETag([]byte(body)) {
		t.Fatalf("version %q is %q (%s), want %q", version, got, m.VersionID, body)
	}
}

func versions(t *testing.T, e object.Engine) {
	const b, k = "b", "k/\x00x"
	zero := putVersion(t, e, b, k, "zero", object.Unversioned)
	if zero.VersionID != object.Null {
		t.Fatalf("the first version is %q", zero.VersionID)
	}
	one := putVersion(t, e, b, k, "one", object.Enabled)
	two := putVersion(t, e, b, k, "two", object.Enabled)
	if one.VersionID == two.VersionID || one.VersionID == object.Null || len(one.VersionID) != 32 {
		t.Fatalf("ids %q and %q", one.VersionID, two.VersionID)
	}
	for v, body := range map[string]string{"": "two", object.Null: "zero", one.VersionID: "one", two.VersionID: "two"} {
		wantVersion(t, e, b, k, v, body)
	}
	// A deletion hides them all, and is undone by removing its marker.
	del := remove(t, e, b, object.Delete{Key: k, Versioning: object.Enabled})
	if !del.Marker || !del.Found || del.VersionID == "" {
		t.Fatalf("deletion: %+v", del)
	}
	wantVersion(t, e, b, k, "", "")
	wantVersion(t, e, b, k, del.VersionID, "")
	wantVersion(t, e, b, k, two.VersionID, "two")
	if l, err := e.List(t.Context(), b, object.ListOptions{Max: 9}); err != nil || len(l.Objects) != 0 {
		t.Fatalf("a deleted object is listed: %v", err)
	}
	wantErr(t, "drop with versions", e.Drop(t.Context(), b), object.ErrNotEmpty)
	if out := remove(t, e, b, object.Delete{Key: k, VersionID: del.VersionID, Versioning: object.Enabled}); !out.Marker || out.VersionID != del.VersionID {
		t.Fatalf("removing a marker: %+v", out)
	}
	wantVersion(t, e, b, k, "", "two")
	// Removing the latest brings back the one before.
	remove(t, e, b, object.Delete{Key: k, VersionID: two.VersionID, Versioning: object.Enabled})
	wantVersion(t, e, b, k, two.VersionID, "-")
	wantVersion(t, e, b, k, "", "one")
	// Suspended: the null version is replaced wherever it is.
	null := putVersion(t, e, b, k, "null", object.Suspended)
	if null.VersionID != object.Null {
		t.Fatalf("suspended: version %q", null.VersionID)
	}
	wantVersion(t, e, b, k, "", "null")
	three := putVersion(t, e, b, k, "three", object.Enabled)
	wantVersion(t, e, b, k, object.Null, "null")
	del = remove(t, e, b, object.Delete{Key: k, Versioning: object.Suspended})
	if !del.Marker || del.VersionID != object.Null {
		t.Fatalf("suspended deletion: %+v", del)
	}
	wantVersion(t, e, b, k, object.Null, "")
	wantVersion(t, e, b, k, three.VersionID, "three")
	l, err := e.ListVersions(t.Context(), b, object.VersionOptions{Max: 9})
	if err != nil || len(l.Versions) != 3 || !l.Versions[0].Latest || !l.Versions[0].Marker || l.Versions[1].VersionID != three.VersionID || l.Versions[2].Latest || l.Versions[2].Owner != "me" {
		t.Fatalf("versions: %+v, %v", l, err)
	}
	// The conditions of a write see no object under a delete marker.
	if _, err := e.Put(t.Context(), b, object.Put{Key: k, Versioning: object.Enabled, IfNoneMatch: true, Size: 0}); err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"x", strings.Repeat("0", 32), strings.Repeat("z", 32), two.VersionID[:31], "NULL"} {
		_, err := e.Head(t.Context(), b, k, v)
		wantErr(t, "version "+v, err, object.ErrBadVersion)
		_, err = e.Delete(t.Context(), b, object.Delete{Key: k, VersionID: v})
		wantErr(t, "delete version "+v, err, object.ErrBadVersion)
	}
	wantVersion(t, e, b, "other", three.VersionID, "-") // an id of another key
	wantVersion(t, e, "bb", k, three.VersionID, "-")
	remove(t, e, b, object.Delete{Key: "other", VersionID: three.VersionID})
	wantVersion(t, e, b, k, three.VersionID, "three")
}

// version is one in the model; body "" is a marker.
type version struct{ id, body string }

// versionModel runs random histories against a model: a list of versions for each key, newest first.
func versionModel(t *testing.T, e object.Engine) {
	rng := rand.New(rand.NewPCG(7, 7))
	for round := range 12 {
		bucket := fmt.Sprint("m", round)
		keys := []string{"a", "a/", "a/b", "a/c", "a\x00", "b", "b/\xff", "\xff\xff"}[:1+rng.IntN(8)]
		model := map[string][]version{}
		dropNull := func(k string) {
			model[k] = slices.DeleteFunc(model[k], func(v version) bool { return v.id == object.Null })
		}
		for step := range 60 {
			k, state := keys[rng.IntN(len(keys))], object.Versioning(1+rng.IntN(2))
			if step < 5 {
				state = object.Unversioned
			}
			list := model[k]
			switch rng.IntN(6) {
			case 0: // delete
				out := remove(t, e, bucket, object.Delete{Key: k, Versioning: state})
				if state != object.Enabled {
					dropNull(k)
				}
				if state != object.Unversioned {
					model[k] = slices.Insert(model[k], 0, version{id: out.VersionID})
				}
			case 1, 2: // remove a version
				if len(list) > 0 {
					v := list[rng.IntN(len(list))]
					remove(t, e, bucket, object.Delete{Key: k, VersionID: v.id, Versioning: state})
					model[k] = slices.DeleteFunc(list, func(x version) bool { return x.id == v.id })
				}
			default:
				body := fmt.Sprint(round, step)
				m := putVersion(t, e, bucket, k, body, state)
				if state != object.Enabled {
					dropNull(k)
				}
				model[k] = slices.Insert(model[k], 0, version{m.VersionID, body})
			}
			if list := model[k]; len(list) == 0 {
				wantVersion(t, e, bucket, k, "", "-")
			} else {
				wantVersion(t, e, bucket, k, "", list[0].body)
				v := list[rng.IntN(len(list))]
				wantVersion(t, e, bucket, k, v.id, v.body)
			}
		}
		checkVersions(t, e, bucket, keys, model, rng)
		for k, list := range model {
			for _, v := range list {
				remove(t, e, bucket, object.Delete{Key: k, VersionID: v.id})
			}
		}
		if err := e.Drop(t.Context(), bucket); err != nil {
			t.Fatal(err)
		}
	}
}

// checkVersions compares whole listings, in pages of every size, with the model.
func checkVersions(t *testing.T, e object.Engine, bucket string, keys []string, model map[string][]version, rng *rand.Rand) {
	t.Helper()
	slices.Sort(keys)
	for _, o := range []object.VersionOptions{{}, {Delimiter: "/"}, {Prefix: "a"}, {Prefix: "a/"}, {Prefix: "a", Delimiter: "/"}, {Prefix: "b", Delimiter: "\x00"}} {
		var want, got []string
		for _, k := range keys {
			rest, ok := strings.CutPrefix(k, o.Prefix)
			if !ok || len(model[k]) == 0 {
				continue
			}
			if i := strings.Index(rest, o.Delimiter); o.Delimiter != "" && i >= 0 {
				if p := "prefix " + o.Prefix + rest[:i+1]; !slices.Contains(want, p) {
					want = append(want, p)
				}
				continue
			}
			for i, v := range model[k] {
				want = append(want, fmt.Sprintf("%q %s %v %v", k, v.id, i == 0, v.body == ""))
			}
		}
		o.Max = 1 + rng.IntN(4)
		for page := 0; ; page++ {
			l, err := e.ListVersions(t.Context(), bucket, o)
			if err != nil || len(l.Versions)+len(l.Prefixes) > o.Max {
				t.Fatalf("page %d of %d: %v", page, len(l.Versions)+len(l.Prefixes), err)
			}
			for _, v := range l.Versions {
				got = append(got, fmt.Sprintf("%q %s %v %v", v.Key, v.VersionID, v.Latest, v.Marker))
			}
			for _, p := range l.Prefixes {
				got = append(got, "prefix "+p)
			}
			if !l.Truncated {
				break
			}
			o.AfterKey, o.AfterVersion = l.NextKey, l.NextVersion
		}
		slices.Sort(want) // a page gives prefixes apart
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("versions of %+v: %s", o, d)
		}
	}
	var live []string
	for _, k := range keys {
		if list := model[k]; len(list) > 0 && list[0].body != "" {
			live = append(live, k+" "+list[0].id)
		}
	}
	l, err := e.List(t.Context(), bucket, object.ListOptions{Max: 100})
	var got []string
	for _, m := range l.Objects {
		got = append(got, m.Key+" "+m.VersionID)
	}
	if d := cmp.Diff(live, got); d != "" || err != nil {
		t.Fatalf("listing: %s %v", d, err)
	}
}

func attributes(t *testing.T, e object.Engine) {
	ctx := t.Context()
	lock := object.Lock{Mode: object.Governance, Until: time.Unix(1e9, 5).UTC(), Hold: false}
	a := object.Attributes{Tags: map[string]string{"a": "1", "ü": ""}, Lock: lock, ACL: []byte("acl\x00")}
	p := object.Put{Key: "o", Versioning: object.Enabled, Owner: "123", Class: "STANDARD_IA", Attributes: a, Body: strings.NewReader("x"), Size: 1}
	m, err := e.Put(ctx, "b", p)
	if err != nil {
		t.Fatal(err)
	}
	newer := putVersion(t, e, "b", "o", "y", object.Enabled)
	check := func(version string, want object.Attributes) {
		t.Helper()
		got, err := e.Head(ctx, "b", "o", version)
		if d := cmp.Diff(want, got.Attributes); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	}
	check(m.VersionID, a)
	for _, id := range []string{m.VersionID, newer.VersionID} {
		before, _ := e.Head(ctx, "b", "o", id)
		_, err = e.Change(ctx, "b", "o", id, func(m object.Meta, a *object.Attributes) error {
			if m.VersionID != id {
				return errors.New("another version: " + m.VersionID)
			}
			a.Tags, a.Lock.Hold = map[string]string{"new": id}, true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		after, err := e.Head(ctx, "b", "o", id)
		before.Tags, before.Lock.Hold = map[string]string{"new": id}, true
		if d := cmp.Diff(before, after); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	}
	// A refused change changes nothing, also not through the map that it was given.
	refused := errors.New("refused")
	_, err = e.Change(ctx, "b", "o", "", func(_ object.Meta, a *object.Attributes) error {
		a.Tags["new"] = "changed"
		a.Lock = object.Lock{}
		return refused
	})
	wantErr(t, "change", err, refused)
	check("", object.Attributes{Tags: map[string]string{"new": newer.VersionID}, Lock: object.Lock{Hold: true}})
	_, err = e.Change(ctx, "b", "none", "", func(object.Meta, *object.Attributes) error { return nil })
	wantErr(t, "change of nothing", err, object.ErrNotFound)
	l, err := e.List(ctx, "b", object.ListOptions{Max: 1, Full: true})
	if err != nil || l.Objects[0].Tags["new"] == "" || l.Objects[0].Owner != "me" {
		t.Fatalf("full listing: %+v, %v", l, err)
	}
	// An upload gives its attributes to its object.
	id, err := e.CreateUpload(ctx, "b", object.Upload{Key: "up", Owner: "123", Class: "STANDARD_IA", Attributes: a})
	if err != nil {
		t.Fatal(err)
	}
	part, err := e.PutPart(ctx, "b", "up", id, 1, object.Put{Body: bytes.NewReader([]byte("z")), Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	done, err := e.Complete(ctx, "b", "up", id, []object.Part{part}, object.Put{Versioning: object.Enabled})
	if d := cmp.Diff(a, done.Attributes); err != nil || d != "" || done.Owner != "123" || done.Class != "STANDARD_IA" || done.VersionID == object.Null {
		t.Fatalf("completed: %+v, %v", done, err)
	}
}

func locks(t *testing.T, e object.Engine) {
	ctx := t.Context()
	future, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	for i, c := range []struct {
		lock         object.Lock
		plain, bypas error
	}{
		{object.Lock{}, nil, nil},
		{object.Lock{Mode: object.Governance, Until: future}, object.ErrLocked, nil},
		{object.Lock{Mode: object.Compliance, Until: future}, object.ErrLocked, object.ErrLocked},
		{object.Lock{Mode: object.Compliance, Until: past}, nil, nil},
		{object.Lock{Hold: true}, object.ErrLocked, object.ErrLocked},
		{object.Lock{Mode: object.Governance, Until: future, Hold: true}, object.ErrLocked, object.ErrLocked},
	} {
		for _, bypass := range []bool{false, true} {
			key := fmt.Sprint(i, bypass)
			m, err := e.Put(ctx, "b", object.Put{Key: key, Versioning: object.Enabled, Attributes: object.Attributes{Lock: c.lock}, Size: 0})
			if err != nil {
				t.Fatal(err)
			}
			remove(t, e, "b", object.Delete{Key: key, Versioning: object.Enabled}) // a marker is always allowed
			want := c.plain
			if bypass {
				want = c.bypas
			}
			_, err = e.Delete(ctx, "b", object.Delete{Key: key, VersionID: m.VersionID, Versioning: object.Enabled, Bypass: bypass})
			if !errors.Is(err, want) {
				t.Fatalf("%+v, bypass %v: %v, want %v", c.lock, bypass, err, want)
			}
		}
	}
	// A locked null version is replaced by no write and no deletion.
	if _, err := e.Put(ctx, "b", object.Put{Key: "null", Attributes: object.Attributes{Lock: object.Lock{Hold: true}}, Size: 0}); err != nil {
		t.Fatal(err)
	}
	for _, v := range []object.Versioning{object.Unversioned, object.Suspended} {
		_, err := e.Put(ctx, "b", object.Put{Key: "null", Versioning: v, Size: 0})
		wantErr(t, "put", err, object.ErrLocked)
		_, err = e.Delete(ctx, "b", object.Delete{Key: "null", Versioning: v})
		wantErr(t, "delete", err, object.ErrLocked)
	}
	if m, err := e.Head(ctx, "b", "null", object.Null); err != nil || !m.Lock.Hold {
		t.Fatalf("the locked version: %+v, %v", m, err)
	}
}

func deleteChecks(t *testing.T, e object.Engine) {
	ctx := t.Context()
	m := putVersion(t, e, "b", "o", "x", object.Enabled)
	refused := errors.New("refused")
	var saw *object.Meta
	check := func(m *object.Meta) error { saw = m; return refused }
	_, err := e.Delete(ctx, "b", object.Delete{Key: "o", Versioning: object.Enabled, Check: check})
	wantErr(t, "delete", err, refused)
	if saw == nil || saw.VersionID != m.VersionID || saw.ETag != m.ETag {
		t.Fatalf("the check saw %+v", saw)
	}
	wantVersion(t, e, "b", "o", "", "x")
	remove(t, e, "b", object.Delete{Key: "o", Versioning: object.Enabled})
	for _, d := range []object.Delete{{Key: "o", Versioning: object.Enabled}, {Key: "none"}, {Key: "none", VersionID: m.VersionID}} {
		d.Check = check
		_, err = e.Delete(ctx, "b", d)
		wantErr(t, "delete", err, refused)
		if saw != nil {
			t.Fatalf("the check of %+v saw %+v", d, saw)
		}
	}
	if out := remove(t, e, "b", object.Delete{Key: "none", VersionID: m.VersionID}); out.Found || out.Marker {
		t.Fatalf("deleting nothing: %+v", out)
	}
}
