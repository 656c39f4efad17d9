package netns

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
)

// TestEncoding: what we say to the kernel is what nft says for the same text; and so it stays when we only send
// differences.
func TestEncoding(t *testing.T) {
	t.Parallel()
	byText, byNetlink := newLab(t), newLab(t)
	f := filter{file: byNetlink.file, writes: &atomic.Int64{}}
	v := plainVPC("vpc-e", 1)
	a, b := withPublic(nic(1, "subnet-a", "10.0.0.10", "sg-1", "sg-2"), "198.51.100.1"), nic(2, "subnet-b", "10.0.1.10", "sg-2")
	ports := func(from, to int) network.PortRange { return network.PortRange{From: from, To: to} }
	one := network.Group{ID: "sg-1", Members: addrs("10.0.0.10"), Rules: []network.Rule{all(true), tcp(22, "192.0.2.0/28"), tcp(80, "192.0.2.1/32")}}
	two := network.Group{ID: "sg-2", Members: addrs("10.0.0.10", "10.0.1.10"), Rules: []network.Rule{
		{Protocol: 17, Ports: ports(53, 60), Group: "sg-1"},
		{Protocol: 1, Ports: ports(8, -1), CIDR: everything},
		{Protocol: 1, Ports: ports(3, 4), CIDR: everything},
		{Protocol: 47, CIDR: everything},
		{Egress: true, Protocol: 6, Ports: ports(1, 2), Group: "sg-2"},
	}}
	var steps []network.VPC
	step := func(groups []network.Group, nics ...network.Interface) {
		v.Groups, v.Interfaces = groups, nics
		steps = append(steps, v)
	}
	step([]network.Group{one, two}, a, b)
	free := b
	free.NoSourceCheck = true
	step([]network.Group{one, two}, a, free)
	two.Rules = two.Rules[1:]
	step([]network.Group{one, two}, free)
	two.Rules = append([]network.Rule{{Protocol: -1, Group: "sg-1"}}, two.Rules...)
	v.ACLs = []network.ACL{{ID: "acl-1", Entries: []network.ACLEntry{{Allow: true, Protocol: 6, CIDR: subnetA, Ports: ports(22, 22)}}}}
	v.Subnets = []network.Subnet{v.Subnets[0], v.Subnets[1]}
	v.Subnets[1].ACL = "acl-1"
	step([]network.Group{one, two}, a, b)
	v.FlowLogs = []network.FlowLog{{ID: "fl-1"}}
	step([]network.Group{one, two}, a, b)
	v.FlowLogs = nil
	step(nil)
	nat := natVPC("vpc-n", 2, "")
	for _, ip := range addrs("10.0.0.51", "10.0.0.52") {
		nat.NATGateways[0].Addresses = append(nat.NATGateways[0].Addresses, network.Address{Private: ip})
	}
	steps = append(steps, nat)
	mark := regexp.MustCompile(` : 0x(..)(..)(..)(..)`) // the library cannot say which end of a mark comes first
	for i, v := range steps {
		h, err := rules.Compile(rules.Options{Link: "kr-x", Underlay: addrs("172.16.0.1")[0]}, state(v))
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		tables := h.VPCs[0].Tables
		if len(h.NATs) > 0 {
			tables = h.NATs[0].Tables
		}
		for _, table := range tables {
			text.WriteString(table.String())
		}
		file := filepath.Join(t.TempDir(), "rules.nft")
		if err := os.WriteFile(file, []byte("flush ruleset\n"+text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		byText.run("nft", "-f", file)
		if err := f.apply(tables); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		want, got := normal(byText.run("nft", "list", "ruleset")), normal(mark.ReplaceAllString(byNetlink.run("nft", "list", "ruleset"), " : 0x$4$3$2$1"))
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("step %d: -nft +karri:\n%s", i, d)
		}
		if i > 0 && f.gen == 0 {
			t.Errorf("step %d was not seen as the last", i)
		}
	}
}

// normal gives a listing's blocks without their order, which is that of their making.
func normal(list string) map[string]string {
	out := map[string]string{}
	table := ""
	for _, block := range strings.Split(strings.ReplaceAll(list, "\t}\n", "\t}\n\n"), "\n\n") {
		block = strings.TrimSpace(block)
		if i := strings.Index(block, "{\n"); strings.HasPrefix(block, "table ") && i > 0 {
			table, block = block[:i], strings.TrimSpace(block[i+2:])
		}
		if block = strings.Trim(block, "}\n\t "); block != "" {
			name, _, _ := strings.Cut(block, "\n")
			out[table+name] = sortWords(block)
		}
	}
	return out
}

// sortWords makes elements in any order read the same.
func sortWords(block string) string {
	head, elements, ok := strings.Cut(block, "elements = {")
	if !ok {
		return block
	}
	list := strings.Split(strings.Trim(elements, " {}\n\t"), ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	slices.Sort(list)
	return head + strings.Join(list, ", ")
}
