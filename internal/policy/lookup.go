package policy

import (
	"slices"
	"strings"
)

// lookup gives the value of a key: those of the principal and of the resource's owner from the request, all
// others from its Context.
func (e *evaluation) lookup(k Key) (Value, bool) {
	v, ok := e.value(k)
	if !ok && e.trace != nil && !slices.Contains(e.trace.missing, k) {
		e.trace.missing = append(e.trace.missing, k)
	}
	return v, ok
}

func (e *evaluation) value(k Key) (Value, bool) {
	if e.trace != nil && e.Context != nil { // a simulation's own values go first
		if v, ok := e.Context.Value(k); ok {
			return v, true
		}
	}
	who := &e.Principal
	switch k.own {
	case keyUserName:
		return String(who.Name), who.Kind == User && who.Name != ""
	case keyUserID:
		if who.Kind == Anonymous {
			return String("anonymous"), true
		}
		return String(who.ID), who.ID != ""
	case keyPrincipalARN:
		switch who.Kind {
		case Root, User, FederatedUser:
			return String(who.ARN), who.ARN != ""
		case RoleSession: // the role, whatever the session is called
			return String(who.Issuer), true
		}
		return Value{}, false
	case keyPrincipalAccount:
		return String(who.Account), who.Account != ""
	case keyPrincipalType:
		switch who.Kind {
		case Anonymous:
			return String("Anonymous"), true
		case Root:
			return String("Account"), true
		case User:
			return String("User"), true
		case RoleSession:
			return String("AssumedRole"), true
		case FederatedUser:
			return String("FederatedUser"), true
		}
		return Value{}, false
	case keyPrincipalTag:
		for i := range who.Tags {
			if strings.EqualFold(who.Tags[i].Key, k.Arg) {
				return String(who.Tags[i].Value), true
			}
		}
		return Value{}, false
	case keyIsService:
		return Bool(who.Kind == Service), who.Kind != Anonymous
	case keyServiceName:
		return String(who.ARN), who.Kind == Service
	case keyResourceAccount:
		if e.Owner != "" {
			return String(e.Owner), true
		}
		return String(who.Account), who.Account != ""
	}
	if e.Context == nil {
		return Value{}, false
	}
	return e.Context.Value(k)
}
