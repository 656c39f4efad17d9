package identity

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// AWS's quotas.
const (
	MaxKeysPerUser = 2
)

// NewUser describes a user to be made. Key is made too if it is not nil; an empty one means a random one.
type NewUser struct {
	Account string // name or id
	Name    string
	Path    string // "" is "/"
	Key     *Key
	// Policies are attached: names of the cloud's own, or ARNs. Without any a user may do nothing.
	Policies []string
}

// CreateUser makes a user, with an access key if asked, in one transaction.
func (i *Identity) CreateUser(ctx context.Context, n NewUser) (resource.User, Key, error) {
	var key Key
	if n.Key != nil {
		var err error
		if key, err = i.newKey(*n.Key); err != nil {
			return resource.User{}, Key{}, err
		}
	}
	var user *resource.User
	err := i.deps.Store.Update(ctx, func(tx *store.Tx) error {
		account := findAccount(tx, n.Account)
		if account == nil || account.Closing {
			return noAccount(n.Account)
		}
		var err error
		if user, err = i.AddUser(tx, account.ID, n.Name, n.Path, nil); err != nil {
			return err
		}
		if len(n.Policies) > 0 {
			user = attached(user, n.Policies)
			for _, arn := range user.Attached {
				if !policyExists(tx, account.ID, arn) {
					return awserr.New("NoSuchEntity", "Policy %s does not exist or is not attachable.", arn).WithStatus(404)
				}
			}
			if err := store.Users.Put(tx, user); err != nil {
				return err
			}
		}
		if n.Key == nil {
			return nil
		}
		_, err = i.AddKey(tx, account.ID, user.Name, key)
		return err
	})
	if err != nil {
		return resource.User{}, Key{}, err
	}
	return *user, key, nil
}

// attached gives the user with policies; a name is one of the cloud's own.
func attached(u *resource.User, names []string) *resource.User {
	next := *u
	next.Attached = nil
	for _, name := range names {
		if !strings.HasPrefix(name, "arn:") {
			name = policy.ManagedPrefix + name
		}
		if !slices.Contains(next.Attached, name) {
			next.Attached = append(next.Attached, name)
		}
	}
	return &next
}

// policyExists says whether an account may attach this policy.
func policyExists(r store.Reader, account, arn string) bool {
	if policy.Attachable(arn) {
		return true
	}
	p := authz.FindPolicy(r, arn)
	return p != nil && p.AccountID == account
}

// NewID makes an entity's unique id: "AROA" and 17 further characters.
func (i *Identity) NewID(prefix string) string { return i.deps.IDs.IAM(prefix) }

// NewUUID makes an id of a task.
func (i *Identity) NewUUID() string { return i.deps.IDs.UUID() }

// Now is the time to write into records.
func (i *Identity) Now() time.Time { return i.deps.Now().UTC() }

// AddUser makes a user within a transaction.
func (i *Identity) AddUser(tx *store.Tx, account, name, path string, tags resource.Tags) (*resource.User, error) {
	if path == "" {
		path = "/"
	}
	if err := CheckUserName(name); err != nil {
		return nil, err
	}
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	if store.Users.Get(tx, store.UserKey(account, name)) != nil {
		return nil, userExists(name)
	}
	u := &resource.User{AccountID: account, Name: name, ID: i.deps.IDs.IAM("AIDA"), Path: path, CreatedAt: i.deps.Now().UTC(), Tags: tags}
	return u, store.Users.Put(tx, u)
}

// ChangeUser gives a user another name or path; "" leaves it. Access keys go with their user.
func (i *Identity) ChangeUser(tx *store.Tx, account, name, newName, newPath string) error {
	u, err := FindUser(tx, account, name)
	if err != nil {
		return err
	}
	changed := *u
	if newPath != "" {
		if err := CheckPath(newPath); err != nil {
			return err
		}
		changed.Path = newPath
	}
	if newName == "" || newName == u.Name {
		return store.Users.Put(tx, &changed)
	}
	if err := CheckUserName(newName); err != nil {
		return err
	}
	from, to := store.UserKey(account, u.Name), store.UserKey(account, newName)
	if to != from && store.Users.Get(tx, to) != nil {
		return userExists(newName)
	}
	var keys []*resource.AccessKey
	for k := range store.AccessKeysByUser.By(tx, from) {
		keys = append(keys, k)
	}
	changed.Name = newName
	store.Users.Delete(tx, from)
	if err := store.Users.Put(tx, &changed); err != nil {
		return err
	}
	for _, k := range keys {
		moved := *k
		moved.UserName = newName
		if err := store.AccessKeys.Put(tx, &moved); err != nil {
			return err
		}
	}
	return nil
}

// RemoveUser deletes a user that has no credentials any more.
func RemoveUser(tx *store.Tx, account, name string) error {
	u, err := FindUser(tx, account, name)
	if err != nil {
		return err
	}
	key := store.UserKey(account, u.Name)
	if store.AccessKeysByUser.One(tx, key) != nil {
		return mustFirst("delete access keys")
	}
	if store.LoginProfiles.Get(tx, u.ID) != nil {
		return mustFirst("delete login profile")
	}
	if store.MFADevicesByUser.One(tx, u.ID) != nil {
		return mustFirst("delete MFA device")
	}
	if store.SSHPublicKeysByUser.One(tx, u.ID) != nil {
		return mustFirst("delete SSH public keys")
	}
	for c := range store.SigningCertificatesByAccount.By(tx, account) {
		if c.UserID == u.ID {
			return mustFirst("delete signing certificates")
		}
	}
	store.Users.Delete(tx, key)
	return nil
}

func mustFirst(what string) error {
	return awserr.New("DeleteConflict", "Cannot delete entity, must %s first.", what).WithStatus(409)
}

// FindUser gives the account's user with this name, or NoSuchEntity.
func FindUser(r store.Reader, account, name string) (*resource.User, error) {
	if u := store.Users.Get(r, store.UserKey(account, name)); u != nil && name != "" {
		return u, nil
	}
	return nil, awserr.New("NoSuchEntity", "The user with name %s cannot be found.", name).WithStatus(404)
}

// UsersOf gives an account's users in order of lower-case name.
func UsersOf(r store.Reader, account string) iter.Seq[*resource.User] {
	return func(yield func(*resource.User) bool) {
		for u := range store.Users.From(r, store.UserKey(account, "")) {
			if u.AccountID != account || !yield(u) {
				return
			}
		}
	}
}

func userExists(name string) error {
	return awserr.New("EntityAlreadyExists", "User with name %s already exists.", name).WithStatus(409)
}

// OverQuota is the answer to one more than n of something.
func OverQuota(what string, n int) error {
	return awserr.New("LimitExceeded", "Cannot exceed quota for %s: %d", what, n).WithStatus(409)
}
