package policy

import (
	"slices"
	"strings"
)

// pattern is the compiled form of a string of the language. Without variables it is prefix+rest, where rest
// begins at the first wildcard; else it is parts, put together for each request.
type pattern struct {
	prefix, rest string
	parts        []part
}

// part is a piece of a pattern: compiled text, or a variable.
type part struct {
	text     string // compiled text; of a variable the default
	wild     int    // of text: where its first wildcard is
	variable bool
	fallback bool // the variable has a default
	key      Key
}

// style says what "*" and "?" mean in a text.
type style uint8

const (
	literal  style = iota // nothing (StringEquals)
	free                  // any characters (StringLike, actions)
	resource              // elements_resource: within the first five segments of an ARN "*" crosses colons only as a segment's last character
	arn                   // condition_operators, Arn*: each of six segments on its own
)

// compilePattern compiles text. Variables are read where the version of the language has them.
func compilePattern(text string, st style, version string) (pattern, *Error) {
	var parts []part
	var b strings.Builder
	colons := 0
	flush := func() {
		if b.Len() > 0 {
			parts = append(parts, part{text: b.String(), wild: wildAt(b.String())})
			b.Reset()
		}
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '$' && version == Version2012 && strings.HasPrefix(text[i:], "${"):
			end := variableEnd(text, i)
			if end < 0 {
				return pattern{}, fault("", "Syntax error in policy variable: %q.", text[i:])
			}
			name := text[i+2 : end-1]
			i = end - 1
			if name == "*" || name == "?" || name == "$" {
				b.WriteString(name)
				continue
			}
			p, err := compileVariable(name)
			if err != nil {
				return pattern{}, err
			}
			flush()
			parts = append(parts, p)
		case (c == '*' || c == '?') && st != literal:
			b.WriteByte(wildcard(text, i, st, colons))
		default:
			if c == ':' {
				colons++
			}
			b.WriteByte(c)
		}
	}
	flush()
	p := pattern{}
	if slices.ContainsFunc(parts, func(p part) bool { return p.variable }) {
		p.parts = parts
		return p, nil
	}
	if len(parts) > 0 {
		all, n := parts[0].text, parts[0].wild
		p.prefix, p.rest = all[:n], all[n:]
	}
	return p, nil
}

// variableEnd gives the index after the closing brace of the variable at text[i:], or -1. A default in quotes
// may contain a brace.
func variableEnd(text string, i int) int {
	quoted := false
	for j := i + 2; j < len(text); j++ {
		switch text[j] {
		case '\'':
			quoted = !quoted
		case '}':
			if !quoted {
				return j + 1
			}
		}
	}
	return -1
}

// compileVariable reads what stands between the braces: "aws:username" or "aws:PrincipalTag/x, 'default'".
func compileVariable(text string) (part, *Error) {
	name, rest, has := strings.Cut(text, ",")
	p := part{variable: true, fallback: has, key: MakeKey(strings.TrimSpace(name))}
	if has {
		rest = strings.TrimSpace(rest)
		if len(rest) < 2 || rest[0] != '\'' || strings.IndexByte(rest[1:], '\'') != len(rest)-2 {
			return p, fault("", "Syntax error in policy variable: %q.", "${"+text+"}")
		}
		p.text = rest[1 : len(rest)-1]
	}
	if !strings.Contains(p.key.Name, ":") || strings.ContainsAny(p.key.Name, "${'*?") {
		return p, fault("", "Syntax error in policy variable: %q.", "${"+text+"}")
	}
	return p, nil
}

// wildcard chooses the compiled wildcard for text[i], which stands after that many colons.
func wildcard(text string, i int, st style, colons int) byte {
	within := false
	if colons < 5 {
		last := i+1 == len(text) || text[i+1] == ':'
		within = st == arn || st == resource && (text[i] == '?' || !last)
	}
	switch {
	case text[i] == '*' && within:
		return segRun
	case text[i] == '*':
		return anyRun
	case within:
		return segOne
	}
	return anyOne
}

// wildAt gives the index of the first wildcard in compiled text, or its length.
func wildAt(s string) int {
	for i := range len(s) {
		if s[i] >= firstWild {
			return i
		}
	}
	return len(s)
}

// match reports whether s matches. With a variable that has no single value in this request it matches nothing.
func (p *pattern) match(e *evaluation, s string) bool {
	if p.parts == nil {
		return p.matchText(s)
	}
	for i := range p.parts { // literals and values, up to the first wildcard, are compared in place
		text, ok := p.parts[i].resolve(e)
		if !ok {
			return false
		}
		n := len(text)
		if !p.parts[i].variable {
			n = p.parts[i].wild
		}
		if !strings.HasPrefix(s, text[:n]) {
			return false
		}
		s = s[n:]
		if n < len(text) {
			var buf [256]byte
			rest, ok := expand(e, append(buf[:0], text[n:]...), p.parts[i+1:])
			return ok && glob(rest, s)
		}
	}
	return s == ""
}

func (p *pattern) matchText(s string) bool {
	if !strings.HasPrefix(s, p.prefix) {
		return false
	}
	switch {
	case p.rest == "":
		return len(s) == len(p.prefix)
	case len(p.rest) == 1 && p.rest[0] == anyRun:
		return true
	}
	return glob(p.rest, s[len(p.prefix):])
}

// equalFold is match for literals without regard to case.
func (p *pattern) equalFold(e *evaluation, s string) bool {
	if p.parts == nil {
		return strings.EqualFold(p.prefix, s)
	}
	var buf [256]byte
	text, ok := expand(e, buf[:0], p.parts)
	return ok && strings.EqualFold(string(text), s)
}

func (p *pattern) resolvable(e *evaluation) bool {
	for i := range p.parts {
		if _, ok := p.parts[i].resolve(e); !ok {
			return false
		}
	}
	return true
}

// expand appends the parts with the values of variables.
func expand(e *evaluation, b []byte, parts []part) ([]byte, bool) {
	for i := range parts {
		s, ok := parts[i].resolve(e)
		if !ok {
			return b, false
		}
		b = append(b, s...)
	}
	return b, true
}

func (p *part) resolve(e *evaluation) (string, bool) {
	if !p.variable {
		return p.text, true
	}
	v, ok := e.lookup(p.key)
	if !ok || v.len() == 0 {
		return p.text, p.fallback
	}
	if v.len() > 1 {
		return "", false
	}
	v = v.at(0)
	s := v.text()
	// A value is text, whatever is in it; bytes that would be wildcards make it unusable.
	return s, wildAt(s) == len(s)
}
