package policy

import (
	"fmt"
	"slices"
)

// Policy is a compiled policy. It is immutable and safe for concurrent use.
type Policy struct {
	doc    Document
	denies []statement // apart, so that once a set of policies allows only denies are still looked at
	allows []statement
	quotas []Quota  // what Limit statements say
	spans  [][2]int // where the statements stand in the text; nil where there was none
}

// Document gives what was parsed; not to be changed.
func (p *Policy) Document() *Document { return &p.doc }

// Denials gives what p denies as a policy; nil if it denies nothing.
func (p *Policy) Denials() *Policy {
	if p == nil || len(p.denies) == 0 {
		return nil
	}
	return &Policy{doc: p.doc, denies: p.denies}
}

// statement is a compiled Statement.
type statement struct {
	src          *Statement
	actions      []pattern
	notAction    bool
	resources    []pattern // none: the statement does not ask (trust policies)
	notResource  bool
	who          *principals // nil: the statement does not ask (identity policies)
	notPrincipal bool
	conditions   []condition
}

// compile validates the document for its kind and builds the policy.
func compile(doc *Document, kind Kind) (*Policy, error) {
	if doc.Version != Version2008 && doc.Version != Version2012 {
		return nil, fault("Version", "The policy must contain a valid version string.")
	}
	if len(doc.Statements) == 0 {
		return nil, fault("Statement", "Missing required field Statement.")
	}
	p := &Policy{doc: *doc}
	sids := map[string]bool{}
	for i := range p.doc.Statements {
		src := &p.doc.Statements[i]
		s, err := compileStatement(src, kind, doc.Version)
		if err == nil && src.Sid != "" && sids[src.Sid] {
			err = fault("Sid", "Statement IDs (SID) in a single policy must be unique.")
		}
		if err != nil {
			err.Statement, err.Sid = i+1, src.Sid
			return nil, err
		}
		sids[src.Sid] = true
		switch src.Effect {
		case Allow:
			p.allows = append(p.allows, s)
		case Deny:
			p.denies = append(p.denies, s)
		case Limit:
			p.quotas = append(p.quotas, s.quotas()...)
		}
	}
	return p, nil
}

func compileStatement(src *Statement, kind Kind, version string) (statement, *Error) {
	s := statement{src: src}
	if err := checkShape(src, kind); err != nil {
		return s, err
	}
	element := "Action"
	actions := src.Action
	if src.NotAction != nil {
		s.notAction, element, actions = true, "NotAction", src.NotAction
	}
	for _, text := range actions {
		p, err := compileAction(text, kind)
		if err != nil {
			err.Element = element
			return s, err
		}
		s.actions = append(s.actions, p)
	}
	element = "Resource"
	resources := src.Resource
	if src.NotResource != nil {
		s.notResource, element, resources = true, "NotResource", src.NotResource
	}
	for _, text := range resources {
		p, err := compileResource(text, version)
		if err != nil {
			err.Element = element
			return s, err
		}
		s.resources = append(s.resources, p)
	}
	if src.Principal != nil {
		s.who = compilePrincipals(src.Principal)
	} else if src.NotPrincipal != nil {
		s.who, s.notPrincipal = compilePrincipals(src.NotPrincipal), true
	}
	for i := range src.Condition {
		c := &src.Condition[i]
		compiled, err := compileCondition(c, version)
		if err != nil {
			err.Element = fmt.Sprintf("Condition/%s/%s", c.Operator, c.Key)
			return s, err
		}
		s.conditions = append(s.conditions, compiled)
	}
	if src.Effect == Limit {
		return s, checkLimit(&s)
	}
	return s, nil
}

// applies says whether the statement concerns the request, principals apart.
func (s *statement) applies(e *evaluation) bool {
	return s.names(e) && s.conditionsHold(e)
}

// names asks for action and resource.
func (s *statement) names(e *evaluation) bool {
	matched := false
	for i := range s.actions {
		if matched = s.actions[i].matchText(e.Action.lower); matched {
			break
		}
	}
	if matched == s.notAction {
		return false
	}
	if len(s.resources) == 0 {
		return true
	}
	matched = false
	for i := range s.resources {
		if matched = s.resources[i].match(e, e.Resource); matched {
			break
		}
		// "Everything but ${aws:PrincipalTag/team}" must not become everything for who has no such tag.
		if s.notResource && s.src.Effect == Allow && !s.resources[i].resolvable(e) {
			return false
		}
	}
	return matched != s.notResource
}

func (s *statement) conditionsHold(e *evaluation) bool {
	for i := range s.conditions {
		if !s.conditions[i].holds(e) {
			return false
		}
	}
	return true
}

// Bind gives the policy with other names for its AWS principals: rename gets each as it is written. It is meant for
// unique ids in place of ARNs.
func (p *Policy) Bind(kind Kind, rename func(string) string) (*Policy, error) {
	doc := p.doc
	doc.Statements = slices.Clone(doc.Statements)
	for i := range doc.Statements {
		s := &doc.Statements[i]
		s.Principal, s.NotPrincipal = s.Principal.renamed(rename), s.NotPrincipal.renamed(rename)
	}
	bound, err := compile(&doc, kind)
	if err != nil {
		return nil, err
	}
	return bound, nil
}

func (p *Principals) renamed(rename func(string) string) *Principals {
	if p == nil {
		return nil
	}
	out := *p
	out.AWS = make([]string, len(p.AWS))
	for i, name := range p.AWS {
		out.AWS[i] = rename(name)
	}
	return &out
}
