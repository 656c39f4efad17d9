package saml

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Metadata is what an identity provider says of itself.
type Metadata struct {
	EntityID     string
	Certificates []*x509.Certificate // any of them signs
	ValidUntil   time.Time           // zero: it does not say
}

type entityDescriptor struct {
	XMLName    xml.Name `xml:"urn:oasis:names:tc:SAML:2.0:metadata EntityDescriptor"`
	EntityID   string   `xml:"entityID,attr"`
	ValidUntil string   `xml:"validUntil,attr"`
	Providers  []struct {
		ValidUntil string `xml:"validUntil,attr"`
		Keys       []struct {
			Use          string   `xml:"use,attr"`
			Certificates []string `xml:"http://www.w3.org/2000/09/xmldsig# KeyInfo>X509Data>X509Certificate"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:metadata KeyDescriptor"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:metadata IDPSSODescriptor"`
}

// maxCertificates of a provider: AWS's is ten.
const maxCertificates = 10

// ParseMetadata reads a metadata document. That its certificates are out of date does not matter: they are keys.
func ParseMetadata(text string) (*Metadata, error) {
	if err := scan([]byte(text), true, 10*maxElements); err != nil {
		return nil, err
	}
	var e entityDescriptor
	if err := xml.Unmarshal([]byte(text), &e); err != nil {
		return nil, err
	}
	m := &Metadata{EntityID: strings.TrimSpace(e.EntityID)}
	if m.EntityID == "" || len(m.EntityID) > 1024 {
		return nil, errors.New("there is no entityID of at most 1024 characters")
	}
	times := []string{e.ValidUntil}
	for _, p := range e.Providers {
		times = append(times, p.ValidUntil)
		for _, k := range p.Keys {
			if k.Use != "" && k.Use != "signing" {
				continue
			}
			for _, text := range k.Certificates {
				c, err := certificate(text)
				if err != nil {
					return nil, err
				}
				if !slices.ContainsFunc(m.Certificates, c.Equal) {
					m.Certificates = append(m.Certificates, c)
				}
			}
		}
	}
	if n := len(m.Certificates); n == 0 || n > maxCertificates {
		return nil, fmt.Errorf("an IDPSSODescriptor has 1 to %d certificates to sign with, and not %d", maxCertificates, n)
	}
	for _, text := range times {
		if text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, fmt.Errorf("validUntil: %w", err)
		}
		if m.ValidUntil.IsZero() || t.Before(m.ValidUntil) {
			m.ValidUntil = t.UTC()
		}
	}
	return m, nil
}

func certificate(text string) (*x509.Certificate, error) {
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}
