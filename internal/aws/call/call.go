// Package call carries what is known of one API request, who makes it above all, to its handler.
package call

import (
	"context"
	"net/netip"
	"time"
)

// Caller is an authenticated principal. The zero Caller is anonymous.
type Caller struct {
	AccountID string // 12 digits; "" is anonymous
	UserName  string // "" is the account's root, a role or a federated user
	UserID    string // AIDA…, the account id for root, AROA…:SESSION, ACCOUNT:NAME of a federated user
	// ARN is arn:aws:iam::ACCOUNT:user/PATH/NAME or …:root, arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION or
	// …:federated-user/NAME.
	ARN         string
	AccessKeyID string
	CanonicalID string // the account's S3 id, 64 hex digits
	CloudAdmin  bool   // belongs to the cloud administrator's account
	// Session is what temporary credentials carry; nil for long-lived ones.
	Session *Session
}

// Anonymous says that nobody signed the request.
func (c Caller) Anonymous() bool { return c.AccountID == "" }

// Root says that the caller is its account's root, with a session of GetSessionToken or without.
func (c Caller) Root() bool { return c.AccountID != "" && c.UserName == "" && c.UserID == c.AccountID }

// PrincipalID is the unique id of the user or role who calls, AIDA… or AROA…; "" is the account's root.
func (c Caller) PrincipalID() string {
	id := c.UserID
	if c.Session != nil {
		id = c.Session.PrincipalID
	}
	if id == c.AccountID {
		return ""
	}
	return id
}

// Info is what a handler may know of the request besides its parameters.
type Info struct {
	Caller
	RequestID string // UUID, or S3's 16 hex digits
	HostID    string // S3: x-amz-id-2
	Service   string // signing name: "ec2", "s3", …
	Operation string // "RunInstances"
	Region    string // from the credential scope or the host name
	SourceIP  netip.Addr
	SourceVPC string // of a guest that came by its VPC's own address of the API; SourceIP is a private one then
	// SourceEndpoint is the VPC endpoint by which such a guest came, if it did.
	SourceEndpoint string
	Secure         bool // came over TLS
	UserAgent      string
	Signed         Signed    // S3: how it was signed
	Input          any       // pointer to the request's struct once it is decoded, for condition keys
	Payer          string    // S3: x-amz-request-payer
	Replica        bool      // S3: x-amz-replication-status: REPLICA, what is written is a replica from elsewhere
	Charged        bool      // S3: the handler's word that the requester pays
	Time           time.Time // when the request was taken in, from the injected clock
	// Federated is set once an identity provider's word for a caller without credentials was found good.
	Federated *Federated
}

// Signed is how a request was signed, in the words of S3's condition keys; the zero Signed is unsigned.
type Signed struct {
	Type    string    // "REST-HEADER", "REST-QUERY-STRING" or "POST"
	Version string    // "AWS4-HMAC-SHA256" or "AWS"
	At      time.Time // of a presigned request
	Payload string    // x-amz-content-sha256
	TLS     string    // "1.2"; "" without TLS
}

// Federated is somebody whom an identity provider vouches for.
type Federated struct {
	Type     string // as in audit records: "WebIdentityUser", "SAMLUser"
	Provider string // ARN
	Subject  string
	ID       string // what the provider's account knows the subject by
	Account  string // in whose eyes: the role's
}

type key struct{}

// With puts info into the context.
func With(ctx context.Context, info *Info) context.Context {
	return context.WithValue(ctx, key{}, info)
}

// From gives the request's info. It never is nil: outside a request it is empty, thus anonymous.
func From(ctx context.Context) *Info {
	if i, ok := ctx.Value(key{}).(*Info); ok {
		return i
	}
	return &Info{}
}
