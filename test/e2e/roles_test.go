package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lan is a bridge in a namespace of its own, to which machines are plugged.
type lan struct {
	t  *testing.T
	ns namespace
	n  int
}

func newLAN(t *testing.T) *lan {
	l := &lan{t: t, ns: newNamespace(t, "switch")}
	must(t, "ip", "-n", l.ns.name, "link", "add", "br0", "type", "bridge")
	must(t, "ip", "-n", l.ns.name, "link", "set", "br0", "up")
	return l
}

// plug makes a machine with the address on its eth0.
func (l *lan) plug(name, address string) namespace {
	l.t.Helper()
	m := newNamespace(l.t, name)
	l.n++
	port := fmt.Sprintf("port%d", l.n)
	must(l.t, "ip", "-n", l.ns.name, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", m.name)
	must(l.t, "ip", "-n", l.ns.name, "link", "set", port, "master", "br0", "up")
	must(l.t, "ip", "-n", m.name, "address", "add", address+"/24", "dev", "eth0")
	must(l.t, "ip", "-n", m.name, "link", "set", "eth0", "up")
	return m
}

// node is one node process.
type node struct {
	ns       namespace
	dir      string
	underlay string
	proc     *process
	restart  func()
}

// Cloud, zone and two nodes as processes of their own, each on its own machine.
func TestRolesApart(t *testing.T) {
	l := newLAN(t)
	base := filepath.Join(shared.dir, "apart")
	dir := func(name string) string { return filepath.Join(base, name) }
	t.Cleanup(func() { os.RemoveAll(base) })
	c := &cloud{t: t, ns: l.plug("cloud", "10.99.0.1"), dir: dir("cloud"), url: "https://10.99.0.1:8773"}
	zoneNS := l.plug("zone", "10.99.0.2")
	must(t, "ip", "-n", c.ns.name, "route", "add", "198.51.100.0/24", "dev", "eth0") // clients are on the nodes' link

	startCloud := func() *process {
		return start(t, c.ns, "cloud.log", "cloud", "--data-dir", c.dir, "--api-addr", "10.99.0.1:8773", "--store-listen", "10.99.0.1:2379")
	}
	cloudProc := startCloud()
	c.clients(c.dir)
	if c.ca == "" {
		t.Fatal("karrirc names no CA though the API is HTTPS")
	}
	token := func(role string) string {
		return strings.TrimSpace(c.karri("token", "create", "--data-dir", c.dir, "--role", role, "--zone", "us-east-1a"))
	}
	zoneToken := token("zone")
	startZone := func() *process {
		return start(t, zoneNS, "zone.log", "zone", "--data-dir", dir("zone"), "--cloud", c.url, "--join", zoneToken, "--listen", "10.99.0.2:8774", "--placement", "round-robin")
	}
	zoneProc := startZone()
	t.Cleanup(func() { zoneProc.kill(); c.down(zoneNS, dir("zone")) }) // its server of volumes outlives it

	// Without a good token nothing gets in.
	stranger := l.plug("stranger", "10.99.0.66")
	if out, err := stranger.command(context.Background(), shared.karri, "node", "--data-dir", dir("stranger"), "--cloud", c.url,
		"--join", zoneToken, "--underlay", "10.99.0.66").CombinedOutput(); err == nil || !strings.Contains(string(out), "used") {
		t.Errorf("a used token let a node in: %v %s", err, out)
	}

	var nodes []*node
	for i := range 2 {
		address := fmt.Sprintf("10.99.0.%d", 11+i)
		n := &node{ns: l.plug(fmt.Sprintf("node%d", i+1), address), dir: dir(fmt.Sprintf("node%d", i+1)), underlay: address}
		joinToken := token("node")
		run := func() {
			n.proc = start(t, n.ns, fmt.Sprintf("node%d.log", i+1), "node", "--data-dir", n.dir, "--cloud", c.url, "--join", joinToken,
				"--underlay", n.underlay, "--public-interface", "eth0", "--node-name", fmt.Sprintf("rack%d", i+1))
		}
		t.Cleanup(func() { n.proc.kill(); c.down(n.ns, n.dir) })
		run()
		nodes = append(nodes, n)
	}
	c.karri("status", "--wait", "--data-dir", c.dir)
	image, key := c.tinyImage(), c.keyPair("apart")
	c.openPort("22")
	two := c.launch(image, "apart", "2")
	for _, i := range two {
		c.login(key, i, "true")
	}
	for _, n := range nodes {
		machines, _ := filepath.Glob(filepath.Join(n.dir, "node", "machines", "i-*"))
		if len(machines) != 1 {
			t.Errorf("%s has %d instances, want one each", n.underlay, len(machines))
		}
		data, err := os.ReadFile(filepath.Join(n.dir, "node", "agent", "desired.json"))
		if err != nil || strings.Count(string(data), `"user_data"`) > 1 {
			t.Errorf("%s knows of the other's instances: %v", n.underlay, err)
		}
	}

	// By private address, from node to node.
	reach := func(from, to instance) {
		t.Helper()
		eventually(t, "private address across nodes", time.Minute, func() bool {
			_, err := c.ssh(key, from.Public, "ping -c 1 -W 2 "+to.Private)
			return err == nil
		})
	}
	reach(two[0], two[1])
	reach(two[1], two[0])

	// What a node carries: a guest's request by a VPC endpoint, whose id the bucket asks for, and the records of flow logs.
	vpc := c.text("Vpcs[0].VpcId", "describe-vpcs")
	table := c.text("RouteTables[0].RouteTableId", "describe-route-tables", "--filters", "Name=vpc-id,Values="+vpc)
	c.aws("s3", "mb", "s3://apart")
	file := filepath.Join(base, "hello")
	if err := os.WriteFile(file, []byte("hello by an endpoint"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.aws("s3", "cp", "--no-progress", file, "s3://apart/hello")
	endpoint := c.text("VpcEndpoint.VpcEndpointId", "create-vpc-endpoint", "--vpc-id", vpc, "--service-name", "com.amazonaws.us-east-1.s3", "--route-table-ids", table)
	c.aws("s3api", "put-bucket-policy", "--bucket", "apart", "--policy", fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",
		"Action":"s3:GetObject","Resource":"arn:aws:s3:::apart/*","Condition":{"StringEquals":{"aws:SourceVpce":"%s"}}}]}`, endpoint))
	c.aws("ec2", "create-flow-logs", "--resource-type", "VPC", "--resource-ids", vpc, "--traffic-type", "ALL", "--log-destination-type", "s3", "--log-destination", "arn:aws:s3:::apart/flows/")
	get := `printf 'GET /apart/hello HTTP/1.0\r\nHost: s3\r\n\r\n' | nc -w 5 %s 80 2>&1`
	eventually(t, "S3 by a gateway endpoint", time.Minute, func() bool {
		out, _ := c.ssh(key, two[1].Public, fmt.Sprintf(get, "169.254.169.251"))
		return strings.Contains(out, "hello by an endpoint")
	})
	if out, _ := c.ssh(key, two[1].Public, fmt.Sprintf(get, "169.254.169.252")); !strings.Contains(out, "403 Forbidden") {
		t.Errorf("without an endpoint: %q", out)
	}

	// Every Karri process restarts; the guests go on, and so does the cloud.
	boot := c.login(key, two[0], "cat /proc/sys/kernel/random/boot_id")
	cloudProc.kill()
	zoneProc.kill()
	for _, n := range nodes {
		n.proc.kill()
	}
	if now := c.login(key, two[0], "cat /proc/sys/kernel/random/boot_id"); now != boot {
		t.Error("a guest restarted with the control plane")
	}
	startCloud()
	startZone()
	for i, n := range nodes {
		n.proc = start(t, n.ns, fmt.Sprintf("node%d-again.log", i+1), "node", "--data-dir", n.dir, "--underlay", n.underlay, "--public-interface", "eth0", "--node-name", fmt.Sprintf("rack%d", i+1))
	}
	c.karri("status", "--wait", "--data-dir", c.dir)
	if now := c.login(key, two[0], "cat /proc/sys/kernel/random/boot_id"); now != boot {
		t.Error("a guest restarted with Karri")
	}
	reach(two[1], two[0])
	eventually(t, "flow logs", 3*time.Minute, func() bool {
		out, err := c.try("s3", "ls", "--recursive", "s3://apart/flows/AWSLogs/")
		return err == nil && strings.Contains(out, ".log.gz")
	})
	if console := c.text("Output", "get-console-output", "--latest", "--instance-id", two[1].ID); !strings.Contains(console, "karri-tiny") {
		t.Errorf("console through cloud, zone and node: %q", console)
	}

	// A revoked node gets nothing any more; its sibling takes what comes.
	var list []struct{ ID, Name, State string }
	if err := json.Unmarshal([]byte(c.karri("nodes", "list", "--json", "--data-dir", c.dir)), &list); err != nil || len(list) != 2 {
		t.Fatalf("%v %v", list, err)
	}
	c.terminate(two[0].ID, two[1].ID)
	c.karri("nodes", "revoke", list[0].ID, "--data-dir", c.dir)
	for _, i := range c.launch(image, "apart", "2") {
		c.login(key, i, "true")
		defer c.terminate(i.ID)
	}
	for _, n := range nodes {
		id, err := os.ReadFile(filepath.Join(n.dir, "node", "id"))
		if err != nil {
			t.Fatal(err)
		}
		machines, _ := filepath.Glob(filepath.Join(n.dir, "node", "machines", "i-*"))
		if want := map[bool]int{true: 0, false: 2}[strings.TrimSpace(string(id)) == list[0].ID]; len(machines) != want {
			t.Errorf("node %s has %d instances, want %d", id, len(machines), want)
		}
	}
}
