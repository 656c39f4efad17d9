package wire

import (
	"slices"
	"strconv"
	"strings"
)

// Node is one element of a request's parameters, which are a tree whichever way they came: "Filter.1.Value.2"
// of a form and <Part><ETag> of a payload alike. What decoding never asked for is an unknown parameter.
type Node struct {
	name   string
	text   string
	set    bool // it has a value of its own, maybe empty
	used   bool
	parent *Node
	kids   []*Node // forms: in order of name; XML: in order of the document
	sorted bool    // kids are in order of name
}

// Value is one parameter as text, wherever it stood.
type Value struct {
	Name string // for messages; of a Node: its path is used in its place
	Text string
	Set  bool
	node *Node
}

func (v Value) name() string {
	if v.node != nil {
		return v.node.path()
	}
	return v.Name
}

// path is the parameter's name as the client wrote it: "Filter.1.Value.2".
func (n *Node) path() string {
	if n.parent == nil || n.parent.parent == nil {
		return n.name
	}
	return n.parent.path() + "." + n.name
}

// Take gives the value of the child of that name.
func (n *Node) Take(name string) Value {
	kid := n.kid(name)
	if kid == nil || !kid.set {
		return Value{Name: name}
	}
	kid.used = true
	return Value{Text: kid.text, Set: true, node: kid}
}

// itself gives the node's own value, as for the elements of a list.
func (n *Node) itself() Value {
	n.used = n.used || n.set
	return Value{Text: n.text, Set: n.set, node: n}
}

func (n *Node) kid(name string) *Node {
	if n == nil {
		return nil
	}
	if n.sorted && len(n.kids) > 8 {
		i, ok := slices.BinarySearchFunc(n.kids, name, func(k *Node, name string) int { return strings.Compare(k.name, name) })
		if ok {
			return n.kids[i]
		}
		return nil
	}
	for _, kid := range n.kids {
		if kid.name == name {
			return kid
		}
	}
	return nil
}

// numbered gives the children that are elements of a list, in the order of their numbers. Numbers may
// have gaps, as with AWS; "01" is none.
func (n *Node) numbered() []*Node {
	if n == nil {
		return nil
	}
	if n.set && n.text == "" {
		n.used = true // "Tags=": an empty list, as some clients write it
	}
	type item struct {
		index int
		node  *Node
	}
	items := make([]item, 0, len(n.kids))
	for _, kid := range n.kids {
		index, err := strconv.Atoi(kid.name)
		if err != nil || index < 0 || strconv.Itoa(index) != kid.name {
			continue // stays unused, so it is reported
		}
		items = append(items, item{index, kid})
	}
	slices.SortFunc(items, func(a, b item) int { return a.index - b.index })
	nodes := make([]*Node, len(items))
	for i, item := range items {
		nodes[i] = item.node
	}
	return nodes
}

// unused finds a value that nobody asked for.
func (n *Node) unused() *Node {
	if n.set && !n.used {
		return n
	}
	for _, kid := range n.kids {
		if u := kid.unused(); u != nil {
			return u
		}
	}
	return nil
}
