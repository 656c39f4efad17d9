package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/durable"
	"karri.dev/internal/store"
)

// Use says when and for what an access key, or a principal in one service, was last used.
type Use struct {
	Time    time.Time `json:"time"`
	Service string    `json:"service"`
	Region  string    `json:"region"`
}

// usage is kept out of the store: it would be a durable write for every request. It lives in memory and is
// written to a file now and then, so a crash loses the last interval, and each cloud process knows only the
// requests that it served itself.
type usage struct {
	keys  sync.Map // access key id, or PRINCIPAL/SERVICE → *atomic.Pointer[Use]
	dirty atomic.Bool
}

// Used notes that somebody has signed a request. It is exact to the second.
func (i *Identity) Used(c *call.Caller, service, region string, at time.Time) {
	principal := c.UserID
	if c.Session == nil {
		i.used(c.AccessKeyID, service, region, at)
	} else {
		principal = c.Session.PrincipalID
	}
	i.used(useKey(principal, service), service, region, at)
}

// useKey names a principal in a service: principals are users (AIDA…), roles (AROA…), and accounts for their roots.
func useKey(principal, service string) string { return principal + "/" + service }

func (i *Identity) used(keyID, service, region string, at time.Time) {
	v, ok := i.usage.keys.Load(keyID)
	if !ok {
		v, _ = i.usage.keys.LoadOrStore(keyID, new(atomic.Pointer[Use]))
	}
	slot := v.(*atomic.Pointer[Use])
	if u := slot.Load(); u != nil && at.Sub(u.Time) < time.Second && u.Service == service && u.Region == region {
		return
	}
	slot.Store(&Use{at.UTC().Truncate(time.Second), service, region})
	i.usage.dirty.Store(true)
}

// LastUsed gives a key's last use that this process knows of.
func (i *Identity) LastUsed(keyID string) (Use, bool) {
	if v, ok := i.usage.keys.Load(keyID); ok {
		if u := v.(*atomic.Pointer[Use]).Load(); u != nil {
			return *u, true
		}
	}
	return Use{}, false
}

// LastUsedBy gives a principal's last use of a service.
func (i *Identity) LastUsedBy(principal, service string) (Use, bool) {
	return i.LastUsed(useKey(principal, service))
}

// Run keeps the files until ctx ends.
func (i *Identity) Run(ctx context.Context) error {
	if i.cfg.UsageFile != "" {
		if err := i.loadUsage(); err != nil {
			i.deps.Log.Warn("access keys' last use starts anew", "err", err)
		}
	}
	if i.cfg.TriesFile != "" {
		if err := i.tries.load(i.cfg.TriesFile); err != nil {
			i.deps.Log.Warn("the count of wrong passwords starts anew", "err", err)
		}
	}
	tick := time.NewTicker(i.cfg.UsageInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := i.save(); err != nil {
				i.deps.Log.Warn("the last use of access keys, or wrong passwords, were not saved", "err", err)
			}
		case <-ctx.Done():
			return i.save()
		}
	}
}

func (i *Identity) save() (err error) {
	if i.cfg.UsageFile != "" {
		err = i.saveUsage()
	}
	if i.cfg.TriesFile != "" {
		err = errors.Join(err, i.tries.save(i.cfg.TriesFile, i.Now()))
	}
	return err
}

func (i *Identity) loadUsage() error {
	data, err := os.ReadFile(i.cfg.UsageFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var uses map[string]Use
	if err := json.Unmarshal(data, &uses); err != nil {
		return fmt.Errorf("%s: %w", i.cfg.UsageFile, err)
	}
	for id, u := range uses {
		slot := new(atomic.Pointer[Use])
		slot.Store(&u)
		i.usage.keys.LoadOrStore(id, slot) // what was used since the start is newer
	}
	return nil
}

// stillThere says whether a key, or a principal with a service, is worth to be kept.
func stillThere(r store.Reader, id string) bool {
	principal, _, isUse := strings.Cut(id, "/")
	if !isUse {
		return store.AccessKeys.Get(r, id) != nil
	}
	return store.UsersByID.One(r, principal) != nil || store.RolesByID.One(r, principal) != nil || store.Accounts.Get(r, principal) != nil
}

// saveUsage writes the file anew, without keys that are gone.
func (i *Identity) saveUsage() error {
	if !i.usage.dirty.Swap(false) {
		return nil
	}
	snap := i.deps.Store.Snapshot()
	uses := make(map[string]Use)
	i.usage.keys.Range(func(id, v any) bool {
		if !stillThere(snap, id.(string)) {
			i.usage.keys.Delete(id)
		} else if u := v.(*atomic.Pointer[Use]).Load(); u != nil {
			uses[id.(string)] = *u
		}
		return true
	})
	data, err := json.Marshal(uses)
	if err == nil {
		err = durable.WriteFile(i.cfg.UsageFile, data, 0o600)
	}
	if err != nil {
		i.usage.dirty.Store(true)
	}
	return err
}
