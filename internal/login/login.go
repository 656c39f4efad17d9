// Package login is the door of people: an account, a name, a password and, where the user has a device, its code
// become temporary credentials of that user. The console and `karri login` come in here.
package login

import (
	"cmp"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"karri.dev/internal/audit"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/identity"
	"karri.dev/internal/ids"
)

// Path is where people reach the handler, below the API's address.
const Path = "/_karri/login"

const maxBody = 8 << 10

// Deps are what a Handler works with.
type Deps struct {
	Identity *identity.Identity
	Audit    audit.Sink // nil: none
	Region   string
	IDs      *ids.Source
	Now      func() time.Time
	Log      *slog.Logger
}

// Handler takes logins: POST of a form with account, user (or root=true), password and perhaps code, new_password and
// seconds.
type Handler struct{ deps Deps }

// New makes a Handler.
func New(deps Deps) *Handler { return &Handler{deps} }

// Answer is what a login gives, or what it lacks.
type Answer struct {
	AccountID       string     `json:"AccountId,omitempty"`
	ARN             string     `json:"Arn,omitempty"`
	AccessKeyID     string     `json:"AccessKeyId,omitempty"`
	SecretAccessKey string     `json:"SecretAccessKey,omitempty"`
	SessionToken    string     `json:"SessionToken,omitempty"`
	Expiration      *time.Time `json:"Expiration,omitempty"`
	// Code is one of the words below, and Message the same for people.
	Code    string `json:"Code,omitempty"`
	Message string `json:"Message,omitempty"`
}

// What a login can lack.
const (
	Denied    = "Denied"
	TooOften  = "TooManyAttempts"
	NeedsCode = "CodeRequired"
	WrongCode = "CodeInvalid"
	NeedsNew  = "NewPasswordRequired"
	Expired   = "PasswordExpired"
)

var lacks = []struct {
	err    error
	status int
	code   string
}{
	{identity.ErrLogin, http.StatusUnauthorized, Denied},
	{identity.ErrTooOften, http.StatusTooManyRequests, TooOften},
	{identity.ErrNoCode, http.StatusUnauthorized, NeedsCode},
	{identity.ErrCode, http.StatusUnauthorized, WrongCode},
	{identity.ErrNoDevice, http.StatusUnauthorized, WrongCode},
	{identity.ErrOldNow, http.StatusForbidden, NeedsNew},
	{identity.ErrHardEnd, http.StatusForbidden, Expired},
}

// ServeHTTP serves one login.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		write(w, http.StatusMethodNotAllowed, Answer{Code: "MethodNotAllowed", Message: "method not allowed"})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		write(w, http.StatusBadRequest, Answer{Code: "ValidationError", Message: "the form cannot be read"})
		return
	}
	// Names and secrets count in the body only: what is in a URL ends up in logs.
	f := r.PostForm
	l := identity.Login{
		Account: f.Get("account"), User: f.Get("user"), Root: f.Get("root") == "true", Password: f.Get("password"), Code: f.Get("code"), New: f.Get("new_password"), From: source(r),
	}
	if text := f.Get("seconds"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			write(w, http.StatusBadRequest, Answer{Code: "ValidationError", Message: "seconds is a number"})
			return
		}
		l.Life = time.Duration(min(n, 1_000_000)) * time.Second
	}
	info := &call.Info{
		RequestID: h.deps.IDs.UUID(), Service: "signin", Operation: "ConsoleLogin", Region: h.deps.Region, SourceIP: l.From,
		Secure: r.TLS != nil, UserAgent: r.UserAgent(), Time: h.deps.Now(),
	}
	l.Info = info
	c, who, mfa, err := h.deps.Identity.CheckLogin(r.Context(), l)
	info.Caller = who
	status, answer := http.StatusOK, Answer{
		AccountID: who.AccountID, ARN: who.ARN, AccessKeyID: c.AccessKeyID, SecretAccessKey: c.Secret, SessionToken: c.Token, Expiration: &c.ExpiresAt,
	}
	if err != nil {
		status, answer = h.refuse(err)
	}
	h.record(info, mfa, answer)
	write(w, status, answer)
}

func (h *Handler) refuse(err error) (int, Answer) {
	for _, l := range lacks {
		if errors.Is(err, l.err) {
			return l.status, Answer{Code: l.code, Message: l.err.Error()}
		}
	}
	if awserr.Code(err) != "" {
		e := awserr.From(err)
		return e.Status, Answer{Code: e.Code, Message: e.Message}
	}
	h.deps.Log.Error("login failed", "error", err)
	return http.StatusInternalServerError, Answer{Code: "InternalError", Message: "an internal error has occurred"}
}

// record notes a login as CloudTrail does. A name that is not there is not written: people type passwords into the
// wrong field.
func (h *Handler) record(info *call.Info, mfa bool, a Answer) {
	if h.deps.Audit == nil {
		return
	}
	e := audit.New(info, nil, "", "", "")
	e.Type, e.ReadOnly, e.Additional = "AwsConsoleSignIn", false, map[string]string{"MFAUsed": "No", "ConsoleLogin": "Success"}
	if mfa {
		e.Additional["MFAUsed"] = "Yes"
	}
	if a.Code != "" {
		e.Additional["ConsoleLogin"], e.ErrorMessage = "Failure", a.Code
		if !info.Root() {
			e.UserIdentity = audit.UserIdentity{Type: "IAMUser", AccountID: info.AccountID, UserName: cmp.Or(info.UserName, "HIDDEN_DUE_TO_SECURITY_REASONS")}
		}
	}
	h.deps.Audit.Record(e)
}

func source(r *http.Request) netip.Addr {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	return from.Addr().Unmap()
}

func write(w http.ResponseWriter, status int, a Answer) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a)
}
