package ec2

import (
	"reflect"
	"slices"
	"strings"

	"karri.dev/internal/authz"
	"karri.dev/internal/policy"
)

// notAttributes are members that say how to change something, not what.
var notAttributes = []string{
	"DryRun", "ClientToken", "Attribute", "Value", "OperationType", "UserIds", "UserGroups", "GroupNames", "OrganizationArns", "OrganizationalUnitArns",
	"CurrentVersion", "VpnTunnelOutsideIpAddress",
}

// attributeKeys gives ec2:Attribute, what a call changes of the resource that its entry names first, and
// ec2:Attribute/NAME, what that is to be. AWS's own examples spell names as members are spelled ("Description") and as
// attributes are ("groupSet"): either matches.
func attributeKeys(on string) keysOf {
	kind, member, _ := strings.Cut(on, ":")
	member, _, _ = strings.Cut(member, " ")
	ids := strings.Split(member, ",")
	return func(a *authz.Asking, k policy.Key) (policy.Value, bool) {
		if k.Name != "ec2:attribute" || a.Kind() != kind {
			return policy.Value{}, false
		}
		in := reflect.ValueOf(a.Input).Elem()
		if k.Arg != "" {
			return attributeValue(in, k.Arg)
		}
		var names []string
		for i := range in.NumField() {
			name := in.Type().Field(i).Name
			if in.Field(i).IsZero() || slices.Contains(notAttributes, name) || slices.Contains(ids, name) {
				continue
			}
			names = append(names, name, strings.ToLower(name[:1])+name[1:])
			if name == "Groups" {
				names = append(names, "groupSet", "GroupId")
			}
		}
		if f := in.FieldByName("Attribute"); f.IsValid() && f.Len() > 0 {
			names = append(names, f.String())
		}
		return policy.Strings(names), names != nil
	}
}

// attributeValue gives a member's value where it is a single one.
func attributeValue(in reflect.Value, name string) (policy.Value, bool) {
	if f, v := in.FieldByName("Attribute"), in.FieldByName("Value"); f.IsValid() && v.IsValid() && strings.EqualFold(f.String(), name) && v.Len() > 0 {
		return policy.String(v.String()), true
	}
	f := in.FieldByNameFunc(func(member string) bool { return strings.EqualFold(member, name) })
	for f.IsValid() && f.Kind() == reflect.Pointer && !f.IsNil() {
		f = f.Elem()
		if f.Kind() == reflect.Struct {
			if f.NumField() != 1 {
				return policy.Value{}, false
			}
			f = f.Field(0)
		}
	}
	if !f.IsValid() {
		return policy.Value{}, false
	}
	switch f.Kind() {
	case reflect.String:
		return policy.String(f.String()), f.Len() > 0
	case reflect.Bool:
		return policy.Bool(f.Bool()), true
	case reflect.Int:
		return policy.Int(f.Int()), true
	}
	return policy.Value{}, false
}
