package s3

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// TestPermitted: what only a name leads to is not this machine, and nothing is a link's metadata service.
func TestPermitted(t *testing.T) {
	for _, tt := range []struct {
		addr          string
		name, literal bool
	}{
		{"93.184.216.34", true, true},
		{"10.1.2.3", true, true},
		{"127.0.0.1", false, true},
		{"::1", false, true},
		{"::ffff:127.0.0.1", false, true},
		{"169.254.169.254", false, false},
		{"::ffff:169.254.169.254", false, false},
		{"fe80::1%eth0", false, false},
		{"0.0.0.0", false, false},
		{"::", false, false},
		{"224.0.0.1", false, false},
		{"255.255.255.255", false, false},
	} {
		addr := netip.MustParseAddr(tt.addr)
		if err := permitted(addr, false); (err == nil) != tt.name || err != nil && !errors.Is(err, errAddress) {
			t.Errorf("a name that leads to %s: %v", addr, err)
		}
		if err := permitted(addr, true); (err == nil) != tt.literal {
			t.Errorf("%s itself: %v", addr, err)
		}
	}
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	client, transport := caller()
	defer transport.CloseIdleConnections()
	for url, ok := range map[string]bool{server.URL: true, strings.Replace(server.URL, "127.0.0.1", "0.0.0.0", 1): false} {
		a, err := client.Get(url)
		if (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
		if err == nil {
			a.Body.Close()
		}
	}
}
