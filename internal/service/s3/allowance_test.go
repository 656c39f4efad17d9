package s3

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func TestAllowance(t *testing.T) {
	st := store.OpenMemory(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { st.Close() })
	put := func(name, account string) {
		t.Helper()
		if err := st.Update(context.Background(), func(tx *store.Tx) error {
			return store.Buckets.Put(tx, &resource.Bucket{Name: name, AccountID: account, Engine: "e-" + name})
		}); err != nil {
			t.Fatal(err)
		}
	}
	put("mine", "111111111111")
	a := &allowance{store: st, most: 100}
	hook := func(account string, n int) string {
		return fmt.Sprintf("%sarn:aws:sns:us-east-1:%s:topic%d", hookQueue, account, n)
	}
	away := func(bucket string) string { return copyQueue + "e-" + bucket + " dest@away" }
	queues := []string{hook("222222222222", 1), away("mine")}
	for n := range 8 {
		queues = append(queues, hook("111111111111", n))
	}
	check := func(queue string, want int) {
		t.Helper()
		if got := a.of(queues)(queue); got != want {
			t.Errorf("%s may hold %d, want %d", queue, got, want)
		}
	}
	check(hook("222222222222", 1), 100) // however many the other account has
	check(hook("111111111111", 0), 44)  // 400 / 9: its topics and its bucket
	check(away("mine"), 44)
	put("theirs", "222222222222") // made after the others were looked up
	queues = append(queues, away("theirs"))
	check(away("theirs"), 100)
	check(away("gone"), 100)
	for n := range 2000 {
		queues = append(queues, hook("333333333333", n))
	}
	check(hook("333333333333", 7), 1)
}
