// Package quota keeps accounts, and their users and roles, within what they may have.
//
// A quota counts one kind of thing in an account: in one region, or, of global things, altogether. How much it allows
// is said, the first that says anything deciding, by
//
//   - the policy of Limit statements that the cloud's administrator gave the account (authz.LimitsName),
//   - that of all accounts,
//   - AWS's own default, as far as the administrator has not switched defaults off.
//
// Beside that, Limit statements in the policies of a user or role limit what this user or role has made. Whoever
// makes something does it in Within, which looks at the sums before and after in the transaction that makes it:
// so requests at the same time cannot overrun a quota, and no way to make a thing can be forgotten.
package quota

import (
	"fmt"
	"strings"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// None says that there is no limit.
const None = authz.NoLimit

// Quota is one kind of thing that is counted.
type Quota struct {
	Key    string // of Limit statements: "ec2:quota-volumenumber"
	Counts string // what, for people
	Unit   string // "": number

	// What AWS's Service Quotas calls it; "" where AWS has none that is the same.
	Service, Code, Name string
	// Default is AWS's; None: it has none. Low: AWS begins low and raises it when asked, so it holds only where the
	// administrator wants all of AWS's defaults.
	Default int64
	Low     bool

	global bool          // not in a region
	whole  bool          // counted for accounts only: statements of a user's policies limit the account
	kind   string        // of ARNs
	action policy.Action // that makes the thing
	used   func(r store.Reader, holder string) int64
	refuse func(most int64) error
}

// Limits tells what Limit statements say; authz.Engine does.
type Limits interface {
	Limits(r store.Reader, info *call.Info, l *authz.Limit) (account, own int64, err error)
}

// Keeper keeps quotas. A nil Keeper has none.
type Keeper struct {
	limits Limits
	all    []Quota
}

// New makes a Keeper.
func New(limits Limits) *Keeper { return &Keeper{limits, All()} }

// Global says that it is not counted per region.
func (q *Quota) Global() bool { return q.global }

// Refusal is the error for who wants more than most.
func (q *Quota) Refusal(most int64) error { return q.refuse(most) }

// holder is whose sums count.
func (q *Quota) holder(id, region string) string {
	if q.global {
		return id
	}
	return id + "/" + region
}

// Used gives how much of it an account has.
func (q *Quota) Used(r store.Reader, account, region string) int64 {
	return q.used(r, q.holder(account, region))
}

// Within runs fn, which makes things in the transaction for the caller, and refuses with AWS's error if there is more
// afterwards than a quota allows. Who is over a quota already can still do what adds nothing.
func (k *Keeper) Within(tx *store.Tx, info *call.Info, fn func(*store.Tx) error) error {
	if k == nil {
		return fn(tx)
	}
	before := k.sums(tx, info)
	if err := fn(tx); err != nil {
		return err
	}
	for i, n := range k.sums(tx, info) {
		q := &k.all[i]
		if n <= before[i] {
			continue
		}
		if room, most, err := k.room(tx, info, q); err != nil {
			return err
		} else if room < 0 {
			return q.refuse(most)
		}
	}
	return nil
}

// sums gives what the caller's account has of everything.
func (k *Keeper) sums(r store.Reader, info *call.Info) (out [kinds]int64) {
	global, regional := info.AccountID, info.AccountID+"/"+info.Region
	for i := range k.all {
		q := &k.all[i]
		if q.global {
			out[i] = q.used(r, global)
		} else {
			out[i] = q.used(r, regional)
		}
	}
	return out
}

// Room gives how much of what the quota with this key counts the caller may still make; and the error to refuse
// more with. Unlimited is a very large number.
func (k *Keeper) Room(r store.Reader, info *call.Info, key string) (room int64, refusal, err error) {
	if k == nil {
		return unlimited, nil, nil
	}
	q := k.find(key)
	room, most, err := k.room(r, info, q)
	return max(0, room), q.refuse(most), err
}

const unlimited = 1 << 50

// room is negative for who has too much.
func (k *Keeper) room(r store.Reader, info *call.Info, q *Quota) (room, most int64, err error) {
	account, own, err := k.most(r, info, q)
	if err != nil {
		return 0, 0, err
	}
	room = unlimited
	if account != None {
		room, most = account-q.Used(r, info.AccountID, info.Region), account
	}
	if own == None {
		return room, most, nil
	}
	holder := info.AccountID
	if id := info.PrincipalID(); id != "" && !q.whole {
		holder = id
	}
	if left := own - q.used(r, q.holder(holder, info.Region)); left < room {
		room, most = left, own
	}
	return room, most, nil
}

// most gives what the account and the caller may have.
func (k *Keeper) most(r store.Reader, info *call.Info, q *Quota) (account, own int64, err error) {
	l := authz.Limit{Key: q.Key, Actions: []policy.Action{q.action, policy.MakeAction(info.Service + ":" + info.Operation)}, Resource: q.resource(info)}
	account, own, err = k.limits.Limits(r, info, &l)
	if err == nil && account == None {
		account = q.byDefault(r)
	}
	return account, own, err
}

// Unlimited is the number shown for no limit.
const Unlimited = 1 << 20

// Most gives what the caller's account may have of what a quota counts; limited is false, and n Unlimited, for as much
// as there is.
func (k *Keeper) Most(r store.Reader, info *call.Info, key string) (n int64, limited bool, err error) {
	if k == nil {
		return Unlimited, false, nil
	}
	n, _, err = k.most(r, info, k.find(key))
	if n == None {
		return Unlimited, false, err
	}
	return n, true, err
}

// resource is the ARN that statements are asked for: that of something new.
func (q *Quota) resource(info *call.Info) string {
	service, _, _ := strings.Cut(q.Key, ":")
	switch {
	case service == "s3":
		return "arn:aws:s3:::*"
	case q.global:
		return "arn:aws:" + service + "::" + info.AccountID + ":" + q.kind + "/*"
	case q.kind == "image" || q.kind == "snapshot":
		return "arn:aws:" + service + ":" + info.Region + "::" + q.kind + "/*"
	}
	return "arn:aws:" + service + ":" + info.Region + ":" + info.AccountID + ":" + q.kind + "/*"
}

func (k *Keeper) find(key string) *Quota {
	for i := range k.all {
		if k.all[i].Key == key {
			return &k.all[i]
		}
	}
	panic("quota: there is no " + key)
}

// DefaultsSetting names the setting that says which of AWS's defaults hold.
const DefaultsSetting = "quota-defaults"

// What defaults hold. DefaultsUsual, all but the low ones, is what holds where nothing is set.
const (
	DefaultsUsual = "usual"
	DefaultsAWS   = "aws"
	DefaultsNone  = "none"
)

func (q *Quota) byDefault(r store.Reader) int64 {
	mode := DefaultsUsual
	if set := store.Settings.Get(r, DefaultsSetting); set != nil {
		mode = set.Value
	}
	if mode == DefaultsNone || q.Low && mode != DefaultsAWS {
		return None
	}
	return q.Default
}

// SetDefaults says which of AWS's defaults hold.
func SetDefaults(tx *store.Tx, mode string) error {
	switch mode {
	case DefaultsUsual, DefaultsAWS, DefaultsNone:
		return store.Settings.Put(tx, &resource.Setting{Name: DefaultsSetting, Value: mode})
	}
	return fmt.Errorf("defaults are %s, %s or %s, not %q", DefaultsUsual, DefaultsAWS, DefaultsNone, mode)
}
