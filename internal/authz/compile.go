package authz

import (
	"fmt"
	"reflect"
	"strings"

	"karri.dev/internal/aws/wire"
	"karri.dev/internal/policy"
)

// operation is a compiled Entry.
type operation struct {
	Entry
	action policy.Action
	terms  []term
	keys   []requestKey
	// Where the request has tags: TagSpecifications, Tags, TagKeys; nil: nowhere.
	specs, tags, tagKeys []int
}

// term is one word of On.
type term struct {
	kind     *Kind
	name     string // of the kind
	optional bool
	makes    bool
	members  []member
}

// member is a path to a member of the request: indexes of fields, lists are walked through.
type member [][]int

type requestKey struct {
	name string // lower case
	member
}

// createTags is asked for beside the making of a resource with tags.
var createTags = policy.MakeAction("ec2:CreateTags")

// compiled are a service's operations.
type compiled map[string]*operation

// compile checks every operation of the service for an entry, and every entry's words against the request.
// api is the service's generated interface.
func compile(s *wire.Service, api reflect.Type, of Service) (compiled, error) {
	out := compiled{}
	for _, served := range s.Operations {
		entry, ok := of.Table[served.Name]
		if !ok {
			return nil, fmt.Errorf("%s:%s has no entry in the table of permissions (docs/contributing/operations.md)", s.Name, served.Name)
		}
		method, ok := api.MethodByName(served.Name)
		if !ok {
			return nil, fmt.Errorf("%s:%s is not in the API", s.Name, served.Name)
		}
		op, err := compileEntry(s.Name, served.Name, entry, method.Type.In(1).Elem(), of.Kinds)
		if err != nil {
			return nil, fmt.Errorf("%s:%s: %w", s.Name, served.Name, err)
		}
		out[served.Name] = op
	}
	for name := range of.Table {
		if out[name] == nil {
			return nil, fmt.Errorf("%s:%s has an entry in the table of permissions and is not served", s.Name, name)
		}
	}
	return out, nil
}

func compileEntry(service, name string, e Entry, in reflect.Type, kinds map[string]Kind) (*operation, error) {
	op := &operation{Entry: e}
	if e.Action != "" {
		name = e.Action
	}
	op.action = policy.MakeAction(service + ":" + name)
	for f, to := range map[string]*[]int{"TagSpecifications": &op.specs, "Tags": &op.tags, "TagKeys": &op.tagKeys} {
		if field, ok := in.FieldByName(f); ok && field.Type.Kind() == reflect.Slice && (f == "TagKeys") == (field.Type.Elem().Kind() == reflect.String) {
			*to = field.Index
		}
	}
	for word := range strings.FieldsSeq(e.On) {
		if word == "*" {
			continue
		}
		t, err := compileTerm(word, in, kinds)
		if err != nil {
			return nil, err
		}
		op.terms = append(op.terms, t)
	}
	for word := range strings.FieldsSeq(e.Keys) {
		key, path, ok := strings.Cut(word, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not KEY=MEMBER", word)
		}
		m, err := compileMember(path, in)
		if err != nil {
			return nil, err
		}
		op.keys = append(op.keys, requestKey{strings.ToLower(key), m})
	}
	return op, nil
}

func compileTerm(word string, in reflect.Type, kinds map[string]Kind) (term, error) {
	name, where, ok := strings.Cut(word, ":")
	kind, known := kinds[name]
	if !ok || !known {
		return term{}, fmt.Errorf("%q does not begin with a kind of resource of the service", word)
	}
	t := term{kind: &kind, name: name}
	where, t.optional = strings.CutSuffix(where, "?")
	where, t.makes = strings.CutPrefix(where, "+")
	for path := range strings.SplitSeq(where, ",") {
		if path == "" && t.makes {
			continue
		}
		m, err := compileMember(path, in)
		if err != nil {
			return term{}, err
		}
		t.members = append(t.members, m)
	}
	return t, nil
}

func compileMember(path string, in reflect.Type) (member, error) {
	var m member
	for name := range strings.SplitSeq(path, ".") {
		for in.Kind() == reflect.Pointer || in.Kind() == reflect.Slice {
			in = in.Elem()
		}
		if in.Kind() != reflect.Struct {
			return nil, fmt.Errorf("%s: nothing is below %s", path, in)
		}
		f, ok := in.FieldByName(name)
		if !ok {
			return nil, fmt.Errorf("%s has no member %s", in, name)
		}
		m = append(m, f.Index)
		in = f.Type
	}
	return m, nil
}

// each calls yield with every value that is there; empty ones are not.
func (m member) each(v reflect.Value, yield func(reflect.Value)) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if v.Kind() == reflect.Slice {
		for i := range v.Len() {
			m.each(v.Index(i), yield)
		}
		return
	}
	if len(m) > 0 {
		m[1:].each(v.FieldByIndex(m[0]), yield)
		return
	}
	if v.Kind() != reflect.String || v.Len() > 0 {
		yield(v)
	}
}
