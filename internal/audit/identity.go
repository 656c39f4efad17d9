package audit

import (
	"strconv"
	"time"

	"karri.dev/internal/aws/call"
)

// UserIdentity says who called.
type UserIdentity struct {
	Type           string          `json:"type"` // Root, IAMUser, AssumedRole, FederatedUser, WebIdentityUser, SAMLUser, AWSService, Anonymous
	PrincipalID    string          `json:"principalId,omitempty"`
	ARN            string          `json:"arn,omitempty"`
	AccountID      string          `json:"accountId,omitempty"`
	AccessKeyID    string          `json:"accessKeyId,omitempty"`
	UserName       string          `json:"userName,omitempty"`
	SessionContext *SessionContext `json:"sessionContext,omitempty"`
	InvokedBy      string          `json:"invokedBy,omitempty"` // the cloud's service that acted
	Provider       string          `json:"identityProvider,omitempty"`
}

// SessionContext says where temporary credentials come from.
type SessionContext struct {
	SessionIssuer       *Issuer            `json:"sessionIssuer,omitempty"` // role sessions
	WebIDFederationData *WebIdentity       `json:"webIdFederationData,omitempty"`
	Attributes          *SessionAttributes `json:"attributes,omitempty"`
	SourceIdentity      string             `json:"sourceIdentity,omitempty"`
	EC2RoleDelivery     string             `json:"ec2RoleDelivery,omitempty"`
}

// Issuer is the role of a session.
type Issuer struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	UserName    string `json:"userName"`
}

// WebIdentity is who an identity provider said the caller is.
type WebIdentity struct {
	FederatedProvider string            `json:"federatedProvider"`
	Attributes        map[string]string `json:"attributes,omitempty"`
}

// SessionAttributes are facts of the session, as text.
type SessionAttributes struct {
	CreationDate     string `json:"creationDate"`
	MFAAuthenticated string `json:"mfaAuthenticated"`
}

// identity describes a caller.
func identity(c *call.Caller) UserIdentity {
	u := UserIdentity{
		Type: "IAMUser", PrincipalID: c.UserID, ARN: c.ARN, AccountID: c.AccountID, AccessKeyID: c.AccessKeyID, UserName: c.UserName,
	}
	switch {
	case c.Anonymous():
		u.Type = "Anonymous"
	case c.Root():
		u.Type = "Root"
	}
	s := c.Session
	if s == nil {
		return u
	}
	u.SessionContext = &SessionContext{
		SourceIdentity: s.SourceIdentity,
		Attributes:     &SessionAttributes{s.IssuedAt.UTC().Format(time.RFC3339), strconv.FormatBool(s.MFA)},
	}
	switch s.Kind {
	case call.RoleSession:
		u.Type = "AssumedRole"
		u.SessionContext.SessionIssuer = &Issuer{"Role", s.PrincipalID, s.RoleARN, c.AccountID, s.RoleName}
	case call.FederatedSession:
		u.Type = "FederatedUser"
	}
	if s.Provider != "" {
		u.SessionContext.WebIDFederationData = &WebIdentity{s.Provider, map[string]string{"sub": s.Subject}}
	}
	if s.InstanceID != "" {
		u.SessionContext.EC2RoleDelivery = "2.0"
	}
	return u
}
