package resource

import "time"

// Account is an AWS account. Its root has access keys of its own and no User record.
type Account struct {
	ID          string    `json:"id"`                 // 12 digits
	Name        string    `json:"name"`               // unique in the cloud; also its alias until one is set
	Alias       string    `json:"alias,omitempty"`    // unique in the cloud, names included
	NoAlias     bool      `json:"no_alias,omitempty"` // its alias was deleted: the name does not stand in
	CanonicalID string    `json:"canonical"`
	CloudAdmin  bool      `json:"cloud_admin,omitempty"` // the administrator's account, "eucalyptus" of old
	Closing     bool      `json:"closing,omitempty"`     // being deleted: its keys no longer work
	Suspended   bool      `json:"suspended,omitempty"`   // by the administrator: its keys do not work until it is resumed
	TokenV2     bool      `json:"token_v2,omitempty"`    // which session tokens the global endpoint is to give: all are good everywhere
	CreatedAt   time.Time `json:"created"`
	Email       string    `json:"email,omitempty"` // unique in the cloud, without regard to case
	Tags        Tags      `json:"tags,omitempty"`
	Request     string    `json:"request,omitempty"` // the CreateAccount that asked for it: "car-…"
}

// AliasName is the alias that the account has, "" for none.
func (a *Account) AliasName() string {
	if a.Alias == "" && !a.NoAlias {
		return a.Name
	}
	return a.Alias
}

// Open says that the account's principals may do anything at all.
func (a *Account) Open() bool { return !a.Closing && !a.Suspended }

// User is an IAM user.
type User struct {
	AccountID string    `json:"account"`
	Name      string    `json:"name"` // unique in the account, without regard to case
	ID        string    `json:"id"`   // AIDA…
	Path      string    `json:"path"` // "/" or "/…/"
	CreatedAt time.Time `json:"created"`
	Tags      Tags      `json:"tags,omitempty"`
	Permissions
	Groups []string `json:"groups,omitempty"` // unique ids
}

// AccessKey is a pair of key id and secret. The secret is sealed with the cloud's key, which is not in the store.
type AccessKey struct {
	ID        string    `json:"id"` // AKIA…
	AccountID string    `json:"account"`
	UserName  string    `json:"user,omitempty"` // "" is root
	Sealed    []byte    `json:"sealed"`
	Active    bool      `json:"active"`
	CreatedAt time.Time `json:"created"`
}
