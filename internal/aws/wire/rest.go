package wire

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"karri.dev/internal/aws/awserr"
)

// DecodeREST decodes a request of a REST protocol. known says which x-amz-* headers the operation has.
func DecodeREST[T any](p Protocol, r *Request, known func(header string) bool, decode func(*Decoder, *T)) (any, error) {
	d := &Decoder{protocol: p, request: r, known: known}
	v := new(T)
	decode(d, v)
	d.unknownHeaders()
	if d.err != nil {
		return nil, d.err
	}
	return v, nil
}

// unknownHeaders refuses what would change the meaning of the request if it were understood.
func (d *Decoder) unknownHeaders() {
	for name := range d.request.Header {
		if len(name) < 6 || !strings.EqualFold(name[:6], "X-Amz-") {
			continue
		}
		name = strings.ToLower(name)
		if !transportHeader(name) && !d.known(name) && !d.verified[name] {
			d.fail(awserr.New("NotImplemented", "A header you provided implies functionality that is not implemented").
				WithStatus(http.StatusNotImplemented).With("Header", short(name)))
		}
	}
}

// transportHeader names headers that are about the request's transport and signature.
func transportHeader(name string) bool {
	switch name {
	case "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "x-amz-decoded-content-length",
		"x-amz-trailer", "x-amz-user-agent", "x-amz-sdk-checksum-algorithm", "x-amz-te", "x-amz-checksum-mode",
		"x-amz-region-set":
		return true
	}
	return false
}

// Label gives a part of the path.
func (d *Decoder) Label(name string) Value {
	for _, l := range d.request.Labels {
		if l.Name == name {
			return Value{Name: name, Text: l.Text, Set: true}
		}
	}
	return Value{Name: name}
}

// Query gives a parameter of the URL.
func (d *Decoder) Query(name string) Value {
	values, set := d.request.Form[name]
	if !set || len(values) == 0 {
		return Value{Name: name, Set: set}
	}
	return Value{Name: name, Text: values[0], Set: true}
}

// Header gives a header, its lines joined by commas. canonical is its name as net/http writes it: to make that anew for
// every member of every request takes a tenth of a small one.
func (d *Decoder) Header(name, canonical string) Value {
	lines := d.request.Header[canonical]
	switch len(lines) {
	case 0:
		return Value{Name: name}
	case 1:
		return Value{Name: name, Text: lines[0], Set: true}
	}
	return Value{Name: name, Text: strings.Join(lines, ","), Set: true}
}

// HeaderMap gives the headers that begin with prefix, by the rest of their names in lower case; nil when
// there are none.
func (d *Decoder) HeaderMap(prefix string) map[string]string {
	var m map[string]string
	for name := range d.request.Header {
		if len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			if m == nil {
				m = map[string]string{}
			}
			m[strings.ToLower(name[len(prefix):])] = d.Header(name, name).Text
		}
	}
	return m
}

// Split gives the elements of a list in one value.
func (d *Decoder) Split(v Value) []string {
	if !v.Set || v.Text == "" {
		return nil
	}
	list := strings.Split(v.Text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// Need reports a required header, label or query parameter that is missing.
func (d *Decoder) Need(v Value) {
	if v.Set && v.Text != "" {
		return
	}
	if d.protocol == RestJSON {
		d.missing(&Node{name: v.Name})
	} else {
		d.fail(awserr.New("InvalidRequest", "Missing required parameter for this request: %s", v.Name))
	}
}

// Stream gives the payload as it comes.
func (d *Decoder) Stream() io.ReadCloser {
	if d.request.Body == nil {
		return http.NoBody
	}
	if body, ok := d.request.Body.(io.ReadCloser); ok {
		return body
	}
	return io.NopCloser(d.request.Body)
}

// LengthPtr gives the payload's length, nil when unknown.
func (d *Decoder) LengthPtr() *int64 {
	return optional(d.request.Length, d.request.Length >= 0)
}

// Payload decodes an XML payload with that root element, nil when it is empty.
func Payload[T any](d *Decoder, root string, required bool, decode func(*Decoder, *Node, *T)) *T {
	if d.err != nil {
		return nil // the payload is not worth reading
	}
	payload, err := d.readPayload()
	if err != nil {
		d.fail(err)
		return nil
	}
	n, err := parseXML(payload, root)
	switch {
	case err != nil:
		d.fail(err)
		return nil
	case n == nil && required:
		d.fail(awserr.New("MissingRequestBodyError", "Request Body is empty"))
		return nil
	case n == nil:
		return nil
	}
	v := new(T)
	decode(d, n, v)
	d.unknown(n)
	return v
}

// TextPayload gives a payload that is text of its own (a policy), "" when it is empty.
func (d *Decoder) TextPayload() string {
	if d.err != nil {
		return ""
	}
	payload, err := d.readPayload()
	if err != nil {
		d.fail(err)
	}
	return string(payload)
}

// EncodeREST writes an answer of a REST protocol; encode sets headers and payload.
func EncodeREST[T any](w *Response, out any, status int, encode func(*Response, *T)) error {
	v, err := output[T](out)
	if err != nil {
		return err
	}
	w.Status = status
	w.header()
	encode(w, v)
	if w.Header.Get("Content-Range") != "" && status == http.StatusOK {
		w.Status = http.StatusPartialContent
	}
	return nil
}

// OpenXML begins an XML payload.
func (w *Response) OpenXML(root string) {
	w.header().Set("Content-Type", "application/xml")
	w.Body = openRoot(append(w.Body, prolog...), root, w.Namespace)
}

// CloseXML ends it.
func (w *Response) CloseXML(root string) { w.Body = AppendClose(w.Body, root) }

// set writes a header's name as AWS does, letter by letter: clients see the case of x-amz-meta- names.
func (w *Response) set(name, v string) { w.Header[name] = []string{v} }

// SetString sets a header unless the value is empty.
func (w *Response) SetString(name, v string) {
	if v != "" {
		w.set(name, v)
	}
}

// SetInt sets a header, zero too.
func (w *Response) SetInt(name string, v int64) { w.set(name, strconv.FormatInt(v, 10)) }

// SetBool sets a header, false too.
func (w *Response) SetBool(name string, v bool) { w.set(name, strconv.FormatBool(v)) }

// SetTime sets a header as HTTP writes times, unless the time is zero.
func (w *Response) SetTime(name string, v time.Time) {
	if !v.IsZero() {
		w.set(name, v.UTC().Format(http.TimeFormat))
	}
}

// SetISOTime sets a header in ISO 8601, unless the time is zero.
func (w *Response) SetISOTime(name string, v time.Time) {
	if !v.IsZero() {
		w.set(name, v.UTC().Format(ISOMillis))
	}
}

// SetMap sets one header for each element.
func (w *Response) SetMap(prefix string, m map[string]string) {
	for k, v := range m {
		w.set(prefix+k, v)
	}
}
