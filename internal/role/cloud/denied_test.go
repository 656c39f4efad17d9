package cloud

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shapes3 "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/aws/wire"
	"karri.dev/internal/identity"
	"karri.dev/internal/ids"
	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/store"
)

// newCloud is the role with everything behind its front door, and one account that has one of many things.
func newCloud(t *testing.T) (*Cloud, resource.Account) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st := store.OpenMemory(log)
	t.Cleanup(func() { st.Close() })
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	engine, err := disk.Open(disk.Config{Dir: "/objects", FS: disk.InMemory(), Sealer: sealer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	c := New(Config{Region: "us-east-1", Domain: "cloud.test"}, Deps{Store: st, Sealer: sealer, Objects: engine, IDs: ids.New(nil), Now: time.Now, Log: log})
	if _, _, err := c.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, _, err := c.Identity.CreateAccount(t.Context(), identity.NewAccount{Name: "victim"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nobody", "target"} {
		if _, _, err := c.Identity.CreateUser(t.Context(), identity.NewUser{Account: a.ID, Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	owned := resource.Owned{AccountID: a.ID, Region: "us-east-1"}
	trust := resource.Bound{Text: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}`}
	err = st.Update(t.Context(), func(tx *store.Tx) error {
		for _, put := range []func() error{
			func() error {
				return store.Buckets.Put(tx, &resource.Bucket{Name: "private", AccountID: a.ID, Region: "us-east-1", Engine: "private/1"})
			},
			func() error {
				return store.Roles.Put(tx, &resource.IAMRole{AccountID: a.ID, Name: "target", ID: "AROATARGETTARGETTARGE", Path: "/", Trust: trust, MaxSession: time.Hour})
			},
			func() error {
				return store.Groups.Put(tx, &resource.Group{AccountID: a.ID, Name: "target", ID: "AGPATARGETTARGETTARGE", Path: "/"})
			},
			func() error {
				return store.Volumes.Put(tx, &resource.Volume{Owned: owned, ID: victims["volume"], Zone: "us-east-1a", SizeGiB: 1, State: resource.VolumeAvailable, Type: "gp3", Made: true, MadeGiB: 1})
			},
			func() error {
				return store.Snapshots.Put(tx, &resource.Snapshot{Owned: owned, ID: victims["snapshot"], SizeGiB: 1, State: "completed"})
			},
			func() error {
				return store.Images.Put(tx, &resource.Image{Owned: owned, ID: victims["image"], Kind: "machine", Name: "secret", State: resource.ImageAvailable, RootDeviceType: "instance-store"})
			},
			func() error {
				return store.Instances.Put(tx, &resource.Instance{Owned: owned, ID: victims["instance"], Type: "t3.nano", State: resource.Stopped, Power: resource.PowerOff, RootDevice: "/dev/sda1", Zone: "us-east-1a"})
			},
			func() error {
				return store.Addresses.Put(tx, &resource.Address{Owned: owned, AllocationID: victims["allocation"], PublicIP: "198.51.100.77"})
			},
			func() error {
				return store.KeyPairs.Put(tx, &resource.KeyPair{Owned: owned, ID: victims["keypair"], Name: "victims-key"})
			},
		} {
			if err := put(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Put(t.Context(), "private/1", object.Put{Key: "k", Body: strings.NewReader("secret"), Size: 6, Owner: a.CanonicalID}); err != nil {
		t.Fatal(err)
	}
	return c, a
}

// victims are ids of what the account has.
var victims = map[string]string{
	"volume": "vol-0aaaaaaaaaaaaaaa1", "snapshot": "snap-0aaaaaaaaaaaaaaa1", "image": "ami-0aaaaaaaaaaaaaaa1", "instance": "i-0aaaaaaaaaaaaaaa1",
	"allocation": "eipalloc-0aaaaaaaaaaaaaaa1", "keypair": "key-0aaaaaaaaaaaaaaa1",
}

// input makes a request that names what the account has wherever its members' names allow that: deep says whether also
// in structures below it.
func input(api any, operation string, names map[string]string, deep bool) any {
	method, ok := reflect.TypeOf(api).MethodByName(operation)
	if !ok {
		return nil
	}
	in := reflect.New(method.Type.In(2).Elem())
	depth := 0
	if deep {
		depth = 3
	}
	fill(in.Elem(), names, depth)
	switch d := in.Interface().(type) {
	case *shapes3.DeleteObjectsRequest:
		d.Delete = &shapes3.Delete{Objects: []shapes3.ObjectIdentifier{{Key: "k"}}}
	case *shapes3.PutObjectLockConfigurationRequest:
		if deep {
			d.ObjectLockConfiguration.Rule = nil
		}
	}
	return in.Interface()
}

func fill(v reflect.Value, names map[string]string, depth int) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		single := strings.TrimSuffix(name, "s")
		switch kind := f.Kind(); {
		case !f.CanSet():
		case kind == reflect.String && names[name] != "":
			f.SetString(names[name])
		case kind == reflect.Slice && f.Type().Elem().Kind() == reflect.String && (names[single] != "" || names[name] != ""):
			f.Set(reflect.Append(f, reflect.ValueOf(names[name]+names[single]).Convert(f.Type().Elem())))
		case kind == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct && depth > 0:
			e := reflect.New(f.Type().Elem()).Elem()
			fill(e, names, depth-1)
			f.Set(reflect.Append(f, e))
		case kind == reflect.Pointer && f.Type().Elem().Kind() == reflect.Struct && depth > 0:
			f.Set(reflect.New(f.Type().Elem()))
			fill(f.Elem(), names, depth-1)
		}
	}
}

// do makes a call as the front door would after authentication.
func (c *Cloud) do(ctx context.Context, who call.Caller, svc *wire.Service, op *wire.Operation, api, in any) (any, error) {
	info := &call.Info{Caller: who, Service: svc.Name, Operation: op.Name, Region: "us-east-1", Time: time.Now(), RequestID: "r"}
	ctx = call.With(ctx, info)
	if err := c.Authz.Authorize(ctx, authz.Call{Info: info, Service: svc, Operation: op.Name, Input: in}); err != nil {
		return nil, err
	}
	return op.Invoke(ctx, api, in)
}

// Nobody may do anything that no policy allows: every operation of every service refuses a user without policies, but
// for those that AWS lets everybody do.
func TestAUserWithoutPoliciesMayDoNothing(t *testing.T) {
	c, a := newCloud(t)
	u := store.Users.Get(c.deps.Store.Snapshot(), store.UserKey(a.ID, "nobody"))
	who := call.Caller{AccountID: a.ID, UserName: u.Name, UserID: u.ID, ARN: u.ARN(), CanonicalID: a.CanonicalID}
	free := map[string]bool{ // for everybody, as in AWS
		"sts:GetCallerIdentity": true, "sts:GetSessionToken": true,
		"sts:AssumeRoleWithWebIdentity": true, "sts:AssumeRoleWithSAML": true, // by an identity provider's word
	}
	names := map[string]string{
		"Bucket": "private", "Key": "k", "CopySource": "private/k", "UploadId": "u", "RoleArn": "arn:aws:iam::" + a.ID + ":role/target", "RoleSessionName": "session", "OldPassword": "old-Passw0rd", "NewPassword": "new-Passw0rd",
		"ObjectAttributes": "ETag", "SSEAlgorithm": "AES256", "Status": "Enabled", "ObjectLockEnabled": "Enabled", "Value": "v",
	}
	for _, m := range slices.Sorted(maps.Keys(members(a.ID))) {
		names[m] = members(a.ID)[m]
	}
	asks := s3.Permissions()
	n := 0
	for svc, api := range c.Door.Services() {
		for i := range svc.Operations {
			op := &svc.Operations[i]
			name := svc.Name + ":" + op.Name
			n++
			out, err := c.do(t.Context(), who, svc, op, api, input(api, op.Name, names, false))
			if err != nil && !denies(err) { // what is not well-formed may be refused for that first
				names := maps.Clone(names)
				if op.Name == "PutObjectLegalHold" {
					names["Status"] = "ON"
				}
				out, err = c.do(t.Context(), who, svc, op, api, input(api, op.Name, names, true))
			}
			if d, ok := out.(*shapes3.DeleteObjectsResult); ok && err == nil && len(d.Errors) == 1 && d.Errors[0].Code == "AccessDenied" && len(d.Deleted) == 0 {
				continue
			}
			switch {
			case free[name]:
				delete(free, name)
			case !denies(err):
				t.Errorf("%s: %v", name, err)
			case svc.Name == "s3": // its handlers ask: for what the table says
				action, _, _ := strings.Cut(strings.TrimPrefix(after(err.Error(), "perform: "), "s3:"), " ")
				if said := asks.Table[op.Name].Handler; action != "" && !slices.Contains(strings.Fields(said), strings.TrimSuffix(action, ",")) {
					t.Errorf("%s asks for %s, the table says %s", name, action, said)
				}
			}
		}
	}
	for name := range free {
		t.Errorf("%s is not served: take it off the list", name)
	}
	if n < 300 {
		t.Errorf("only %d operations were asked for", n)
	}
}

// after gives what follows a word, "" where it is not there.
func after(text, word string) string {
	_, rest, _ := strings.Cut(text, word)
	return rest
}

func denies(err error) bool {
	return slices.Contains([]string{"AccessDenied", "UnauthorizedOperation", "AccessDeniedException"}, awserr.Code(err))
}

// members gives values for members of requests by their names.
func members(account string) map[string]string {
	return map[string]string{
		"InstanceId": victims["instance"], "VolumeId": victims["volume"], "SnapshotId": victims["snapshot"], "SourceSnapshotId": victims["snapshot"],
		"ParentSnapshotId": victims["snapshot"], "FirstSnapshotId": victims["snapshot"], "SecondSnapshotId": victims["snapshot"],
		"ImageId": victims["image"], "SourceImageId": victims["image"], "AllocationId": victims["allocation"], "PublicIp": "198.51.100.77",
		"KeyPairId": victims["keypair"], "KeyName": "victims-key", "Resource": victims["volume"],
		"UserName": "target", "RoleName": "target", "GroupName": "target", "Bucket": "private", "Key": "k", "AccountId": account,
		"Device": "/dev/sdf", "AvailabilityZone": "us-east-1a",
	}
}

// The administrator of another account reaches nothing of an account: whatever is called with its ids, what it has
// stays as it is, and no answer tells of it.
func TestAnotherAccountReachesNothing(t *testing.T) {
	c, a := newCloud(t)
	b, _, err := c.Identity.CreateAccount(t.Context(), identity.NewAccount{Name: "attacker"})
	if err != nil {
		t.Fatal(err)
	}
	who := call.Caller{AccountID: b.ID, UserID: b.ID, ARN: identity.RootARN(b.ID), CanonicalID: b.CanonicalID}
	names := members(a.ID)
	r := c.deps.Store.Snapshot()
	for v := range store.VPCsByOwner.By(r, a.ID+"/us-east-1") {
		names["VpcId"], names["DhcpOptionsId"], names["RouteTableId"], names["GroupId"], names["NetworkAclId"] = v.ID, v.DHCPOptionsID, v.MainRouteTable, v.DefaultGroup, v.DefaultACL
	}
	names["InternetGatewayId"] = first(store.InternetGatewaysByOwner.By(r, a.ID+"/us-east-1")).ID
	before := state(t, c.deps.Store.Snapshot(), a.ID)
	for svc, api := range c.Door.Services() {
		for i := range 2 * len(svc.Operations) {
			op := &svc.Operations[i/2]
			in := input(api, op.Name, names, i%2 == 1)
			asked, _ := json.Marshal(in)
			out, _ := c.do(t.Context(), who, svc, op, api, in)
			if after := state(t, c.deps.Store.Snapshot(), a.ID); after != before {
				t.Fatalf("%s:%s changed what another account has:\n%s\n%s", svc.Name, op.Name, before, after)
			}
			if out == nil || reflect.ValueOf(out).IsNil() {
				continue
			}
			told, err := json.Marshal(out)
			if err != nil {
				continue
			}
			for what, id := range names {
				if len(id) > 8 && what != "AccountId" && strings.Contains(string(told), id) && !strings.Contains(echo[op.Name], what) {
					t.Errorf("%s:%s told %s of another account: %s\nasked %s", svc.Name, op.Name, what, told, asked)
				}
			}
		}
	}
}

// echo says what calls answer because it was in the request.
var echo = map[string]string{"CreateKeyPair": "KeyName", "ImportKeyPair": "KeyName"}

func first[T any](seq func(func(T) bool)) (out T) {
	for v := range seq {
		return v
	}
	return out
}

// state gives all that an account has as text.
func state(t *testing.T, r store.Reader, account string) string {
	t.Helper()
	owner := account + "/us-east-1"
	var all []any
	add := func(v any) { all = append(all, v) }
	each(store.InstancesByOwner.By(r, owner), add)
	each(store.VolumesByOwner.By(r, owner), add)
	each(store.SnapshotsByOwner.By(r, owner), add)
	each(store.ImagesByOwner.By(r, owner), add)
	each(store.KeyPairsByOwner.By(r, owner), add)
	each(store.AddressesByOwner.By(r, owner), add)
	each(store.VPCsByOwner.By(r, owner), add)
	each(store.SubnetsByOwner.By(r, owner), add)
	each(store.SecurityGroupsByOwner.By(r, owner), add)
	each(store.RouteTablesByOwner.By(r, owner), add)
	each(store.NetworkACLsByOwner.By(r, owner), add)
	each(store.InternetGatewaysByOwner.By(r, owner), add)
	each(store.DHCPOptionsByOwner.By(r, owner), add)
	each(store.BucketsByOwner.By(r, account), add)
	for u := range store.Users.All(r) {
		if u.AccountID == account {
			add(u)
		}
	}
	for u := range store.Roles.All(r) {
		if u.AccountID == account {
			add(u)
		}
	}
	for u := range store.Groups.All(r) {
		if u.AccountID == account {
			add(u)
		}
	}
	add(store.Accounts.Get(r, account))
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func each[T any](seq func(func(T) bool), add func(any)) {
	for v := range seq {
		add(v)
	}
}
