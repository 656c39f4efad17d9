package policy

import "strings"

// Quota is what a Limit statement says: at most Max of what Key counts.
//
//	{"Effect": "Limit", "Action": "ec2:RunInstances", "Resource": "*",
//	 "Condition": {"NumericLessThanEquals": {"ec2:quota-vminstancenumber": "10"}}}
//
// Quota statements restrict where they apply and grant nothing. Of several quotas on one key the least counts.
type Quota struct {
	Key string // lower case: "ec2:quota-vminstancenumber"
	Max int64
	Statement
	compiled *statement
}

// isQuota says whether a condition key is a quota.
func isQuota(k Key) bool { return strings.Contains(k.Name, ":quota-") }

// checkLimit asks of a Limit statement: at least one quota, each as a single integer upper bound.
func checkLimit(s *statement) *Error {
	found := false
	for i := range s.conditions {
		c := &s.conditions[i]
		if !isQuota(c.key) {
			continue
		}
		src := &s.src.Condition[i]
		if c.family != numeric || c.order != lessEqual && c.order != less || c.set != noSet || c.ifExists ||
			len(c.numbers) != 1 || !c.numbers[0].exact || c.numbers[0].i < 0 {
			return fault("Condition/"+src.Operator+"/"+src.Key, "A quota must be NumericLessThanEquals or NumericLessThan with one whole number.")
		}
		found = true
	}
	if !found {
		return fault("Condition", "A statement with Effect Limit must have a quota in its Condition.")
	}
	return nil
}

// quotas gives the quotas of a Limit statement in order.
func (s *statement) quotas() []Quota {
	var all []Quota
	for j := range s.conditions {
		if c := &s.conditions[j]; isQuota(c.key) {
			q := Quota{Key: c.key.Name, Max: c.numbers[0].i, Statement: *s.src, compiled: s}
			if c.order == less {
				q.Max--
			}
			all = append(all, q)
		}
	}
	return all
}

// Limits gives the policy's quotas in order; not to be changed.
func (p *Policy) Limits() []Quota { return p.quotas }

// Applies says whether the quota concerns a request: its action, resource and conditions that are not quotas.
func (q *Quota) Applies(r *Request) bool {
	e := evaluation{Request: r}
	if !q.compiled.names(&e) {
		return false
	}
	for i := range q.compiled.conditions {
		if c := &q.compiled.conditions[i]; !isQuota(c.key) && !c.holds(&e) {
			return false
		}
	}
	return true
}
