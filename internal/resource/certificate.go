package resource

import "time"

// SigningCertificate is a user's X.509 certificate, which signs bundles. It counts while its user exists.
type SigningCertificate struct {
	ID         string    `json:"id"` // 32 letters and digits
	AccountID  string    `json:"account"`
	UserName   string    `json:"user,omitempty"` // "" = root
	UserID     string    `json:"user_id,omitempty"`
	PEM        string    `json:"pem"`
	DER        []byte    `json:"der"`
	Active     bool      `json:"active"`
	UploadedAt time.Time `json:"uploaded"`
}
