package policy

import "strings"

// operator is a condition operator, taken apart: "ForAnyValue:NumericLessThanEqualsIfExists".
type operator struct {
	family   family
	order    order // numbers and dates
	negate   bool  // the …Not… form: holds when no alternative matches
	ifExists bool
	set      set
}

type family uint8

const (
	stringEquals family = iota + 1
	stringFold
	stringLike
	arnLike // ArnEquals too: condition_operators says that they are the same
	numeric
	date
	boolOp
	binary
	ip
	null
)

type order uint8

const (
	equal order = iota
	less
	lessEqual
	greater
	greaterEqual
)

type set uint8

const (
	noSet  set = iota
	forAll     // ForAllValues:
	forAny     // ForAnyValue:
)

// parseOperator reads an operator's name. Names are matched as written, as all elements are.
func parseOperator(text string) (op operator, ok bool) {
	name := text
	if rest, found := strings.CutPrefix(name, "ForAllValues:"); found {
		op.set, name = forAll, rest
	} else if rest, found := strings.CutPrefix(name, "ForAnyValue:"); found {
		op.set, name = forAny, rest
	}
	name, op.ifExists = strings.CutSuffix(name, "IfExists")
	switch name {
	case "StringEquals":
		op.family = stringEquals
	case "StringNotEquals":
		op.family, op.negate = stringEquals, true
	case "StringEqualsIgnoreCase":
		op.family = stringFold
	case "StringNotEqualsIgnoreCase":
		op.family, op.negate = stringFold, true
	case "StringLike":
		op.family = stringLike
	case "StringNotLike":
		op.family, op.negate = stringLike, true
	case "ArnEquals", "ArnLike":
		op.family = arnLike
	case "ArnNotEquals", "ArnNotLike":
		op.family, op.negate = arnLike, true
	case "Bool":
		op.family = boolOp
	case "BinaryEquals":
		op.family = binary
	case "IpAddress":
		op.family = ip
	case "NotIpAddress":
		op.family, op.negate = ip, true
	case "Null":
		op.family = null
		return op, op.set == noSet && !op.ifExists
	default:
		if rest, found := strings.CutPrefix(name, "Numeric"); found {
			op.family, name = numeric, rest
		} else if rest, found := strings.CutPrefix(name, "Date"); found {
			op.family, name = date, rest
		}
		switch name {
		case "Equals":
			op.order = equal
		case "NotEquals":
			op.order, op.negate = equal, true
		case "LessThan":
			op.order = less
		case "LessThanEquals":
			op.order = lessEqual
		case "GreaterThan":
			op.order = greater
		case "GreaterThanEquals":
			op.order = greaterEqual
		default:
			return op, false
		}
	}
	return op, op.family != 0
}

// holds says whether a comparison's outcome (as of cmp.Compare) satisfies the order.
func (o order) holds(c int) bool {
	switch o {
	case less:
		return c < 0
	case lessEqual:
		return c <= 0
	case greater:
		return c > 0
	case greaterEqual:
		return c >= 0
	}
	return c == 0
}
