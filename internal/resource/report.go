package resource

import "time"

// CredentialReport is the last report about an account's credentials.
type CredentialReport struct {
	AccountID string    `json:"account"`
	MadeAt    time.Time `json:"made"`
	CSV       []byte    `json:"csv"` // compressed with gzip
}

// AccessJob asks which services somebody has used. What it finds is looked up when it is read.
type AccessJob struct {
	AccountID string    `json:"account"`
	ID        string    `json:"id"` // UUID
	ARN       string    `json:"arn"`
	CreatedAt time.Time `json:"created"`
}

// RoleDeletion is what became of the deletion of a service-linked role.
type RoleDeletion struct {
	AccountID string    `json:"account"`
	ID        string    `json:"id"` // "task/aws-service-role/SERVICE/ROLE/UUID"
	At        time.Time `json:"at"`
}

// SSHPublicKey is a user's key for services that are reached by SSH.
type SSHPublicKey struct {
	ID          string    `json:"id"` // APKA…
	AccountID   string    `json:"account"`
	UserID      string    `json:"user"`
	Body        string    `json:"body"` // as it was uploaded
	Fingerprint string    `json:"fingerprint"`
	Active      bool      `json:"active"`
	UploadedAt  time.Time `json:"uploaded"`
}

// ServerCertificate is a certificate for HTTPS with its key.
type ServerCertificate struct {
	AccountID  string    `json:"account"`
	Name       string    `json:"name"` // unique in the account, without regard to case
	ID         string    `json:"id"`   // ASCA…
	Path       string    `json:"path"`
	Body       string    `json:"body"`            // PEM
	Chain      string    `json:"chain,omitempty"` // PEM
	Sealed     []byte    `json:"sealed"`          // the key's PEM; nobody gets it back
	UploadedAt time.Time `json:"uploaded"`
	ExpiresAt  time.Time `json:"expires"`
	Tags       Tags      `json:"tags,omitempty"`
}

// ARN is the certificate's name in the whole of AWS.
func (c *ServerCertificate) ARN() string {
	return "arn:aws:iam::" + c.AccountID + ":server-certificate" + c.Path + c.Name
}
