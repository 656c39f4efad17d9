package signup

import (
	"encoding/json"
	"errors"
	"html/template"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"karri.dev/internal/aws/awserr"
)

// Path is where people reach the server, below the API's address.
const Path = "/_karri/signup/"

// Limits of requests and tries of links: for one address and for all.
const (
	perAddress  = 5 // a minute
	perMinute   = 60
	maxAdresses = 4096
	maxBody     = 16 << 10
)

type limits struct {
	mu   sync.Mutex
	all  *rate.Limiter
	from map[string]*rate.Limiter
}

func newLimits() *limits {
	return &limits{all: rate.NewLimiter(perMinute/60.0, perMinute), from: map[string]*rate.Limiter{}}
}

func (l *limits) allow(from string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.from[from]
	if one == nil {
		if len(l.from) >= maxAdresses {
			clear(l.from)
		}
		one = rate.NewLimiter(perAddress/60.0, perAddress)
		l.from[from] = one
	}
	return one.AllowN(now, 1) && l.all.AllowN(now, 1)
}

// confirm is the page of a link: mail programs fetch links by themselves, so that only its button does something.
var confirm = template.Must(template.New("confirm").Parse(`<!doctype html><meta charset="utf-8"><title>Karri</title>
<form method="post"><input type="hidden" name="token" value="{{.Token}}"><p>{{.Text}}</p><button>{{.Button}}</button></form>
`))

// ServeHTTP takes requests (POST Path) and serves the links of mails: GET shows a button, POST does it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	step := strings.TrimPrefix(r.URL.Path, Path)
	pages := map[string][2]string{
		"accept": {"Let this person have an account?", "Accept"}, "reject": {"Refuse this person an account?", "Reject"}, "activate": {"Make your account now?", "Make it"},
	}
	page, known := pages[step]
	switch {
	case s.cfg.Admin == "", step != "" && !known:
		answer(w, http.StatusNotFound, map[string]string{"message": "not found"})
		return
	case r.Method == http.MethodGet && known:
		h.Set("Content-Type", "text/html; charset=utf-8")
		_ = confirm.Execute(w, struct{ Token, Text, Button string }{r.URL.Query().Get("token"), page[0], page[1]})
		return
	case r.Method != http.MethodPost:
		h.Set("Allow", "POST")
		answer(w, http.StatusMethodNotAllowed, map[string]string{"message": "method not allowed"})
		return
	}
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	if !s.limit.allow(from, s.deps.Now()) {
		answer(w, http.StatusTooManyRequests, map[string]string{"message": "too many requests: try again in some minutes"})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"message": "the form cannot be read"})
		return
	}
	s.post(w, r, step)
}

func (s *Server) post(w http.ResponseWriter, r *http.Request, step string) {
	token := r.PostForm.Get("token")
	var err error
	done := any(map[string]string{"message": "done"})
	status := http.StatusOK
	switch step {
	case "":
		err = s.Request(r.Context(), r.PostForm.Get("account"), r.PostForm.Get("email"), r.PostForm.Get("reason"))
		status, done = http.StatusAccepted, map[string]string{"message": "thank you: you will get a mail when your request has been decided"}
	case "accept", "reject":
		err = s.Decide(r.Context(), token, step == "accept")
	case "activate":
		var a Activation
		if a, err = s.Activate(r.Context(), token); err == nil {
			done = map[string]string{"AccountId": a.Account.ID, "AccountName": a.Account.Name, "UserName": a.User, "AccessKeyId": a.Key.ID, "SecretAccessKey": a.Key.Secret}
		}
	}
	switch {
	case err == nil:
		answer(w, status, done)
	case errors.Is(err, ErrLink):
		answer(w, http.StatusForbidden, map[string]string{"message": ErrLink.Error()})
	case awserr.Code(err) != "":
		answer(w, http.StatusBadRequest, map[string]string{"message": awserr.From(err).Message})
	default:
		s.deps.Log.Error("sign-up failed", "step", step, "error", err)
		answer(w, http.StatusInternalServerError, map[string]string{"message": "an internal error has occurred"})
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
