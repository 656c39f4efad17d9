// Package placement chooses nodes for instances. It is pure: the same input gives the same answer.
package placement

import (
	"cmp"
	"fmt"
	"slices"

	"karri.dev/internal/resource"
)

// Policy is how to choose among the nodes that have room.
type Policy string

const (
	LeastLoaded Policy = "least-loaded" // the node with the smallest share of its memory in use
	RoundRobin  Policy = "round-robin"  // each node in turn
)

// ParsePolicy checks a policy's name; "" is LeastLoaded.
func ParsePolicy(s string) (Policy, error) {
	switch p := Policy(s); p {
	case "":
		return LeastLoaded, nil
	case LeastLoaded, RoundRobin:
		return p, nil
	}
	return "", fmt.Errorf("unknown placement policy %q: want %s or %s", s, LeastLoaded, RoundRobin)
}

// Node is a candidate: what it has and what of it is taken.
type Node struct {
	ID          string
	Total, Used resource.Capacity
}

// room says whether the node can take need.
func (n *Node) room(need resource.Capacity) bool {
	return n.Used.VCPUs+need.VCPUs <= n.Total.VCPUs &&
		n.Used.MemoryMiB+need.MemoryMiB <= n.Total.MemoryMiB &&
		n.Used.DiskGiB+need.DiskGiB <= n.Total.DiskGiB
}

func (n *Node) take(need resource.Capacity) {
	n.Used.VCPUs += need.VCPUs
	n.Used.MemoryMiB += need.MemoryMiB
	n.Used.DiskGiB += need.DiskGiB
}

// load is the share of the node's memory in use, in millionths.
func (n *Node) load() int {
	if n.Total.MemoryMiB == 0 {
		return 1_000_000
	}
	return n.Used.MemoryMiB * 1_000_000 / n.Total.MemoryMiB
}

// Planner places one demand after another.
type Planner struct {
	policy Policy
	nodes  []*Node
	last   string // round robin: the node chosen last
}

// NewPlanner makes a planner over nodes; last is the node that round robin chose before.
func NewPlanner(policy Policy, nodes []Node, last string) *Planner {
	p := &Planner{policy: policy, last: last}
	for _, n := range nodes {
		p.nodes = append(p.nodes, &n)
	}
	slices.SortFunc(p.nodes, func(a, b *Node) int { return cmp.Compare(a.ID, b.ID) })
	return p
}

// Last is the node chosen last, for the next planner.
func (p *Planner) Last() string { return p.last }

// Wish is what a placement group asks of an instance's node. The zero Wish asks for nothing.
type Wish struct {
	Avoid  map[string]bool // never these
	Prefer map[string]bool // one of these if it has room
}

// Place gives the node for a demand and counts it there, or "" when no node has room.
func (p *Planner) Place(need resource.Capacity, wish Wish) string {
	best := p.best(func(n *Node) bool { return wish.Prefer[n.ID] && !wish.Avoid[n.ID] && n.room(need) })
	if best == nil {
		best = p.best(func(n *Node) bool { return !wish.Avoid[n.ID] && n.room(need) })
	}
	if best == nil {
		return ""
	}
	best.take(need)
	p.last = best.ID
	return best.ID
}

// best gives the node that the policy chooses among those that fit, or nil.
func (p *Planner) best(fits func(*Node) bool) *Node {
	var best *Node
	switch p.policy {
	case RoundRobin:
		after, _ := slices.BinarySearchFunc(p.nodes, p.last, func(n *Node, id string) int { return cmp.Compare(n.ID, id) })
		if after < len(p.nodes) && p.nodes[after].ID == p.last {
			after++
		}
		for i := range p.nodes {
			if n := p.nodes[(after+i)%len(p.nodes)]; fits(n) {
				best = n
				break
			}
		}
	default:
		for _, n := range p.nodes {
			if fits(n) && (best == nil || n.load() < best.load()) {
				best = n
			}
		}
	}
	return best
}
