package s3

import (
	"strings"

	"karri.dev/internal/store"
)

// accountQueues is how many full queues the queues of an account may hold in all: an account that makes a hundred destinations
// which nobody answers must not fill the disk that all share.
const accountQueues = 4

// allowance tells how much each queue may hold. RunOutbox has the only one.
type allowance struct {
	store  *store.Store
	most   int
	owners map[string]string // of buckets, by their names in the engine
}

// of gives what a queue may hold while those queues hold something. An account that has more than accountQueues shares among
// them what these may hold.
func (a *allowance) of(queues []string) func(queue string) int {
	count := map[string]int{}
	for _, q := range queues {
		count[a.owner(q)]++
	}
	return func(queue string) int {
		return min(a.most, max(1, accountQueues*a.most/max(1, count[a.owner(queue)])))
	}
}

// owner says which account a queue works for; "" where it is known no longer.
func (a *allowance) owner(queue string) string {
	if arn, ok := strings.CutPrefix(queue, hookQueue); ok {
		if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
			return parts[4]
		}
		return ""
	}
	engine, _, _ := copied(queue)
	if _, known := a.owners[engine]; !known {
		if a.owners == nil {
			a.owners = map[string]string{}
		}
		a.owners[engine] = "" // one that is gone is looked for once only
		for b := range store.Buckets.All(a.store.Snapshot()) {
			a.owners[b.Engine] = b.AccountID
		}
	}
	return a.owners[engine]
}
