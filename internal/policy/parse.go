package policy

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Parse reads a policy, validates it for its kind and compiles it. It is strict: elements that the language does not
// have, repeated keys and values of wrong types are refused. Errors are of type *Error.
//
// Quotas of size depend on more than the text (inline policies add up) and are the caller's to check.
func Parse(text string, kind Kind) (*Policy, error) {
	if len(text) > MaxText {
		return nil, fault("", "Policy document length is greater than %d.", MaxText)
	}
	if !utf8.ValidString(text) {
		return nil, fault("", "Syntax errors in policy.")
	}
	r := &reader{dec: json.NewDecoder(strings.NewReader(text))}
	r.dec.UseNumber()
	doc, err := r.document()
	if err == nil {
		if _, more := r.dec.Token(); !errors.Is(more, io.EOF) {
			err = fault("", "Syntax errors in policy.")
		}
	}
	if err != nil {
		var e *Error
		if !errors.As(err, &e) { // a JSON error, whose words are Go's
			e = fault("", "Syntax errors in policy.")
		}
		return nil, e
	}
	p, err := compile(doc, kind)
	if err != nil {
		return nil, err
	}
	p.spans = r.spans
	return p, nil
}

// reader walks the tokens of a policy: the only way with encoding/json to see repeated keys.
type reader struct {
	dec   *json.Decoder
	spans [][2]int // of the statements
}

// object calls field for each key of an object, which begins with the next token.
func (r *reader) object(element string, field func(key string) error) error {
	t, err := r.dec.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return fault(element, "Syntax errors in policy: an object is expected.")
	}
	return r.fields(element, field)
}

// fields goes on after the opening brace.
func (r *reader) fields(element string, field func(key string) error) error {
	var seen []string
	for r.dec.More() {
		t, err := r.dec.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if slices.Contains(seen, key) {
			return fault(element, "Syntax errors in policy: %q appears twice.", key)
		}
		if len(seen) == 1000 { // keeps the check for repetition cheap; no policy of a legal size gets here
			return fault(element, "Syntax errors in policy: too many keys.")
		}
		seen = append(seen, key)
		if err := field(key); err != nil {
			return err
		}
	}
	_, err := r.dec.Token()
	return err
}

func (r *reader) document() (*Document, error) {
	d := &Document{Version: Version2008}
	has := false
	err := r.object("", func(key string) (err error) {
		switch key {
		case "Version":
			d.Version, err = r.str(key)
		case "Id":
			d.ID, err = r.str(key)
		case "Statement":
			has = true
			err = r.statements(d)
		default:
			err = fault("", "Syntax errors in policy: unknown element %q.", key)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if !has {
		return nil, fault("Statement", "Missing required field Statement.")
	}
	return d, nil
}

func (r *reader) statements(d *Document) error {
	t, err := r.dec.Token()
	if err != nil {
		return err
	}
	switch t {
	case json.Delim('{'):
		return r.statement(d)
	case json.Delim('['):
		for r.dec.More() {
			t, err := r.dec.Token()
			if err != nil {
				return err
			}
			if t != json.Delim('{') {
				return &Error{Statement: len(d.Statements) + 1, Reason: "Syntax errors in policy: an object is expected."}
			}
			if err := r.statement(d); err != nil {
				return err
			}
		}
		_, err = r.dec.Token()
		return err
	}
	return fault("Statement", "Syntax errors in policy: an object or a list of objects is expected.")
}

// statement reads one statement after its opening brace.
func (r *reader) statement(d *Document) error {
	var s Statement
	start := int(r.dec.InputOffset()) - 1
	err := r.fields("", func(key string) (err error) {
		switch key {
		case "Sid":
			s.Sid, err = r.str(key)
		case "Effect":
			s.Effect, err = r.effect()
		case "Principal":
			s.Principal, err = r.principals(key)
		case "NotPrincipal":
			s.NotPrincipal, err = r.principals(key)
		case "Action":
			s.Action, err = r.list(key)
		case "NotAction":
			s.NotAction, err = r.list(key)
		case "Resource":
			s.Resource, err = r.list(key)
		case "NotResource":
			s.NotResource, err = r.list(key)
		case "Condition":
			s.Condition, err = r.conditions()
		default:
			err = fault("", "Syntax errors in policy: unknown element %q.", key)
		}
		return err
	})
	var e *Error
	if errors.As(err, &e) {
		e.Statement, e.Sid = len(d.Statements)+1, s.Sid
	}
	d.Statements = append(d.Statements, s)
	r.spans = append(r.spans, [2]int{start, int(r.dec.InputOffset())})
	return err
}

func (r *reader) str(element string) (string, error) {
	t, err := r.dec.Token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", fault(element, "Syntax errors in policy: a string is expected.")
	}
	return s, nil
}

func (r *reader) effect() (Effect, error) {
	word, err := r.str("Effect")
	if err != nil {
		return 0, err
	}
	for _, e := range []Effect{Allow, Deny, Limit} {
		if e.String() == word {
			return e, nil
		}
	}
	return 0, fault("Effect", "Invalid effect: %q.", word)
}

// list reads a string or a list of strings. It never gives nil without an error.
func (r *reader) list(element string) ([]string, error) {
	return r.scalars(element, func(t json.Token) (string, bool) {
		s, ok := t.(string)
		return s, ok
	})
}

// scalars reads one scalar or a list of them, in words.
func (r *reader) scalars(element string, word func(json.Token) (string, bool)) ([]string, error) {
	t, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	if s, ok := word(t); ok {
		return []string{s}, nil
	}
	if t != json.Delim('[') {
		return nil, fault(element, "Syntax errors in policy: a string or a list of strings is expected.")
	}
	out := []string{}
	for r.dec.More() {
		t, err := r.dec.Token()
		if err != nil {
			return nil, err
		}
		s, ok := word(t)
		if !ok {
			return nil, fault(element, "Syntax errors in policy: a string is expected.")
		}
		out = append(out, s)
	}
	_, err = r.dec.Token()
	return out, err
}

func (r *reader) principals(element string) (*Principals, error) {
	p := &Principals{}
	t, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	if t == "*" {
		p.Everyone = true
		return p, nil
	}
	if t != json.Delim('{') {
		return nil, fault(element, "Invalid principal in policy: \"*\" or an object is expected.")
	}
	err = r.fields(element, func(key string) (err error) {
		e := element + "/" + key
		switch key {
		case "AWS":
			p.AWS, err = r.list(e)
		case "Service":
			p.Service, err = r.list(e)
		case "Federated":
			p.Federated, err = r.list(e)
		case "CanonicalUser":
			p.CanonicalUser, err = r.list(e)
		default:
			err = fault(element, "Invalid principal in policy: unknown type %q.", key)
		}
		return err
	})
	return p, err
}

func (r *reader) conditions() ([]Condition, error) {
	var all []Condition
	err := r.object("Condition", func(operator string) error {
		return r.object("Condition/"+operator, func(key string) error {
			values, err := r.scalars("Condition/"+operator+"/"+key, func(t json.Token) (string, bool) {
				switch t := t.(type) {
				case string:
					return t, true
				case json.Number:
					return t.String(), true
				case bool:
					if t {
						return "true", true
					}
					return "false", true
				}
				return "", false
			})
			all = append(all, Condition{Operator: operator, Key: key, Values: values})
			return err
		})
	})
	return all, err
}
