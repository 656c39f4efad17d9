package identity

import (
	"errors"
	"iter"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// newKey completes a key: a random id or secret where none is given, and a check of those given.
func (i *Identity) newKey(k Key) (Key, error) {
	if (k.ID == "") != (k.Secret == "") {
		return Key{}, invalid("An access key id and its secret must be given together.")
	}
	if k.ID == "" {
		return i.RandomKey(), nil
	}
	return k, errors.Join(checkKeyID(k.ID), checkSecret(k.Secret))
}

// RandomKey gives a fresh key that is not in the store yet.
func (i *Identity) RandomKey() Key {
	return Key{ID: i.deps.IDs.IAM("AKIA"), Secret: i.deps.IDs.Secret()}
}

// AddKey gives a user ("" is root) an access key within a transaction.
func (i *Identity) AddKey(tx *store.Tx, account, user string, k Key) (*resource.AccessKey, error) {
	if user != "" {
		u, err := FindUser(tx, account, user)
		if err != nil {
			return nil, err
		}
		user = u.Name
	}
	n := 0
	for range KeysOf(tx, account, user) {
		n++
	}
	if n >= MaxKeysPerUser {
		return nil, OverQuota("AccessKeysPerUser", MaxKeysPerUser)
	}
	if store.AccessKeys.Get(tx, k.ID) != nil {
		return nil, awserr.New("EntityAlreadyExists", "The access key %s already exists.", k.ID).WithStatus(409)
	}
	rec := &resource.AccessKey{
		ID: k.ID, AccountID: account, UserName: user, Active: true, CreatedAt: i.deps.Now().UTC(),
		Sealed: i.deps.Sealer.Seal([]byte(k.Secret), sealContext(k.ID)),
	}
	return rec, store.AccessKeys.Put(tx, rec)
}

// FindKey gives a user's ("" is root) key, or NoSuchEntity; keys of others are not found.
func FindKey(r store.Reader, account, user, id string) (*resource.AccessKey, error) {
	k := store.AccessKeys.Get(r, id)
	if k == nil || store.UserKey(k.AccountID, k.UserName) != store.UserKey(account, user) {
		return nil, awserr.New("NoSuchEntity", "The Access Key with id %s cannot be found.", id).WithStatus(404)
	}
	return k, nil
}

// KeysOf gives a user's ("" is root) access keys in order of id.
func KeysOf(r store.Reader, account, user string) iter.Seq[*resource.AccessKey] {
	return store.AccessKeysByUser.By(r, store.UserKey(account, user))
}
