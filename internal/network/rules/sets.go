package rules

import (
	"cmp"
	"slices"
	"strings"
)

// sets collects a table's sets while its rules are written.
type sets struct {
	order  []*growing
	byName map[string]*growing
}

// growing is a set to which elements are added.
type growing struct {
	Set
	seen map[string]bool
}

func newSets() *sets { return &sets{byName: map[string]*growing{}} }

func (s *sets) add(set Set) *growing {
	g := &growing{Set: set, seen: map[string]bool{}}
	s.order = append(s.order, g)
	s.byName[set.Name] = g
	return g
}

func (s *sets) set(name string, key ...Field) *growing { return s.mapTo(name, None, key...) }

func (s *sets) mapTo(name string, value Type, key ...Field) *growing {
	types := make([]Type, len(key))
	for i, f := range key {
		types[i] = f.Type()
	}
	return s.add(Set{Name: name, Key: types, Value: value})
}

// put adds an element; a key that is there stays as it is.
func (g *growing) put(value string, key ...string) {
	k := strings.Join(key, " . ")
	if g.seen[k] {
		return
	}
	g.seen[k] = true
	g.Elements = append(g.Elements, Element{Key: k, Value: value})
}

// all gives the sets with their elements in order.
func (s *sets) all() []Set {
	out := make([]Set, len(s.order))
	for i, g := range s.order {
		slices.SortFunc(g.Elements, func(a, b Element) int { return cmp.Compare(a.Key, b.Key) })
		out[i] = g.Set
	}
	return out
}
