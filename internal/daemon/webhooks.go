package daemon

import (
	"context"
	"fmt"
	"time"

	"karri.dev/internal/service/s3"
	"karri.dev/internal/store"
)

// Webhook asks for a webhook of an account, or for its end: URL "".
type Webhook struct{ Account, Name, URL, Token string }

// Replica asks for a target of an account's replication, or for its end: Endpoint "".
type Replica struct{ Account, Name, Endpoint, Region, AccessKey, SecretKey, CA string }

func (p *cloudProcess) setReplica(ctx context.Context, in Replica) (struct{}, error) {
	a, err := p.role.Identity.Account(in.Account)
	if err != nil {
		return struct{}{}, err
	}
	if in.Endpoint == "" {
		return struct{}{}, p.store.Update(ctx, func(tx *store.Tx) error {
			key := a.ID + "/" + in.Name
			if store.ReplicaTargets.Get(tx, key) == nil {
				return fmt.Errorf("account %s has no target %q", in.Account, in.Name)
			}
			store.ReplicaTargets.Delete(tx, key)
			return nil
		})
	}
	t, err := s3.NewReplicaTarget(p.sealer, a.ID, in.Name, in.Endpoint, in.Region, in.AccessKey, in.SecretKey, in.CA, time.Now())
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, p.store.Update(ctx, func(tx *store.Tx) error { return store.ReplicaTargets.Put(tx, t) })
}

func (p *cloudProcess) objectQueues(ctx context.Context, _ struct{}) ([]s3.Queue, error) {
	return p.role.ObjectQueues(ctx)
}

// setWebhook answers the topic's ARN.
func (p *cloudProcess) setWebhook(ctx context.Context, in Webhook) (string, error) {
	a, err := p.role.Identity.Account(in.Account)
	if err != nil {
		return "", err
	}
	if in.URL == "" {
		arn := "arn:aws:sns:" + p.cfg.Region + ":" + a.ID + ":" + in.Name
		return arn, p.store.Update(ctx, func(tx *store.Tx) error {
			if store.Webhooks.Get(tx, arn) == nil {
				return fmt.Errorf("account %s has no topic %q", in.Account, in.Name)
			}
			store.Webhooks.Delete(tx, arn)
			return nil
		})
	}
	w, err := s3.NewWebhook(p.sealer, p.cfg.Region, a.ID, in.Name, in.URL, in.Token, time.Now())
	if err != nil {
		return "", err
	}
	return w.ARN, p.store.Update(ctx, func(tx *store.Tx) error { return store.Webhooks.Put(tx, w) })
}
