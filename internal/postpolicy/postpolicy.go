// Package postpolicy is the policy of a browser's upload form: which fields it may have, and how large its file
// may be. Who signed it is not its business.
package postpolicy

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Error says why a policy cannot be read, or why a form is not within it.
type Error struct {
	Reason   string
	Document bool // it cannot be read
}

func (e *Error) Error() string { return "post policy: " + e.Reason }

func malformed(format string, args ...any) *Error {
	return &Error{Reason: fmt.Sprintf(format, args...), Document: true}
}

func denied(format string, args ...any) *Error { return &Error{Reason: fmt.Sprintf(format, args...)} }

// Policy is a policy that was read.
type Policy struct {
	Least, Most int64 // of the file's bytes
	expires     time.Time
	conditions  []condition
}

type condition struct {
	operator, field, value string // "eq" or "starts-with"; the field in lower case, without its dollar sign
	text                   string // for the message
}

// Limits of a policy.
const (
	maxText       = 20 << 10
	maxConditions = 200
)

// Parse reads a policy out of the base64 that a form has.
func Parse(text string) (*Policy, error) {
	if len(text) > maxText {
		return nil, malformed("Policy is too large.")
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, malformed("Invalid Base64 Encoding.")
	}
	var doc struct {
		Expiration *string            `json:"expiration"`
		Conditions *[]json.RawMessage `json:"conditions"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, malformed("Invalid JSON.")
	}
	switch {
	case doc.Expiration == nil:
		return nil, malformed("Policy missing expiration.")
	case doc.Conditions == nil:
		return nil, malformed("Policy missing conditions.")
	case len(*doc.Conditions) > maxConditions:
		return nil, malformed("Policy has too many conditions.")
	}
	p := &Policy{Most: math.MaxInt64}
	if p.expires, err = time.Parse(time.RFC3339, *doc.Expiration); err != nil {
		return nil, malformed("Invalid 'expiration' value: '%.40s'", *doc.Expiration)
	}
	for _, raw := range *doc.Conditions {
		if err := p.add(raw); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Policy) add(raw json.RawMessage) error {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) == nil {
		if len(object) != 1 {
			return malformed("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
		}
		for name, v := range object {
			var value string
			if json.Unmarshal(v, &value) != nil {
				return malformed("Invalid Simple-Condition: value must be a string.")
			}
			p.equal("eq", name, value)
		}
		return nil
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return malformed("Invalid Condition: must be an object or an array.")
	}
	if len(list) != 3 {
		return malformed("Invalid Condition: wrong number of arguments.")
	}
	var operator, field, value string
	if json.Unmarshal(list[0], &operator) != nil {
		return malformed("Invalid Condition: the operation must be a string.")
	}
	operator = strings.ToLower(operator)
	if operator == "content-length-range" {
		least, ok1 := number(list[1])
		most, ok2 := number(list[2])
		if !ok1 || !ok2 || least < 0 || most < least {
			return malformed("Invalid content-length-range")
		}
		p.Least, p.Most = max(p.Least, least), min(p.Most, most)
		return nil
	}
	if operator != "eq" && operator != "starts-with" {
		return malformed("Invalid Condition: unknown operation '%.40s'.", operator)
	}
	if json.Unmarshal(list[1], &field) != nil || json.Unmarshal(list[2], &value) != nil || !strings.HasPrefix(field, "$") {
		return malformed("Invalid %s condition: the field must begin with $ and the value be a string.", operator)
	}
	p.equal(operator, field[1:], value)
	return nil
}

func (p *Policy) equal(operator, field, value string) {
	text := fmt.Sprintf("[%q, %q, %q]", operator, "$"+field, value)
	p.conditions = append(p.conditions, condition{operator, strings.ToLower(field), value, text})
}

// number reads a number, which some clients write as a string.
func number(raw json.RawMessage) (int64, bool) {
	n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
	return n, err == nil
}

// free are the fields that no condition needs to name.
var free = []string{"x-amz-signature", "file", "policy", "awsaccesskeyid", "signature"}

// Check judges a form by its fields, by name in lower case: every condition must hold, and every field must be
// named by one.
func (p *Policy) Check(fields map[string]string, bucket string, now time.Time) error {
	if !now.Before(p.expires) {
		return denied("Policy expired.")
	}
	named := map[string]bool{}
	for _, c := range p.conditions {
		value, there := fields[c.field], true
		if c.field == "bucket" {
			value = bucket
		} else {
			_, there = fields[c.field]
		}
		named[c.field] = true
		if !c.holds(value, there) {
			return denied("Policy Condition failed: %s", c.text)
		}
	}
	var extra []string
	for name := range fields {
		if !named[name] && !slices.Contains(free, name) && !strings.HasPrefix(name, "x-ignore-") {
			extra = append(extra, name)
		}
	}
	if extra != nil {
		slices.Sort(extra)
		return denied("Extra input fields: %s", strings.Join(extra, ", "))
	}
	return nil
}

func (c *condition) holds(value string, there bool) bool {
	if c.operator == "eq" {
		return there && value == c.value
	}
	if c.field == "content-type" && c.value != "" { // several, each of which must begin so
		for item := range strings.SplitSeq(value, ",") {
			if !strings.HasPrefix(strings.TrimSpace(item), c.value) {
				return false
			}
		}
		return there
	}
	return strings.HasPrefix(value, c.value) && (there || c.value == "")
}
