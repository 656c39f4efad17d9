// Package filter selects records as the filters of EC2's Describe calls do: any of a filter's values must
// match (with the wildcards * and ?), and all filters must.
package filter

import (
	"strings"

	"karri.dev/internal/aws/awserr"
)

// MaxValues is how many values AWS takes in all filters of one request.
const MaxValues = 200

// Filter is one filter as the caller gave it.
type Filter struct {
	Name   string
	Values []string
}

// Set describes what records of one kind can be filtered by. It is immutable.
type Set[T any] struct {
	// Fields gives, for each filter name, the values that a record has under it.
	Fields map[string]func(T) []string
	// Never lists further filter names that AWS documents and that no record of ours can match.
	Never []string
	// Tags gives a record's tags for "tag:KEY", "tag-key" and "tag-value"; nil if it has none.
	Tags func(T) map[string]string
}

// Match says whether a record passes.
type Match[T any] func(T) bool

// Compile checks the filters and makes one test of them. No filters give nil: everything passes.
func (s *Set[T]) Compile(filters []Filter) (Match[T], error) {
	var tests []Match[T]
	total := 0
	for _, f := range filters {
		if f.Name == "" {
			return nil, awserr.New("InvalidParameterValue", "The filter 'null' is invalid")
		}
		if len(f.Values) == 0 {
			return nil, awserr.New("InvalidParameterValue", "The filter '%s' has no values", f.Name)
		}
		if total += len(f.Values); total > MaxValues {
			return nil, awserr.New("FilterLimitExceeded", "The maximum length for a filter value list is %d", MaxValues)
		}
		field, ok := s.field(f.Name)
		if !ok {
			return nil, awserr.New("InvalidParameterValue", "The filter '%s' is invalid", f.Name)
		}
		values := f.Values
		tests = append(tests, func(rec T) bool {
			for _, have := range field(rec) {
				if Any(values, have) {
					return true
				}
			}
			return false
		})
	}
	switch len(tests) {
	case 0:
		return nil, nil
	case 1:
		return tests[0], nil
	}
	return func(rec T) bool {
		for _, t := range tests {
			if !t(rec) {
				return false
			}
		}
		return true
	}, nil
}

func (s *Set[T]) field(name string) (func(T) []string, bool) {
	if f, ok := s.Fields[name]; ok {
		return f, true
	}
	for _, n := range s.Never {
		if n == name {
			return func(T) []string { return nil }, true
		}
	}
	if s.Tags == nil {
		return nil, false
	}
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		return func(rec T) []string {
			if v, ok := s.Tags(rec)[key]; ok {
				return []string{v}
			}
			return nil
		}, true
	}
	switch name {
	case "tag-key":
		return func(rec T) (out []string) {
			for k := range s.Tags(rec) {
				out = append(out, k)
			}
			return out
		}, true
	case "tag-value":
		return func(rec T) (out []string) {
			for _, v := range s.Tags(rec) {
				out = append(out, v)
			}
			return out
		}, true
	}
	return nil, false
}

// Any says whether one of the patterns matches value.
func Any(patterns []string, value string) bool {
	for _, p := range patterns {
		if Glob(p, value) {
			return true
		}
	}
	return false
}

// Glob says whether pattern matches the whole of value: * is any run of characters, ? is one, and a
// backslash takes the next character as it is. It needs time O(len(pattern)·len(value)) at worst.
func Glob(pattern, value string) bool {
	if !strings.ContainsAny(pattern, `*?\`) {
		return pattern == value
	}
	p, v := []rune(pattern), []rune(value)
	pi, vi, star, mark := 0, 0, -1, 0
	for vi < len(v) {
		if pi < len(p) && p[pi] == '*' {
			star, mark = pi, vi
			pi++
			continue
		}
		if pi < len(p) {
			if p[pi] == '?' {
				pi, vi = pi+1, vi+1
				continue
			}
			width := 1
			c := p[pi]
			if c == '\\' && pi+1 < len(p) {
				c, width = p[pi+1], 2
			}
			if c == v[vi] {
				pi, vi = pi+width, vi+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		pi, vi = star+1, mark
	}
	for pi < len(p) && p[pi] == '*' {
		pi++
	}
	return pi == len(p)
}
