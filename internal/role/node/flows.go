package node

import (
	"sync"

	"karri.dev/internal/network"
	"karri.dev/internal/nodeapi"
)

// Limits of the records that wait: in all, and in one message.
const (
	maxWaitingFlows = 50_000
	maxSentFlows    = 2000
)

// flowQueue keeps the records of flow logs until the zone has taken them. While nobody does, the oldest are dropped,
// and their logs are told so: one record for each log and interface.
type flowQueue struct {
	news chan struct{}

	mu      sync.Mutex
	records []network.FlowRecord
	dropped map[flowPlace]network.FlowRecord
	sent    int // of records, under way
	id      uint64
}

type flowPlace struct{ log, eni string }

func newFlowQueue() *flowQueue {
	return &flowQueue{news: make(chan struct{}, 1), dropped: map[flowPlace]network.FlowRecord{}}
}

// Flows takes records of the network's.
func (n *Node) Flows(records []network.FlowRecord) {
	q := n.flows
	q.mu.Lock()
	q.records = append(q.records, records...)
	if over := len(q.records) - maxWaitingFlows; over > 0 {
		for _, r := range q.records[:over] {
			q.skip(r)
		}
		q.records = append([]network.FlowRecord(nil), q.records[over:]...)
		q.sent = max(0, q.sent-over)
	}
	q.mu.Unlock()
	poke(q.news)
}

// skip notes that a record is gone.
func (q *flowQueue) skip(r network.FlowRecord) {
	at := flowPlace{r.LogID, r.InterfaceID}
	s, known := q.dropped[at]
	if !known {
		s = network.FlowRecord{
			LogID: r.LogID, VPCID: r.VPCID, SubnetID: r.SubnetID, InterfaceID: r.InterfaceID, InstanceID: r.InstanceID,
			Start: r.Start, Status: network.SkipData,
		}
	}
	s.End = r.End
	q.dropped[at] = s
}

// next gives what to send, nil while something is under way or nothing waits.
func (q *flowQueue) next() *nodeapi.Flows {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.sent > 0 {
		return nil
	}
	for at, r := range q.dropped {
		q.records = append(q.records, r)
		delete(q.dropped, at)
	}
	if len(q.records) == 0 {
		return nil
	}
	q.sent = min(len(q.records), maxSentFlows)
	q.id++
	return &nodeapi.Flows{ID: q.id, Records: append([]network.FlowRecord(nil), q.records[:q.sent]...)}
}

// taken forgets what the zone has.
func (q *flowQueue) taken(id uint64) {
	q.mu.Lock()
	if id == q.id {
		q.records = q.records[q.sent:]
		q.sent = 0
	}
	q.mu.Unlock()
	poke(q.news)
}

// again says that what was under way may be lost: it is sent once more.
func (q *flowQueue) again() {
	q.mu.Lock()
	q.sent = 0
	q.mu.Unlock()
	poke(q.news)
}
