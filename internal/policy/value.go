package policy

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Key is a condition key, taken apart once when a policy is compiled.
type Key struct {
	Name string // lower case, without what follows "/": "aws:requesttag"
	Arg  string // as written: "Team" of "aws:RequestTag/Team"; tag keys compare without regard to case
	own  ownKey
}

// ownKey marks the keys that a Request answers itself.
type ownKey uint8

const (
	foreign ownKey = iota
	keyUserName
	keyUserID
	keyPrincipalARN
	keyPrincipalAccount
	keyPrincipalType
	keyPrincipalTag
	keyIsService
	keyServiceName
	keyResourceAccount
)

// MakeKey takes a key's text apart: "aws:RequestTag/Team".
func MakeKey(text string) Key {
	k := Key{Name: text}
	// A provider's keys have the slash before the colon ("host/path:sub") and no argument.
	if head, arg, ok := strings.Cut(text, "/"); ok && strings.Contains(head, ":") {
		k.Name, k.Arg = head, arg
	}
	k.Name = strings.ToLower(k.Name)
	switch k.Name {
	case "aws:username":
		k.own = keyUserName
	case "aws:userid":
		k.own = keyUserID
	case "aws:principalarn":
		k.own = keyPrincipalARN
	case "aws:principalaccount":
		k.own = keyPrincipalAccount
	case "aws:principaltype":
		k.own = keyPrincipalType
	case "aws:principaltag":
		k.own = keyPrincipalTag
	case "aws:principalisawsservice":
		k.own = keyIsService
	case "aws:principalservicename":
		k.own = keyServiceName
	case "aws:resourceaccount":
		k.own = keyResourceAccount
	}
	return k
}

// Text gives the key in one piece, in lower case.
func (k Key) Text() string {
	if k.Arg == "" {
		return k.Name
	}
	return k.Name + "/" + strings.ToLower(k.Arg)
}

// Context gives the values of the keys that depend on the request, when they are asked for.
// A key that the request does not have gives false. Value must not keep or allocate anything per call
// if evaluations are to stay free of allocations: a switch on key.Name over fields does it.
type Context interface {
	Value(key Key) (Value, bool)
}

// Value is the value of a key: one, or a list of strings. Make it with String, Strings, Int, Bool, Time or Addr.
type Value struct {
	kind valueKind
	str  string
	list []string
	num  int64 // integer; microseconds since 1970; 1 for true
	addr netip.Addr
}

type valueKind uint8

const (
	oneString valueKind = iota
	manyStrings
	integer
	boolean
	instant
	address
)

// String is a single string. Operators for other types parse it.
func String(s string) Value { return Value{str: s} }

// Strings is a multi-valued key such as aws:TagKeys. The list is not copied.
func Strings(list []string) Value { return Value{kind: manyStrings, list: list} }

// Int is a number, or seconds since 1970 to the date operators.
func Int(n int64) Value { return Value{kind: integer, num: n} }

// Bool is true or false.
func Bool(b bool) Value {
	if b {
		return Value{kind: boolean, num: 1}
	}
	return Value{kind: boolean}
}

// Time is a date, to the microsecond.
func Time(t time.Time) Value { return Value{kind: instant, num: t.UnixMicro()} }

// Addr is an IP address.
func Addr(a netip.Addr) Value { return Value{kind: address, addr: a.Unmap()} }

func (v *Value) len() int {
	if v.kind == manyStrings {
		return len(v.list)
	}
	return 1
}

// at gives the i-th value as a Value of one.
func (v *Value) at(i int) Value {
	if v.kind == manyStrings {
		return Value{str: v.list[i]}
	}
	return *v
}

// empty says what the set operators call an empty data set: no value, or one empty string.
func (v *Value) empty() bool {
	switch v.kind {
	case manyStrings:
		return len(v.list) == 0 || len(v.list) == 1 && v.list[0] == ""
	case oneString:
		return v.str == ""
	}
	return false
}

// text gives a single value as string operators and policy variables see it.
func (v *Value) text() string {
	switch v.kind {
	case integer:
		return strconv.FormatInt(v.num, 10)
	case boolean:
		if v.num != 0 {
			return "true"
		}
		return "false"
	case instant:
		return time.UnixMicro(v.num).UTC().Format(time.RFC3339)
	case address:
		return v.addr.String()
	}
	return v.str
}

// Texts gives every value as text.
func (v Value) Texts() []string {
	if v.kind == manyStrings {
		return v.list
	}
	return []string{v.text()}
}
