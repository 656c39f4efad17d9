package main

import (
	"fmt"
	"strings"
)

// emitEncode writes how results, and the structs in them, are written.
func (m *model) emitEncode() ([]byte, error) {
	var out source
	rest := m.rest()
	for _, op := range m.Operations {
		if rest {
			if err := m.encodeREST(&out, op); err != nil {
				return nil, err
			}
		}
	}
	for _, s := range m.sortedStructs() {
		if !s.Out || rest && s.top {
			continue
		}
		out.f("func append%s(b []byte, v *%s) []byte {\n", s.Name, s.Name)
		if len(s.Fields) == 0 && s.top && m.Desc.Metadata.Protocol == "ec2" {
			out.f("b = wire.AppendBool(b, \"return\", true)\n")
		}
		for _, f := range s.Fields {
			if f.Wire.XMLAttribute {
				continue // stands in the element's tag, which the parent writes
			}
			encode := m.encodeField
			if m.json() {
				encode = m.encodeJSON
			}
			if err := encode(&out, f); err != nil {
				return nil, fmt.Errorf("%s.%s: %w", s.Name, f.Name, err)
			}
		}
		out.f("return b\n}\n\n")
	}
	return m.file(&out, "maps", "slices", "karri.dev/internal/aws/wire")
}

// encodeField writes the statement that appends a member as XML.
func (m *model) encodeField(out *source, f *field) error {
	v := "v." + f.Name
	switch f.Type.Kind {
	case "struct":
		out.f("if %s != nil {\n", v)
		tag := "<" + f.Out
		for _, a := range f.Type.Struct.Fields {
			if a.Wire.XMLAttribute { // S3 has one, in the namespace of XML Schema
				tag += ` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ` + a.Out + `="`
				out.f("b = append(b, %q...)\nb = wire.AppendText(b, %s.%s)\n", tag, v, a.Name)
				tag = `"`
			}
		}
		out.f("b = append(b, %q...)\nb = append%s(b, %s)\nb = append(b, %q...)\n}\n", tag+">", f.Type.Struct.Name, v, "</"+f.Out+">")
		return nil
	case "list":
		return m.encodeList(out, f)
	case "map":
		return m.encodeMap(out, f)
	case "stream":
		return fmt.Errorf("streams are not supported here")
	}
	condition, value := "", v
	switch {
	case f.Pointer:
		condition, value = v+" != nil", "*"+v
	case !f.Always:
		condition = f.Type.notZero(v)
	}
	if condition != "" {
		out.f("if %s {\n", condition)
	}
	out.f("b = %s\n", m.appendScalar(f.Type, f.Out, value))
	if condition != "" {
		out.f("}\n")
	}
	return nil
}

func (m *model) encodeList(out *source, f *field) error {
	v, elem := "v."+f.Name, f.Type.Elem
	if elem.Elem != nil {
		return fmt.Errorf("lists of %s are not supported", elem.Kind)
	}
	wrapped := !f.Type.Shape.Flattened
	name := f.Out
	if wrapped {
		if !f.Always {
			out.f("if %s != nil {\n", v)
		}
		out.f("b = append(b, %q...)\n", "<"+f.Out+">")
		name = memberName(f.Type)
	}
	if elem.Kind == "struct" {
		out.f("for i := range %s {\nb = append(b, %q...)\nb = append%s(b, &%s[i])\nb = append(b, %q...)\n}\n",
			v, "<"+name+">", elem.Struct.Name, v, "</"+name+">")
	} else {
		out.f("for _, x := range %s {\nb = %s\n}\n", v, m.appendScalar(elem, name, "x"))
	}
	if wrapped {
		out.f("b = append(b, %q...)\n", "</"+f.Out+">")
		if !f.Always {
			out.f("}\n")
		}
	}
	return nil
}

// encodeMap writes a map of scalars as the Query protocol has it: entries of key and value, here in order of key.
func (m *model) encodeMap(out *source, f *field) error {
	v, elem := "v."+f.Name, f.Type.Elem
	if elem.Elem != nil || elem.Struct != nil || f.Type.Shape.Flattened {
		return fmt.Errorf("flattened maps and maps of %s are not supported", elem.Kind)
	}
	out.f("if %s != nil {\nb = append(b, %q...)\n", v, "<"+f.Out+">")
	out.f("for _, k := range slices.Sorted(maps.Keys(%s)) {\nb = append(b, \"<entry>\"...)\nb = wire.AppendString(b, \"key\", k)\n", v)
	out.f("b = %s\nb = append(b, \"</entry>\"...)\n}\nb = append(b, %q...)\n}\n", m.appendScalar(elem, "value", v+"[k]"), "</"+f.Out+">")
	return nil
}

func (m *model) appendScalar(t *fieldType, name, value string) string {
	switch t.Kind {
	case "int":
		return fmt.Sprintf("wire.AppendInt(b, %q, int64(%s))", name, value)
	case "long":
		return fmt.Sprintf("wire.AppendInt(b, %q, %s)", name, value)
	case "time":
		layout := "wire.ISOMillis"
		if m.Desc.Metadata.Protocol == "query" {
			layout = "wire.ISOSeconds"
		}
		return fmt.Sprintf("wire.AppendTime(b, %q, %s, %s)", name, value, layout)
	}
	return fmt.Sprintf("wire.Append%s(b, %q, %s)", upper(t.Kind), name, value)
}

// notZero is the condition under which a member that may be left out is written.
func (t *fieldType) notZero(v string) string {
	switch t.Kind {
	case "bool":
		return v
	case "string":
		return v + ` != ""`
	case "time":
		return "!" + v + ".IsZero()"
	case "blob":
		return v + " != nil"
	}
	return v + " != 0"
}

// encodeREST writes how a result becomes headers and payload.
func (m *model) encodeREST(out *source, op *operation) error {
	s := op.Output
	out.f("func encode%s(w *wire.Response, v *%s) {\n", s.Name, s.Name)
	var payload *field
	var body []*field
	for _, f := range s.Fields {
		v, name := "v."+f.Name, f.Wire.LocationName
		switch f.Wire.Location {
		case "header":
			if err := encodeHeader(out, f, name, v); err != nil {
				return err
			}
		case "headers":
			out.f("w.SetMap(%q, %s)\n", name, v)
		case "":
			if f.Name == s.Payload {
				payload = f
			} else {
				body = append(body, f)
			}
		default:
			return fmt.Errorf("%s.%s: location %s is not supported", s.Name, f.Name, f.Wire.Location)
		}
	}
	switch {
	case payload != nil && payload.Type.Kind == "stream":
		out.f("w.Stream, w.Length = v.%s, int64(v.%s)\n", payload.Name, s.length())
	case payload != nil && payload.Type.Kind == "struct":
		out.f("if v.%s != nil {\nw.OpenXML(%q)\nw.Body = append%s(w.Body, v.%s)\nw.CloseXML(%q)\n}\n",
			payload.Name, op.Root, payload.Type.Struct.Name, payload.Name, op.Root)
	case payload != nil && payload.Type.Kind == "string":
		out.f("w.Body = append(w.Body, v.%s...)\n", payload.Name)
	case payload != nil:
		return fmt.Errorf("%s.%s: payload of type %s is not supported", s.Name, payload.Name, payload.Type.Kind)
	case op.Bare && len(body) == 1:
		out.f("w.OpenXML(%q)\nw.Body = wire.AppendText(w.Body, v.%s)\nw.CloseXML(%q)\n", op.Root, body[0].Name, op.Root)
	case body != nil && m.json():
		out.f("w.OpenJSON()\nb := w.Body\n")
		for _, f := range body {
			if err := m.encodeJSON(out, f); err != nil {
				return fmt.Errorf("%s.%s: %w", s.Name, f.Name, err)
			}
		}
		out.f("w.Body = append(b, '}')\n")
	case body != nil:
		out.f("w.OpenXML(%q)\nb := w.Body\n", op.Root)
		for _, f := range body {
			if err := m.encodeField(out, f); err != nil {
				return fmt.Errorf("%s.%s: %w", s.Name, f.Name, err)
			}
		}
		out.f("w.Body = b\nw.CloseXML(%q)\n", op.Root)
	}
	out.f("}\n\n")
	return nil
}

// length is the header that gives a streaming payload's length.
func (s *structure) length() string {
	for _, f := range s.Fields {
		if f.Wire.Location == "header" && strings.HasSuffix(f.Name, "Length") {
			return f.Name
		}
	}
	return "ContentLength"
}

func encodeHeader(out *source, f *field, name, v string) error {
	switch f.Type.Kind {
	case "string":
		out.f("w.SetString(%q, %s)\n", name, v)
	case "time":
		set := "SetTime"
		if f.Wire.TimestampFormat == "iso8601" {
			set = "SetISOTime"
		}
		out.f("w.%s(%q, %s)\n", set, name, v)
	case "int", "long", "bool":
		set, value := "SetInt", "int64("+v+")"
		if f.Type.Kind == "bool" {
			set, value = "SetBool", v
		}
		if name == "Content-Length" {
			out.f("w.%s(%q, %s)\n", set, name, value)
		} else {
			out.f("if %s {\nw.%s(%q, %s)\n}\n", f.Type.notZero(v), set, name, value)
		}
	default:
		return fmt.Errorf("%s: header of type %s is not supported", f.Name, f.Type.Kind)
	}
	return nil
}
