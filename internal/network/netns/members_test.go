package netns

import (
	"net/netip"
	"reflect"
	"testing"

	"karri.dev/internal/network"
)

// TestMembersOnly: a member that comes or goes is one change of a set, as the packets show.
func TestMembersOnly(t *testing.T) {
	t.Parallel()
	d := newDriver(t, newLab(t), Config{}, nil)
	v := plainVPC("vpc-m", 1)
	web := network.Group{ID: "sg-web", Rules: []network.Rule{all(true)}}
	db := network.Group{ID: "sg-db", Rules: []network.Rule{{Protocol: 6, Ports: network.PortRange{From: 7, To: 7}, Group: "sg-web"}}}
	a, b := nic(1, "subnet-a", "10.0.0.10", "sg-web"), nic(2, "subnet-a", "10.0.0.11", "sg-db")
	v.Interfaces = []network.Interface{a, b}
	with := func(members ...string) network.State {
		web.Members = addrs(members...)
		v.Groups = []network.Group{db, web}
		return state(v)
	}
	apply(t, d, with("10.0.0.200"))
	ga, gb := newGuest(t, d, a, subnetA), newGuest(t, d, b, subnetA)
	gb.listen(7)
	ga.cannotReach("10.0.0.11:7")
	for range 2 {
		before := d.writes.Load()
		apply(t, d, with("10.0.0.10", "10.0.0.200"))
		if n := d.writes.Load() - before; n > 2 { // elements that go, elements that come
			t.Errorf("%d changes", n)
		}
		ga.reaches("10.0.0.11:7")
		apply(t, d, with("10.0.0.201"))
		ga.cannotReach("10.0.0.11:7")
	}
	// After somebody else's change everything is written, and the member with it.
	(&lab{d.vpcs["vpc-m"].space, t}).run("nft", "flush chain ip karri antispoof")
	apply(t, d, with("10.0.0.10"))
	ga.reaches("10.0.0.11:7")
	before := d.writes.Load()
	apply(t, d, with("10.0.0.10"))
	if n := d.writes.Load() - before; n != 0 {
		t.Errorf("%d changes without a reason", n)
	}
}

// TestNothingElseIsMembers: every other difference is seen.
func TestNothingElseIsMembers(t *testing.T) {
	t.Parallel()
	base := func() network.VPC {
		v := plainVPC("vpc-m", 1)
		v.Interfaces = []network.Interface{nic(1, "subnet-a", "10.0.0.10")}
		v.Remotes = []network.Remote{{ID: "eni-2"}}
		v.DNS.Names = []network.Name{{Name: "a"}}
		return v
	}
	x, y := base(), base()
	y.Groups[0].Members = addrs("10.0.0.9")
	if !sameButMembers(&x, &y) || newMembers(state(x), state(y))["vpc-m"] == nil {
		t.Fatal("members are more than members")
	}
	// change sets one field to something else.
	change := func(f reflect.Value) {
		other := reflect.New(f.Type()).Elem()
		switch f.Kind() {
		case reflect.String:
			other.SetString(f.String() + "x")
		case reflect.Bool:
			other.SetBool(!f.Bool())
		case reflect.Int:
			other.SetInt(f.Int() + 1)
		case reflect.Uint32:
			other.SetUint(f.Uint() + 1)
		case reflect.Slice:
			other.Set(reflect.MakeSlice(f.Type(), f.Len()+1, f.Len()+1))
		case reflect.Pointer:
			other.Set(reflect.New(f.Type().Elem()))
		default:
			switch f.Interface().(type) {
			case netip.Addr:
				other.Set(reflect.ValueOf(netip.MustParseAddr("192.0.2.99")))
			default:
				return // a struct of settings, which is compared whole
			}
		}
		f.Set(other)
	}
	for what, part := range map[string]func(*network.VPC) reflect.Value{
		"vpc": func(v *network.VPC) reflect.Value { return reflect.ValueOf(v) }, "interface": func(v *network.VPC) reflect.Value { return reflect.ValueOf(&v.Interfaces[0]) },
		"remote": func(v *network.VPC) reflect.Value { return reflect.ValueOf(&v.Remotes[0]) }, "group": func(v *network.VPC) reflect.Value { return reflect.ValueOf(&v.Groups[0]) },
		"rule": func(v *network.VPC) reflect.Value { return reflect.ValueOf(&v.Groups[0].Rules[0]) }, "name": func(v *network.VPC) reflect.Value { return reflect.ValueOf(&v.DNS.Names[0]) },
		"dns": func(v *network.VPC) reflect.Value { return reflect.ValueOf(&v.DNS) }, "dhcp": func(v *network.VPC) reflect.Value { return reflect.ValueOf(&v.DHCP) },
	} {
		for i := range part(&x).Elem().NumField() {
			y := base()
			f := part(&y).Elem().Type().Field(i)
			if what == "group" && f.Name == "Members" {
				continue
			}
			if change(part(&y).Elem().Field(i)); reflect.DeepEqual(x, y) {
				continue
			}
			if newMembers(state(x), state(y)) != nil || sameButMembers(&x, &y) {
				t.Errorf("%s.%s can change unseen", what, f.Name)
			}
		}
	}
}
