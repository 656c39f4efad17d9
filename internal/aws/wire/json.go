package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"karri.dev/internal/aws/awserr"
)

// The JSON protocol: an object in, an object out, the operation in the header X-Amz-Target. A request becomes the
// same tree of parameters as a form: an object's members are children, a list's elements are numbered.

const maxJSONDepth = 32

// DecodeJSON decodes a request of the JSON protocol.
func DecodeJSON[T any](r *Request, decode func(*Decoder, *Node, *T)) (any, error) {
	root, err := readJSON(r)
	if err != nil {
		return nil, err
	}
	d := &Decoder{protocol: JSON, request: r}
	v := new(T)
	decode(d, root, v)
	d.unknown(root)
	if d.err != nil {
		return nil, d.err
	}
	return v, nil
}

// readJSON reads the object that is a request's payload; none is one without members.
func readJSON(r *Request) (*Node, error) {
	root := &Node{}
	var payload []byte
	if r.Body != nil {
		var err error
		if payload, err = io.ReadAll(io.LimitReader(r.Body, maxXMLBytes+1)); err != nil {
			return nil, awserr.From(err)
		}
	}
	if len(payload) > maxXMLBytes {
		return nil, awserr.New("RequestEntityTooLargeException", "The request is too large").WithStatus(413)
	}
	if len(bytes.TrimSpace(payload)) > 0 {
		dec := json.NewDecoder(bytes.NewReader(payload))
		dec.UseNumber()
		ok := readObject(dec, root)
		if _, err := dec.Token(); !ok || err != io.EOF || !utf8.Valid(payload) {
			return nil, awserr.New("SerializationException", "The request is not a JSON object")
		}
	}
	return root, nil
}

// JSONBody decodes the members of a request of the RestJSON protocol that stand in its payload.
func JSONBody[T any](d *Decoder, v *T, decode func(*Decoder, *Node, *T)) {
	if d.err != nil {
		return // the payload is not worth reading
	}
	root, err := readJSON(d.request)
	if err != nil {
		d.fail(awserr.From(err))
		return
	}
	decode(d, root, v)
	d.unknown(root)
}

// OpenJSON begins the payload of an answer of the RestJSON protocol.
func (w *Response) OpenJSON() {
	w.header().Set("Content-Type", "application/json")
	w.Body = append(w.Body, '{')
}

// readObject reads { … } into n's children.
func readObject(dec *json.Decoder, n *Node) bool {
	t, err := dec.Token()
	return err == nil && t == json.Delim('{') && readMembers(dec, n, 0)
}

func readMembers(dec *json.Decoder, n *Node, depth int) bool {
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return false
		}
		text, ok := name.(string)
		if !ok || n.kid(text) != nil || !readValue(dec, n, text, depth) {
			return false
		}
	}
	_, err := dec.Token() // the closing brace
	return err == nil
}

// readValue reads one value as the child of that name; null is no child at all.
func readValue(dec *json.Decoder, parent *Node, name string, depth int) bool {
	t, err := dec.Token()
	if err != nil || depth == maxJSONDepth {
		return false
	}
	n := &Node{name: name, parent: parent}
	switch t := t.(type) {
	case nil:
		return true
	case string:
		n.text, n.set = t, true
	case json.Number:
		n.text, n.set = t.String(), true
	case bool:
		n.text, n.set = strconv.FormatBool(t), true
	case json.Delim:
		n.set = true // {} and [] are values too
		n.used = true
		if t == '{' && !readMembers(dec, n, depth+1) {
			return false
		}
		if t == '[' {
			for i := 1; dec.More(); i++ {
				if !readValue(dec, n, strconv.Itoa(i), depth+1) {
					return false
				}
			}
			if _, err := dec.Token(); err != nil {
				return false
			}
		}
	}
	parent.kids = append(parent.kids, n)
	return true
}

// Map decodes the map of that name, nil when absent.
func Map[T any](d *Decoder, n *Node, name string, decode func(Value) T) map[string]T {
	kid := n.kid(name)
	if kid == nil {
		return nil
	}
	out := make(map[string]T, len(kid.kids))
	for _, e := range kid.kids {
		out[e.name] = decode(e.itself())
	}
	return out
}

// seconds reads a timestamp as the JSON protocol writes it: seconds since 1970, with a fraction.
func seconds(text string) (time.Time, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > 253402300799 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(math.Round(f * 1000))).UTC(), true
}

// EncodeJSON writes an answer of the JSON protocol.
func EncodeJSON[T any](w *Response, out any, version string, appendTo func([]byte, *T) []byte) error {
	v, err := output[T](out)
	if err != nil {
		return err
	}
	w.header().Set("Content-Type", "application/x-amz-json-"+version)
	w.Body = append(appendTo(append(w.Body, '{'), v), '}')
	return nil
}

// JSONKey begins a member, or an element where name is empty.
func JSONKey(b []byte, name string) []byte {
	if n := len(b); n > 0 && b[n-1] != '{' && b[n-1] != '[' {
		b = append(b, ',')
	}
	if name == "" {
		return b
	}
	return append(appendJSONString(b, name), ':')
}

// JSONString appends a text.
func JSONString(b []byte, name, v string) []byte { return appendJSONString(JSONKey(b, name), v) }

// JSONInt appends a number.
func JSONInt(b []byte, name string, v int64) []byte {
	return strconv.AppendInt(JSONKey(b, name), v, 10)
}

// JSONFloat appends a number.
func JSONFloat(b []byte, name string, v float64) []byte {
	b = strconv.AppendFloat(JSONKey(b, name), v, 'f', -1, 64)
	if v == math.Trunc(v) { // clients without types tell 5.0 from 5
		b = append(b, ".0"...)
	}
	return b
}

// JSONBool appends a boolean.
func JSONBool(b []byte, name string, v bool) []byte { return strconv.AppendBool(JSONKey(b, name), v) }

// JSONTime appends a time in seconds since 1970.
func JSONTime(b []byte, name string, v time.Time) []byte {
	b = strconv.AppendInt(JSONKey(b, name), v.Unix(), 10)
	if ms := v.Nanosecond() / int(time.Millisecond); ms != 0 {
		b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	}
	return b
}

// JSONBlob appends base64.
func JSONBlob(b []byte, name string, v []byte) []byte {
	b = append(JSONKey(b, name), '"')
	b = base64.StdEncoding.AppendEncode(b, v)
	return append(b, '"')
}

// Target finds the operation that X-Amz-Target names: "PREFIX.Operation".
func (s *Service) Target(target string) (*Operation, error) {
	i := strings.LastIndexByte(target, '.')
	// Some clients write only the last part of a dotted prefix.
	if i < 0 || target[:i] != s.TargetPrefix && !strings.HasSuffix(s.TargetPrefix, "."+target[:i]) {
		return nil, awserr.New("UnknownOperationException", "The operation %s is not known", short(target))
	}
	if op := s.served(target[i+1:]); op != nil {
		return op, nil
	}
	return nil, awserr.New("UnknownOperationException", "The operation %s is not served here", short(target[i+1:]))
}
