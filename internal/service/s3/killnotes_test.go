package s3_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/resource"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/store"
)

const (
	killDir   = "KARRI_TEST_KILL_DIR"
	killHook  = "KARRI_TEST_KILL_HOOK"
	killOwner = "111122223333"
	killTopic = "arn:aws:sns:us-east-1:" + killOwner + ":all"
)

// killed is a service on a disk, whose records are made anew at each start and always the same.
type killed struct {
	service *s3.Service
	engine  *disk.Engine
	store   *store.Store
	ctx     context.Context // of the owner
}

func openKilled(dir, hook string) (*killed, error) {
	engine, err := disk.Open(disk.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	k := &killed{engine: engine, store: store.OpenMemory(slog.New(slog.DiscardHandler))}
	yes := 1
	role := &resource.IAMRole{AccountID: killOwner, Name: "copy", ID: "AROACOPYCOPYCOPYCOPY1", Path: "/"}
	err = k.store.Update(context.Background(), func(tx *store.Tx) error {
		for _, name := range []string{"from", "dest", "logs"} {
			if err := store.Buckets.Put(tx, &resource.Bucket{Name: name, AccountID: killOwner, Region: region, Engine: name + "/1", Versioning: "Enabled"}); err != nil {
				return err
			}
		}
		for kind, doc := range map[resource.BucketPart]any{
			resource.PartNotification: shape.NotificationConfiguration{TopicConfigurations: []shape.TopicConfiguration{{Id: "all", TopicArn: killTopic, Events: []string{"s3:ObjectCreated:*"}}}},
			resource.PartReplication: shape.ReplicationConfiguration{Role: role.ARN(), Rules: []shape.ReplicationRule{{
				ID: "all", Priority: &yes, Status: "Enabled", Filter: &shape.ReplicationRuleFilter{}, DeleteMarkerReplication: &shape.DeleteMarkerReplication{Status: "Disabled"},
				Destination: &shape.Destination{Bucket: "arn:aws:s3:::dest"},
			}}},
			resource.PartLogging: shape.BucketLoggingStatus{LoggingEnabled: &shape.LoggingEnabled{TargetBucket: "logs", TargetPrefix: "log/"}},
		} {
			text, err := json.Marshal(doc)
			if err != nil {
				return err
			}
			if err := store.BucketConfigs.Put(tx, &resource.BucketConfig{Bucket: "from/1", Kind: kind, Document: text}); err != nil {
				return err
			}
		}
		if err := store.Roles.Put(tx, role); err != nil {
			return err
		}
		return store.Webhooks.Put(tx, &resource.Webhook{ARN: killTopic, AccountID: killOwner, URL: hook})
	})
	k.service = s3.New(s3.Config{}, s3.Deps{Store: k.store, Engine: engine})
	k.ctx = call.With(context.Background(), k.info("PutObject"))
	return k, err
}

func (k *killed) info(operation string) *call.Info {
	return &call.Info{Service: "s3", Operation: operation, RequestID: "R", Caller: call.Caller{AccountID: killOwner, UserID: killOwner}, SourceIP: netip.MustParseAddr("192.0.2.1"), Time: time.Now()}
}

// write puts objects until the process is killed: a line is out once a write was acknowledged, or a log was written.
func (k *killed) write(prefix string) {
	var mu sync.Mutex
	logged := 0
	for w := range 4 {
		go func() {
			for n := 0; ; n++ {
				key, size := fmt.Sprintf("%s-%d-%d", prefix, w, n), int64(10)
				if n%10 == 9 {
					size = 100 << 10
				}
				_, err := k.service.PutObject(k.ctx, &shape.PutObjectRequest{Bucket: "from", Key: key, Body: io.NopCloser(strings.NewReader(strings.Repeat("x", int(size)))), ContentLength: &size})
				if err != nil {
					fmt.Println("E", err)
					os.Exit(1)
				}
				k.service.Accessed(call.Access{Info: k.info("PutObject"), Bucket: "from", Key: key, Method: http.MethodPut, URI: "PUT /from/" + key + " HTTP/1.1", Status: 200, Size: size})
				mu.Lock()
				os.Stdout.WriteString("A " + key + "\n")
				logged++
				mu.Unlock()
			}
		}()
	}
	for {
		mu.Lock()
		n := logged
		mu.Unlock()
		k.service.WriteAccessLogs(k.ctx)
		os.Stdout.WriteString(fmt.Sprintf("L %d\n", n))
		time.Sleep(5 * time.Millisecond)
	}
}

// TestKillNotes kills a process that writes, tells a webhook, replicates and logs, again and again. Every acknowledged
// write is told of and replicated; what was logged stays, in whole lines, and a kill loses no more than what waited.
func TestKillNotes(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		k, err := openKilled(dir, os.Getenv(killHook))
		if err != nil {
			fmt.Println("E", err)
			os.Exit(1)
		}
		go func() { _ = k.service.RunOutbox(context.Background()) }()
		k.write(fmt.Sprint(os.Getpid()))
		return
	}
	if testing.Short() {
		t.Skip("starts processes")
	}
	var mu sync.Mutex
	heard, count := map[string]bool{}, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e told
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || len(e.Records) != 1 {
			t.Errorf("%+v, %v", e, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if count++; count%100 == 0 { // taken, and the sender does not hear of it
			heard[e.Records[0].S3.Object.Key] = true
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		heard[e.Records[0].S3.Object.Key] = true
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	const kills = 6
	acked, logged := map[string]bool{}, 0
	for n := range kills {
		logged += killNotes(t, dir, server.URL, 60+n*53, acked)
	}

	k, err := openKilled(dir, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(k.ctx)
	done := make(chan error)
	go func() { done <- k.service.RunOutbox(ctx) }()
	defer func() {
		if t.Failed() {
			t.Log(k.service.Queues(k.ctx))
		}
	}()
	until(t, "worked off", func() bool {
		queues, err := k.engine.NoteQueues(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(queues) == 0
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for key := range acked {
		if !heard[key] {
			t.Errorf("%s was acknowledged and never told of", key)
		}
		m, err := k.engine.Head(k.ctx, "from/1", key, "")
		if err != nil || m.Replication != "COMPLETED" || len(m.Awaits) > 0 {
			t.Fatalf("%s: %+v, %v", key, m, err)
		}
		copied, err := k.engine.Head(k.ctx, "dest/1", key, "")
		if err != nil || copied.ETag != m.ETag || copied.Replication != "REPLICA" {
			t.Fatalf("the replica of %s: %+v, %v", key, copied, err)
		}
	}
	vs, err := k.engine.ListVersions(k.ctx, "dest/1", object.VersionOptions{Max: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, v := range vs.Versions {
		if seen[v.Key] {
			t.Errorf("%s was copied twice", v.Key)
		}
		seen[v.Key] = true
	}
	if lines := k.logLines(t); lines < logged {
		t.Errorf("%d lines, and %d had been written before the kills", lines, logged)
	}
	t.Logf("%d kills, %d acknowledged writes, %d deliveries, %d lines logged", kills, len(acked), count, logged)
	if err := k.engine.Close(); err != nil {
		t.Error(err)
	}
	if err := k.store.Close(); err != nil {
		t.Error(err)
	}
}

// logLines counts the lines of all logs, each of which is whole and there once.
func (k *killed) logLines(t *testing.T) int {
	t.Helper()
	l, err := k.engine.List(k.ctx, "logs/1", object.ListOptions{Max: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, m := range l.Objects {
		o, err := k.engine.Get(k.ctx, "logs/1", m.Key, "")
		if err != nil {
			t.Fatal(err)
		}
		r, err := o.Range(0, m.Size)
		if err != nil {
			t.Fatal(err)
		}
		text := string(read(t, r))
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
			f := logLine.FindStringSubmatch(line)
			if f == nil || !strings.HasSuffix(text, "\n") || keys[f[8]] {
				t.Fatalf("%s: %q", m.Key, line)
			}
			keys[f[8]] = true
		}
	}
	return len(keys)
}

// killNotes starts a process, kills it after some of its lines, and says how many lines it had logged by then.
func killNotes(t *testing.T, dir, hook string, after int, acked map[string]bool) (logged int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKillNotes$")
	cmd.Env = append(os.Environ(), killDir+"="+dir, killHook+"="+hook)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for count := 0; ; {
		line, err := lines.ReadString('\n')
		if err != nil { // also a line that was cut
			break
		}
		line = strings.TrimSuffix(line, "\n")
		if key, ok := strings.CutPrefix(line, "A "); ok {
			acked[key] = true
			count++
		} else if _, err := fmt.Sscanf(line, "L %d", &logged); err != nil {
			t.Errorf("the process says %q", line)
		}
		if count == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	return logged
}
