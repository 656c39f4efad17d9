package frontdoor_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"karri.dev/internal/audit"
	"karri.dev/internal/authz"
	"karri.dev/internal/denial"
	"karri.dev/internal/frontdoor"
	"karri.dev/internal/identity"
	"karri.dev/internal/oidc"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/service/ebs"
	"karri.dev/internal/service/ec2"
	"karri.dev/internal/service/iam"
	"karri.dev/internal/service/organizations"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/service/servicequotas"
	"karri.dev/internal/service/sts"
	"karri.dev/internal/store"

	cloudtrailshape "karri.dev/internal/aws/shape/cloudtrail"
	ebsshape "karri.dev/internal/aws/shape/ebs"
	ec2shape "karri.dev/internal/aws/shape/ec2"
	iamshape "karri.dev/internal/aws/shape/iam"
	organizationsshape "karri.dev/internal/aws/shape/organizations"
	s3shape "karri.dev/internal/aws/shape/s3"
	quotasshape "karri.dev/internal/aws/shape/servicequotas"
	stsshape "karri.dev/internal/aws/shape/sts"
)

// events is a Sink that keeps what it gets.
type events struct {
	mu   sync.Mutex
	list []audit.Event
}

func (e *events) Record(ev *audit.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, *ev)
}

func (e *events) last() audit.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.list[len(e.list)-1]
}

// cloud is a front door with iam and sts behind it.
type cloud struct {
	*frontdoor.Door
	id      *identity.Identity
	store   *store.Store
	url     string
	account resource.Account
	key     identity.Key
	audit   *events
	log     *bytes.Buffer
	now     func() time.Time
	issuers *oidc.Verifier
}

const (
	adminKey    = "AKIAADMINADMINADMIN1"
	adminSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

func newCloud(t testing.TB, change ...func(*frontdoor.Config, *frontdoor.Deps)) *cloud {
	t.Helper()
	c := &cloud{audit: &events{}, log: &bytes.Buffer{}, now: time.Now}
	log := slog.New(slog.NewTextHandler(&locked{w: c.log}, nil))
	c.store = store.OpenMemory(log)
	t.Cleanup(func() { c.store.Close() })
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	c.id = identity.New(identity.Config{}, identity.Deps{Store: c.store, Sealer: sealer, Log: log})
	c.account, c.key, err = c.id.Bootstrap(context.Background(), identity.Key{ID: adminKey, Secret: adminSecret})
	if err != nil {
		t.Fatal(err)
	}
	cfg := frontdoor.Config{Domain: "cloud.test", Regions: []string{"us-east-1", "eu-west-1"}}
	deps := frontdoor.Deps{Authenticator: c.id, Audit: c.audit, Log: log, Now: func() time.Time { return c.now() }}
	deps.Authorizer = newAuthority(t, c.store, sealer)
	for _, f := range change {
		f(&cfg, &deps)
	}
	c.Door = frontdoor.New(cfg, deps)
	c.issuers = oidc.New(oidc.Config{Guard: oidc.Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}}, func() time.Time { return c.now() })
	c.Register(stsshape.Service(), sts.New(sts.Deps{Store: c.store, Sessions: c.id, Denials: denial.New(sealer), Roles: authz.New(authz.Deps{Store: c.store, Log: log}), Tokens: c.issuers, Now: func() time.Time { return c.now() }}))
	c.Register(iamshape.Service(), iam.New(c.store, c.id, c.issuers, nil))
	return c
}

// authority decides by policies, as a cloud does. The tests' S3 has no handlers that ask: nobody unsigned gets to it.
type authority struct{ *authz.Engine }

func (a authority) Authorize(ctx context.Context, c authz.Call) error {
	if c.Info.Anonymous() && c.Info.Service != "sts" { // there the front door lets in only what needs no signature
		return authz.Unsigned(c.Service.Protocol)
	}
	return a.Engine.Authorize(ctx, c)
}

func newAuthority(t testing.TB, s *store.Store, sealer *seal.Sealer) authority {
	t.Helper()
	e := authz.New(authz.Deps{Store: s, Denials: denial.New(sealer)})
	if err := errors.Join(
		authz.Register[stsshape.API](e, stsshape.Service(), sts.Permissions()),
		authz.Register[cloudtrailshape.API](e, cloudtrailshape.Service(), authz.Service{Table: authz.Table{"LookupEvents": {}}}),
		authz.Register[organizationsshape.API](e, organizationsshape.Service(), organizations.Permissions()),
		authz.Register[quotasshape.API](e, quotasshape.Service(), servicequotas.Permissions()),
		authz.Register[iamshape.API](e, iamshape.Service(), iam.Permissions()),
		authz.Register[ec2shape.API](e, ec2shape.Service(), ec2.Permissions()),
		authz.Register[ebsshape.API](e, ebsshape.Service(), ebs.Permissions()),
		authz.Register[s3shape.API](e, s3shape.Service(), s3.Permissions()),
	); err != nil {
		t.Fatal(err)
	}
	return authority{e}
}

// serve starts an HTTP server and gives its URL.
func (c *cloud) serve(t testing.TB) string {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.Config = frontdoor.NewServer(c, slog.New(slog.DiscardHandler))
	s.Start()
	t.Cleanup(s.Close)
	c.url = s.URL
	return s.URL
}

// locked makes a writer safe for concurrent use.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// do sends a request straight to the handler.
func (c *cloud) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// allow gives a user of the administrator's account one of the cloud's policies.
func (c *cloud) allow(t testing.TB, user, name string) {
	t.Helper()
	err := c.store.Update(context.Background(), func(tx *store.Tx) error {
		u, err := identity.FindUser(tx, c.account.ID, user)
		if err != nil {
			return err
		}
		next := *u
		next.Attached = []string{policy.ManagedPrefix + name}
		return store.Users.Put(tx, &next)
	})
	if err != nil {
		t.Fatal(err)
	}
}
