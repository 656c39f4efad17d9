// Package authz decides who may do what: it brings the tables of permissions of the services, the policies of the
// caller from the store, and the policy language together.
//
// A service says for each of its operations which action it needs on which resources (Entry); the front door has
// every call decided before the handler sees it (Engine.Authorize). Where what is needed depends on what
// the handler finds, the handler asks itself (Engine.Decide).
//
// An account's own policies never reach into another account: that calls find what is their account's only is the
// handlers' duty, but where a resource's own policy lets others in.
package authz

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/aws/wire"
	"karri.dev/internal/denial"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Deps are what an Engine works with.
type Deps struct {
	Store   *store.Store
	Denials *denial.Codec
	Log     *slog.Logger
}

// Engine decides calls.
type Engine struct {
	deps     Deps
	services map[string]compiled
	kinds    map[string]*Kind // by SERVICE:KIND
	managed  map[string]*policy.Policy
	nothing  *policy.Policy // denies all

	users    cache[*resource.User, inline]
	groups   cache[*resource.Group, inline]
	roles    cache[*resource.IAMRole, inline]
	texts    cache[*resource.Policy, parsed]
	trusts   cache[*resource.IAMRole, parsed]
	ways     cache[*resource.VPCEndpoint, parsed]
	sessions cache[*call.Session, limits]
	quotas   cache[*resource.Setting, parsed]
	pool     sync.Pool
}

// nothingText bounds who has a boundary or session policy that is gone.
const nothingText = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`

// New makes an Engine without services.
func New(deps Deps) *Engine {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{deps: deps, services: map[string]compiled{}, kinds: map[string]*Kind{}, managed: map[string]*policy.Policy{}}
	managed, err := policy.Managed()
	if err == nil {
		e.nothing, err = policy.Parse(nothingText, policy.Identity)
	}
	if err != nil {
		panic(err) // they are part of the program
	}
	for _, m := range managed {
		e.managed[m.ARN()] = m.Policy
	}
	e.pool.New = func() any { return &Asking{engine: e, who: &who{}} }
	return e
}

// Register adds a service. API is its generated interface. The error says which operation has no entry, or which
// entry is not about the operation's request.
func Register[API any](e *Engine, s *wire.Service, of Service) error {
	c, err := compile(s, reflect.TypeFor[API](), of)
	if err != nil {
		return err
	}
	e.services[s.Name] = c
	for name, k := range of.Kinds {
		e.kinds[s.Name+":"+name] = &k
	}
	return nil
}

// Call is a decoded call that asks for leave.
type Call struct {
	Info      *call.Info
	Service   *wire.Service
	Operation string
	Input     any // pointer to the operation's request struct
}

// Authorize decides a call: nil, or the AWS error that refuses it.
func (e *Engine) Authorize(_ context.Context, c Call) error {
	c.Info.Input = c.Input
	op := e.services[c.Info.Service][c.Operation]
	switch {
	case op == nil:
		return fmt.Errorf("%s:%s has no entry in the table of permissions", c.Info.Service, c.Operation)
	case op.Handler != "":
		return nil
	case c.Info.Anonymous():
		return Unsigned(c.Service.Protocol)
	case op.Free != "":
		if c.Info.SourceEndpoint != "" && e.endpointPolicy(e.deps.Store.Snapshot(), c.Info) == e.nothing {
			return awserr.New("AccessDenied", "The VPC endpoint %s is not for the service %s", c.Info.SourceEndpoint, c.Info.Service).WithStatus(403)
		}
		return nil
	}
	a := e.asking(c.Info)
	defer e.done(a)
	whole := c.Input
	if op.Whole != nil {
		whole = op.Whole(a.Reader, c.Info, whole)
	}
	return e.ask(a, op, whole)
}

// Again asks once more for the call in ctx, whose handler has made the request whole: what r has counts.
func (e *Engine) Again(ctx context.Context, r store.Reader, whole any) error {
	info := call.From(ctx)
	op := e.services[info.Service][info.Operation]
	if op == nil {
		return fmt.Errorf("%s:%s has no entry in the table of permissions", info.Service, info.Operation)
	}
	a := e.asking(info)
	defer e.done(a)
	a.Reader = r
	return e.ask(a, op, whole)
}

// ask asks for everything that an operation's entry says.
func (e *Engine) ask(a *Asking, op *operation, whole any) error {
	if err := e.know(a.Reader, &a.Info.Caller, a.who); err != nil {
		return e.unknown(a.Info, err)
	}
	if a.who.all && a.passes == nil {
		return nil
	}
	a.op, a.Given, a.Input = op, a.Info.Input, whole
	if whole != nil {
		a.in = reflect.ValueOf(whole).Elem()
	}
	return a.run()
}

func (e *Engine) asking(info *call.Info) *Asking {
	a := e.pool.Get().(*Asking)
	a.Info, a.Reader = info, e.deps.Store.Snapshot()
	a.request.Context = a
	a.passes = e.endpointPolicy(a.Reader, info)
	return a
}

// done gives the asking back without what it holds.
func (e *Engine) done(a *Asking) {
	w := a.who
	clear(w.policies.Identity)
	clear(w.policies.Session)
	*w = who{policies: policy.Policies{Identity: w.policies.Identity[:0], Session: w.policies.Session[:0]}}
	*a = Asking{engine: e, who: w, arn: a.arn[:0]}
	e.pool.Put(a)
}

// unknown refuses a caller whose policies cannot be told.
func (e *Engine) unknown(info *call.Info, err error) error {
	e.deps.Log.Error("a caller's policies cannot be told: refused", "caller", info.ARN, "err", err)
	return awserr.New("AccessDenied", "User: %s is not authorized to perform: %s:%s", info.ARN, info.Service, info.Operation).WithStatus(403).Because(err)
}
