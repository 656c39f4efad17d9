package imds

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
)

var update = flag.Bool("update", false, "write the golden files anew")

func caller() Caller {
	return Caller{InstanceID: "i-0123456789abcdef0", Metadata: nodeapi.Metadata{
		AccountID: "123456789012", Region: "us-east-1", Zone: "us-east-1a", ZoneID: "use1-az1", ReservationID: "r-0123456789abcdef0",
		ImageID: "ami-0123456789abcdef0", InstanceType: "t3.micro", PendingTime: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
		KeyName: "my-key", PublicKey: "ssh-ed25519 AAAA my-key\n", UserData: []byte("#!/bin/sh\n"),
		Tags:       resource.Tags{"Name": "web", "a/b": "hidden"},
		Options:    resource.IMDSOptions{HopLimit: 2, InstanceTags: true},
		PublicName: "ec2-198-51-100-5.compute-1.amazonaws.com", PrivateName: "ip-10-0-0-5.ec2.internal",
		Interfaces: []nodeapi.Interface{{
			ID: "eni-0123456789abcdef0", MAC: "02:00:00:00:00:05", PrivateIP: "10.0.0.5", PublicIP: "198.51.100.5", IPv6: []string{"2001:db8:1::5", "2001:db8:1::6"}, SubnetCIDR6: "2001:db8:1::/64", VPCCIDRs6: []string{"2001:db8:1::/56"},
			SubnetID: "subnet-1", SubnetCIDR: "10.0.0.0/24", VPCID: "vpc-1", VPCCIDRs: []string{"10.0.0.0/16"},
			GroupIDs: []string{"sg-1", "sg-2"}, GroupNames: []string{"web", "default"},
		}},
	}}
}

// site is a handler with one caller at 10.0.0.5 and a clock.
type site struct {
	*Handler
	c   Caller
	now time.Time
}

func newSite(edit func(*Caller)) *site {
	s := &site{c: caller(), now: time.Date(2026, 11, 21, 13, 0, 0, 0, time.UTC)}
	if edit != nil {
		edit(&s.c)
	}
	s.Handler = New(Config{
		Find: func(ip netip.Addr) (Caller, bool) { return s.c, ip == netip.MustParseAddr("10.0.0.5") },
		Now:  func() time.Time { return s.now }, Key: []byte("key"),
	})
	return s
}

func (s *site) do(method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, "http://169.254.169.254/", nil)
	r.URL.Path = path
	r.RemoteAddr = "10.0.0.5:1234"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func body(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTree walks everything by its listings, as cloud-init does.
func TestTree(t *testing.T) {
	s := newSite(nil)
	var out strings.Builder
	var walk func(path string)
	walk = func(path string) {
		r := s.do("GET", path)
		text := body(t, r)
		fmt.Fprintf(&out, "%s -> %d %s\n%s\n\n", path, r.StatusCode, r.Header.Get("Content-Type"), text)
		if !strings.HasSuffix(path, "/") {
			return
		}
		if bare := body(t, s.do("GET", strings.TrimSuffix(path, "/"))); bare != text {
			t.Errorf("%s differs without its slash: %q", path, bare)
		}
		for _, name := range strings.Split(text, "\n") {
			if number, _, key := strings.Cut(name, "="); key {
				name = number + "/"
			}
			if path == "/latest/" && name != "user-data" {
				name += "/"
			}
			walk(path + name)
		}
	}
	walk("/latest/")
	const file = "testdata/tree.golden"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(out.String(), "\n")); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestVersions(t *testing.T) {
	s := newSite(nil)
	list := body(t, s.do("GET", "/"))
	for _, v := range []string{"2009-04-04", "2021-03-23", "latest"} {
		if !strings.Contains("\n"+list+"\n", "\n"+v+"\n") {
			t.Errorf("%s is not listed", v)
		}
		if got := body(t, s.do("GET", "/"+v+"/meta-data/instance-id")); got != "i-0123456789abcdef0" {
			t.Errorf("%s: %q", v, got)
		}
	}
}

func TestStatus(t *testing.T) {
	tokens := func(c *Caller) { c.Metadata.Options.TokensNeeded = true }
	for _, c := range []struct {
		name, method, path string
		edit               func(*Caller)
		header             []string
		want               int
	}{
		{"unknown version", "GET", "/2030-01-01/meta-data/", nil, nil, 404},
		{"unknown path", "GET", "/latest/meta-data/nothing", nil, nil, 404},
		{"dots", "GET", "/latest/meta-data/../../etc/passwd", nil, nil, 404},
		{"doubled slashes", "GET", "//latest///meta-data//instance-id", nil, nil, 200},
		{"no user data", "GET", "/latest/user-data", func(c *Caller) { c.Metadata.UserData = nil }, nil, 404},
		{"no key", "GET", "/latest/meta-data/public-keys/", func(c *Caller) { c.Metadata.PublicKey = "" }, nil, 404},
		{"tags not shown", "GET", "/latest/meta-data/tags/instance/", func(c *Caller) { c.Metadata.Options.InstanceTags = false }, nil, 404},
		{"signature", "GET", "/latest/dynamic/instance-identity/signature", nil, nil, 404},
		{"post", "POST", "/latest/meta-data/", nil, nil, 405},
		{"delete", "DELETE", "/latest/api/token", nil, nil, 405},
		{"head", "HEAD", "/latest/meta-data/", nil, nil, 200},
		{"switched off", "GET", "/latest/meta-data/", func(c *Caller) { c.Metadata.Options.Disabled = true }, nil, 403},
		{"token needed", "GET", "/latest/meta-data/", tokens, nil, 401},
		{"bad token", "GET", "/latest/meta-data/", nil, []string{tokenHeader, "AAAA"}, 401},
		{"token", "PUT", "/latest/api/token", nil, []string{ttlHeader, "60"}, 200},
		{"longest token", "PUT", "/latest/api/token", nil, []string{ttlHeader, "21600"}, 200},
		{"too long", "PUT", "/latest/api/token", nil, []string{ttlHeader, "21601"}, 400},
		{"too short", "PUT", "/latest/api/token", nil, []string{ttlHeader, "0"}, 400},
		{"no ttl", "PUT", "/latest/api/token", nil, nil, 400},
		{"through a proxy", "PUT", "/latest/api/token", nil, []string{ttlHeader, "60", "X-Forwarded-For", "10.0.0.9"}, 403},
		{"put elsewhere", "PUT", "/latest/meta-data/", nil, []string{ttlHeader, "60"}, 404},
	} {
		if got := newSite(c.edit).do(c.method, c.path, c.header...).StatusCode; got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	s := newSite(nil)
	r := httptest.NewRequest("GET", "/latest/meta-data/", nil)
	r.RemoteAddr = "10.0.0.6:1"
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != 404 {
		t.Errorf("a stranger gets %d", w.Code)
	}
}

func TestToken(t *testing.T) {
	s := newSite(func(c *Caller) { c.Metadata.Options.TokensNeeded = true })
	token := body(t, s.do("PUT", "/latest/api/token", ttlHeader, "60"))
	get := func() int { return s.do("GET", "/latest/meta-data/", tokenHeader, token).StatusCode }
	if got := get(); got != 200 {
		t.Errorf("with a token: %d", got)
	}
	s.c.InstanceID = "i-other"
	if got := get(); got != 401 {
		t.Errorf("another instance with the same address: %d", got)
	}
	s.c.InstanceID = caller().InstanceID
	s.now = s.now.Add(time.Minute)
	if got := get(); got != 401 {
		t.Errorf("after its time: %d", got)
	}
}

func TestDocument(t *testing.T) {
	var d map[string]any
	if err := json.Unmarshal([]byte(body(t, newSite(nil).do("GET", "/latest/dynamic/instance-identity/document"))), &d); err != nil {
		t.Fatal(err)
	}
	if d["region"] != "us-east-1" || d["instanceId"] != "i-0123456789abcdef0" || d["privateIp"] != "10.0.0.5" || d["kernelId"] != nil {
		t.Errorf("document %v", d)
	}
}

func TestBusyCaller(t *testing.T) {
	s := newSite(nil)
	code := 200
	for i := 0; code == 200 && i < 2*burst; i++ {
		code = s.do("GET", "/latest/meta-data/").StatusCode
	}
	if code != 503 {
		t.Fatalf("never refused: %d", code)
	}
	s.now = s.now.Add(time.Second)
	if code := s.do("GET", "/latest/meta-data/").StatusCode; code != 200 {
		t.Errorf("a second later: %d", code)
	}
}

func FuzzPath(f *testing.F) {
	f.Add("GET", "/latest/meta-data/", "")
	f.Add("PUT", "/latest/api/token", "60")
	f.Add("GET", "//..//latest/public-keys/0=", "QQ==")
	f.Fuzz(func(t *testing.T, method, path, header string) {
		s := newSite(nil)
		r := &http.Request{Method: method, URL: httptest.NewRequest("GET", "/", nil).URL, RemoteAddr: "10.0.0.5:1", Header: http.Header{}}
		r.URL.Path = path
		r.Header.Set(tokenHeader, header)
		r.Header.Set(ttlHeader, header)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code < 200 || w.Code > 503 {
			t.Fatalf("status %d", w.Code)
		}
		if header != "" && w.Code == 200 && method == "GET" {
			t.Fatalf("token %q was taken", header)
		}
	})
}
