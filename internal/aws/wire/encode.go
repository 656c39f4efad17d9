package wire

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

// Timestamps as services write them.
const (
	ISOMillis  = "2006-01-02T15:04:05.000Z" // EC2, S3
	ISOSeconds = "2006-01-02T15:04:05Z"     // IAM, STS
)

const prolog = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

var errNoOutput = errors.New("the handler gave neither a result nor an error")

// output is the typed result of a handler.
func output[T any](out any) (*T, error) {
	v, _ := out.(*T)
	if v == nil {
		return nil, errNoOutput
	}
	return v, nil
}

// EncodeEC2 writes an answer of the EC2 protocol.
func EncodeEC2[T any](w *Response, out any, root string, appendTo func([]byte, *T) []byte) error {
	v, err := output[T](out)
	if err != nil {
		return err
	}
	w.header().Set("Content-Type", "text/xml;charset=UTF-8")
	b := append(w.Body, prolog...)
	b = openRoot(b, root, w.Namespace)
	b = append(b, '\n')
	b = AppendString(b, "requestId", w.RequestID)
	b = appendTo(b, v)
	w.Body = AppendClose(b, root)
	return nil
}

// EncodeQuery writes an answer of the Query protocol; wrapper is "" for results without members.
func EncodeQuery[T any](w *Response, out any, root, wrapper string, appendTo func([]byte, *T) []byte) error {
	v, err := output[T](out)
	if err != nil {
		return err
	}
	w.header().Set("Content-Type", "text/xml")
	b := openRoot(w.Body, root, w.Namespace)
	if wrapper != "" {
		b = AppendOpen(b, wrapper)
		b = appendTo(b, v)
		b = AppendClose(b, wrapper)
	}
	b = append(b, "<ResponseMetadata>"...)
	b = AppendString(b, "RequestId", w.RequestID)
	b = append(b, "</ResponseMetadata>"...)
	w.Body = AppendClose(b, root)
	return nil
}

func (w *Response) header() http.Header {
	if w.Header == nil {
		w.Header = http.Header{}
	}
	return w.Header
}

func openRoot(b []byte, root, namespace string) []byte {
	b = append(b, '<')
	b = append(b, root...)
	if namespace != "" {
		b = append(b, ` xmlns="`...)
		b = AppendText(b, namespace)
		b = append(b, '"')
	}
	return append(b, '>')
}

// AppendOpen appends <name>.
func AppendOpen(b []byte, name string) []byte {
	b = append(b, '<')
	b = append(b, name...)
	return append(b, '>')
}

// AppendClose appends </name>.
func AppendClose(b []byte, name string) []byte {
	b = append(b, '<', '/')
	b = append(b, name...)
	return append(b, '>')
}

// AppendString appends an element with text.
func AppendString(b []byte, name, v string) []byte {
	b = AppendOpen(b, name)
	b = AppendText(b, v)
	return AppendClose(b, name)
}

// AppendInt appends an element with a number.
func AppendInt(b []byte, name string, v int64) []byte {
	b = AppendOpen(b, name)
	b = strconv.AppendInt(b, v, 10)
	return AppendClose(b, name)
}

// AppendFloat appends an element with a number.
func AppendFloat(b []byte, name string, v float64) []byte {
	b = AppendOpen(b, name)
	b = strconv.AppendFloat(b, v, 'f', -1, 64)
	return AppendClose(b, name)
}

// AppendBool appends an element with a boolean.
func AppendBool(b []byte, name string, v bool) []byte {
	b = AppendOpen(b, name)
	b = strconv.AppendBool(b, v)
	return AppendClose(b, name)
}

// AppendTime appends an element with a time in UTC.
func AppendTime(b []byte, name string, v time.Time, layout string) []byte {
	b = AppendOpen(b, name)
	b = v.UTC().AppendFormat(b, layout)
	return AppendClose(b, name)
}

// AppendBlob appends an element with base64.
func AppendBlob(b []byte, name string, v []byte) []byte {
	b = AppendOpen(b, name)
	b = base64.StdEncoding.AppendEncode(b, v)
	return AppendClose(b, name)
}

// AppendText appends escaped text for elements and attributes. What XML cannot carry becomes U+FFFD.
func AppendText(b []byte, s string) []byte {
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		size, with := 1, ""
		switch {
		case c == '&':
			with = "&amp;"
		case c == '<':
			with = "&lt;"
		case c == '>':
			with = "&gt;"
		case c == '"':
			with = "&quot;"
		case c == '\r':
			with = "&#13;"
		case c < ' ' && c != '\t' && c != '\n':
			with = "\uFFFD"
		case c >= utf8.RuneSelf:
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 || r == 0xFFFE || r == 0xFFFF {
				with = "\uFFFD"
			}
		}
		if with != "" {
			b = append(b, s[from:i]...)
			b = append(b, with...)
			from = i + size
		}
		i += size
	}
	return append(b, s[from:]...)
}
