package policy

import (
	"encoding/base64"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// A second implementation, slow and obvious: it reads documents, not compiled policies, expands and splits
// strings, tries every length for "*", and puts the rules as one formula each.

// mapContext answers keys from a map by full, lower-case name. Every value is a list.
type mapContext map[string][]string

func (m mapContext) Value(k Key) (Value, bool) {
	name := k.Name
	if k.Arg != "" {
		name += "/" + strings.ToLower(k.Arg)
	}
	list, ok := m[name]
	if len(list) == 1 {
		return String(list[0]), ok
	}
	return Strings(list), ok
}

type model struct {
	r       *Request
	values  map[string][]string // of all keys
	bounded bool
}

func newModel(r *Request, p *Policies) *model {
	m := &model{r: r, values: map[string][]string{}, bounded: p.Boundary != nil}
	if c, ok := r.Context.(mapContext); ok {
		for k, v := range c {
			m.values[k] = v
		}
	}
	who := r.Principal
	set := func(k, v string) { m.values[k] = []string{v} }
	for i := len(who.Tags) - 1; i >= 0; i-- {
		set("aws:principaltag/"+strings.ToLower(who.Tags[i].Key), who.Tags[i].Value)
	}
	set("aws:userid", who.ID)
	if who.Kind != Anonymous {
		set("aws:principalisawsservice", map[bool]string{true: "true", false: "false"}[who.Kind == Service])
	}
	if who.Account != "" {
		set("aws:principalaccount", who.Account)
		set("aws:resourceaccount", who.Account)
	}
	if r.Owner != "" {
		set("aws:resourceaccount", r.Owner)
	}
	switch who.Kind {
	case Anonymous:
		set("aws:userid", "anonymous")
		set("aws:principaltype", "Anonymous")
	case Root:
		set("aws:principaltype", "Account")
		set("aws:principalarn", who.ARN)
	case User:
		set("aws:principaltype", "User")
		set("aws:principalarn", who.ARN)
		set("aws:username", who.Name)
	case RoleSession:
		set("aws:principaltype", "AssumedRole")
		set("aws:principalarn", who.Issuer)
	case FederatedUser:
		set("aws:principaltype", "FederatedUser")
		set("aws:principalarn", who.ARN)
	case Service:
		set("aws:principalservicename", who.ARN)
	}
	if who.ID == "" && who.Kind != Anonymous {
		delete(m.values, "aws:userid")
	}
	return m
}

// token is a character, or a wildcard that may or may not match colons.
type token struct {
	r     rune
	wild  bool
	cross bool
}

// tokens expands a pattern. ok is false if a variable has no value.
func (m *model) tokens(text string, st style, version string) (out []token, ok bool) {
	// First by segments of the text, with variables left whole.
	var raw []string // characters, or "${…}"
	for i := 0; i < len(text); {
		if end := 0; version == Version2012 && strings.HasPrefix(text[i:], "${") {
			end = strings.Index(text[i:], "}") + i + 1
			raw = append(raw, text[i:end])
			i = end
			continue
		}
		r := []rune(text[i:])[0]
		raw = append(raw, string(r))
		i += len(string(r))
	}
	segment := 1
	for i, c := range raw {
		inside := segment <= 5 && (st == arn || st == resource)
		lastOfSegment := i+1 == len(raw) || raw[i+1] == ":"
		switch {
		case c == "*" && st != literal:
			out = append(out, token{r: '*', wild: true, cross: !inside || st == resource && lastOfSegment})
		case c == "?" && st != literal:
			out = append(out, token{r: '?', wild: true, cross: !inside})
		case strings.HasPrefix(c, "${") && len(c) == 4:
			out = append(out, token{r: rune(c[2])})
		case strings.HasPrefix(c, "${"):
			name, def, has := strings.Cut(c[2:len(c)-1], ",")
			v := m.values[strings.ToLower(strings.TrimSpace(name))]
			if len(v) == 0 && has {
				v = []string{strings.Trim(strings.TrimSpace(def), "'")}
			}
			if len(v) != 1 {
				return nil, false
			}
			for _, r := range v[0] {
				out = append(out, token{r: r})
			}
		default:
			if c == ":" {
				segment++
			}
			out = append(out, token{r: []rune(c)[0]})
		}
	}
	return out, true
}

func matchTokens(p []token, s []rune) bool {
	if len(p) == 0 {
		return len(s) == 0
	}
	switch {
	case !p[0].wild:
		return len(s) > 0 && s[0] == p[0].r && matchTokens(p[1:], s[1:])
	case p[0].r == '?':
		return len(s) > 0 && (p[0].cross || s[0] != ':') && matchTokens(p[1:], s[1:])
	}
	for n := 0; ; n++ {
		if matchTokens(p[1:], s[n:]) {
			return true
		}
		if n == len(s) || !p[0].cross && s[n] == ':' {
			return false
		}
	}
}

func (m *model) like(text, s string, st style, version string) bool {
	p, ok := m.tokens(text, st, version)
	return ok && matchTokens(p, []rune(s))
}

func (m *model) condition(c Condition, version string) bool {
	op := c.Operator
	op, all := strings.CutPrefix(op, "ForAllValues:")
	op, some := strings.CutPrefix(op, "ForAnyValue:")
	op, optional := strings.CutSuffix(op, "IfExists")
	values := m.values[strings.ToLower(c.Key)]
	if op == "Null" {
		return slices.Contains(c.Values, map[bool]string{true: "true", false: "false"}[len(values) == 0])
	}
	positive := strings.Replace(op, "Not", "", 1)
	negated := op != positive
	missing := len(values) == 0 || (all || some) && len(values) == 1 && values[0] == ""
	one := func(v string) bool {
		return slices.ContainsFunc(c.Values, func(want string) bool { return m.compare(positive, v, want, version) })
	}
	oneWay := func(v string) bool { return one(v) != negated }
	switch {
	case missing:
		return all || !some && (optional || negated)
	case all:
		return !slices.ContainsFunc(values, func(v string) bool { return !oneWay(v) })
	case some:
		return slices.ContainsFunc(values, oneWay)
	}
	return slices.ContainsFunc(values, one) != negated
}

func (m *model) compare(op, v, want, version string) bool {
	switch op {
	case "StringEquals":
		return m.like(want, v, literal, version)
	case "StringEqualsIgnoreCase":
		return m.like(strings.ToLower(want), strings.ToLower(v), literal, version) ||
			m.lowerValues().like(strings.ToLower(want), strings.ToLower(v), literal, version)
	case "StringLike":
		return m.like(want, v, free, version)
	case "ArnEquals", "ArnLike":
		return strings.Count(want, ":") >= 5 && m.like(want, v, arn, version)
	case "Bool":
		return strings.EqualFold(v, want)
	case "BinaryEquals":
		a, err1 := base64.StdEncoding.DecodeString(v)
		b, err2 := base64.StdEncoding.DecodeString(want)
		return err1 == nil && err2 == nil && string(a) == string(b)
	case "IpAddress":
		a := net.ParseIP(v)
		_, n, err := net.ParseCIDR(want)
		if err != nil {
			return a != nil && a.Equal(net.ParseIP(want))
		}
		return a != nil && n.Contains(a)
	}
	if rest, ok := strings.CutPrefix(op, "Numeric"); ok {
		a, ok1 := new(big.Rat).SetString(v)
		b, ok2 := new(big.Rat).SetString(want)
		return ok1 && ok2 && inOrder(rest, a.Cmp(b))
	}
	parse := func(s string) (time.Time, bool) {
		if t, err := time.Parse(time.RFC3339, s); err == nil {
			return t, true
		}
		n, ok := new(big.Int).SetString(s, 10)
		if !ok {
			return time.Time{}, false
		}
		return time.Unix(n.Int64(), 0), true
	}
	a, ok1 := parse(v)
	b, ok2 := parse(want)
	return ok1 && ok2 && inOrder(strings.TrimPrefix(op, "Date"), a.Compare(b))
}

func (m *model) lowerValues() *model {
	low := map[string][]string{}
	for k, v := range m.values {
		for _, s := range v {
			low[k] = append(low[k], strings.ToLower(s))
		}
	}
	return &model{r: m.r, values: low}
}

func inOrder(word string, c int) bool {
	return map[string]bool{
		"Equals": c == 0, "LessThan": c < 0, "LessThanEquals": c <= 0, "GreaterThan": c > 0, "GreaterThanEquals": c >= 0,
	}[word]
}

// named gives in which ways a list names the caller.
func (m *model) named(p *Principals) (self, role, acct bool) {
	who := m.r.Principal
	has := func(list []string, names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return n != "" && slices.Contains(list, n) })
	}
	self = p.Everyone || has(p.AWS, "*")
	switch who.Kind {
	case Anonymous:
	case Service:
		self = self || has(p.Service, who.ARN)
	case External:
		self = self || has(p.Federated, who.ARN)
	default:
		self = self || has(p.AWS, who.ARN, who.ID)
		role = has(p.AWS, who.Issuer, who.IssuerID)
		acct = has(p.AWS, who.Account, "arn:aws:iam::"+who.Account+":root") || has(p.CanonicalUser, who.CanonicalID)
	}
	return self, role, acct
}

// statement says whether it applies and, of one with principals, how it names the caller.
func (m *model) statement(s *Statement, version string) (applies, self, role, acct bool) {
	if s.Principal != nil {
		if self, role, acct = m.named(s.Principal); !self && !role && !acct {
			return
		}
	}
	if s.NotPrincipal != nil {
		self, role, acct := m.named(s.NotPrincipal)
		spared := self
		switch m.r.Principal.Kind {
		case Root:
			spared = acct
		case User:
			spared = self && acct
		case RoleSession, FederatedUser:
			spared = self && role && acct
		}
		if everyone := s.NotPrincipal.Everyone || slices.Contains(s.NotPrincipal.AWS, "*"); everyone || spared && !m.bounded {
			return false, false, false, false
		}
	}
	action := func(list []string) bool {
		return slices.ContainsFunc(list, func(a string) bool {
			return m.like(strings.ToLower(a), strings.ToLower(m.r.Action.Name), free, Version2008)
		})
	}
	on := func(list []string) bool {
		return slices.ContainsFunc(list, func(a string) bool { return m.like(a, m.r.Resource, resource, version) })
	}
	if s.Action != nil && !action(s.Action) || s.NotAction != nil && action(s.NotAction) ||
		s.Resource != nil && !on(s.Resource) || s.NotResource != nil && on(s.NotResource) {
		return
	}
	for _, text := range s.NotResource {
		if _, ok := m.tokens(text, resource, version); !ok && s.Effect == Allow {
			return
		}
	}
	for _, c := range s.Condition {
		if !m.condition(c, version) {
			return
		}
	}
	return true, self, role, acct
}

func modelEvaluate(r *Request, p *Policies) (allowed, explicit bool) {
	m := newModel(r, p)
	layer := func(list ...*Policy) (allow, deny, self, role, acct bool) {
		for _, q := range list {
			if q == nil {
				continue
			}
			for i := range q.doc.Statements {
				s := &q.doc.Statements[i]
				applies, a, b, c := m.statement(s, q.doc.Version)
				if applies && s.Effect == Deny {
					deny = true
				}
				if applies && s.Effect == Allow {
					allow, self, role, acct = true, self || a, role || b, acct || c
				}
			}
		}
		return
	}
	identity, d1, _, _, _ := layer(p.Identity...)
	boundary, d2, _, _, _ := layer(p.Boundary)
	session, d3, _, _, _ := layer(p.Session...)
	_, d4, self, role, acct := layer(p.Resource)
	if d1 || d2 || d3 || d4 {
		return false, true
	}
	who := r.Principal
	if who.Account == "" {
		return self, false
	}
	caps := (boundary || p.Boundary == nil) && (session || len(p.Session) == 0 && who.Kind != FederatedUser)
	own := (identity || who.Kind == Root) && caps
	if r.Owner == "" || r.Owner == who.Account {
		return self || role && caps || own && (!p.Trust || acct), false
	}
	return own && (self || role || acct), false
}
