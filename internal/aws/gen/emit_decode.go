package main

import (
	"fmt"
	"net/textproto"
	"strings"
)

// emitDecode writes how requests, and the structs in them, are read.
func (m *model) emitDecode() ([]byte, error) {
	var out source
	rest := m.rest()
	for _, op := range m.Operations {
		if rest {
			if err := m.decodeREST(&out, op); err != nil {
				return nil, err
			}
		}
	}
	for _, s := range m.sortedStructs() {
		if !s.In || rest && s.top {
			continue
		}
		if err := m.decodeMembers(&out, s.Name, s.Name, s.Fields); err != nil {
			return nil, err
		}
	}
	return m.file(&out, "strings", "karri.dev/internal/aws/wire")
}

// decodeMembers writes the function that reads members of a struct out of a node.
func (m *model) decodeMembers(out *source, function, name string, fields []*field) error {
	out.f("func decode%s(d *wire.Decoder, n *wire.Node, v *%s) {\n", function, name)
	var required []string
	for _, f := range fields {
		if f.Required {
			required = append(required, fmt.Sprintf("%q", f.In))
		}
	}
	if required != nil {
		out.f("d.Require(n, %s)\n", strings.Join(required, ", "))
	}
	for _, f := range fields {
		expr, err := m.decodeField(f)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", name, f.Name, err)
		}
		out.f("v.%s = %s\n", f.Name, expr)
	}
	out.f("}\n\n")
	return nil
}

// decodeField gives the expression that reads a member out of node n.
func (m *model) decodeField(f *field) (string, error) {
	t := f.Type
	switch t.Kind {
	case "struct":
		return fmt.Sprintf("wire.Struct(d, n, %q, decode%s)", f.In, t.Struct.Name), nil
	case "list":
		name, member := f.In, ""
		switch {
		case m.Desc.Metadata.Protocol == "ec2", m.json():
		case !t.Shape.Flattened:
			member = memberName(t)
		case m.Desc.Metadata.Protocol == "query":
			return "", fmt.Errorf("flattened lists are not supported")
		}
		if t.Elem.Kind == "struct" {
			return fmt.Sprintf("wire.List(d, n, %q, %q, decode%s)", name, member, t.Elem.Struct.Name), nil
		}
		if t.Elem.Elem != nil {
			return "", fmt.Errorf("lists of %s are not supported", t.Elem.Kind)
		}
		return fmt.Sprintf("wire.Scalars(d, n, %q, %q, d.%s)", name, member, t.Elem.method()), nil
	case "map":
		if m.json() && t.Elem.Elem == nil && t.Elem.Struct == nil {
			return fmt.Sprintf("wire.Map(d, n, %q, d.%s)", f.In, t.Elem.method()), nil
		}
		return "", fmt.Errorf("maps of %s are not supported here", t.Elem.Kind)
	case "stream":
		return "", fmt.Errorf("type %s is not supported here", t.Kind)
	}
	return fmt.Sprintf("d.%s(n.Take(%q))", f.method(), f.In), nil
}

// memberName is the element that stands around each element of a list.
func memberName(t *fieldType) string {
	if name := t.Elem.Shape.LocationName; name != "" {
		return name
	}
	return "member"
}

// method is the Decoder's method for the member.
func (f *field) method() string {
	if f.Pointer {
		return f.Type.method() + "Ptr"
	}
	return f.Type.method()
}

func (t *fieldType) method() string { return upper(t.Kind) }

// decodeREST writes how a request is read from path, query, headers and payload.
func (m *model) decodeREST(out *source, op *operation) error {
	s := op.Input
	var headers []string
	prefix := ""
	out.f("func decode%s(d *wire.Decoder, v *%s) {\n", s.Name, s.Name)
	for _, f := range s.Fields {
		name := f.Wire.LocationName
		var from string
		switch f.Wire.Location {
		case "uri":
			from = fmt.Sprintf("d.Label(%q)", name)
		case "querystring":
			from = fmt.Sprintf("d.Query(%q)", name)
		case "header":
			from = fmt.Sprintf("d.Header(%q, %q)", name, textproto.CanonicalMIMEHeaderKey(name))
			if low := strings.ToLower(name); strings.HasPrefix(low, "x-amz-") {
				headers = append(headers, fmt.Sprintf("%q", low))
			}
		case "headers":
			prefix = strings.ToLower(name)
			out.f("v.%s = d.HeaderMap(%q)\n", f.Name, name)
			continue
		case "":
			continue
		default:
			return fmt.Errorf("%s: location %s is not supported", f.Name, f.Wire.Location)
		}
		if f.Required && f.Wire.Location != "uri" {
			out.f("d.Need(%s)\n", from)
		}
		switch {
		case name == "Content-Length":
			out.f("v.%s = d.LengthPtr()\n", f.Name)
		case f.Type.Kind == "list":
			out.f("v.%s = d.Split(%s)\n", f.Name, from)
		default:
			out.f("v.%s = d.%s(%s)\n", f.Name, f.method(), from)
		}
	}
	var body []*field
	for _, f := range s.Fields { // the payload last: there is no use in reading one that is refused
		switch {
		case f.Wire.Location != "":
		case f.Name != s.Payload && m.json():
			body = append(body, f)
		case f.Name != s.Payload:
			return fmt.Errorf("%s: payloads without a payload member are not supported", f.Name)
		case f.Type.Kind == "stream":
			out.f("v.%s = d.Stream()\n", f.Name)
		case f.Type.Kind == "struct":
			out.f("v.%s = wire.Payload(d, %q, %v, decode%s)\n", f.Name, f.In, f.Required, f.Type.Struct.Name)
		case f.Type.Kind == "string":
			out.f("v.%s = d.TextPayload()\n", f.Name)
		default:
			return fmt.Errorf("%s: payload of type %s is not supported", f.Name, f.Type.Kind)
		}
	}
	if body != nil {
		out.f("wire.JSONBody(d, v, decode%sBody)\n", s.Name)
	}
	out.f("}\n\n")
	if body != nil {
		if err := m.decodeMembers(out, s.Name+"Body", s.Name, body); err != nil {
			return err
		}
	}
	out.f("func headers%s(name string) bool {\n", op.Name)
	if headers != nil {
		out.f("switch name {\ncase %s:\nreturn true\n}\n", strings.Join(headers, ", "))
	}
	if prefix != "" {
		out.f("return strings.HasPrefix(name, %q)\n}\n\n", prefix)
	} else {
		out.f("return false\n}\n\n")
	}
	return nil
}
