package wiretest

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Filler gives every member of a struct a value that follows from its path alone, so that two structs
// with members of the same names, ours and the SDK's, are filled alike.
type Filler struct {
	// Special gives the value of the member at a path; nil leaves it empty, ok false makes one up.
	Special func(path string) (value any, ok bool)
	// Suffix is appended to made-up strings: characters that need escaping.
	Suffix string
	// Missing collects members that the SDK's struct does not have.
	Missing []string
}

// Fill fills ours and, where theirs is valid, theirs with the same values.
func (f *Filler) Fill(ours, theirs reflect.Value, path string) {
	if f.Special != nil {
		if v, ok := f.Special(path); ok {
			if v != nil {
				put(ours, v)
				put(theirs, v)
			}
			return
		}
	}
	t := ours.Type()
	switch {
	case t == reflect.TypeFor[time.Time](), t == reflect.TypeFor[[]byte](), t == reflect.TypeFor[io.ReadCloser]():
		f.both(ours, theirs, f.scalar(t, path))
	case theirs.Kind() == reflect.Interface && t.Kind() == reflect.Pointer:
		// One of several: the SDK has a type for each. Left empty.
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
		ours.Set(reflect.New(t.Elem()))
		f.Fill(ours.Elem(), grown(theirs), path)
	case t.Kind() == reflect.Struct:
		f.fillStruct(ours, theirs, path)
	case t.Kind() == reflect.Slice:
		ours.Set(reflect.MakeSlice(t, 2, 2))
		if theirs.IsValid() {
			theirs.Set(reflect.MakeSlice(theirs.Type(), 2, 2))
		}
		for i := range 2 {
			element := reflect.Value{}
			if theirs.IsValid() {
				element = theirs.Index(i)
			}
			f.Fill(ours.Index(i), element, fmt.Sprintf("%s.%d", path, i))
		}
	case t.Kind() == reflect.Map:
		m := map[string]any{}
		for key, at := range map[string]string{"one": path, "two-parts": path + "2"} {
			m[key] = f.scalar(t.Elem(), at)
			if t.Elem().Kind() == reflect.String {
				m[key] = at
			}
		}
		f.both(ours, theirs, m)
	case t.Kind() == reflect.Pointer:
		f.both(ours, theirs, f.scalar(t.Elem(), path))
	default:
		f.both(ours, theirs, f.scalar(t, path))
	}
}

func (f *Filler) fillStruct(ours, theirs reflect.Value, path string) {
	for i := range ours.NumField() {
		name := ours.Type().Field(i).Name
		member := reflect.Value{}
		if theirs.IsValid() {
			member = theirs.FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, name) })
			if member.IsValid() && !member.CanSet() {
				continue // the SDK's own business
			}
			if !member.IsValid() {
				f.Missing = append(f.Missing, path+"."+name)
				continue
			}
		}
		f.Fill(ours.Field(i), member, strings.TrimPrefix(path+"."+name, "."))
	}
}

func (f *Filler) both(ours, theirs reflect.Value, v any) {
	put(ours, v)
	put(theirs, v)
}

func (f *Filler) scalar(t reflect.Type, path string) any {
	h := fnv.New32a()
	io.WriteString(h, path)
	n := int64(h.Sum32()%100_000) + 1
	switch {
	case t == reflect.TypeFor[time.Time]():
		return time.Unix(1_700_000_000+n, 0).UTC()
	case t == reflect.TypeFor[[]byte]():
		return []byte(path)
	case t == reflect.TypeFor[io.ReadCloser]():
		return text("body of " + path)
	case t.Kind() == reflect.Bool:
		return true
	case t.Kind() == reflect.String:
		return path + f.Suffix
	case t.Kind() == reflect.Float64:
		return float64(n) + 0.25
	}
	return n
}

// text is a payload that shows in JSON.
type text string

func (t text) reader() io.ReadCloser {
	return &body{text: string(t), Reader: strings.NewReader(string(t))}
}

type body struct {
	text string
	*strings.Reader
}

func (b *body) Close() error                 { return nil }
func (b *body) MarshalText() ([]byte, error) { return []byte(b.text), nil }

// grown gives what a pointer to a struct points to, made if need be.
func grown(v reflect.Value) reflect.Value {
	if v.IsValid() && v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return v.Elem()
	}
	return v
}

// put sets v, whatever its type makes of the value.
func put(v reflect.Value, value any) {
	if !v.IsValid() {
		return
	}
	if t, ok := value.(text); ok {
		v.Set(reflect.ValueOf(t.reader()))
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	from := reflect.ValueOf(value)
	stringy := v.Kind() == reflect.String
	switch x := value.(type) {
	case int64:
		if stringy { // the SDK has since made a few numbers strings
			v.SetString(strconv.FormatInt(x, 10))
			return
		}
	case []byte:
		if stringy {
			v.SetString(base64.StdEncoding.EncodeToString(x))
			return
		}
	case time.Time:
		if stringy {
			v.SetString(x.Format(http.TimeFormat))
			return
		}
	case map[string]any:
		m := reflect.MakeMap(v.Type())
		for k, e := range x {
			m.SetMapIndex(reflect.ValueOf(k), reflect.ValueOf(e).Convert(v.Type().Elem()))
		}
		v.Set(m)
		return
	}
	v.Set(from.Convert(v.Type()))
}
