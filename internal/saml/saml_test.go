package saml_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/saml"
	"karri.dev/internal/saml/samltest"
)

const endpoint = "https://api.cloud.test:8773"

type bench struct {
	*samltest.IdP
	m *saml.Metadata
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{IdP: samltest.New(t)}
	var err error
	if b.m, err = saml.ParseMetadata(b.Metadata()); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) verify(xml string) (*saml.Assertion, error) {
	return saml.Verify(b.m, samltest.Encode(xml), endpoint, time.Now())
}

// reason is 0 for no error.
func reason(err error) saml.Reason {
	var e *saml.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	if err != nil {
		return 99
	}
	return 0
}

func TestVerify(t *testing.T) {
	b, now := newBench(t), time.Now()
	end := now.Add(2 * time.Hour).Truncate(time.Second)
	for _, whole := range []bool{false, true} {
		a, err := b.verify(b.XML(t, samltest.Response{Whole: whole, SessionEnd: end, Attributes: map[string][]string{"mail": {"a@x", "b@x"}, "empty": {""}}}))
		if err != nil {
			t.Fatal(err)
		}
		if a.Issuer != b.EntityID || a.Subject != "alice" || a.Format != "persistent" || a.Recipient != "https://signin.aws.amazon.com/saml" || !a.SessionEnd.Equal(end) ||
			strings.Join(a.Attributes["mail"], " ") != "a@x b@x" {
			t.Errorf("%+v", a)
		}
	}
	for name, tt := range map[string]struct {
		r    samltest.Response
		want saml.Reason
	}{
		"recipient of a region":        {samltest.Response{Recipient: "https://eu-west-1.signin.aws.amazon.com/saml"}, 0},
		"recipient is this cloud":      {samltest.Response{Recipient: endpoint + "/saml", Audience: endpoint + "/saml"}, 0},
		"another recipient":            {samltest.Response{Recipient: "https://evil.example/saml"}, saml.Invalid},
		"recipient that looks like it": {samltest.Response{Recipient: "https://signin.aws.amazon.com.evil.example/saml"}, saml.Invalid},
		"recipient with a user":        {samltest.Response{Recipient: "https://x@signin.aws.amazon.com/saml"}, saml.Invalid},
		"recipient in clear":           {samltest.Response{Recipient: "http://signin.aws.amazon.com/saml"}, saml.Invalid},
		"another audience":             {samltest.Response{Audience: "https://other.example"}, saml.Invalid},
		"another issuer":               {samltest.Response{Issuer: "https://evil.example"}, saml.Invalid},
		"not signed":                   {samltest.Response{Unsigned: true}, saml.Invalid},
		"SHA-1":                        {samltest.Response{Method: "http://www.w3.org/2000/09/xmldsig#rsa-sha1"}, saml.Invalid},
		"SHA-512":                      {samltest.Response{Method: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"}, 0},
		"no success":                   {samltest.Response{Status: "Responder"}, saml.Rejected},
		"old":                          {samltest.Response{Issued: now.Add(-6 * time.Minute)}, saml.Expired},
		"of the future":                {samltest.Response{Issued: now.Add(3 * time.Minute)}, saml.Invalid},
		"not yet":                      {samltest.Response{From: now.Add(3 * time.Minute)}, saml.Invalid},
		"over":                         {samltest.Response{Until: now.Add(-time.Second)}, saml.Expired},
		"session is over":              {samltest.Response{SessionEnd: now.Add(-time.Second)}, saml.Expired},
		"a subject without end":        {samltest.Response{Subject: strings.Repeat("a", 513)}, saml.Invalid},
		"no subject":                   {samltest.Response{Subject: " "}, saml.Invalid},
		"subject cut by an element":    {samltest.Response{Subjects: `<saml:NameID>admin@acme.com<x/>.evil.example</saml:NameID>`}, saml.Invalid},
		"subject cut by CDATA":         {samltest.Response{Subjects: `<saml:NameID>ali<![CDATA[ce]]></saml:NameID>`}, 0},
		"two subjects":                 {samltest.Response{Subjects: `<saml:NameID>a</saml:NameID><saml:NameID>b</saml:NameID>`}, saml.Invalid},
		"an instruction":               {samltest.Response{InAssertion: `<?x y?>`}, saml.Invalid},
	} {
		if _, err := b.verify(b.XML(t, tt.r)); reason(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	// AWS's metadata can say until when it is good.
	expired := *b.m
	expired.ValidUntil = now.Add(-time.Minute)
	if _, err := saml.Verify(&expired, samltest.Encode(b.XML(t, samltest.Response{})), endpoint, now); reason(err) != saml.Invalid {
		t.Error(err)
	}
}

// What is read is what was signed, however it is wrapped.
func TestWrapping(t *testing.T) {
	b := newBench(t)
	good := b.Sign(t, b.Assertion(samltest.Response{}), "")
	evil := strings.Replace(b.Assertion(samltest.Response{Subject: "root"}), `ID="_a"`, `ID="_evil"`, 1)
	evilSame := b.Assertion(samltest.Response{Subject: "root"})
	i := strings.Index(good, "<ds:Signature")
	j := strings.Index(good, "</ds:Signature>") + len("</ds:Signature>")
	signature, bare := good[i:j], good[:i]+good[j:]
	inside := func(outer, inner string) string {
		return strings.Replace(outer, "</saml:Assertion>", inner+"</saml:Assertion>", 1)
	}
	object := "<ds:Object xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">" + bare + "</ds:Object>"
	wrap := func(s string) string { return b.Wrap(samltest.Response{}, s) }
	foreign := samltest.New(t)
	whole := b.XML(t, samltest.Response{Whole: true})
	for name, xml := range map[string]string{
		"evil before good":               wrap(evil + good),
		"evil after good":                wrap(good + evil),
		"evil twice the ID":              wrap(evilSame + good),
		"good in evil":                   wrap(inside(evil, good)),
		"good in evil's signature":       wrap(inside(evil, strings.Replace(signature, "</ds:Signature>", object+"</ds:Signature>", 1))),
		"evil takes the signature":       wrap(inside(evil, signature)),
		"evil takes signature and ID":    wrap(inside(evilSame, signature)),
		"good in an extension":           wrap("<samlp:Extensions>" + good + "</samlp:Extensions>" + evil),
		"signature beside":               wrap(evil + signature),
		"signature moved into subject":   wrap(strings.Replace(bare, "</saml:Subject>", signature+"</saml:Subject>", 1)),
		"two signatures":                 wrap(inside(good, signature)),
		"subject cut by a comment":       strings.Replace(wrap(good), ">alice<", ">ali<!-- -->ce<", 1),
		"changed subject":                strings.Replace(wrap(good), ">alice<", ">root<", 1),
		"changed attribute":              strings.Replace(wrap(good), "urn:amazon:webservices", "urn:amazon:webservices2", 1),
		"changed recipient":              strings.Replace(wrap(good), "signin.aws", "eu-west-1.signin.aws", 1),
		"whole, changed":                 strings.Replace(whole, ">alice<", ">root<", 1),
		"whole, with one more":           strings.Replace(whole, "</samlp:Response>", evil+"</samlp:Response>", 1),
		"another's key":                  foreign.XML(t, samltest.Response{}),
		"another's key, our certificate": (&samltest.IdP{EntityID: b.EntityID, Key: foreign.Key, DER: b.DER}).XML(t, samltest.Response{}),
		"our key, another's certificate": (&samltest.IdP{EntityID: b.EntityID, Key: b.Key, DER: foreign.DER}).XML(t, samltest.Response{}),
		"digest of nothing":              strings.Replace(wrap(good), `URI="#_a"`, `URI="#_b"`, 1),
		"signs the whole document":       strings.Replace(wrap(good), `URI="#_a"`, `URI=""`, 1),
		"no ID":                          strings.Replace(wrap(good), ` ID="_a"`, ``, 1),
		"HMAC":                           strings.Replace(wrap(good), "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2000/09/xmldsig#hmac-sha1", 1),
		"an XSLT transform":              strings.Replace(wrap(good), "http://www.w3.org/2000/09/xmldsig#enveloped-signature", "http://www.w3.org/TR/1999/REC-xslt-19991116", 1),
		"assertion alone":                good,
		"encrypted":                      wrap(`<saml:EncryptedAssertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"/>`),
		"assertion in another namespace": strings.ReplaceAll(wrap(good), "urn:oasis:names:tc:SAML:2.0:assertion", "urn:x"),
		"response in another namespace":  strings.ReplaceAll(wrap(good), "urn:oasis:names:tc:SAML:2.0:protocol", "urn:x"),
		"a document type":                `<!DOCTYPE x [<!ENTITY e "root">]>` + wrap(good),
		"entities that multiply":         `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>` + strings.Replace(wrap(good), ">alice<", ">&b;<", 1),
		"an external entity":             `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>` + strings.Replace(wrap(good), ">alice<", ">&e;<", 1),
		"deep":                           wrap(good + strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100)),
		"wide":                           wrap(good + strings.Repeat("<a/>", 5000)),
		"many namespaces":                wrap(good + strings.Repeat(`<a xmlns:b="c"/>`, 500)),
		"two roots":                      wrap(good) + wrap(good),
		"nothing":                        "",
		"text":                           "hello",
	} {
		if a, err := b.verify(xml); reason(err) != saml.Invalid {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if _, err := b.verify(wrap(good)); err != nil {
		t.Error(err)
	}
	if _, err := saml.Verify(b.m, "%%%", endpoint, time.Now()); reason(err) != saml.Invalid {
		t.Error(err)
	}
}

func TestMetadata(t *testing.T) {
	good := samltest.New(t).Metadata()
	m, err := saml.ParseMetadata(strings.Replace(good, "entityID", `validUntil="2030-01-02T03:04:05Z" entityID`, 1))
	if err != nil || m.ValidUntil.Year() != 2030 {
		t.Errorf("%+v, %v", m, err)
	}
	start, end := strings.Index(good, "<ds:X509Certificate>"), strings.Index(good, "</ds:X509Certificate>")
	for name, text := range map[string]string{
		"no entity":       strings.Replace(good, "entityID", "entity", 1),
		"for encryption":  strings.Replace(good, `use="signing"`, `use="encryption"`, 1),
		"no certificate":  good[:start+20] + good[end:],
		"bad certificate": good[:start+20] + base64.StdEncoding.EncodeToString([]byte("no certificate")) + good[end:],
		"a service":       strings.ReplaceAll(good, "IDPSSODescriptor", "SPSSODescriptor"),
		"bad time":        strings.Replace(good, "entityID", `validUntil="soon" entityID`, 1),
		"document type":   strings.Replace(good, "<md:Ent", "<!DOCTYPE x><md:Ent", 1),
		"cut":             good[:len(good)/2],
		"a response":      "<x/>",
		"bomb":            strings.Replace(good, "</md:IDPSSODescriptor>", strings.Repeat("<a>", 1000)+strings.Repeat("</a>", 1000)+"</md:IDPSSODescriptor>", 1),
		"many keys":       strings.Replace(good, "<md:KeyDescriptor", manyKeys(t)+"<md:KeyDescriptor", 1),
	} {
		if m, err := saml.ParseMetadata(text); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func manyKeys(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for range 10 {
		fmt.Fprintf(&b, `<md:KeyDescriptor><ds:KeyInfo><ds:X509Data><ds:X509Certificate>%s</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>`, base64.StdEncoding.EncodeToString(samltest.New(t).DER))
	}
	return b.String()
}

func FuzzVerify(f *testing.F) {
	b := newBench(f)
	good := b.XML(f, samltest.Response{})
	f.Add(good)
	f.Add(b.XML(f, samltest.Response{Whole: true}))
	f.Add(`<a xmlns="b"/>`)
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := b.verify(text); err == nil && a.Subject != "alice" {
			t.Errorf("%q vouches for %q", text, a.Subject)
		}
	})
}
