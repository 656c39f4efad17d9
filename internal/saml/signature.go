package saml

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
	"github.com/russellhaering/goxmldsig/etreeutils"
)

// Namespaces.
const (
	protocolNS  = "urn:oasis:names:tc:SAML:2.0:protocol"
	assertionNS = "urn:oasis:names:tc:SAML:2.0:assertion"
	signatureNS = "http://www.w3.org/2000/09/xmldsig#"
)

// signed gives the one assertion of a response as it was signed, with nothing of the response around it. All that is read later is
// read of what this returns, which is parsed anew from the very bytes whose digest was signed.
func signed(m *Metadata, text []byte) (assertion *etree.Element, err error) {
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(text); err != nil {
		return nil, err
	}
	root := doc.Root()
	if root == nil || !is(root, protocolNS, "Response") {
		return nil, errors.New("it is not a Response")
	}
	if err := success(root, m); err != nil {
		return nil, err
	}
	found, err := shape(root)
	if err != nil {
		return nil, err
	}
	if found.ofAssertion {
		if assertion, err = validate(m, found.assertion); err != nil {
			return nil, err
		}
	}
	if found.ofResponse {
		whole, err := validate(m, root)
		if err != nil {
			return nil, err
		}
		if assertion == nil {
			if assertion, err = one(whole, assertionNS, "Assertion"); err != nil {
				return nil, err
			}
		}
	}
	if assertion == nil || !is(assertion, assertionNS, "Assertion") {
		return nil, errors.New("nothing is signed")
	}
	return assertion, nil
}

// found is where in a response the parts are that count.
type found struct {
	assertion               *etree.Element
	ofResponse, ofAssertion bool // has a signature
}

// shape refuses every response but the plain one: an assertion in it, a signature in either. What an attacker wraps around, or
// beside, something signed has another shape.
func shape(root *etree.Element) (f found, err error) {
	if f.assertion, err = one(root, assertionNS, "Assertion"); err != nil {
		return f, err
	}
	if f.assertion == nil {
		return f, errors.New("there is no assertion in clear")
	}
	ids := map[string]bool{}
	var walk func(e *etree.Element) error
	walk = func(e *etree.Element) error {
		for _, a := range e.Attr {
			if a.Space == "" && strings.EqualFold(a.Key, "ID") {
				if ids[a.Value] {
					return errors.New("an ID is there twice")
				}
				ids[a.Value] = true
			}
		}
		switch {
		case e.Tag == "Assertion" && e != f.assertion, e.Tag == "EncryptedAssertion", e.Tag == "Response" && e != root:
			return fmt.Errorf("a further %s is in it", e.Tag)
		case is(e, signatureNS, "Signature"):
			switch {
			case e.Parent() == root && !f.ofResponse:
				f.ofResponse = true
			case e.Parent() == f.assertion && !f.ofAssertion:
				f.ofAssertion = true
			default:
				return errors.New("a signature is at an unusual place")
			}
		case e.NamespaceURI() == signatureNS && (e.Tag == "SignatureMethod" || e.Tag == "DigestMethod") && strings.HasSuffix(e.SelectAttrValue("Algorithm", ""), "sha1"):
			return errors.New("it is signed with SHA-1")
		}
		for _, c := range e.ChildElements() {
			if err := walk(c); err != nil {
				return err
			}
		}
		return nil
	}
	return f, walk(root)
}

// validate gives what an enveloped signature of e signs: e itself, and nothing else.
func validate(m *Metadata, e *etree.Element) (*etree.Element, error) {
	if e.SelectAttrValue("ID", "") == "" {
		return nil, errors.New("what is signed has no ID")
	}
	ns, err := etreeutils.NSBuildParentContext(e)
	if err != nil {
		return nil, err
	}
	detached, err := etreeutils.NSDetatch(ns, e)
	if err != nil {
		return nil, err
	}
	last := errors.New("no certificate")
	for _, c := range m.Certificates {
		v := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{c}})
		v.Clock = dsig.NewFakeClockAt(c.NotBefore.Add(time.Second)) // AWS takes a certificate as a key, however old
		out, err := v.Validate(detached)
		if err == nil {
			if out == nil || out.Tag != e.Tag || out.SelectAttrValue("ID", "") != e.SelectAttrValue("ID", "") {
				return nil, errors.New("something else is signed")
			}
			return out, nil
		}
		last = err
	}
	return nil, last
}

// success asks for the provider's word that it authenticated somebody.
func success(root *etree.Element, m *Metadata) error {
	if issuer, err := one(root, assertionNS, "Issuer"); err != nil || issuer != nil && content(issuer) != m.EntityID {
		return errIssuer
	}
	status, err := one(root, protocolNS, "Status")
	if err != nil || status == nil {
		return errors.New("the response has no status")
	}
	code, err := one(status, protocolNS, "StatusCode")
	if err != nil || code == nil {
		return errors.New("the response has no status")
	}
	if v := code.SelectAttrValue("Value", ""); v != "urn:oasis:names:tc:SAML:2.0:status:Success" {
		return &Error{Rejected, "The identity provider did not authenticate the user.", fmt.Errorf("status %.128q", v)}
	}
	return nil
}

func is(e *etree.Element, ns, tag string) bool { return e.Tag == tag && e.NamespaceURI() == ns }

// all gives the children of a name.
func all(e *etree.Element, ns, tag string) (out []*etree.Element) {
	for _, c := range e.ChildElements() {
		if is(c, ns, tag) {
			out = append(out, c)
		}
	}
	return out
}

// one gives the only child of a name; nil: there is none.
func one(e *etree.Element, ns, tag string) (*etree.Element, error) {
	list := all(e, ns, tag)
	switch len(list) {
	case 0:
		return nil, nil
	case 1:
		return list[0], nil
	}
	return nil, fmt.Errorf("%s is there more than once", tag)
}

// content is an element's whole text. It has no text where it has elements.
func content(e *etree.Element) string {
	var b strings.Builder
	for _, c := range e.Child {
		switch c := c.(type) {
		case *etree.CharData:
			b.WriteString(c.Data)
		default:
			return ""
		}
	}
	return strings.TrimSpace(b.String())
}
