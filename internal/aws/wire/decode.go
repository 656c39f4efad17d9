package wire

import (
	"encoding/base64"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"karri.dev/internal/aws/awserr"
)

// Decoder turns text into values and keeps the first error, so that generated code reads straight on.
type Decoder struct {
	protocol Protocol
	err      *awserr.Error
	request  *Request

	known    func(header string) bool // REST: the operation has this x-amz-* header
	verified map[string]bool          // REST: digests in headers that the payload was found to have
}

func (d *Decoder) fail(err *awserr.Error) {
	if d.err == nil {
		d.err = err
	}
}

// DecodeForm decodes a request of the EC2 and Query protocols.
func DecodeForm[T any](p Protocol, r *Request, decode func(*Decoder, *Node, *T)) (any, error) {
	root, err := parseForm(r.Form)
	if err != nil {
		return nil, err
	}
	d := &Decoder{protocol: p, request: r}
	v := new(T)
	decode(d, root, v)
	d.unknown(root)
	if d.err != nil {
		return nil, d.err
	}
	return v, nil
}

// unknown reports a parameter that the shape does not have: it must not be taken as if it were honoured.
func (d *Decoder) unknown(root *Node) {
	n := root.unused()
	if n == nil {
		return
	}
	switch d.protocol {
	case EC2:
		d.fail(awserr.New("UnknownParameter", "The parameter %s is not recognized", short(n.path())))
	case RestXML:
		d.fail(malformedXML())
	case JSON, RestJSON:
		d.fail(awserr.New("ValidationException", "The parameter %s is not recognized", short(n.path())))
	default:
		d.fail(awserr.New("ValidationError", "The parameter %s is not recognized", short(n.path())))
	}
}

// Require reports members that are missing.
func (d *Decoder) Require(n *Node, names ...string) {
	for _, name := range names {
		if n.kid(name) == nil {
			d.missing(&Node{name: name, parent: n})
		}
	}
}

func (d *Decoder) missing(n *Node) {
	switch d.protocol {
	case EC2:
		d.fail(awserr.New("MissingParameter", "The request must contain the parameter %s", n.path()))
	case RestXML:
		d.fail(malformedXML())
	default:
		path, code := n.path(), "ValidationError"
		if d.protocol == JSON || d.protocol == RestJSON {
			code = "ValidationException"
		}
		d.fail(awserr.New(code, "1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null",
			strings.ToLower(path[:1])+path[1:]))
	}
}

// invalid reports text that is not of the member's type.
func (d *Decoder) invalid(v Value, kind string) {
	switch d.protocol {
	case EC2:
		d.fail(awserr.New("InvalidParameterValue", "Value (%s) for parameter %s is invalid. It is not a valid %s", short(v.Text), v.name(), kind))
	case RestXML:
		if v.node != nil {
			d.fail(malformedXML())
			return
		}
		d.fail(awserr.New("InvalidArgument", "Provided %s is not a valid %s", v.Name, kind).
			With("ArgumentName", v.Name).With("ArgumentValue", short(v.Text)))
	case RestJSON:
		d.fail(awserr.New("ValidationException", "The value of %s is not a valid %s", v.name(), kind))
	case JSON:
		d.fail(awserr.New("SerializationException", "The value of %s is not a valid %s", v.name(), kind))
	default:
		d.fail(awserr.New("MalformedInput", "The value of %s is not a valid %s", v.name(), kind))
	}
}

// String gives the text; absent is "".
func (d *Decoder) String(v Value) string { return v.Text }

// StringPtr gives the text, nil when absent.
func (d *Decoder) StringPtr(v Value) *string { return optional(v.Text, v.Set) }

// text is what a number or the like is read from; set is false when there is none.
func (d *Decoder) text(v Value) (text string, set bool) {
	if d.protocol == RestXML {
		return strings.TrimSpace(v.Text), v.Set
	}
	return v.Text, v.Set
}

func (d *Decoder) integer(v Value, bits int) (int64, bool) {
	text, set := d.text(v)
	if !set {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil {
		d.invalid(v, "integer")
	}
	return n, true
}

// Int gives a number of 32 bits.
func (d *Decoder) Int(v Value) int { n, _ := d.integer(v, 32); return int(n) }

// IntPtr gives a number of 32 bits, nil when absent.
func (d *Decoder) IntPtr(v Value) *int {
	n, set := d.integer(v, 32)
	return optional(int(n), set)
}

// Long gives a number of 64 bits.
func (d *Decoder) Long(v Value) int64 { n, _ := d.integer(v, 64); return n }

// LongPtr gives a number of 64 bits, nil when absent.
func (d *Decoder) LongPtr(v Value) *int64 {
	n, set := d.integer(v, 64)
	return optional(n, set)
}

func (d *Decoder) float(v Value) (float64, bool) {
	text, set := d.text(v)
	if !set {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		d.invalid(v, "number")
		return 0, true
	}
	return n, true
}

// Float gives a finite number.
func (d *Decoder) Float(v Value) float64 { n, _ := d.float(v); return n }

// FloatPtr gives a finite number, nil when absent.
func (d *Decoder) FloatPtr(v Value) *float64 {
	n, set := d.float(v)
	return optional(n, set)
}

func (d *Decoder) boolean(v Value) (value, set bool) {
	text, set := d.text(v)
	switch {
	case !set:
	case strings.EqualFold(text, "true"):
		return true, true
	case strings.EqualFold(text, "false"):
	default:
		d.invalid(v, "boolean")
	}
	return false, set
}

// Bool gives a boolean.
func (d *Decoder) Bool(v Value) bool { b, _ := d.boolean(v); return b }

// BoolPtr gives a boolean, nil when absent.
func (d *Decoder) BoolPtr(v Value) *bool {
	b, set := d.boolean(v)
	return optional(b, set)
}

func optional[T any](v T, set bool) *T {
	if !set {
		return nil
	}
	return &v
}

// Time gives a time in UTC, zero when absent: ISO 8601, seconds since 1970, or as HTTP writes it.
func (d *Decoder) Time(v Value) time.Time {
	text, set := d.text(v)
	if !set {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "20060102T150405Z", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC()
		}
	}
	if d.protocol == JSON || d.protocol == RestJSON {
		if t, ok := seconds(text); ok {
			return t
		}
	}
	if t, err := http.ParseTime(text); err == nil {
		return t.UTC()
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 && n < 253402300800 {
		return time.Unix(n, 0).UTC()
	}
	d.invalid(v, "timestamp")
	return time.Time{}
}

// Blob gives the bytes of base64; never nil when the parameter is there.
func (d *Decoder) Blob(v Value) []byte {
	text, set := d.text(v)
	if !set {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		d.invalid(v, "base64 text")
	}
	if data == nil {
		data = []byte{}
	}
	return data
}

// Struct decodes the child of that name, nil when absent.
func Struct[T any](d *Decoder, n *Node, name string, decode func(*Decoder, *Node, *T)) *T {
	kid := n.kid(name)
	if kid == nil {
		return nil
	}
	if kid.set && kid.text == "" || d.protocol == RestXML && blank([]byte(kid.text)) {
		kid.used = true // a struct without members
	}
	v := new(T)
	decode(d, kid, v)
	return v
}

// List decodes the list of that name. Its elements stand under member; "" is a flattened list.
func List[T any](d *Decoder, n *Node, name, member string, decode func(*Decoder, *Node, *T)) []T {
	items, set := d.items(n, name, member)
	if !set {
		return nil
	}
	list := make([]T, len(items))
	for i, item := range items {
		if d.err != nil {
			return nil
		}
		if item.set && (item.text == "" || d.protocol == RestXML && blank([]byte(item.text))) {
			item.used = true
		}
		decode(d, item, &list[i])
	}
	return list
}

// Scalars decodes the list of plain values of that name.
func Scalars[T any](d *Decoder, n *Node, name, member string, decode func(Value) T) []T {
	items, set := d.items(n, name, member)
	if !set {
		return nil
	}
	list := make([]T, len(items))
	for i, item := range items {
		list[i] = decode(item.itself())
	}
	return list
}

func (d *Decoder) items(n *Node, name, member string) (items []*Node, set bool) {
	if d.protocol == RestXML {
		list := n
		if member != "" {
			if list = n.kid(name); list == nil {
				return nil, false
			}
			list.used = list.used || blank([]byte(list.text))
			name = member
		}
		for _, kid := range list.kids {
			if kid.name == name {
				items = append(items, kid)
			}
		}
		return items, member != "" || len(items) > 0
	}
	list := n.kid(name)
	if list == nil {
		return nil, false
	}
	if member != "" {
		if list.set && list.text == "" {
			list.used = true
		}
		return list.kid(member).numbered(), true
	}
	return list.numbered(), true
}
