package identity

import (
	"errors"
	"strings"
	"sync"
	"time"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/resource"
	"karri.dev/internal/session"
	"karri.dev/internal/store"
)

// cacheSize bounds each of the two generations of opened secrets.
const cacheSize = 8192

// Principal is who an access key belongs to, and the secret to check signatures with.
type Principal struct {
	Caller call.Caller
	Secret string
}

// entry is an opened key, good as long as the records it was made of are the ones in the store.
type entry struct {
	key     *resource.AccessKey
	account *resource.Account
	user    *resource.User // nil for root
	Principal
}

// cache keeps the values that were used last, in two generations of cacheSize each.
type cache[K comparable, V any] struct {
	mu         sync.RWMutex
	young, old map[K]*V
}

func (c *cache[K, V]) get(id K) *V {
	c.mu.RLock()
	e, ok := c.young[id]
	if !ok {
		e = c.old[id]
	}
	c.mu.RUnlock()
	if e != nil && !ok {
		c.put(id, e)
	}
	return e
}

func (c *cache[K, V]) put(id K, e *V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young == nil || len(c.young) >= cacheSize {
		c.old, c.young = c.young, make(map[K]*V)
	}
	c.young[id] = e
}

func (c *cache[K, V]) drop(id K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, id)
	delete(c.old, id)
}

// ErrNoKey says that there is no such access key, that it is inactive, or that whose it is does not count (any
// more); ErrBadToken that a session token is missing, or is there and not good.
var (
	ErrNoKey    = errors.New("there is no such access key")
	ErrBadToken = errors.New("the session token is not valid")
)

// Lookup gives the principal of an access key: of a session's together with its token, of a long-lived one
// without any. Errors are ErrNoKey, ErrBadToken and session.ErrExpired. It reads memory only.
func (i *Identity) Lookup(keyID, token string, now time.Time) (*Principal, error) {
	if token != "" || strings.HasPrefix(keyID, session.KeyPrefix) {
		return i.lookupSession(keyID, token, now)
	}
	if p := i.lookupKey(keyID); p != nil {
		return p, nil
	}
	return nil, ErrNoKey
}

// lookupKey gives the principal of a long-lived key; nil if there is no such key, it is inactive, or its account
// is not open.
func (i *Identity) lookupKey(keyID string) *Principal {
	snap := i.deps.Store.Snapshot()
	key := store.AccessKeys.Get(snap, keyID)
	if key == nil || !key.Active {
		i.forget(keyID)
		return nil
	}
	account := store.Accounts.Get(snap, key.AccountID)
	if account == nil || !account.Open() {
		i.forget(keyID)
		return nil
	}
	var user *resource.User
	if key.UserName != "" {
		if user = store.Users.Get(snap, store.UserKey(key.AccountID, key.UserName)); user == nil {
			i.forget(keyID)
			return nil
		}
	}
	if e := i.cache.get(keyID); e != nil && e.key == key && e.account == account && e.user == user {
		return &e.Principal
	}
	secret, err := i.deps.Sealer.Open(key.Sealed, sealContext(keyID))
	if err != nil {
		i.deps.Log.Error("access key does not open: another sealing key, or a damaged record", "key", keyID, "err", err)
		return nil
	}
	e := &entry{key: key, account: account, user: user, Principal: Principal{Caller: caller(key, account, user), Secret: string(secret)}}
	i.cache.put(keyID, e)
	return &e.Principal
}

// forget keeps no opened secret of a key that no longer counts.
func (i *Identity) forget(keyID string) {
	if i.cache.get(keyID) != nil {
		i.cache.drop(keyID)
	}
}

func caller(key *resource.AccessKey, a *resource.Account, u *resource.User) call.Caller {
	c := call.Caller{AccountID: a.ID, UserID: a.ID, ARN: RootARN(a.ID), AccessKeyID: key.ID, CanonicalID: a.CanonicalID, CloudAdmin: a.CloudAdmin}
	if u != nil {
		c.UserName, c.UserID, c.ARN = u.Name, u.ID, UserARN(u)
	}
	return c
}
