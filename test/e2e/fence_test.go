package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A guest with root in it reaches neither the host nor another guest's metadata, whatever address it asks for
// or pretends to have.
func TestGuestsAreFenced(t *testing.T) {
	c := newCloud(t)
	image, key := c.tinyImage(), c.keyPair("fence")
	c.openPort("22")
	two := c.launch(image, "fence", "2", "--user-data", "secret of this reservation")

	// Something that answers on every address of the host.
	ctx, stop := context.WithCancel(context.Background())
	listener := c.ns.command(ctx, "busybox", "nc", "-ll", "-p", "9999", "-e", "echo", "reached the host")
	if err := listener.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stop(); listener.Wait() }()
	eventually(t, "the listener answers on the host", time.Minute, func() bool {
		out, _ := c.ns.command(ctx, "busybox", "nc", "127.0.0.1", "9999").CombinedOutput()
		return strings.Contains(string(out), "reached")
	})

	for _, i := range two {
		c.login(key, i, "true")
	}
	addresses := strings.Fields(must(t, "sh", "-c", fmt.Sprintf("ip -n %s -o -4 address | awk '{print $4}' | cut -d/ -f1 | grep -v ^127", c.ns.name)))
	addresses = append(addresses, "169.254.169.254", "169.254.169.253", "172.31.0.1", "172.31.0.2", "198.51.100.1", "240.0.0.1", "100.64.0.1")
	tries := "for a in " + strings.Join(addresses, " ") + "; do for p in 9999 8773 8774 2379; do (nc -w 3 $a $p </dev/null 2>&1 | sed \"s/^/$a $p: /\") & done; done; wait"
	out, err := c.ssh(key, two[0].Public, tries)
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "reached") || strings.Contains(line, "HTTP/") {
			t.Errorf("the guest reached %s", line)
		}
	}

	// The cloud's API it reaches where its VPC has it, and there it is a guest: what is for the host is not for it.
	api := `printf 'GET /_karri/%s HTTP/1.0\r\n\r\n' | nc -w 5 169.254.169.252 8773 2>&1`
	if out, _ := c.ssh(key, two[0].Public, fmt.Sprintf(api, "healthz")); !strings.Contains(out, "200 OK") {
		t.Errorf("the API's address in the VPC: %q", out)
	}
	if out, _ := c.ssh(key, two[0].Public, fmt.Sprintf(api, "metrics")); !strings.Contains(out, "403 Forbidden") {
		t.Errorf("metrics for a guest: %q", out)
	}

	// Its own metadata, and with the neighbour's address as the source: nothing.
	ask := `printf 'PUT /latest/api/token HTTP/1.0\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n' | nc -w 3 %s 169.254.169.254 80 2>&1`
	if own, _ := c.ssh(key, two[0].Public, fmt.Sprintf(ask, "")); !strings.Contains(own, "200 OK") {
		t.Errorf("own metadata: %q", own)
	}
	c.login(key, two[0], "ip address add "+two[1].Private+"/32 dev eth0")
	if stolen, _ := c.ssh(key, two[0].Public, fmt.Sprintf(ask, "-s "+two[1].Private)); strings.Contains(stolen, "200 OK") {
		t.Errorf("the neighbour's metadata: %q", stolen)
	}
	// The neighbour keeps its service all the while.
	if out := c.login(key, two[1], "echo fine"); out != "fine" {
		t.Errorf("neighbour: %q", out)
	}
	c.terminate(two[0].ID, two[1].ID)
}
