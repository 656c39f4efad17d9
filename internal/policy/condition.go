package policy

import (
	"cmp"
	"encoding/base64"
	"net/netip"
	"strings"
)

// condition is a compiled Condition. Which list holds the alternatives depends on the operator's family.
type condition struct {
	operator
	key      Key
	patterns []pattern
	numbers  []number
	moments  []int64 // microseconds since 1970
	prefixes []netip.Prefix
	words    []string // decoded BinaryEquals; "true", "false" of Bool and Null
}

// compileCondition checks and compiles. Elements of errors are filled in by the caller.
func compileCondition(c *Condition, version string) (condition, *Error) {
	op, ok := parseOperator(c.Operator)
	if !ok {
		return condition{}, fault("", "Invalid Condition type : %s.", c.Operator)
	}
	if !strings.Contains(c.Key, ":") {
		return condition{}, fault("", "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
	}
	if len(c.Values) == 0 {
		return condition{}, fault("", "Condition must have a value.")
	}
	out := condition{operator: op, key: MakeKey(c.Key)}
	for _, v := range c.Values {
		var err *Error
		ok := true
		switch op.family {
		case stringEquals, stringFold:
			err = appendPattern(&out.patterns, v, literal, version)
		case stringLike:
			err = appendPattern(&out.patterns, v, free, version)
		case arnLike:
			err = appendPattern(&out.patterns, v, arn, version)
		case numeric:
			var n number
			n, ok = parseNumber(v)
			out.numbers = append(out.numbers, n)
		case date:
			var t int64
			t, ok = parseDate(v)
			out.moments = append(out.moments, t)
		case ip:
			var p netip.Prefix
			p, ok = parsePrefix(v)
			out.prefixes = append(out.prefixes, p)
		case boolOp, null:
			v = strings.ToLower(v)
			ok = v == "true" || v == "false"
			out.words = append(out.words, v)
		case binary:
			var b []byte
			var bad error
			b, bad = base64.StdEncoding.DecodeString(v)
			ok = bad == nil
			out.words = append(out.words, string(b))
		}
		if !ok {
			err = fault("", "Invalid value %q for Condition type %s.", v, c.Operator)
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func appendPattern(to *[]pattern, text string, st style, version string) *Error {
	p, err := compilePattern(text, st, version)
	if err == nil && (st != arn || p.parts != nil || strings.Count(text, ":") >= 5) {
		*to = append(*to, p) // what has less than an ARN's six segments matches no ARN
	}
	return err
}

// holds evaluates the condition. Of a missing key condition_operators says: positive operators fail, negated
// ones hold, …IfExists holds, ForAllValues holds, ForAnyValue fails.
func (c *condition) holds(e *evaluation) bool {
	v, ok := e.lookup(c.key)
	if c.family == null {
		return c.anyWord(present(ok && v.len() > 0))
	}
	if !ok || v.len() == 0 || c.set != noSet && v.empty() {
		switch c.set {
		case forAll:
			return true
		case forAny:
			return false // also with IfExists, as AWS was seen to do (re:Post): there is no value for which anything could hold
		}
		return c.ifExists || c.negate
	}
	switch c.set {
	case forAll:
		for i := range v.len() {
			if one := v.at(i); c.matches(e, &one) == c.negate {
				return false
			}
		}
		return true
	case forAny:
		for i := range v.len() {
			if one := v.at(i); c.matches(e, &one) != c.negate {
				return true
			}
		}
		return false
	}
	matched := false
	for i := 0; i < v.len() && !matched; i++ {
		one := v.at(i)
		matched = c.matches(e, &one)
	}
	return matched != c.negate
}

// present puts a key's presence into the words of Null, which asks whether the key is absent.
func present(there bool) string {
	if there {
		return "false"
	}
	return "true"
}

// matches says whether any of the alternatives matches one value. A value that is not of the operator's type
// matches nothing.
func (c *condition) matches(e *evaluation, v *Value) bool {
	switch c.family {
	case stringEquals, stringLike, arnLike:
		s := v.text()
		for i := range c.patterns {
			if c.patterns[i].match(e, s) {
				return true
			}
		}
	case stringFold:
		s := v.text()
		for i := range c.patterns {
			if c.patterns[i].equalFold(e, s) {
				return true
			}
		}
	case numeric:
		n, ok := v.number()
		for i := 0; ok && i < len(c.numbers); i++ {
			if c.order.holds(n.compare(c.numbers[i])) {
				return true
			}
		}
	case date:
		t, ok := v.date()
		for i := 0; ok && i < len(c.moments); i++ {
			if c.order.holds(cmp.Compare(t, c.moments[i])) {
				return true
			}
		}
	case ip:
		a, ok := v.address()
		for i := 0; ok && i < len(c.prefixes); i++ {
			if c.prefixes[i].Contains(a) {
				return true
			}
		}
	case boolOp:
		return c.anyWord(v.text())
	case binary:
		b, err := base64.StdEncoding.DecodeString(v.text())
		return err == nil && c.anyWord(string(b))
	}
	return false
}

func (c *condition) anyWord(s string) bool {
	for _, w := range c.words {
		if c.family == boolOp && strings.EqualFold(w, s) || w == s {
			return true
		}
	}
	return false
}
