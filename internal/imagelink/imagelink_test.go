package imagelink

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestLinks(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	signer := NewSigner([]byte("key"), func() time.Time { return now })
	server := httptest.NewServer(Handler(signer, slog.New(slog.DiscardHandler), func(_ context.Context, id string) (io.ReadCloser, int64, error) {
		return io.NopCloser(strings.NewReader("bytes of " + id)), int64(len("bytes of " + id)), nil
	}))
	defer server.Close()
	get := func(link string) (int, string) {
		t.Helper()
		res, err := http.Get(link)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	link := signer.URL(server.URL, "ami-1")
	if code, body := get(link); code != 200 || body != "bytes of ami-1" {
		t.Fatalf("%d %q", code, body)
	}
	change := func(f func(*url.URL, url.Values)) string {
		u, _ := url.Parse(link)
		q := u.Query()
		f(u, q)
		u.RawQuery = q.Encode()
		return u.String()
	}
	for name, bad := range map[string]string{
		"another image":    change(func(u *url.URL, _ url.Values) { u.Path = Path + "ami-2" }),
		"another time":     change(func(_ *url.URL, q url.Values) { q.Set("expires", "9999999999") }),
		"no signature":     change(func(_ *url.URL, q url.Values) { q.Del("signature") }),
		"another's key":    NewSigner([]byte("other"), func() time.Time { return now }).URL(server.URL, "ami-1"),
		"a path beside it": change(func(u *url.URL, _ url.Values) { u.Path = Path + "ami-1/../ami-2" }),
	} {
		if code, _ := get(bad); code != http.StatusForbidden {
			t.Errorf("%s: %d", name, code)
		}
	}
	now = now.Add(Life + time.Second)
	if code, _ := get(link); code != http.StatusForbidden {
		t.Errorf("an old link is good: %d", code)
	}
}
