package resource

import "time"

// SignUpState is where a request for an account stands.
type SignUpState string

const (
	SignUpRequested SignUpState = "requested"
	SignUpApproved  SignUpState = "approved"
	SignUpRejected  SignUpState = "rejected"
	SignUpActive    SignUpState = "active" // the account was made
)

// Mails of a sign-up that are due.
const (
	SignUpMailAdmin = "admin" // the administrator is asked
	SignUpMailUser  = "user"  // the person gets the activation link
)

// SignUp is somebody's request for an account.
type SignUp struct {
	ID        string      `json:"id"` // "su-…"
	Account   string      `json:"account"`
	Email     string      `json:"email"`
	Reason    string      `json:"reason,omitempty"`
	State     SignUpState `json:"state"`
	Token     string      `json:"token,omitempty"` // SHA-256 of the token of the links that count now, hex
	Mail      string      `json:"mail,omitempty"`  // the mail that is due, "" for none
	CreatedAt time.Time   `json:"created"`
	DecidedAt time.Time   `json:"decided,omitzero"`
	ExpiresAt time.Time   `json:"expires"`
	AccountID string      `json:"account_id,omitempty"`
}

// Open says that the request still waits for somebody.
func (s *SignUp) Open(now time.Time) bool {
	return (s.State == SignUpRequested || s.State == SignUpApproved) && now.Before(s.ExpiresAt)
}
