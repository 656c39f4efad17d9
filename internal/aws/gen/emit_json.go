package main

import "fmt"

// encodeJSON writes the statement that appends a member as JSON.
func (m *model) encodeJSON(out *source, f *field) error {
	v, t := "v."+f.Name, f.Type
	switch t.Kind {
	case "struct":
		out.f("if %s != nil {\nb = append(append%s(append(wire.JSONKey(b, %q), '{'), %s), '}')\n}\n", v, t.Struct.Name, f.Out, v)
		return nil
	case "list":
		if !f.Always {
			out.f("if %s != nil {\n", v)
		}
		out.f("b = append(wire.JSONKey(b, %q), '[')\n", f.Out)
		switch {
		case t.Elem.Elem != nil:
			return fmt.Errorf("lists of %s are not supported", t.Elem.Kind)
		case t.Elem.Kind == "struct":
			out.f("for i := range %s {\nb = append(append%s(append(wire.JSONKey(b, \"\"), '{'), &%s[i]), '}')\n}\n", v, t.Elem.Struct.Name, v)
		default:
			out.f("for _, x := range %s {\nb = %s\n}\n", v, jsonScalar(t.Elem, "", "x"))
		}
		out.f("b = append(b, ']')\n")
		if !f.Always {
			out.f("}\n")
		}
		return nil
	case "map":
		if t.Elem.Elem != nil || t.Elem.Struct != nil {
			return fmt.Errorf("maps of %s are not supported", t.Elem.Kind)
		}
		out.f("if %s != nil {\nb = append(wire.JSONKey(b, %q), '{')\nfor _, k := range slices.Sorted(maps.Keys(%s)) {\nb = %s\n}\nb = append(b, '}')\n}\n",
			v, f.Out, v, jsonScalar(t.Elem, "k", v+"[k]"))
		return nil
	case "stream":
		return fmt.Errorf("streams are not supported")
	}
	condition, value := "", v
	switch {
	case f.Pointer:
		condition, value = v+" != nil", "*"+v
	case !f.Always:
		condition = t.notZero(v)
	}
	if condition != "" {
		out.f("if %s {\n", condition)
	}
	out.f("b = %s\n", jsonScalar(t, f.Out, value))
	if condition != "" {
		out.f("}\n")
	}
	return nil
}

// jsonScalar gives the call that appends a value; the name "k" is the variable.
func jsonScalar(t *fieldType, name, value string) string {
	if name != "k" {
		name = fmt.Sprintf("%q", name)
	}
	switch t.Kind {
	case "int":
		return fmt.Sprintf("wire.JSONInt(b, %s, int64(%s))", name, value)
	case "long":
		return fmt.Sprintf("wire.JSONInt(b, %s, %s)", name, value)
	}
	return fmt.Sprintf("wire.JSON%s(b, %s, %s)", upper(t.Kind), name, value)
}
