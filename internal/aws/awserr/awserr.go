// Package awserr is the one error type that reaches AWS clients. Handlers return it; the front door
// writes it in the shape of the service's protocol. Any other error becomes InternalError.
package awserr

import (
	"errors"
	"fmt"
)

// Error is an AWS error: a documented code, a message for people and the HTTP status.
type Error struct {
	Code    string // e.g. "InvalidInstanceID.NotFound"
	Message string
	Status  int // HTTP status, 400 unless the code says otherwise

	// Fields are extra elements that some services answer (S3: BucketName, Key …), in order.
	Fields []Field
	// Headers are those of the answer that belong to the error (S3: x-amz-delete-marker, Allow …).
	Headers []Field
	cause   error
}

// Field is one extra element of an error answer.
type Field struct{ Name, Value string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Unwrap gives the cause, which is logged and never sent.
func (e *Error) Unwrap() error { return e.cause }

// New makes an error with status 400.
func New(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: 400}
}

// WithStatus gives a copy with another HTTP status.
func (e *Error) WithStatus(status int) *Error {
	c := *e
	c.Status = status
	return &c
}

// With gives a copy with one more field.
func (e *Error) With(name, value string) *Error {
	c := *e
	c.Fields = append(append([]Field(nil), e.Fields...), Field{name, value})
	return &c
}

// WithHeader gives a copy with one more header.
func (e *Error) WithHeader(name, value string) *Error {
	c := *e
	c.Headers = append(append([]Field(nil), e.Headers...), Field{name, value})
	return &c
}

// Because gives a copy that keeps a cause for the log.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// From finds the AWS error in err, or makes an InternalError of it with err as its cause.
func From(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return New("InternalError", "An internal error has occurred").WithStatus(500).Because(err)
}

// Code gives the AWS code in err, or "" when there is none.
func Code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
