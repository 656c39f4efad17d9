// Package samltest is a SAML identity provider, for tests.
package samltest

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// IdP makes responses.
type IdP struct {
	EntityID string
	Key      *rsa.PrivateKey
	DER      []byte // certificate, out of date
}

// New makes a provider.
func New(t testing.TB) *IdP {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"},
		NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(-1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &IdP{"https://idp.example.com/saml", key, der}
}

// Metadata is the provider's document.
func (i *IdP) Metadata() string {
	return fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" entityID=%q>
  <!-- what an identity provider exports -->
  <md:IDPSSODescriptor WantAuthnRequestsSigned="false" protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
    <md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>%s</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>
    <md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://idp.example.com/sso"/>
  </md:IDPSSODescriptor>
</md:EntityDescriptor>`, i.EntityID, base64.StdEncoding.EncodeToString(i.DER))
}

// Response is what a response says; zero values are those of a good one.
type Response struct {
	Issuer, Subject, Format       string
	Recipient, Audience, Status   string
	Issued, From, Until           time.Time
	SessionEnd                    time.Time
	Attributes                    map[string][]string
	Unsigned, Whole               bool   // no signature; the response's in place of the assertion's
	Method                        string // of the signature
	InAssertion, Beside, Subjects string // further XML: in the assertion, beside it, in its subject
}

// Attribute begins AWS's names.
const Attribute = "https://aws.amazon.com/SAML/Attributes/"

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func at(t, otherwise time.Time) string {
	if t.IsZero() {
		t = otherwise
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// Assertion is the assertion's text without a signature.
func (i *IdP) Assertion(r Response) string {
	now := time.Now()
	var attributes strings.Builder
	for name, values := range r.Attributes {
		fmt.Fprintf(&attributes, `<saml:Attribute Name=%q>`, escape(name))
		for _, v := range values {
			fmt.Fprintf(&attributes, `<saml:AttributeValue>%s</saml:AttributeValue>`, escape(v))
		}
		attributes.WriteString(`</saml:Attribute>`)
	}
	end := ""
	if !r.SessionEnd.IsZero() {
		end = fmt.Sprintf(` SessionNotOnOrAfter=%q`, at(r.SessionEnd, now))
	}
	subject := or(r.Subjects, "<saml:NameID Format=\""+or(r.Format, "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent")+"\">"+escape(or(r.Subject, "alice"))+"</saml:NameID>")
	return fmt.Sprintf(`<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_a" Version="2.0" IssueInstant=%q><saml:Issuer>%s</saml:Issuer>`+
		`<saml:Subject>%s<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter=%q Recipient=%q/></saml:SubjectConfirmation></saml:Subject>`+
		`<saml:Conditions NotBefore=%q NotOnOrAfter=%q><saml:AudienceRestriction><saml:Audience>%s</saml:Audience></saml:AudienceRestriction></saml:Conditions>`+
		`<saml:AuthnStatement AuthnInstant=%q%s><saml:AuthnContext/></saml:AuthnStatement><saml:AttributeStatement>%s</saml:AttributeStatement>%s</saml:Assertion>`,
		at(r.Issued, now), escape(or(r.Issuer, i.EntityID)), subject, at(r.Until, now.Add(5*time.Minute)), or(r.Recipient, "https://signin.aws.amazon.com/saml"),
		at(r.From, now.Add(-time.Minute)), at(r.Until, now.Add(5*time.Minute)), escape(or(r.Audience, "urn:amazon:webservices")), at(r.Issued, now), end, attributes.String(), r.InAssertion)
}

// Wrap is a response around assertions.
func (i *IdP) Wrap(r Response, assertions string) string {
	return fmt.Sprintf(`<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_r" Version="2.0" IssueInstant=%q><saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">%s</saml:Issuer>`+
		`<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:%s"/></samlp:Status>%s%s</samlp:Response>`,
		at(r.Issued, time.Now()), escape(or(r.Issuer, i.EntityID)), or(r.Status, "Success"), assertions, r.Beside)
}

// Sign adds an enveloped signature to an element.
func (i *IdP) Sign(t testing.TB, text, method string) string {
	t.Helper()
	doc := etree.NewDocument()
	if err := doc.ReadFromString(text); err != nil {
		t.Fatal(err)
	}
	s, err := dsig.NewSigningContext(i.Key, [][]byte{i.DER})
	if err != nil {
		t.Fatal(err)
	}
	s.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if err := s.SetSignatureMethod(or(method, dsig.RSASHA256SignatureMethod)); err != nil {
		t.Fatal(err)
	}
	signed, err := s.SignEnveloped(doc.Root())
	if err != nil {
		t.Fatal(err)
	}
	out := etree.NewDocument()
	out.SetRoot(signed)
	text, err = out.WriteToString()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// XML is a whole response.
func (i *IdP) XML(t testing.TB, r Response) string {
	t.Helper()
	a := i.Assertion(r)
	if r.Unsigned {
		return i.Wrap(r, a)
	}
	if r.Whole {
		return i.Sign(t, i.Wrap(r, a), r.Method)
	}
	return i.Wrap(r, i.Sign(t, a, r.Method))
}

// Encode is a response as it is sent.
func Encode(xml string) string { return base64.StdEncoding.EncodeToString([]byte(xml)) }
