package policy

import "strings"

// Grants says whether a statement allows anything in a service ("s3"), whatever it asks of resources and conditions, and
// whatever other statements deny.
func (p *Policy) Grants(service string) bool {
	for i := range p.doc.Statements {
		s := &p.doc.Statements[i]
		if s.Effect != Allow {
			continue
		}
		if s.NotAction != nil {
			if !covers(s.NotAction, service, true) {
				return true
			}
		} else if covers(s.Action, service, false) {
			return true
		}
	}
	return false
}

// covers says whether one of the actions is in a service, or with whole, all of the service.
func covers(actions []string, service string, whole bool) bool {
	for _, a := range actions {
		vendor, name, _ := strings.Cut(a, ":")
		switch {
		case a == "*" || a == "*:*":
			return true
		case !strings.EqualFold(vendor, service):
		case !whole || name == "*":
			return true
		}
	}
	return false
}
