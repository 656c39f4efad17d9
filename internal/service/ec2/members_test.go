package ec2

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	shape "karri.dev/internal/aws/shape/ec2"
)

// paths lists the paths of all members of a request, down to scalars.
func paths(t reflect.Type, prefix string, seen []reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() || slices.Contains(seen, t) {
		return []string{strings.TrimSuffix(prefix, ".")}
	}
	var out []string
	for i := range t.NumField() {
		out = append(out, paths(t.Field(i).Type, prefix+t.Field(i).Name+".", append(seen, t))...)
	}
	return out
}

// Every member of every request is used, refused, or listed as harmless: nothing is ignored in silence.
func TestEveryMemberIsDecided(t *testing.T) {
	api, ops := reflect.TypeFor[shape.API](), operations()
	for i := range api.NumMethod() {
		m := api.Method(i)
		table, ok := ops[m.Name]
		if !ok {
			t.Errorf("%s has no table of members", m.Name)
			continue
		}
		delete(ops, m.Name)
		decided := map[string]int{}
		for _, list := range [][]string{strings.Fields(table.used), strings.Fields(table.refused), slices.Collect(maps.Keys(table.harmless))} {
			for _, p := range list {
				decided[p] = 0
			}
		}
		if want := len(strings.Fields(table.used)) + len(strings.Fields(table.refused)) + len(table.harmless); len(decided) != want {
			t.Errorf("%s: a member is listed twice", m.Name)
		}
		for _, path := range paths(m.Type.In(1), "", nil) {
			n := 0
			for d := range decided {
				if path == d || strings.HasPrefix(path, d+".") {
					decided[d]++
					n++
				}
			}
			if n != 1 {
				t.Errorf("%s: member %s is decided %d times", m.Name, path, n)
			}
		}
		for d, n := range decided {
			if n == 0 {
				t.Errorf("%s: no member %s", m.Name, d)
			}
		}
	}
	for name := range ops {
		t.Errorf("a table for %s, which is no operation", name)
	}
}

// fill sets the member at path to something other than its zero value.
func fill(v reflect.Value, path []string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), path)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("x"))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(1), path)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1, 0)))
		} else if len(path) > 0 {
			fill(v.FieldByName(path[0]), path[1:])
		} else {
			fill(v.Field(0), nil)
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(7)
	}
}

// Each refused member, given alone, is refused by its operation; anonymous callers are refused before.
func TestRefusedMembersAreRefused(t *testing.T) {
	c := newCloud(t)
	api := reflect.ValueOf(shape.API(c.Service))
	for name, table := range operations() {
		method := api.MethodByName(name)
		call := func(ctx context.Context, in reflect.Value) error {
			err, _ := method.Call([]reflect.Value{reflect.ValueOf(ctx), in})[1].Interface().(error)
			return err
		}
		c.code(name+" by nobody", call(context.Background(), reflect.New(method.Type().In(1).Elem())), "AuthFailure")
		for _, path := range strings.Fields(table.refused) {
			in := reflect.New(method.Type().In(1).Elem())
			fill(in.Elem(), strings.Split(path, "."))
			c.code(name+" with "+path, call(c.alice, in), "UnsupportedOperation")
		}
	}
}

func TestNotes(t *testing.T) {
	notes := Notes()
	if !strings.Contains(notes["RunInstances"], "InstanceMarketOptions") || !strings.Contains(notes["GetConsoleOutput"], "Latest") {
		t.Errorf("%v", notes)
	}
	if n, ok := notes["DescribeVpcs"]; ok {
		t.Errorf("DescribeVpcs is whole, but: %s", n)
	}
}
