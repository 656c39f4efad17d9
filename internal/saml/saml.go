// Package saml verifies the responses of SAML 2.0 identity providers as STS does: signed by a key of the provider's metadata, meant
// for AWS, and in force.
//
// A response comes from anybody. So it is refused unless it has the one plain shape that providers send (scan, shape), and what it
// says is read only of what was signed.
package saml

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"
)

// Reason is the kind of a refusal.
type Reason uint8

// Reasons.
const (
	Invalid  Reason = iota + 1
	Expired         // it was good once
	Rejected        // the provider itself says no
)

// Error is a refusal.
type Error struct {
	Reason  Reason
	Message string // for the caller
	Err     error  // for the log; nil: no more to say
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

var errIssuer = &Error{Invalid, "Issuer not present in specified provider", nil}

func invalid(format string, args ...any) error {
	return &Error{Invalid, fmt.Sprintf(format, args...), nil}
}

// Assertion is what a provider vouches for.
type Assertion struct {
	Issuer    string
	Subject   string // the NameID
	Format    string // of the subject: "persistent", "transient", or another's whole name
	Recipient string
	// SessionEnd is until when the provider lets sessions last; zero: it does not say.
	SessionEnd time.Time
	Attributes map[string][]string
}

// maxName bounds the NameID and its format: sessions carry them.
const maxName = 512

// Times that count.
const (
	redeem = 5 * time.Minute // after it was issued, as AWS has it
	leeway = time.Minute     // between the provider's clock and ours
)

// Names that providers may mean this service by: AWS's.
const (
	audience = "urn:amazon:webservices"
	signin   = "signin.aws.amazon.com"
)

// ours says whether a name in a response means us: AWS's own, or the cloud's endpoint with "/saml".
func ours(name, endpoint string) bool {
	if endpoint != "" && name == strings.TrimSuffix(endpoint, "/")+"/saml" {
		return true
	}
	u, err := url.Parse(name)
	return err == nil && u.Scheme == "https" && (u.Host == signin || strings.HasSuffix(u.Host, "."+signin)) && u.Path == "/saml" && u.RawQuery == "" && u.User == nil && u.Fragment == ""
}

// Verify gives the assertion of a response in base64.
func Verify(m *Metadata, response, endpoint string, now time.Time) (*Assertion, error) {
	text, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(response), ""))
	if err != nil {
		return nil, &Error{Invalid, "Invalid base64 SAMLResponse", err}
	}
	if err := scan(text, false, maxElements); err != nil {
		return nil, &Error{Invalid, "Invalid SAML response", err}
	}
	e, err := signed(m, text)
	if err != nil {
		var known *Error
		if errors.As(err, &known) {
			return nil, err
		}
		return nil, &Error{Invalid, "Response signature invalid", err}
	}
	a := &Assertion{}
	for _, step := range []func(*etree.Element) error{
		func(e *etree.Element) error { return a.issued(e, m, now) },
		func(e *etree.Element) error { return a.subject(e, endpoint, now) },
		func(e *etree.Element) error { return a.conditions(e, endpoint, now) },
		func(e *etree.Element) error { return a.statements(e, now) },
	} {
		if err := step(e); err != nil {
			var known *Error
			if !errors.As(err, &known) {
				err = &Error{Invalid, "Invalid SAML response", err}
			}
			return nil, err
		}
	}
	return a, nil
}

func (a *Assertion) issued(e *etree.Element, m *Metadata, now time.Time) error {
	issuer, err := one(e, assertionNS, "Issuer")
	if err != nil || issuer == nil || content(issuer) != m.EntityID {
		return errIssuer
	}
	a.Issuer = m.EntityID
	at, ok := moment(e, "IssueInstant")
	switch {
	case e.SelectAttrValue("Version", "") != "2.0":
		return invalid("The assertion is not one of SAML 2.0")
	case !ok || at.IsZero():
		return invalid("The assertion has no IssueInstant")
	case at.After(now.Add(leeway)):
		return invalid("The assertion is of the future")
	case now.Sub(at) >= redeem:
		return &Error{Expired, "Token must be redeemed within 5 minutes of issuance", nil}
	case !m.ValidUntil.IsZero() && !now.Before(m.ValidUntil):
		return invalid("The metadata of the specified provider has expired")
	}
	return nil
}

// moment reads an attribute that is a time; zero if it is not there.
func moment(e *etree.Element, name string) (time.Time, bool) {
	text := e.SelectAttrValue(name, "")
	if text == "" {
		return time.Time{}, true
	}
	t, err := time.Parse(time.RFC3339, text)
	return t, err == nil
}

// span checks NotBefore and NotOnOrAfter.
func span(e *etree.Element, now time.Time, mustEnd bool) error {
	from, ok1 := moment(e, "NotBefore")
	until, ok2 := moment(e, "NotOnOrAfter")
	switch {
	case !ok1 || !ok2 || mustEnd && until.IsZero():
		return invalid("%s does not say when it is good", e.Tag)
	case from.After(now.Add(leeway)):
		return invalid("The assertion is not yet valid")
	case !until.IsZero() && !now.Before(until):
		return &Error{Expired, "Assertion is expired", nil}
	}
	return nil
}

func (a *Assertion) subject(e *etree.Element, endpoint string, now time.Time) error {
	s, err := one(e, assertionNS, "Subject")
	if err != nil || s == nil {
		return invalid("The assertion has no subject")
	}
	id, err := one(s, assertionNS, "NameID")
	if err != nil || id == nil || content(id) == "" {
		return invalid("The assertion has no NameID")
	}
	a.Subject = content(id)
	a.Format = id.SelectAttrValue("Format", "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified")
	if len(a.Subject) > maxName || len(a.Format) > maxName {
		return invalid("The NameID is longer than %d characters", maxName)
	}
	for _, short := range []string{"persistent", "transient"} {
		if a.Format == "urn:oasis:names:tc:SAML:2.0:nameid-format:"+short {
			a.Format = short
		}
	}
	last := invalid("The assertion has no confirmation for its bearer")
	for _, c := range all(s, assertionNS, "SubjectConfirmation") {
		if c.SelectAttrValue("Method", "") != "urn:oasis:names:tc:SAML:2.0:cm:bearer" {
			continue
		}
		data, err := one(c, assertionNS, "SubjectConfirmationData")
		if err != nil || data == nil {
			continue
		}
		to := data.SelectAttrValue("Recipient", "")
		if !ours(to, endpoint) {
			last = invalid("Response does not contain the required recipient")
			continue
		}
		if last = span(data, now, true); last == nil {
			a.Recipient = to
			return nil
		}
	}
	return last
}

func (a *Assertion) conditions(e *etree.Element, endpoint string, now time.Time) error {
	c, err := one(e, assertionNS, "Conditions")
	if err != nil || c == nil {
		return invalid("Response does not contain the required audience.")
	}
	if err := span(c, now, false); err != nil {
		return err
	}
	restrictions := all(c, assertionNS, "AudienceRestriction")
	for _, r := range restrictions {
		if !slices.ContainsFunc(all(r, assertionNS, "Audience"), func(e *etree.Element) bool {
			name := content(e)
			return name == audience || ours(name, endpoint)
		}) {
			return invalid("Response does not contain the required audience.")
		}
	}
	if len(restrictions) == 0 {
		return invalid("Response does not contain the required audience.")
	}
	return nil
}

func (a *Assertion) statements(e *etree.Element, now time.Time) error {
	for _, s := range all(e, assertionNS, "AuthnStatement") {
		end, ok := moment(s, "SessionNotOnOrAfter")
		switch {
		case !ok:
			return invalid("SessionNotOnOrAfter is not a time")
		case end.IsZero():
		case !now.Before(end):
			return &Error{Expired, "Assertion is expired", nil}
		case a.SessionEnd.IsZero() || end.Before(a.SessionEnd):
			a.SessionEnd = end
		}
	}
	a.Attributes = map[string][]string{}
	for _, s := range all(e, assertionNS, "AttributeStatement") {
		for _, at := range all(s, assertionNS, "Attribute") {
			name := at.SelectAttrValue("Name", "")
			for _, v := range all(at, assertionNS, "AttributeValue") {
				a.Attributes[name] = append(a.Attributes[name], content(v))
			}
		}
	}
	return nil
}
