package call

import "time"

// SessionKind says how temporary credentials came to be.
type SessionKind string

const (
	RoleSession      SessionKind = "role"      // AssumeRole… or an instance profile: the caller is the role
	UserSession      SessionKind = "user"      // GetSessionToken: the caller stays who asked for it
	FederatedSession SessionKind = "federated" // GetFederationToken: what user and session policies both allow
)

// Session is what the credentials of a session carry beside who their principal is. It is immutable.
type Session struct {
	Kind      SessionKind `json:"k"`
	AccountID string      `json:"a"`
	// PrincipalID is the unique id of whose session it is: the role's (AROA…), or the user's (AIDA…) who asked
	// for it; the account's id for its root.
	PrincipalID string    `json:"p"`
	Name        string    `json:"n,omitempty"` // role session name, or the federated user's
	IssuedAt    time.Time `json:"i"`           // aws:TokenIssueTime
	ExpiresAt   time.Time `json:"e"`

	// MFA says that the session was asked for with a device's code; MFATime when. A role's session has neither:
	// aws:MultiFactorAuthPresent is about the caller's own session.
	MFA     bool      `json:"m,omitempty"`
	MFATime time.Time `json:"mt,omitzero"`

	// Login says that a person began the session with a password: as in AWS's console, IAM is open to it.
	Login bool `json:"l,omitempty"`

	Policies   []string `json:"sp,omitempty"` // inline session policies, as given
	PolicyARNs []string `json:"sa,omitempty"` // managed policies used as session policies

	Tags           map[string]string `json:"t,omitempty"`  // session tags, those handed on by the chain included
	TransitiveTags []string          `json:"tt,omitempty"` // keys of Tags that go on to the next role of a chain
	SourceIdentity string            `json:"si,omitempty"`
	Chained        bool              `json:"c,omitempty"` // made with the credentials of another role's session

	// Provider is the ARN or name of the identity provider of AssumeRoleWithWebIdentity and …WithSAML, and
	// Subject who it said the caller is.
	Provider string `json:"fp,omitempty"`
	Subject  string `json:"fs,omitempty"`
	// Claims are what the provider said that policies can ask for as long as the session lasts, by condition key in lower case:
	// "idp.example.com:sub", "saml:sub".
	Claims map[string]string `json:"fc,omitempty"`
	// InstanceID is the instance whose profile the credentials come from.
	InstanceID string `json:"in,omitempty"`

	// ImpersonatedBy is the ARN of the cloud's administrator who acts as the principal.
	ImpersonatedBy string `json:"im,omitempty"`

	// Of the principal's records as they are now, not of the token.
	RoleARN  string `json:"-"`
	RoleName string `json:"-"`
}

// AssumedRoleARN is the ARN of a role's session.
func AssumedRoleARN(account, role, session string) string {
	return "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + session
}
