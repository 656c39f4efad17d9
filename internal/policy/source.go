package policy

import (
	"slices"
	"strings"
)

// Span gives where a statement of the policy stands in the text it was parsed of: from its opening brace to behind its closing
// one, in bytes. ok: it is one of this policy's.
func (p *Policy) Span(s *Statement) (start, end int, ok bool) {
	for i := range p.doc.Statements {
		if &p.doc.Statements[i] == s && i < len(p.spans) {
			return p.spans[i][0], p.spans[i][1], true
		}
	}
	return 0, 0, false
}

// Keys gives the condition keys that the policy asks for, in conditions and in variables, as they are written there.
func (p *Policy) Keys() []string {
	var keys []string
	add := func(key string) {
		if !slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, key) }) {
			keys = append(keys, key)
		}
	}
	variables := func(texts []string) {
		if p.doc.Version != Version2012 {
			return
		}
		for _, text := range texts {
			for i := strings.Index(text, "${"); i >= 0; i = strings.Index(text, "${") {
				end := variableEnd(text, i)
				if end < 0 {
					break // it would not have parsed
				}
				name, _, _ := strings.Cut(text[i+2:end-1], ",")
				if name = strings.TrimSpace(name); strings.Contains(name, ":") {
					add(name)
				}
				text = text[end:]
			}
		}
	}
	for i := range p.doc.Statements {
		s := &p.doc.Statements[i]
		variables(s.Resource)
		variables(s.NotResource)
		for _, c := range s.Condition {
			add(c.Key)
			variables(c.Values)
		}
	}
	return keys
}
