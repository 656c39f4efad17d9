package quota

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/authz"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Policy gives the policy of Limit statements that the administrator gave an account, or, for "", all accounts that
// have none of their own for a key; "" if there is none.
func Policy(r store.Reader, account string) string {
	if set := store.Settings.Get(r, authz.LimitsName(account)); set != nil {
		return set.Value
	}
	return ""
}

// PutPolicy gives an account its policy anew; "" takes it away. It may have nothing but Limit statements, about quotas
// that there are.
func PutPolicy(tx *store.Tx, account, text string) error {
	if text == "" {
		store.Settings.Delete(tx, authz.LimitsName(account))
		return nil
	}
	p, err := policy.Parse(text, policy.Identity)
	if err != nil {
		return fmt.Errorf("policy of quotas: %w", err)
	}
	for _, s := range p.Document().Statements {
		if s.Effect != policy.Limit {
			return fmt.Errorf("policy of quotas: a statement with the effect %s: only Limit has a meaning here", s.Effect)
		}
	}
	if err := Check(p); err != nil {
		return fmt.Errorf("policy of quotas: %w", err)
	}
	return store.Settings.Put(tx, &resource.Setting{Name: authz.LimitsName(account), Value: text})
}

// Put changes numbers in an account's policy: None takes the key's statements away. Keys may be given without
// "quota-", as ec2:vminstancenumber.
func Put(tx *store.Tx, account string, changes map[string]int64) error {
	doc := policy.Document{Version: policy.Version2012}
	if text := Policy(tx, account); text != "" {
		p, err := policy.Parse(text, policy.Identity)
		if err != nil {
			return fmt.Errorf("policy of quotas: %w", err)
		}
		doc = *p.Document()
		doc.Statements = slices.Clone(doc.Statements)
	}
	for _, given := range slices.Sorted(maps.Keys(changes)) {
		key, err := CheckKey(given)
		if err != nil {
			return err
		}
		doc.Statements = without(doc.Statements, key)
		switch n := changes[given]; {
		case n == None:
		case n < 0:
			return fmt.Errorf("%s: a quota is 0 or more, not %d", key, n)
		default:
			doc.Statements = append(doc.Statements, policy.Statement{
				Effect: policy.Limit, Action: []string{"*"}, Resource: []string{"*"},
				Condition: []policy.Condition{{Operator: "NumericLessThanEquals", Key: key, Values: []string{strconv.FormatInt(n, 10)}}},
			})
		}
	}
	if len(doc.Statements) == 0 {
		return PutPolicy(tx, account, "")
	}
	return PutPolicy(tx, account, doc.JSON())
}

// without gives the statements without those that are about a key and no other quota.
func without(list []policy.Statement, key string) []policy.Statement {
	out := []policy.Statement{}
	for _, s := range list {
		var rest []policy.Condition
		quotas := 0
		for _, c := range s.Condition {
			if strings.EqualFold(c.Key, key) {
				continue
			}
			if strings.Contains(strings.ToLower(c.Key), ":quota-") {
				quotas++
			}
			rest = append(rest, c)
		}
		if len(rest) == len(s.Condition) {
			out = append(out, s)
		} else if quotas > 0 {
			s.Condition = rest
			out = append(out, s)
		}
	}
	return out
}

// CheckKey gives a quota's whole key.
func CheckKey(given string) (string, error) {
	key := strings.ToLower(given)
	if service, rest, ok := strings.Cut(key, ":"); ok && !strings.HasPrefix(rest, "quota-") {
		key = service + ":quota-" + rest
	}
	if !known(key) {
		return "", fmt.Errorf("there is no quota %s", given)
	}
	return key, nil
}

// Check refuses a policy that limits what this cloud does not count: nobody must believe that it holds.
func Check(p *policy.Policy) error {
	for _, q := range p.Limits() {
		if !known(q.Key) {
			return fmt.Errorf("there is no quota %s", q.Key)
		}
	}
	return nil
}

func known(key string) bool {
	return slices.ContainsFunc(All(), func(q Quota) bool { return q.Key == key })
}
