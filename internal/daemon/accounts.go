package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"karri.dev/internal/admin"
	"karri.dev/internal/audit"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/identity"
	"karri.dev/internal/pki"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// What the karri command asks of a cloud process about accounts.
type (
	// AccountDetail is what the administrator sees of an account.
	AccountDetail struct {
		AccountInfo
		Email     string            `json:"Email,omitempty"`
		Status    string            `json:"Status"` // ACTIVE, SUSPENDED, PENDING_CLOSURE
		CreatedAt time.Time         `json:"CreatedAt"`
		Tags      map[string]string `json:"Tags,omitempty"`
		Users     int               `json:"Users"`
		Instances int               `json:"Instances"`
		Buckets   int               `json:"Buckets"`
	}
	// Impersonate asks for credentials to act as somebody.
	Impersonate struct {
		Account, User string
		Life          time.Duration
		Reason        string // for the audit record
	}
	// Session are temporary credentials.
	Session struct {
		AccountID       string    `json:"AccountId"`
		ARN             string    `json:"Arn"`
		AccessKeyID     string    `json:"AccessKeyId"`
		SecretAccessKey string    `json:"SecretAccessKey"`
		SessionToken    string    `json:"SessionToken"`
		Expiration      time.Time `json:"Expiration"`
		Endpoint        string    `json:"Endpoint"`
		Region          string    `json:"Region"`
	}
	// RootLogin changes how an account's root logs in.
	RootLogin struct {
		Account, Password string
		Remove            bool // the password
		RemoveMFA         bool // its devices
	}
	// Bundle asks for a user's credentials as a zip.
	Bundle struct{ Account, User string }
)

// allMethods are those of methods and those about accounts.
func (p *cloudProcess) allMethods() map[string]admin.Method {
	all := p.methods()
	maps.Copy(all, p.signUpMethods())
	maps.Copy(all, p.quotaMethods())
	maps.Copy(all, p.zoneMethods())
	maps.Copy(all, p.imageMethods())
	maps.Copy(all, map[string]admin.Method{
		"account-describe": admin.Handle(p.describeAccount),
		"account-suspend": admin.Handle(func(ctx context.Context, name string) (struct{}, error) {
			return struct{}{}, p.role.Identity.SuspendAccount(ctx, name, true)
		}),
		"account-resume": admin.Handle(func(ctx context.Context, name string) (struct{}, error) {
			return struct{}{}, p.role.Identity.SuspendAccount(ctx, name, false)
		}),
		"impersonate":      admin.Handle(p.impersonate),
		"root-login":       admin.Handle(p.rootLogin),
		"user-credentials": admin.Handle(p.userBundle),
	})
	return all
}

func (p *cloudProcess) describeAccount(_ context.Context, name string) (AccountDetail, error) {
	a, err := p.role.Identity.Account(name)
	if err != nil {
		return AccountDetail{}, err
	}
	out := AccountDetail{AccountInfo: AccountInfo{a.ID, a.Name, a.CanonicalID}, Email: a.Email, Status: "ACTIVE", CreatedAt: a.CreatedAt, Tags: a.Tags}
	switch {
	case a.Closing:
		out.Status = "PENDING_CLOSURE"
	case a.Suspended:
		out.Status = "SUSPENDED"
	}
	r := p.store.Snapshot()
	for range identity.UsersOf(r, a.ID) {
		out.Users++
	}
	for inst := range store.InstancesByOwner.By(r, a.ID+"/"+p.cfg.Region) {
		if inst.State.Alive() {
			out.Instances++
		}
	}
	for range store.BucketsByOwner.By(r, a.ID) {
		out.Buckets++
	}
	return out, nil
}

// impersonate gives credentials to act as somebody. The audit log says so before they exist.
func (p *cloudProcess) impersonate(_ context.Context, in Impersonate) (Session, error) {
	manager, err := p.role.Identity.Account(identity.AdminAccount)
	if err != nil {
		return Session{}, err
	}
	by := identity.RootARN(manager.ID)
	c, who, err := p.role.Identity.Impersonate(in.Account, in.User, by, in.Life)
	code, message := "", ""
	if err != nil {
		code, message = "OperationNotPermitted", err.Error()
	}
	p.record("Impersonate", manager, who, code, message, map[string]string{
		"account": in.Account, "user": in.User, "life": in.Life.String(), "reason": in.Reason, "accessKeyId": c.AccessKeyID,
	})
	if err != nil {
		return Session{}, err
	}
	if err := p.audit.Flush(); err != nil {
		return Session{}, fmt.Errorf("the audit log cannot be written, so nobody is impersonated: %w", err)
	}
	return Session{
		AccountID: who.AccountID, ARN: who.ARN, AccessKeyID: c.AccessKeyID, SecretAccessKey: c.Secret, SessionToken: c.Token,
		Expiration: c.ExpiresAt, Endpoint: p.api.url(p.cfg), Region: p.cfg.Region,
	}, nil
}

// rootLogin gives an account's root a password, or takes what it logs in with away.
func (p *cloudProcess) rootLogin(ctx context.Context, in RootLogin) (struct{}, error) {
	manager, err := p.role.Identity.Account(identity.AdminAccount)
	if err != nil {
		return struct{}{}, err
	}
	a, err := p.role.Identity.Account(in.Account)
	if err != nil {
		return struct{}{}, err
	}
	switch {
	case in.Password == "" && !in.Remove && !in.RemoveMFA:
		return struct{}{}, errors.New("the password is empty")
	case in.Remove || in.Password != "":
		err = p.role.Identity.SetRootPassword(ctx, a.ID, in.Password)
	}
	if err == nil && in.RemoveMFA {
		err = p.role.Identity.RemoveRootDevices(ctx, a.ID)
	}
	code, message := "", ""
	if err != nil {
		code, message = "OperationNotPermitted", err.Error()
	}
	p.record("ChangeRootLogin", manager, call.Caller{AccountID: a.ID, ARN: identity.RootARN(a.ID)}, code, message, map[string]string{
		"account": in.Account, "password": strconv.FormatBool(in.Password != ""), "remove": strconv.FormatBool(in.Remove), "removeMFA": strconv.FormatBool(in.RemoveMFA),
	})
	return struct{}{}, err
}

// record puts what the administrator did on this machine into the audit log, for both accounts to see.
func (p *cloudProcess) record(name string, manager resource.Account, about call.Caller, code, message string, parameters map[string]string) {
	now := time.Now()
	for _, recipient := range []string{manager.ID, about.AccountID} {
		if recipient == "" {
			continue
		}
		info := &call.Info{
			Caller:    call.Caller{AccountID: manager.ID, UserID: manager.ID, ARN: identity.RootARN(manager.ID), CloudAdmin: true},
			RequestID: p.role.NewRequestID(), Service: "karri", Operation: name, Region: p.cfg.Region, Time: now, UserAgent: "karri",
		}
		e := audit.New(info, nil, "", code, message)
		e.Parameters, e.Recipient, e.ReadOnly = parameters, recipient, false
		if about.ARN != "" {
			e.Resources = []audit.Resource{{AccountID: about.AccountID, ARN: about.ARN, Name: about.ARN}}
		}
		audit.Both(p.audit, p.role.Events).Record(e)
		if about.AccountID == manager.ID {
			return
		}
	}
}

// userBundle makes a user a new access key and packs it with all that its clients need.
func (p *cloudProcess) userBundle(ctx context.Context, in Bundle) ([]byte, error) {
	if in.Account == "" {
		in.Account = identity.AdminAccount
	}
	a, err := p.role.Identity.Account(in.Account)
	if err != nil {
		return nil, err
	}
	key := p.role.Identity.RandomKey()
	var user *resource.User
	err = p.store.Update(ctx, func(tx *store.Tx) (err error) {
		if user, err = identity.FindUser(tx, a.ID, in.User); err == nil {
			_, err = p.role.Identity.AddKey(tx, a.ID, user.Name, key)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	e := endpoint{url: p.api.url(p.cfg), region: p.cfg.Region, ca: pki.EncodePEM(p.root.Certificate())}
	return bundle(e, a, user, key, time.Now())
}
