package ec2

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/compute"
	"karri.dev/internal/ids"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/page"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
	"karri.dev/internal/userdata"
	"karri.dev/internal/volumekey"
)

const (
	alice = "111111111111"
	bob   = "222222222222"
	east  = "us-east-1"
)

// cloud is a service over a store in memory, with two zones, a node in each, two accounts, and an image.
type cloud struct {
	testing.TB
	*Service
	alice, bob context.Context
	image      string
	mu         sync.Mutex
	time       time.Time
	consoles   map[string]string
	objects    map[string]bool
	content    map[string]string
	denied     map[string]bool // objects
}

func (c *cloud) Console(_ context.Context, id string, most int) ([]byte, error) {
	text, ok := c.consoles[id]
	if !ok {
		return nil, compute.ErrNotFound
	}
	return []byte(text[max(0, len(text)-most):]), nil
}

func (c *cloud) Screen(_ context.Context, id string) ([]byte, error) {
	if _, ok := c.consoles[id]; !ok {
		return nil, compute.ErrNoScreen
	}
	return []byte("jpeg"), nil
}

func (c *cloud) Exists(ctx context.Context, bucket, key string) error {
	if c.denied[bucket+"/"+key] {
		return awserr.New("AccessDenied", "not %s/%s", bucket, key)
	}
	if !c.objects[call.From(ctx).AccountID+"/"+bucket+"/"+key] {
		return awserr.New("NoSuchKey", "no %s/%s", bucket, key)
	}
	return nil
}

func (c *cloud) Probe(ctx context.Context, bucket, key string) error {
	if bucket != call.From(ctx).AccountID+"-exports" {
		return awserr.New("AccessDenied", "no %s", bucket)
	}
	c.objects[call.From(ctx).AccountID+"/"+bucket+"/"+key] = true
	return nil
}

func (c *cloud) Read(ctx context.Context, bucket, key string, _ int64) ([]byte, error) {
	return []byte(c.content[bucket+"/"+key]), c.Exists(ctx, bucket, key)
}

func (c *cloud) clock() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.time
}

func (c *cloud) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time = c.time.Add(d)
}

func as(account string) context.Context {
	return call.With(context.Background(), &call.Info{Caller: call.Caller{AccountID: account, UserID: account}, Region: east})
}

func newCloud(t testing.TB, pools ...string) *cloud {
	st := store.OpenMemory(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { st.Close() })
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{
		TB: t, alice: as(alice), bob: as(bob), time: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
		consoles: map[string]string{}, objects: map[string]bool{alice + "/disks/tiny.raw": true},
	}
	source := ids.New(rand.New(rand.NewSource(1)))
	if pools == nil {
		pools = []string{"203.0.113.0/24", "2001:db8:ec00::/52"}
	}
	cfg := Config{Domain: "cloud.test"}
	for _, p := range pools {
		cfg.PublicPool = append(cfg.PublicPool, netip.MustParsePrefix(p))
	}
	c.Service = New(cfg, Deps{Store: st, IDs: source, Clock: c.clock, Tokens: page.New(sealer), Sealer: sealer, Console: c, Objects: c, Quotas: quota.New(authz.New(authz.Deps{Store: st})), VolumeKeys: volumekey.New(make([]byte, 32))})
	c.image = "ami-0123456789abcdef0"
	c.write(func(tx *store.Tx) error {
		for i, name := range []string{"us-east-1a", "us-east-1b"} {
			if err := store.Zones.Put(tx, &resource.Zone{Name: name, Region: east, ZoneID: fmt.Sprintf("use1-az%d", i+1)}); err != nil {
				return err
			}
			if err := store.Nodes.Put(tx, &resource.Node{ID: "node-" + name, Zone: name, Up: true, Local: true, Capacity: resource.Capacity{VCPUs: 1000}}); err != nil {
				return err
			}
		}
		for _, account := range []string{alice, bob} {
			if err := store.Accounts.Put(tx, &resource.Account{ID: account, Name: "a" + account, CanonicalID: account}); err != nil {
				return err
			}
			if _, err := CreateDefaultVPC(tx, source, c.time, account, east); err != nil {
				return err
			}
		}
		return store.Images.Put(tx, &resource.Image{
			Owned: resource.Owned{AccountID: alice, Region: east, CreatedAt: c.time}, ID: c.image, Kind: "machine", Name: "tiny", Architecture: "x86_64",
			State: resource.ImageAvailable, RootDeviceType: "instance-store", RootDeviceName: "/dev/sda1", Data: resource.ImageData{Key: "images/tiny", Format: "qcow2", VirtualSize: 64 << 20},
		})
	})
	return c
}

func (c *cloud) write(fn func(*store.Tx) error) {
	c.Helper()
	if err := c.Store.Update(context.Background(), fn); err != nil {
		c.Fatal(err)
	}
}

// code fails the test unless err has this AWS code ("" = no error).
func (c *cloud) code(what string, err error, code string) {
	c.Helper()
	if (err == nil) != (code == "") || awserr.Code(err) != code {
		c.Errorf("%s: %v, want code %q", what, err, code)
	}
}

// run launches n instances as alice and gives their ids.
func (c *cloud) run(n int, change ...func(*shape.RunInstancesRequest)) []string {
	c.Helper()
	in := &shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.nano", MinCount: n, MaxCount: n}
	for _, f := range change {
		f(in)
	}
	out, err := c.RunInstances(c.alice, in)
	if err != nil {
		c.Fatal(err)
	}
	var ids []string
	for _, i := range out.Instances {
		ids = append(ids, i.InstanceId)
	}
	return ids
}

// place makes pending instances run on their zone's node, as a zone does.
func (c *cloud) place(ids ...string) {
	c.Helper()
	c.write(func(tx *store.Tx) error {
		for _, id := range ids {
			next := *store.Instances.Get(tx, id)
			next.Node, next.State, next.StateReason = "node-"+next.Zone, resource.Running, resource.StateReason{}
			if err := store.Instances.Put(tx, &next); err != nil {
				return err
			}
		}
		return nil
	})
}

// finish ends instances that shut down, as a zone does when the node says that they are gone.
func (c *cloud) finish(ids ...string) {
	c.Helper()
	c.write(func(tx *store.Tx) error {
		for _, id := range ids {
			if _, err := lifecycle.Finish(tx, store.Instances.Get(tx, id), c.clock()); err != nil {
				return err
			}
		}
		return nil
	})
}

// quota sets quotas of an account, or of all.
func (c *cloud) quota(account string, most map[string]int64) {
	c.Helper()
	c.write(func(tx *store.Tx) error { return quota.Put(tx, account, most) })
}

// one gives the only instance with this id as alice sees it.
func (c *cloud) one(id string) shape.Instance {
	c.Helper()
	out, err := c.DescribeInstances(c.alice, &shape.DescribeInstancesRequest{InstanceIds: []string{id}})
	if err != nil {
		c.Fatal(err)
	}
	return out.Reservations[0].Instances[0]
}

// invariants checks what must hold in every state.
func (c *cloud) invariants() {
	c.Helper()
	r := c.Store.Snapshot()
	private, public := map[string]string{}, map[string]string{}
	for e := range store.Interfaces.All(r) {
		for _, a := range e.Addresses() {
			if other, twice := private[e.VPCID+"/"+a.PrivateIP]; twice {
				c.Fatalf("%s and %s have %s", other, e.ID, a.PrivateIP)
			}
			private[e.VPCID+"/"+a.PrivateIP] = e.ID
			if a.PublicIP != "" {
				if other, twice := public[a.PublicIP]; twice {
					c.Fatalf("%s and %s have %s", other, e.ID, a.PublicIP)
				}
				public[a.PublicIP] = e.ID
			}
			if p := netip.MustParsePrefix(store.Subnets.Get(r, e.SubnetID).CIDR); !p.Contains(netip.MustParseAddr(a.PrivateIP)) {
				c.Fatalf("%s has %s outside of %s", e.ID, a.PrivateIP, p)
			}
			if x := store.Addresses.Get(r, a.AllocationID); a.AllocationID != "" && (x == nil || x.AssociationID != a.AssociationID || x.PublicIP != a.PublicIP) {
				c.Fatalf("%s has %+v, the elastic IP is %+v", e.ID, a, x)
			}
		}
	}
	for a := range store.Addresses.All(r) {
		holder := public[a.PublicIP]
		if holder != a.InterfaceID {
			c.Fatalf("elastic IP %s says %q has it, but %q does", a.PublicIP, a.InterfaceID, holder)
		}
		if e := store.Interfaces.Get(r, a.InterfaceID); a.InterfaceID != "" && (e == nil || !slices.ContainsFunc(e.Addresses(), func(p resource.PrivateAddress) bool {
			return p.AllocationID == a.AllocationID && p.AssociationID == a.AssociationID
		})) {
			c.Fatalf("elastic IP %+v and interface %+v disagree", a, e)
		}
	}
	for i := range store.Instances.All(r) {
		if !i.State.Alive() {
			if len(i.Interfaces) > 0 {
				c.Fatalf("%s is terminated and has %v", i.ID, i.Interfaces)
			}
			continue
		}
		if e := store.Interfaces.Get(r, i.Interfaces[0]); e == nil || e.InstanceID != i.ID {
			c.Fatalf("%s and its interface %+v disagree", i.ID, e)
		}
	}
	if err := r.Check(); err != nil {
		c.Fatal(err)
	}
}

func filters(pairs ...string) (out []shape.Filter) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, shape.Filter{Name: pairs[i], Values: strings.Split(pairs[i+1], ",")})
	}
	return out
}

func ptr[T any](v T) *T { return &v }

// userData opens an instance's.
func (c *cloud) userData(inst *resource.Instance) string {
	c.Helper()
	data, err := userdata.Of(c.Sealer, inst)
	if err != nil {
		c.Fatal(err)
	}
	return string(data)
}
