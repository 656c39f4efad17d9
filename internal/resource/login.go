package resource

import "time"

// LoginProfile is a user's password. It belongs to the user, whatever the user's name becomes.
type LoginProfile struct {
	UserID        string    `json:"user"` // AIDA…
	AccountID     string    `json:"account"`
	Hash          string    `json:"hash"`               // argon2id
	Previous      []string  `json:"previous,omitempty"` // hashes of earlier passwords, newest first
	ResetRequired bool      `json:"reset,omitempty"`    // the next login must set another
	CreatedAt     time.Time `json:"created"`
	ChangedAt     time.Time `json:"changed"`
	UsedAt        time.Time `json:"used,omitzero"`
}

// PasswordPolicy is what an account wants of its users' passwords.
type PasswordPolicy struct {
	AccountID   string `json:"account"`
	MinLength   int    `json:"min"`
	Symbols     bool   `json:"symbols,omitempty"`
	Numbers     bool   `json:"numbers,omitempty"`
	Uppercase   bool   `json:"upper,omitempty"`
	Lowercase   bool   `json:"lower,omitempty"`
	MaxAge      int    `json:"max_age,omitempty"`   // days; 0 = passwords do not expire
	Reuse       int    `json:"reuse,omitempty"`     // how many passwords, the present one included, may not come again
	HardExpiry  bool   `json:"hard,omitempty"`      // an expired password can be changed by an administrator only
	AllowChange bool   `json:"users_may,omitempty"` // users may change their own without a policy of theirs that says so
}

// Expires says when a password of this age ends; the zero time is never. It works on nil.
func (p *PasswordPolicy) Expires(changed time.Time) time.Time {
	if p == nil || p.MaxAge == 0 {
		return time.Time{}
	}
	return changed.AddDate(0, 0, p.MaxAge)
}

// MFADevice is a virtual device for multi-factor authentication: a seed that a program on a telephone has too.
type MFADevice struct {
	AccountID string    `json:"account"`
	Name      string    `json:"name"` // unique in the account, without regard to case
	Path      string    `json:"path"`
	Sealed    []byte    `json:"sealed"`         // the seed
	UserID    string    `json:"user,omitempty"` // whose it is; "" = nobody's yet
	EnabledAt time.Time `json:"enabled,omitzero"`
	Drift     int64     `json:"drift,omitempty"` // how many steps its clock is ahead
	LastStep  int64     `json:"last,omitempty"`  // of the last code that was taken: no code counts twice
	CreatedAt time.Time `json:"created"`
	Tags      Tags      `json:"tags,omitempty"`
}

// ARN is the device's serial number.
func (d *MFADevice) ARN() string { return "arn:aws:iam::" + d.AccountID + ":mfa" + d.Path + d.Name }
