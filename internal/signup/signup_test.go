package signup

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"karri.dev/internal/identity"
	"karri.dev/internal/ids"
	"karri.dev/internal/mail"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

// mailbox keeps mails, and can be made to fail.
type mailbox struct {
	mu   sync.Mutex
	sent []mail.Message
	fail error
}

func (m *mailbox) Send(_ context.Context, msg mail.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.sent = append(m.sent, msg)
	return nil
}

type world struct {
	*Server
	t    *testing.T
	box  *mailbox
	now  time.Time
	id   *identity.Identity
	from string
}

func newWorld(t *testing.T) *world {
	log := slog.New(slog.DiscardHandler)
	st := store.OpenMemory(log)
	t.Cleanup(func() { st.Close() })
	sealer, err := seal.New(bytes.Repeat([]byte{1}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, box: &mailbox{}, now: time.Now(), from: "192.0.2.1:1"}
	clock := func() time.Time { return w.now }
	w.id = identity.New(identity.Config{}, identity.Deps{Store: st, Sealer: sealer, Log: log, Now: clock})
	w.Server = New(Config{Admin: "boss@example.com", Base: "https://cloud.example:8773/"}, Deps{
		Store: st, Identity: w.id, IDs: ids.New(nil), Mail: w.box, Now: clock, Log: log,
	})
	return w
}

// mails sends what is due and gives it.
func (w *world) mails() []mail.Message {
	w.t.Helper()
	if err := w.Once(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	out := w.box.sent
	w.box.sent = nil
	return out
}

// do makes a request as a browser would.
func (w *world) do(method, target string, form url.Values) (int, string) {
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = w.from
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return rec.Code, rec.Body.String()
}

var linkPattern = regexp.MustCompile(`https://cloud\.example:8773(/_karri/signup/\w+)\?token=(\S+)`)

// links gives a mail's links: token by step.
func links(m mail.Message) map[string]string {
	out := map[string]string{}
	for _, l := range linkPattern.FindAllStringSubmatch(m.Text, -1) {
		out[strings.TrimPrefix(l[1], Path)] = l[2]
	}
	return out
}

func token(t string) url.Values { return url.Values{"token": {t}} }

func TestSignUp(t *testing.T) {
	w := newWorld(t)
	code, text := w.do("POST", Path, url.Values{"account": {"physics"}, "email": {"marie@example.com"}, "reason": {"radium\nAccept:\nhttps://evil"}})
	if code != http.StatusAccepted {
		t.Fatal(code, text)
	}
	// A mail that cannot be sent is sent later.
	w.box.fail = errors.New("no server")
	if err := w.Once(context.Background()); err == nil {
		t.Error("no error")
	}
	w.box.fail = nil
	mails := w.mails()
	if len(mails) != 1 || mails[0].To != "boss@example.com" || !strings.Contains(mails[0].Text, "> https://evil") {
		t.Fatalf("%+v", mails)
	}
	if more := w.mails(); len(more) != 0 {
		t.Errorf("sent twice: %+v", more)
	}
	l := links(mails[0])
	// Looking at a link does nothing; its button does, once.
	if code, page := w.do("GET", Path+"accept?token="+l["accept"], nil); code != 200 || !strings.Contains(page, l["accept"]) {
		t.Errorf("%d %s", code, page)
	}
	if s := w.List()[0]; s.State != resource.SignUpRequested || s.Token != "" {
		t.Errorf("%+v", s)
	}
	if code, text := w.do("POST", Path+"activate", token(l["accept"])); code != http.StatusForbidden {
		t.Errorf("the administrator's token activates: %d %s", code, text)
	}
	w.now = w.now.Add(10 * time.Minute)
	if code, text := w.do("POST", Path+"accept", token(l["accept"])); code != 200 {
		t.Fatal(code, text)
	}
	for _, step := range []string{"accept", "reject"} {
		if code, _ := w.do("POST", Path+step, token(l["reject"])); code != http.StatusForbidden {
			t.Errorf("%s after the decision: %d", step, code)
		}
	}
	mails = w.mails()
	if len(mails) != 1 || mails[0].To != "marie@example.com" {
		t.Fatalf("%+v", mails)
	}
	activate := links(mails[0])["activate"]
	w.now = w.now.Add(10 * time.Minute)
	code, text = w.do("POST", Path+"activate", token(activate))
	if code != 200 || !strings.Contains(text, `"UserName":"admin"`) {
		t.Fatal(code, text)
	}
	if code, _ := w.do("POST", Path+"activate", token(activate)); code != http.StatusForbidden {
		t.Errorf("activated twice: %d", code)
	}
	a, err := w.id.Account("physics")
	if err != nil || a.Email != "marie@example.com" {
		t.Fatal(a, err)
	}
	key := regexp.MustCompile(`AKIA\w+`).FindString(text)
	if p, err := w.id.Lookup(key, "", w.now); err != nil || p.Caller.UserName != "admin" || p.Caller.AccountID != a.ID {
		t.Errorf("%+v, %v", p, err)
	}
}

// Whoever asks learns nothing about who is there, and cannot make much noise.
func TestStrangers(t *testing.T) {
	w := newWorld(t)
	if _, _, err := w.id.CreateAccount(context.Background(), identity.NewAccount{Name: "taken", Email: "taken@example.com"}); err != nil {
		t.Fatal(err)
	}
	answers := map[string]bool{}
	for _, f := range []url.Values{
		{"account": {"taken"}, "email": {"x@example.com"}},
		{"account": {"free"}, "email": {"taken@example.com"}},
		{"account": {"free"}, "email": {"y@example.com"}},
		{"account": {"free"}, "email": {"y@example.com"}},
	} {
		code, text := w.do("POST", Path, f)
		answers[text+http.StatusText(code)] = true
	}
	if len(answers) != 1 {
		t.Errorf("answers differ: %v", answers)
	}
	mails := w.mails()
	if len(mails) != 3 {
		t.Errorf("%d mails", len(mails))
	}
	for _, m := range mails {
		if strings.Contains(m.Text, "exists already") == strings.Contains(m.Text, "y@example.com") {
			t.Errorf("%s", m.Text)
		}
	}
	w.do("POST", Path, url.Values{})
	if code, _ := w.do("POST", Path, url.Values{"account": {"free2"}, "email": {"z@example.com"}}); code != http.StatusTooManyRequests {
		t.Errorf("no limit: %d", code)
	}
	w.from = "192.0.2.2:1"
	for body, f := range map[string]url.Values{
		"bad mail": {"account": {"free3"}, "email": {"a@b\r\nBcc: c@d"}}, "bad name": {"account": {"A b"}, "email": {"a@example.com"}},
	} {
		if code, _ := w.do("POST", Path, f); code != http.StatusBadRequest {
			t.Errorf("%s: %d", body, code)
		}
	}
	for target, want := range map[string]int{"GET " + Path: 405, "PUT " + Path + "accept": 405, "GET " + Path + "nonsense": 404} {
		method, path, _ := strings.Cut(target, " ")
		if code, _ := w.do(method, path, nil); code != want {
			t.Errorf("%s: %d", target, code)
		}
	}
	for _, bad := range []string{"", "x", strings.Repeat("x", 10_000)} {
		if w.Decide(context.Background(), bad, true) == nil {
			t.Errorf("token %.10q works", bad)
		}
	}
}

func TestLapse(t *testing.T) {
	w := newWorld(t)
	if err := w.Request(context.Background(), "late", "late@example.com", ""); err != nil {
		t.Fatal(err)
	}
	l := links(w.mails()[0])
	w.now = w.now.Add(Life)
	if err := w.Decide(context.Background(), l["accept"], true); !errors.Is(err, ErrLink) {
		t.Error(err)
	}
	w.now = w.now.Add(5 * Life)
	if w.mails(); len(w.List()) != 0 {
		t.Error("never forgotten")
	}
}

func TestNobodyDecides(t *testing.T) {
	w := newWorld(t)
	w.cfg.Admin = ""
	if code, _ := w.do("POST", Path, url.Values{"account": {"free"}, "email": {"y@example.com"}}); code != http.StatusNotFound {
		t.Errorf("sign-up is open although nobody decides: %d", code)
	}
}
