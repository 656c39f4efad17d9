package policy

import (
	"fmt"
	"strconv"
)

// Error says why a text is not a policy. Services answer it as MalformedPolicyDocument (IAM, STS) or
// MalformedPolicy (S3), with Error() as the message: AWS's sentence, then the place.
type Error struct {
	Reason    string // a sentence in AWS's style, with its full stop
	Statement int    // from 1; 0: not about a statement
	Sid       string // of that statement, if it has one
	Element   string // "Action", "Condition/StringLike/aws:username"; "" if the whole statement
}

func (e *Error) Error() string {
	place := ""
	if e.Statement > 0 {
		place = "statement " + strconv.Itoa(e.Statement)
		if e.Sid != "" {
			place += " " + strconv.Quote(e.Sid)
		}
	}
	if e.Element != "" {
		if place != "" {
			place += ", "
		}
		place += "element " + e.Element
	}
	if place == "" {
		return e.Reason
	}
	return e.Reason + " (" + place + ")"
}

// fault makes an Error without a statement; whoever knows the statement adds it.
func fault(element, format string, args ...any) *Error {
	return &Error{Element: element, Reason: fmt.Sprintf(format, args...)}
}
