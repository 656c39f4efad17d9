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
