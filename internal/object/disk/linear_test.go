package disk

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"karri.dev/internal/object"
	"karri.dev/internal/object/objecttest"
)

const (
	linearDir  = "KARRI_TEST_LINEAR_DIR"
	linearSeed = "KARRI_TEST_LINEAR_SEED"
)

// call is an operation on one key. A key's state is the ETag that it has, "" being none.
type call struct {
	op, key, etag string // of a put: the one written; of a conditional put, old is the one it needs
	old           string
}

// outcome is what came of it. unknown is of a call that a kill cut off: it happened, or it did not.
type outcome struct {
	etag    string // of a get
	refused bool   // of a conditional put
	unknown bool
}

var register = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range all {
			byKey[o.Input.(call).key] = append(byKey[o.Input.(call).key], o)
		}
		var out [][]porcupine.Operation
		for _, ops := range byKey {
			out = append(out, ops)
		}
		return out
	},
	Init: func() any { return "" },
	Step: func(state, in, out any) (bool, any) {
		c, o, now := in.(call), out.(outcome), state.(string)
		switch c.op {
		case "get":
			return o.unknown || o.etag == now, now
		case "delete":
			return true, ""
		case "putif":
			if now != c.old {
				return o.unknown || o.refused, now
			}
			return o.unknown || !o.refused, c.etag
		}
		return true, c.etag
	},
}

// TestLinearizable: what concurrent clients see of shared keys is as if their calls happened one after the other, also
// when the process is killed in the middle and started again.
func TestLinearizable(t *testing.T) {
	if dir := os.Getenv(linearDir); dir != "" {
		linearVictim(dir)
		return
	}
	if testing.Short() {
		t.Skip("starts processes")
	}
	const kills = 5
	dir, history := t.TempDir(), []porcupine.Operation{}
	for n := range kills {
		history = append(history, linearRun(t, dir, n, int64(len(history))*4)...)
	}
	// What was cut off may take effect at any time from its call on: a recovery does not wait for it, but no reader
	// has seen it undone either.
	end := int64(len(history)) * 8
	unknown := 0
	for i := range history {
		if history[i].Output.(outcome).unknown {
			history[i].Return = end
			unknown++
		}
	}
	result := porcupine.CheckOperationsTimeout(register, history, time.Minute)
	if result != porcupine.Ok {
		t.Fatalf("%d calls, %d of them cut off by %d kills: %s", len(history), unknown, kills, result)
	}
	t.Logf("%d calls, %d of them cut off by %d kills", len(history), unknown, kills)
	// The checker must be able to find something: a get of what nobody wrote.
	history = append(history, porcupine.Operation{Input: call{op: "get", key: "k0"}, Output: outcome{etag: "x"}, Call: end + 1, Return: end + 2})
	if porcupine.CheckOperationsTimeout(register, history, time.Minute) == porcupine.Ok {
		t.Fatal("the checker believes anything")
	}
}

// linearRun starts a victim, kills it after some of its lines, and gives its calls. Lines are in an order: a call's is
// out before it begins, an outcome's after it ended.
func linearRun(t *testing.T, dir string, n int, clock int64) []porcupine.Operation {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLinearizable$")
	cmd.Env = append(os.Environ(), linearDir+"="+dir, linearSeed+"="+strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ops []porcupine.Operation
	open := map[string]int{} // client → index of its call
	lines := bufio.NewReader(out)
	for count := 0; ; count++ {
		line, err := lines.ReadString('\n')
		if err != nil { // also a line that was cut
			break
		}
		clock++
		f := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		switch {
		case f[0] == "C" && len(f) == 6:
			open[f[1]] = len(ops)
			client, _ := strconv.Atoi(f[1])
			ops = append(ops, porcupine.Operation{
				ClientId: n*100 + client, Input: call{op: f[2], key: f[3], etag: f[4], old: f[5]}, Output: outcome{unknown: true}, Call: clock,
			})
		case f[0] == "R" && len(f) == 4:
			o := &ops[open[f[1]]]
			o.Output, o.Return = outcome{etag: f[2], refused: f[3] == "refused"}, clock
		default:
			t.Errorf("the victim says %q", line)
		}
		if count == 300+n*41 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	return ops
}

// linearVictim runs clients on shared keys until it is killed.
func linearVictim(dir string) {
	e, err := Open(Config{Dir: dir})
	if err != nil {
		fmt.Println("E", err)
		os.Exit(1)
	}
	seed, _ := strconv.Atoi(os.Getenv(linearSeed))
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(os.Stdout, format, args...)
	}
	var wg sync.WaitGroup
	for client := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(seed), uint64(client)))
			last := map[string]string{}
			for n := uint64(0); ; n++ {
				key := fmt.Sprint("k", rng.IntN(3))
				body := objecttest.Bytes(uint64(seed)<<40|uint64(client)<<32|n, []int{20, 1000, 70 << 10}[rng.IntN(3)])
				c := call{op: []string{"get", "get", "put", "putif", "delete"}[rng.IntN(5)], key: key, etag: objecttest.ETag(body), old: last[key]}
				if c.op == "putif" && c.old == "" {
					c.op = "put"
				}
				say("C %d %s %s %s %s\n", client, c.op, c.key, c.etag, c.old)
				o, err := c.do(e, body)
				if err != nil {
					say("E %v\n", err)
					return
				}
				if c.op == "get" {
					last[key] = o.etag
				}
				verdict := "done"
				if o.refused {
					verdict = "refused"
				}
				say("R %d %s %s\n", client, o.etag, verdict)
			}
		})
	}
	wg.Wait()
}

func (c call) do(e object.Engine, body []byte) (o outcome, err error) {
	ctx := context.Background()
	switch c.op {
	case "get":
		obj, err := e.Get(ctx, "b", c.key, "")
		if errors.Is(err, object.ErrNotFound) {
			return o, nil
		}
		if err != nil {
			return o, err
		}
		defer obj.Close()
		r, err := obj.Range(0, obj.Meta().Size)
		if err != nil {
			return o, err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		o.etag = objecttest.ETag(b) // of the bytes that were read
		return o, err
	case "delete":
		_, err = e.Delete(ctx, "b", object.Delete{Key: c.key})
		return o, err
	}
	p := object.Put{Key: c.key, Body: bytes.NewReader(body), Size: -1}
	if c.op == "putif" {
		p.IfMatch = c.old
	}
	_, err = e.Put(ctx, "b", p)
	if errors.Is(err, object.ErrPrecondition) || errors.Is(err, object.ErrNotFound) {
		return outcome{refused: true}, nil
	}
	return o, err
}
