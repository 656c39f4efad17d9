package ec2

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/policy"
	"karri.dev/internal/store"
)

// members says what becomes of each member of an operation's request. Paths of nested members are joined with
// dots; a path stands for all below it. Every member is in exactly one of the three, and a test holds that.
type members struct {
	used     string            // paths, separated by spaces
	refused  string            // given and asking for something, the request is refused
	harmless map[string]string // accepted without effect, and why that is no lie
	note     string            // more for the operator
	// What the operation asks leave for: authz.Entry's On, Keys and Also. A Describe… needs none of it.
	on, keys string
	also     func(*authz.Asking)
	more     func(*authz.Asking, policy.Key) (policy.Value, bool)
	whole    func(store.Reader, *call.Info, any) any
}

// memberTree finds refused members in a request.
type memberTree struct {
	name    string
	refused bool
	fields  map[int]*memberTree
}

func compileMembers() map[reflect.Type]*memberTree {
	api := reflect.TypeFor[shape.API]()
	out := map[reflect.Type]*memberTree{}
	for op, m := range operations() {
		method, ok := api.MethodByName(op)
		if !ok {
			panic("ec2: a table of members for the unknown operation " + op)
		}
		in := method.Type.In(1).Elem()
		tree := &memberTree{}
		for _, path := range strings.Fields(m.refused) {
			tree.add(in, path, strings.Split(path, "."))
		}
		if tree.fields != nil {
			out[in] = tree
		}
	}
	return out
}

func (t *memberTree) add(in reflect.Type, name string, path []string) {
	for in.Kind() == reflect.Pointer || in.Kind() == reflect.Slice {
		in = in.Elem()
	}
	f, ok := in.FieldByName(path[0])
	if !ok {
		panic(fmt.Sprintf("ec2: refused member %s is not in %s", name, in))
	}
	if t.fields == nil {
		t.fields = map[int]*memberTree{}
	}
	next := t.fields[f.Index[0]]
	if next == nil {
		next = &memberTree{}
		t.fields[f.Index[0]] = next
	}
	if len(path) == 1 {
		next.name, next.refused = name, true
		return
	}
	next.add(f.Type, name, path[1:])
}

// checkMembers refuses a request that asks for what we do not do. in is a pointer to a request struct.
func (s *Service) checkMembers(in any) error {
	v := reflect.ValueOf(in).Elem()
	if tree := s.members[v.Type()]; tree != nil {
		return tree.check(v)
	}
	return nil
}

func (t *memberTree) check(v reflect.Value) error {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	if v.Kind() == reflect.Slice && !t.refused {
		for i := range v.Len() {
			if err := t.check(v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	}
	if t.refused {
		if idle(v) {
			return nil
		}
		return awserr.New("UnsupportedOperation", "The parameter %s is not supported by this cloud.", t.name)
	}
	for i, f := range t.fields {
		if err := f.check(v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

// idle says that a value asks for nothing: false, zero, empty, or a structure of such. Terraform writes
// HibernationOptions.Configured=false.
func idle(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice:
		return v.Len() == 0
	case reflect.Pointer:
		return v.IsNil() || idle(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if !idle(v.Field(i)) {
				return false
			}
		}
		return true
	}
	return v.IsZero()
}

// Notes says, for each operation, what of it is not honoured: for `karri operations`. Operations that are
// honoured in full are left out.
func Notes() map[string]string {
	notes := map[string]string{}
	for op, m := range operations() {
		var parts []string
		if m.note != "" {
			parts = append(parts, m.note)
		}
		if m.refused != "" {
			parts = append(parts, "Refused: "+strings.Join(strings.Fields(m.refused), ", ")+".")
		}
		for _, name := range slices.Sorted(maps.Keys(m.harmless)) {
			parts = append(parts, fmt.Sprintf("%s has no effect: %s.", name, m.harmless[name]))
		}
		if len(parts) > 0 {
			notes[op] = strings.Join(parts, " ")
		}
	}
	return notes
}
