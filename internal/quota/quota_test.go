package quota_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

const (
	account = "111122223333"
	region  = "us-east-1"
)

// world is a store with an account, a user and a role in it.
type world struct {
	*testing.T
	store  *store.Store
	keeper *quota.Keeper
	n      int
	mu     sync.Mutex
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, store: store.OpenMemory(slog.New(slog.DiscardHandler))}
	t.Cleanup(func() { w.store.Close() })
	w.keeper = quota.New(authz.New(authz.Deps{Store: w.store}))
	w.put(func(tx *store.Tx) error {
		return store.Users.Put(tx, &resource.User{AccountID: account, Name: "bob", ID: "AIDABOB", Path: "/"})
	})
	w.put(func(tx *store.Tx) error {
		return store.Roles.Put(tx, &resource.IAMRole{AccountID: account, Name: "builder", ID: "AROABUILDER", Path: "/"})
	})
	return w
}

func (w *world) put(fn func(*store.Tx) error) {
	w.Helper()
	if err := w.store.Update(w.Context(), fn); err != nil {
		w.Fatal(err)
	}
}

func (w *world) set(of string, most map[string]int64) {
	w.Helper()
	w.put(func(tx *store.Tx) error { return quota.Put(tx, of, most) })
}

// limits gives bob an inline policy with a quota.
func (w *world) limits(policy string) {
	w.Helper()
	w.put(func(tx *store.Tx) error {
		u := *store.Users.Get(tx, store.UserKey(account, "bob"))
		u.Inline = map[string]string{"quota": policy}
		return store.Users.Put(tx, &u)
	})
}

func caller(c call.Caller, operation string) *call.Info {
	c.AccountID = account
	return &call.Info{Caller: c, Service: "ec2", Operation: operation, Region: region}
}

func root(operation string) *call.Info { return caller(call.Caller{UserID: account}, operation) }

func bob(operation string) *call.Info {
	return caller(call.Caller{UserID: "AIDABOB", UserName: "bob", ARN: "arn:aws:iam::" + account + ":user/bob"}, operation)
}

func builder(operation string) *call.Info {
	return caller(call.Caller{
		UserID: "AROABUILDER:s", ARN: call.AssumedRoleARN(account, "builder", "s"),
		Session: &call.Session{Kind: call.RoleSession, AccountID: account, PrincipalID: "AROABUILDER", Name: "s"},
	}, operation)
}

// volume makes a volume as a handler would.
func (w *world) volume(info *call.Info, gib int) error {
	w.mu.Lock()
	w.n++
	id := fmt.Sprintf("vol-%d", w.n)
	w.mu.Unlock()
	return w.store.Update(context.Background(), func(tx *store.Tx) error {
		return w.keeper.Within(tx, info, func(tx *store.Tx) error {
			owned := resource.Owned{AccountID: account, Region: region, Creator: info.PrincipalID()}
			return store.Volumes.Put(tx, &resource.Volume{Owned: owned, ID: id, Zone: "z", SizeGiB: gib})
		})
	})
}

func (w *world) want(what string, err error, code string) {
	w.Helper()
	if got := awserr.Code(err); got != code || (err == nil) != (code == "") {
		w.Errorf("%s: %v, want code %q", what, err, code)
	}
}

func limit(action, condition string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Limit","Action":"` + action + `","Resource":"*","Condition":{` + condition + `}}]}`
}

func volumes(n int) string {
	return fmt.Sprintf(`"NumericLessThanEquals":{"ec2:quota-volumenumber":%d}`, n)
}

// Many requests at the same time make exactly as many things as the quota allows.
func TestParallelRequestsKeepTheQuota(t *testing.T) {
	w := newWorld(t)
	w.set(account, map[string]int64{"ec2:quota-volumetotalsize": 100})
	var wg sync.WaitGroup
	var made, refused int64
	for range 16 {
		wg.Go(func() {
			for range 20 {
				err := w.volume(root("CreateVolume"), 3)
				w.mu.Lock()
				switch {
				case err == nil:
					made++
				case awserr.Code(err) == "VolumeLimitExceeded":
					refused++
				default:
					t.Error(err)
				}
				w.mu.Unlock()
			}
		})
	}
	wg.Wait()
	r := w.store.Snapshot()
	if gib := store.VolumesGiB.Sum(r, account+"/"+region); made != 33 || refused != 287 || gib != 99 {
		t.Errorf("%d made, %d refused, %d GiB", made, refused, gib)
	}
	if err := r.Check(); err != nil {
		t.Error(err)
	}
}

// What the administrator gives an account comes before what all get, and that before AWS's default.
func TestOrder(t *testing.T) {
	w := newWorld(t)
	most := func(key string) int64 {
		n, limited, err := w.keeper.Most(w.store.Snapshot(), root("X"), key)
		if err != nil {
			t.Fatal(err)
		}
		if !limited {
			return quota.None
		}
		return n
	}
	for _, step := range []struct {
		name string
		do   func()
		want int64
	}{
		{"AWS's", func() {}, 5},
		{"all accounts'", func() { w.set("", map[string]int64{"ec2:addressnumber": 7}) }, 7},
		{"another account's", func() { w.set("999999999999", map[string]int64{"ec2:addressnumber": 1}) }, 7},
		{"its own", func() { w.set(account, map[string]int64{"ec2:addressnumber": 20, "ec2:vpcnumber": 2}) }, 20},
		{"its own again", func() { w.set(account, map[string]int64{"ec2:addressnumber": 0}) }, 0},
		{"none of its own", func() { w.set(account, map[string]int64{"ec2:addressnumber": quota.None}) }, 7},
		{"none", func() {
			w.set("", map[string]int64{"ec2:addressnumber": quota.None})
			w.put(func(tx *store.Tx) error { return quota.SetDefaults(tx, quota.DefaultsNone) })
		}, quota.None},
	} {
		step.do()
		if got := most(quota.Addresses); got != step.want {
			t.Errorf("%s: %d, want %d", step.name, got, step.want)
		}
	}
	if got := most("ec2:quota-vpcnumber"); got != 2 {
		t.Errorf("the other quota of the same policy became %d", got)
	}
	if got := most(quota.VCPUs); got != quota.None {
		t.Errorf("%d vCPUs", got)
	}
	w.put(func(tx *store.Tx) error { return quota.SetDefaults(tx, quota.DefaultsAWS) })
	if got := most(quota.VCPUs); got != 5 {
		t.Errorf("%d vCPUs by AWS's defaults", got)
	}
}

// A user's own policies limit what that user makes, not what the account has.
func TestUsers(t *testing.T) {
	w := newWorld(t)
	w.limits(limit("ec2:CreateVolume", volumes(2)))
	w.want("root's", w.volume(root("CreateVolume"), 1), "")
	w.want("root's", w.volume(root("CreateVolume"), 1), "")
	w.want("first", w.volume(bob("CreateVolume"), 1), "")
	w.want("second, by a launch", w.volume(bob("RunInstances"), 1), "")
	w.want("third", w.volume(bob("CreateVolume"), 1), "VolumeLimitExceeded")
	w.want("third, by a launch", w.volume(bob("RunInstances"), 1), "VolumeLimitExceeded")
	w.want("a role's", w.volume(builder("CreateVolume"), 1), "")

	for name, policy := range map[string]string{
		"another action":            limit("ec2:CreateSnapshot", volumes(0)),
		"another quota":             limit("ec2:CreateVolume", `"NumericLessThanEquals":{"ec2:quota-snapshotnumber":0}`),
		"a condition that is false": limit("ec2:CreateVolume", volumes(0)+`,"StringEquals":{"aws:RequestedRegion":"eu-west-1"}`),
		"room":                      limit("*", volumes(50)),
	} {
		w.limits(policy)
		w.want(name, w.volume(bob("CreateVolume"), 1), "")
	}
	for name, policy := range map[string]string{
		"a condition that is true": limit("ec2:CreateVolume", volumes(0)+`,"StringEquals":{"aws:RequestedRegion":"us-east-1"}`),
		"the least of two":         limit("*", `"NumericLessThanEquals":{"ec2:quota-volumenumber":50,"ec2:quota-volumetotalsize":0}`),
		"less than":                limit("*", `"NumericLessThan":{"ec2:quota-volumenumber":1}`),
		"the kind's ARN":           `{"Version":"2012-10-17","Statement":{"Effect":"Limit","Action":"ec2:*","Resource":"arn:aws:ec2:*:*:volume/*","Condition":{` + volumes(0) + `}}}`,
	} {
		w.limits(policy)
		w.want(name, w.volume(bob("CreateVolume"), 1), "VolumeLimitExceeded")
	}
}

// The account's quota counts what everybody in it has made; a user's larger one gives nothing.
func TestAccountsAndUsers(t *testing.T) {
	w := newWorld(t)
	w.set(account, map[string]int64{"ec2:volumenumber": 2})
	w.limits(limit("*", volumes(10)))
	w.want("root's", w.volume(root("CreateVolume"), 1), "")
	w.want("bob's", w.volume(bob("CreateVolume"), 1), "")
	w.want("bob's second", w.volume(bob("CreateVolume"), 1), "VolumeLimitExceeded")
	w.want("root's second", w.volume(root("CreateVolume"), 1), "VolumeLimitExceeded")
	// Who has too much, after the quota was lowered, may still change and give back.
	w.set(account, map[string]int64{"ec2:volumenumber": 1})
	w.put(func(tx *store.Tx) error {
		return w.keeper.Within(tx, root("DeleteVolume"), func(tx *store.Tx) error {
			v := *store.Volumes.Get(tx, "vol-1")
			v.Tags = resource.Tags{"a": "b"}
			return store.Volumes.Put(tx, &v)
		})
	})
}

func TestPoliciesOfQuotas(t *testing.T) {
	w := newWorld(t)
	for name, text := range map[string]string{
		"not a policy":    `{`,
		"an Allow":        `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`,
		"no such quota":   limit("*", `"NumericLessThanEquals":{"ec2:quota-moons":1}`),
		"a lower bound":   limit("*", `"NumericGreaterThan":{"ec2:quota-volumenumber":1}`),
		"no whole number": limit("*", `"NumericLessThanEquals":{"ec2:quota-volumenumber":"1.5"}`),
	} {
		if err := w.store.Update(t.Context(), func(tx *store.Tx) error { return quota.PutPolicy(tx, account, text) }); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for _, most := range []map[string]int64{{"ec2:moons": 1}, {"ec2:volumenumber": -2}, {"volumenumber": 1}} {
		if err := w.store.Update(t.Context(), func(tx *store.Tx) error { return quota.Put(tx, account, most) }); err == nil {
			t.Errorf("%v was accepted", most)
		}
	}
	if text := quota.Policy(w.store.Snapshot(), account); text != "" {
		t.Errorf("something was kept: %s", text)
	}
}

// Every quota is known under AWS's name, if it has one, and refuses with an AWS error.
func TestAll(t *testing.T) {
	seen := map[string]bool{}
	for _, q := range quota.All() {
		if seen[q.Key] || seen[q.Code] {
			t.Errorf("%s is there twice", q.Key)
		}
		seen[q.Key] = true
		if q.Code != "" {
			seen[q.Code] = true
		}
		if (q.Code == "") != (q.Service == "") || (q.Code == "") != (q.Name == "") || q.Code == "" && q.Default != quota.None || q.Counts == "" {
			t.Errorf("%+v", q)
		}
		if awserr.Code(q.Refusal(7)) == "" {
			t.Errorf("%s refuses with %v", q.Key, q.Refusal(7))
		}
	}
}
