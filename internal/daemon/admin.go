package daemon

import (
	"context"
	"fmt"
	"time"

	"karri.dev/internal/admin"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/store"
	"karri.dev/internal/version"
)

// What the karri command asks of a cloud process.
type (
	// CreateAccount names an account and, if given, its root's access key.
	CreateAccount struct{ Name, AccessKey, SecretKey string }
	// CreateUser names a user of an account (name or id).
	CreateUser struct {
		Account, Name, AccessKey, SecretKey string
		Policies                            []string // names or ARNs
	}
	// Credentials are shown once.
	Credentials struct {
		AccountID       string `json:"AccountId"`
		UserName        string `json:"UserName,omitempty"`
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string `json:"SecretAccessKey"`
		CanonicalID     string `json:"CanonicalId"`
	}
	// S3Defaults says how an account's S3 differs from AWS's: "acls,public,names,sigv2,recreate".
	S3Defaults struct{ Account, Differs string }
	// AccountInfo is one account in a list.
	AccountInfo struct {
		AccountID   string `json:"AccountId"`
		Name        string `json:"Name"`
		CanonicalID string `json:"CanonicalId"`
	}
	// CreateToken asks for a join token.
	CreateToken struct {
		Role, Zone string
		Life       time.Duration
	}
	// NodeInfo is one node in a list.
	NodeInfo struct {
		ID, Name, Zone, State, Accel, Reason, Version string
		Instances                                     int
	}
)

func (p *cloudProcess) methods() map[string]admin.Method {
	return map[string]admin.Method{
		"status":          admin.Handle(p.cloudStatus),
		"account-create":  admin.Handle(p.createAccount),
		"account-list":    admin.Handle(p.listAccounts),
		"account-s3":      admin.Handle(p.setS3Defaults),
		"account-webhook": admin.Handle(p.setWebhook),
		"account-replica": admin.Handle(p.setReplica),
		"objects-queues":  admin.Handle(p.objectQueues),
		"account-delete": admin.Handle(func(ctx context.Context, in CreateAccount) (struct{}, error) {
			return struct{}{}, p.role.Identity.DeleteAccount(ctx, in.Name)
		}),
		"user-create": admin.Handle(p.createUser),
		"token-create": admin.Handle(func(ctx context.Context, in CreateToken) (string, error) {
			return p.role.Membership.CreateToken(ctx, resource.Role(in.Role), in.Zone, in.Life)
		}),
		"objects-status": admin.Handle(p.objectsInfo),
		"objects-scrub":  admin.Handle(p.scrubObjects),
		"node-list":      admin.Handle(p.listNodes),
		"node-revoke": admin.Handle(func(ctx context.Context, id string) (struct{}, error) {
			return struct{}{}, p.role.Membership.RevokeNode(ctx, id)
		}),
	}
}

func (p *cloudProcess) createAccount(ctx context.Context, in CreateAccount) (Credentials, error) {
	a, key, err := p.role.Identity.CreateAccount(ctx, identity.NewAccount{Name: in.Name, Key: identity.Key{ID: in.AccessKey, Secret: in.SecretKey}})
	return Credentials{AccountID: a.ID, AccessKeyID: key.ID, SecretAccessKey: key.Secret, CanonicalID: a.CanonicalID}, err
}

func (p *cloudProcess) createUser(ctx context.Context, in CreateUser) (Credentials, error) {
	if in.Account == "" {
		in.Account = identity.AdminAccount
	}
	a, err := p.role.Identity.Account(in.Account)
	if err != nil {
		return Credentials{}, err
	}
	u, key, err := p.role.Identity.CreateUser(ctx, identity.NewUser{Account: a.ID, Name: in.Name, Policies: in.Policies, Key: &identity.Key{ID: in.AccessKey, Secret: in.SecretKey}})
	return Credentials{AccountID: a.ID, UserName: u.Name, AccessKeyID: key.ID, SecretAccessKey: key.Secret, CanonicalID: a.CanonicalID}, err
}

func (p *cloudProcess) listAccounts(context.Context, struct{}) ([]AccountInfo, error) {
	out := []AccountInfo{}
	for a := range store.Accounts.All(p.store.Snapshot()) {
		out = append(out, AccountInfo{a.ID, a.Name, a.CanonicalID})
	}
	return out, nil
}

func (p *cloudProcess) listNodes(context.Context, struct{}) ([]NodeInfo, error) {
	snap := p.store.Snapshot()
	out := []NodeInfo{}
	for n := range store.Nodes.All(snap) {
		i := NodeInfo{ID: n.ID, Name: n.Name, Zone: n.Zone, State: nodeState(n), Accel: n.Accel, Reason: n.AccelWhy, Version: n.Version}
		for range store.InstancesByNode.By(snap, n.ID) {
			i.Instances++
		}
		out = append(out, i)
	}
	return out, nil
}

func nodeState(n *resource.Node) string {
	switch {
	case n.Revoked:
		return "revoked"
	case n.Up:
		return "up"
	}
	return "down"
}

// cloudStatus says how the cloud's parts are, as far as this process knows.
func (p *cloudProcess) cloudStatus(ctx context.Context, _ struct{}) (admin.Status, error) {
	snap := p.store.Snapshot()
	parts := []admin.Component{
		health("store", "etcd", p.store.Healthy()),
		{Role: "api", Name: p.cfg.Region, Healthy: true, Facts: map[string]string{"url": p.api.url(p.cfg)}},
	}
	parts = append(parts, p.objectStatus(ctx)...)
	if p.status != nil {
		return status(append(parts, p.status()...)...), nil
	}
	for z := range store.Zones.All(snap) {
		parts = append(parts, admin.Component{Role: "zone", Name: z.Name, Healthy: z.Endpoint != "", Facts: map[string]string{"endpoint": z.Endpoint}})
	}
	for n := range store.Nodes.All(snap) {
		if !n.Revoked {
			parts = append(parts, admin.Component{
				Role: "node", Name: n.ID, Healthy: n.Up, Detail: nodeState(n),
				Facts: map[string]string{"zone": n.Zone, "name": n.Name, "accel": n.Accel, "because": n.AccelWhy},
			})
		}
	}
	return status(parts...), nil
}

func health(role, name string, err error) admin.Component {
	c := admin.Component{Role: role, Name: name, Healthy: err == nil}
	if err != nil {
		c.Detail = err.Error()
	}
	return c
}

func zoneComponent(name string, err error) admin.Component { return health("zone", name, err) }

func status(parts ...admin.Component) admin.Status {
	s := admin.Status{Version: version.Version, Healthy: true, Components: parts}
	for _, c := range parts {
		s.Healthy = s.Healthy && c.Healthy
	}
	return s
}

// setS3Defaults sets how an account's S3 differs from AWS's of today.
func (p *cloudProcess) setS3Defaults(ctx context.Context, in S3Defaults) (struct{}, error) {
	d, err := s3.ParseDefaults(in.Differs)
	if err != nil {
		return struct{}{}, err
	}
	if d.Store != "" && p.stores[d.Store] == nil {
		return struct{}{}, fmt.Errorf("there is no --object-store %s", d.Store)
	}
	a, err := p.role.Identity.Account(in.Account)
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, p.store.Update(ctx, func(tx *store.Tx) error { return d.Put(tx, a.ID) })
}
