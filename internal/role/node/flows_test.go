package node

import (
	"fmt"
	"testing"

	"karri.dev/internal/network"
)

func flowsOf(first, n int) (out []network.FlowRecord) {
	for i := range n {
		out = append(out, network.FlowRecord{LogID: "fl-1", InterfaceID: fmt.Sprintf("eni-%d", (first+i)%3), Packets: uint64(first + i)})
	}
	return out
}

func TestFlowsWaitForTheZone(t *testing.T) {
	n := &Node{flows: newFlowQueue()}
	n.Flows(flowsOf(0, maxSentFlows+5))
	m := n.flows.next()
	if m == nil || len(m.Records) != maxSentFlows || n.flows.next() != nil {
		t.Fatal("one message is under way at a time")
	}
	n.flows.again() // the zone went away
	m = n.flows.next()
	if len(m.Records) != maxSentFlows || m.Records[0].Packets != 0 {
		t.Fatal("the same records are not sent again")
	}
	n.flows.taken(m.ID - 1) // an answer of before
	if n.flows.next() != nil {
		t.Fatal("an old answer is taken for the new one")
	}
	n.flows.taken(m.ID)
	if m = n.flows.next(); len(m.Records) != 5 || m.Records[0].Packets != maxSentFlows {
		t.Fatalf("the rest is %d records", len(m.Records))
	}
	n.flows.taken(m.ID)
	if n.flows.next() != nil {
		t.Fatal("something is left")
	}
}

// TestFlowsAreBounded: while nobody takes them memory does not grow, and the logs say that something is missing.
func TestFlowsAreBounded(t *testing.T) {
	n := &Node{flows: newFlowQueue()}
	n.Flows(flowsOf(0, 100))
	n.flows.next() // and never an answer
	for i := range 20 {
		n.Flows(flowsOf(i*maxWaitingFlows, maxWaitingFlows))
	}
	if l := len(n.flows.records); l > maxWaitingFlows {
		t.Errorf("%d records wait", l)
	}
	if l := len(n.flows.dropped); l != 3 {
		t.Errorf("%d interfaces have lost records, want 3", l)
	}
	skips, seen := 0, 0
	n.flows.again()
	for m := n.flows.next(); m != nil; m = n.flows.next() {
		for _, r := range m.Records {
			seen++
			if r.Status == network.SkipData {
				skips++
			}
		}
		n.flows.taken(m.ID)
	}
	if skips != 3 || seen != maxWaitingFlows+3 {
		t.Errorf("%d records, %d of them of what was dropped", seen, skips)
	}
}
