package s3

import (
	"fmt"
	"net/url"
	"regexp"
	"time"

	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

var hookName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

// NewWebhook makes a webhook, which clients name like a topic of SNS. token, if not "", goes along as a bearer token.
func NewWebhook(sealer *seal.Sealer, region, account, name, to, token string, now time.Time) (*resource.Webhook, error) {
	if !hookName.MatchString(name) {
		return nil, fmt.Errorf("%q is no name of a topic: letters, digits, - and _", name)
	}
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%q is no URL to post events to", to)
	}
	w := &resource.Webhook{ARN: "arn:aws:sns:" + region + ":" + account + ":" + name, AccountID: account, URL: to, CreatedAt: now.UTC()}
	if token != "" {
		w.Sealed = sealer.Seal([]byte(token), w.ARN)
	}
	return w, nil
}

// DeleteAccount removes what the administrator has set for an account.
func DeleteAccount(tx *store.Tx, account string) {
	store.Settings.Delete(tx, DefaultsName(account))
	var hooks []string
	for w := range store.WebhooksByAccount.By(tx, account) {
		hooks = append(hooks, w.ARN)
	}
	for _, arn := range hooks {
		store.Webhooks.Delete(tx, arn)
	}
	var targets []string
	for t := range store.ReplicaTargetsByAccount.By(tx, account) {
		targets = append(targets, t.Key())
	}
	for _, key := range targets {
		store.ReplicaTargets.Delete(tx, key)
	}
}
