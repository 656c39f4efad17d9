package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// model is one service, ready to be written as Go.
type model struct {
	Package    string
	Desc       *description
	Add        *additions
	Names      *names
	Operations []*operation
	Structs    map[string]*structure
	Enums      map[string]bool
}

type operation struct {
	Name    string
	Shape   *operationShape
	Root    string // of the answer
	Bare    bool
	Input   *structure
	Output  *structure
	Wrapper string
}

type structure struct {
	Name    string
	Fields  []*field
	In, Out bool   // reached from requests, from answers
	Payload string // REST: the member that is the body
	top     bool   // a request or a result itself
}

type field struct {
	Name     string
	Wire     *shape
	Type     *fieldType
	In, Out  string // wire names in requests and answers
	Required bool
	Always   bool // written in answers even when empty
	Pointer  bool // a scalar for which absent and zero differ
}

type fieldType struct {
	Kind   string // string int long float bool time blob stream struct list map
	Struct *structure
	Elem   *fieldType
	Shape  *shape
	Enum   string // the enum's name if it is one
}

// build takes the listed operations and all that they reach.
func build(pkg string, desc *description, add *additions, n *names, listed []string) (*model, error) {
	m := &model{Package: pkg, Desc: desc, Add: add, Names: n, Structs: map[string]*structure{}, Enums: map[string]bool{}}
	for name, extra := range add.Operations {
		if desc.Operations[name] == nil {
			desc.Operations[name] = &extra.operationShape
		}
	}
	for _, name := range listed {
		shape, ok := desc.Operations[name]
		if !ok {
			return nil, fmt.Errorf("%s: the description has no operation %s", pkg, name)
		}
		op := &operation{Name: name, Shape: shape, Root: name + "Response"}
		var err error
		if op.Input, err = m.top(name+"Request", name+"Input", shape.Input); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		result := name + "Result"
		if _, taken := n.fields[result]; taken { // S3's CopyObjectResult is a part of the answer
			result = name + "Output"
		}
		if op.Output, err = m.top(result, name+"Output", shape.Output); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if shape.Output != nil {
			op.Wrapper = shape.Output.ResultWrapper
		}
		if extra := add.Operations[name]; extra != nil {
			op.Bare = extra.Bare
			if extra.Root != "" {
				op.Root = extra.Root
			}
		}
		m.Operations = append(m.Operations, op)
	}
	for _, op := range m.Operations {
		reach(op.Input, func(s *structure) *bool { return &s.In })
		reach(op.Output, func(s *structure) *bool { return &s.Out })
	}
	m.settle()
	return m, m.unusedAdditions()
}

func (m *model) top(name, sdk string, s *shape) (*structure, error) {
	if s == nil {
		s = &shape{Type: "structure"}
	}
	s, err := m.Desc.resolve(s)
	if err != nil {
		return nil, err
	}
	st, err := m.structure(name, sdk, s)
	if err == nil {
		st.top = true
	}
	return st, err
}

// structure gives the struct of the name, made from the shape when it is new.
func (m *model) structure(name, sdk string, s *shape) (*structure, error) {
	if st := m.Structs[name]; st != nil {
		for _, mem := range s.Members {
			want := upper(mem.Name)
			if !slices.ContainsFunc(st.Fields, func(f *field) bool { return f.Name == want }) && !m.removed(name, want) {
				return nil, fmt.Errorf("two different shapes would be named %s (%s)", name, want)
			}
		}
		return st, nil
	}
	st := &structure{Name: name, Payload: s.Payload}
	m.Structs[name] = st
	list := slices.Clone(s.Members)
	for _, extra := range m.Add.Members[name] {
		i := slices.IndexFunc(list, func(x member) bool { return x.Name == extra.Name })
		switch {
		case extra.Shape == nil && i < 0:
			return nil, fmt.Errorf("additions: %s has no member %s to take away", name, extra.Name)
		case extra.Shape == nil:
			list = slices.Delete(list, i, i+1)
		case i >= 0:
			list[i] = extra
		default:
			list = append(list, extra)
		}
	}
	for _, mem := range list {
		f, err := m.field(st, sdk, mem)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", name, mem.Name, err)
		}
		f.Required = slices.Contains(s.Required, mem.Name)
		st.Fields = append(st.Fields, f)
	}
	return st, nil
}

func (m *model) removed(structName, name string) bool {
	return slices.ContainsFunc(m.Add.Members[structName], func(x member) bool { return x.Shape == nil && upper(x.Name) == name })
}

func (m *model) field(st *structure, sdk string, mem member) (*field, error) {
	s, err := m.Desc.resolve(mem.Shape)
	if err != nil {
		return nil, err
	}
	f := &field{Name: upper(mem.Name), Wire: s}
	f.Out = s.LocationName
	if f.Out == "" {
		f.Out = mem.Name
	}
	f.In = f.Out
	if m.Desc.Metadata.Protocol == "ec2" {
		f.In = upper(f.Out)
		if s.QueryName != "" {
			f.In = s.QueryName
		}
	}
	f.Type, err = m.typeOf(s, m.Names.field(sdk, f.Name), st.Name+f.Name)
	return f, err
}

// typeOf gives the Go type of a shape; sdk is the SDK's name for it, fallback that for a struct it does not have.
func (m *model) typeOf(s *shape, sdk, fallback string) (*fieldType, error) {
	t := &fieldType{Shape: s}
	var err error
	switch s.Type {
	case "", "string":
		t.Kind = "string"
		if _, ok := m.Names.enums[sdk]; ok {
			t.Enum = sdk
			m.Enums[sdk] = true
		}
	case "integer":
		t.Kind = "int"
	case "long":
		t.Kind = "long"
	case "float", "double":
		t.Kind = "float"
	case "boolean":
		t.Kind = "bool"
	case "timestamp":
		t.Kind = "time"
	case "blob":
		t.Kind = "blob"
		if s.Streaming {
			t.Kind = "stream"
		}
	case "structure":
		t.Kind = "struct"
		if sdk == "" {
			sdk = strings.TrimSuffix(strings.TrimSuffix(fallback, "s"), "Item")
		}
		t.Struct, err = m.structure(sdk, sdk, s)
	case "list":
		t.Kind = "list"
		member, e := m.Desc.resolve(s.Member)
		if e != nil {
			return nil, e
		}
		t.Elem, err = m.typeOf(member, sdk, fallback)
	case "map":
		t.Kind = "map"
		value, e := m.Desc.resolve(s.Value)
		if e != nil {
			return nil, e
		}
		t.Elem, err = m.typeOf(value, sdk, fallback)
	default:
		err = fmt.Errorf("type %q is not supported", s.Type)
	}
	return t, err
}

// reach marks a struct and all that it holds.
func reach(s *structure, mark func(*structure) *bool) {
	if *mark(s) {
		return
	}
	*mark(s) = true
	for _, f := range s.Fields {
		t := f.Type
		for t.Elem != nil {
			t = t.Elem
		}
		if t.Struct != nil {
			reach(t.Struct, mark)
		}
	}
}

// settle decides, once it is known what is reached from where, which scalars are pointers and which
// members of answers are always written. The rule, which the package comment of each shape states:
// numbers and booleans are pointers where a client may leave them out; in answers they are plain and
// always written, unless listed as optional; headers are written when not zero.
func (m *model) settle() {
	for _, s := range m.Structs {
		for _, f := range s.Fields {
			name := s.Name + "." + f.Name
			scalar := f.Type.Kind == "int" || f.Type.Kind == "long" || f.Type.Kind == "float" || f.Type.Kind == "bool"
			header := f.Wire.Location != ""
			if scalar {
				f.Pointer = s.In && !f.Required
				f.Always = !f.Pointer && !header
			}
			if f.Type.Kind == "list" && s.top && s.Out {
				f.Always = (m.Desc.Metadata.Protocol == "ec2" || f.Required) && !f.Type.Shape.Flattened
			}
			if slices.Contains(m.Add.Always, name) {
				f.Always = true
			}
			if slices.Contains(m.Add.Optional, name) {
				f.Always = false
			}
			if slices.Contains(m.Add.Pointers, name) {
				f.Pointer = true
			}
		}
	}
}

// unusedAdditions refuses additions that no longer hit anything.
func (m *model) unusedAdditions() error {
	for _, name := range slices.Sorted(maps.Keys(m.Add.Members)) {
		if m.Structs[name] == nil {
			return fmt.Errorf("additions: no struct %s", name)
		}
	}
	for _, name := range slices.Concat(m.Add.Always, m.Add.Optional, m.Add.Pointers) {
		s, f, _ := strings.Cut(name, ".")
		if m.Structs[s] == nil || !slices.ContainsFunc(m.Structs[s].Fields, func(x *field) bool { return x.Name == f }) {
			return fmt.Errorf("additions: no member %s", name)
		}
	}
	return nil
}

func upper(s string) string {
	return strings.ToUpper(s[:1]) + s[1:]
}
