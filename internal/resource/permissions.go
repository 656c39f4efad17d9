package resource

import "time"

// Permissions are the policies of a user, a group or a role.
type Permissions struct {
	Attached []string          `json:"attached,omitempty"` // ARNs of managed policies, in order of attachment
	Inline   map[string]string `json:"inline,omitempty"`   // texts by name
	Boundary string            `json:"boundary,omitempty"` // ARN of the managed policy that bounds a user or role
}

// ARN is the user's name in the whole of AWS.
func (u *User) ARN() string { return "arn:aws:iam::" + u.AccountID + ":user" + u.Path + u.Name }

// Group is an IAM group. Its members know it, it does not know them.
type Group struct {
	AccountID string    `json:"account"`
	Name      string    `json:"name"` // unique in the account, without regard to case
	ID        string    `json:"id"`   // AGPA…
	Path      string    `json:"path"`
	CreatedAt time.Time `json:"created"`
	Permissions
}

// ARN is the group's name in the whole of AWS.
func (g *Group) ARN() string { return "arn:aws:iam::" + g.AccountID + ":group" + g.Path + g.Name }

// IAMRole is an IAM role.
type IAMRole struct {
	AccountID   string        `json:"account"`
	Name        string        `json:"name"` // unique in the account, without regard to case
	ID          string        `json:"id"`   // AROA…
	Path        string        `json:"path"`
	Description string        `json:"description,omitempty"`
	Trust       Bound         `json:"trust"`            // who may assume it
	MaxSession  time.Duration `json:"max_session"`      // an hour to twelve
	Linked      string        `json:"linked,omitempty"` // service-linked: the service, "autoscaling.amazonaws.com"
	// RevokedAt makes sessions worthless that were issued before it.
	RevokedAt time.Time `json:"revoked,omitzero"`
	CreatedAt time.Time `json:"created"`
	Tags      Tags      `json:"tags,omitempty"`
	Permissions
}

// ARN is the role's name in the whole of AWS.
func (r *IAMRole) ARN() string { return "arn:aws:iam::" + r.AccountID + ":role" + r.Path + r.Name }

// Bound is a policy that names principals: its text as its author wrote it, and whom its ARNs of users and roles
// meant when it was written. It is evaluated with their unique ids, so that somebody who is made later under
// a name in it inherits nothing.
type Bound struct {
	Text string            `json:"text"`
	IDs  map[string]string `json:"ids,omitempty"` // ARN → unique id
}

// Policy is a managed policy of an account. Those of the cloud (arn:aws:iam::aws:policy/…) are not stored.
type Policy struct {
	AccountID   string          `json:"account"`
	Name        string          `json:"name"` // unique in the account, without regard to case
	ID          string          `json:"id"`   // ANPA…
	Path        string          `json:"path"`
	Description string          `json:"description,omitempty"`
	Versions    []PolicyVersion `json:"versions"` // in order; at least the default one
	Default     int             `json:"default"`  // number of the version in force
	Next        int             `json:"next"`     // number of the next version: numbers are never used again
	CreatedAt   time.Time       `json:"created"`
	UpdatedAt   time.Time       `json:"updated"`
	Tags        Tags            `json:"tags,omitempty"`
}

// PolicyVersion is one text of a policy.
type PolicyVersion struct {
	Number    int       `json:"number"`
	Text      string    `json:"text"`
	CreatedAt time.Time `json:"created"`
}

// ARN is the policy's name in the whole of AWS.
func (p *Policy) ARN() string { return "arn:aws:iam::" + p.AccountID + ":policy" + p.Path + p.Name }

// Text gives the version in force.
func (p *Policy) Text() string {
	for i := range p.Versions {
		if p.Versions[i].Number == p.Default {
			return p.Versions[i].Text
		}
	}
	return ""
}

// InstanceProfile hands a role to instances.
type InstanceProfile struct {
	AccountID string    `json:"account"`
	Name      string    `json:"name"` // unique in the account, without regard to case
	ID        string    `json:"id"`   // AIPA…
	Path      string    `json:"path"`
	RoleID    string    `json:"role,omitempty"` // unique id; "" has none
	CreatedAt time.Time `json:"created"`
	Tags      Tags      `json:"tags,omitempty"`
}

// ARN is the profile's name in the whole of AWS.
func (p *InstanceProfile) ARN() string {
	return "arn:aws:iam::" + p.AccountID + ":instance-profile" + p.Path + p.Name
}
