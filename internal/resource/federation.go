package resource

import "time"

// OIDCProvider is an OpenID Connect issuer whose tokens an account trusts.
type OIDCProvider struct {
	AccountID   string    `json:"account"`
	URL         string    `json:"url"` // without "https://", the host in lower case
	ClientIDs   []string  `json:"clients,omitempty"`
	Thumbprints []string  `json:"thumbprints,omitempty"` // lower-case hex
	CreatedAt   time.Time `json:"created"`
	Tags        Tags      `json:"tags,omitempty"`
}

// ARN is the provider's name in the whole of AWS.
func (p *OIDCProvider) ARN() string { return OIDCProviderARN(p.AccountID, p.URL) }

// OIDCProviderARN is that of an account's provider.
func OIDCProviderARN(account, url string) string {
	return "arn:aws:iam::" + account + ":oidc-provider/" + url
}

// SAMLProvider is a SAML identity provider whose assertions an account trusts.
type SAMLProvider struct {
	AccountID  string    `json:"account"`
	Name       string    `json:"name"`
	UUID       string    `json:"uuid"`
	Metadata   string    `json:"metadata"`             // XML, as given
	ValidUntil time.Time `json:"valid_until,omitzero"` // as the metadata says, or a hundred years
	CreatedAt  time.Time `json:"created"`
	Tags       Tags      `json:"tags,omitempty"`
}

// ARN is the provider's name in the whole of AWS.
func (p *SAMLProvider) ARN() string { return SAMLProviderARN(p.AccountID, p.Name) }

// SAMLProviderARN is that of an account's provider.
func SAMLProviderARN(account, name string) string {
	return "arn:aws:iam::" + account + ":saml-provider/" + name
}
