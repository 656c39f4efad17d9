package frontdoor_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"github.com/aws/aws-sdk-go-v2/service/ebs/types"

	shape "karri.dev/internal/aws/shape/ebs"
	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/chunks"
	"karri.dev/internal/identity"
	"karri.dev/internal/ids"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	service "karri.dev/internal/service/ebs"
	"karri.dev/internal/service/ec2"
	"karri.dev/internal/store"
)

// newEBS is a cloud with the EBS direct APIs over a store of blocks in memory.
func newEBS(t testing.TB) *cloud {
	c := newCloud(t)
	engine, err := disk.Open(disk.Config{Dir: "/objects", FS: disk.InMemory()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	s := service.New(service.Deps{
		Store: c.store, Chunks: chunks.New(engine, make([]byte, 32)), Images: "images", Sealer: sealer, IDs: ids.New(nil), Now: func() time.Time { return c.now() },
		Log: slog.New(slog.DiscardHandler), Readable: ec2.MayRestore, Encrypts: ec2.EncryptsByDefault,
	})
	c.Register(shape.Service(), s)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	return c
}

// block is one that is full of a byte.
func block(b byte) []byte { return bytes.Repeat([]byte{b}, chunks.Size) }

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// writer writes snapshots with AWS's client.
type writer struct {
	t testing.TB
	c *cloud
	*ebs.Client
}

func (w *writer) put(id string, index int32, data []byte) error {
	_, err := w.PutSnapshotBlock(context.Background(), &ebs.PutSnapshotBlockInput{
		SnapshotId: &id, BlockIndex: &index, BlockData: bytes.NewReader(data), DataLength: aws.Int32(int32(len(data))),
		Checksum: aws.String(sumOf(data)), ChecksumAlgorithm: types.ChecksumAlgorithmChecksumAlgorithmSha256,
	})
	return err
}

// write makes a snapshot of blocks and waits until it is completed.
func (w *writer) write(parent string, gib int64, blocks map[int32]byte) string {
	w.t.Helper()
	in := &ebs.StartSnapshotInput{VolumeSize: &gib}
	if parent != "" {
		in.ParentSnapshotId = &parent
	}
	out, err := w.StartSnapshot(context.Background(), in)
	if err != nil {
		w.t.Fatal(err)
	}
	for index, b := range blocks {
		if err := w.put(*out.SnapshotId, index, block(b)); err != nil {
			w.t.Fatal(err)
		}
	}
	_, err = w.CompleteSnapshot(context.Background(), &ebs.CompleteSnapshotInput{SnapshotId: out.SnapshotId, ChangedBlocksCount: aws.Int32(int32(len(blocks)))})
	if err != nil {
		w.t.Fatal(err)
	}
	w.await(*out.SnapshotId, "completed")
	return *out.SnapshotId
}

func (w *writer) await(id, state string) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		snap := store.Snapshots.Get(w.c.store.Snapshot(), id)
		if snap.State == state && snap.Direct == nil {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%+v", snap)
		}
	}
}

// list gives what ListSnapshotBlocks tells, by index.
func (w *writer) list(id string, max int32) map[int32]string {
	w.t.Helper()
	out := map[int32]string{}
	pages := ebs.NewListSnapshotBlocksPaginator(w.Client, &ebs.ListSnapshotBlocksInput{SnapshotId: &id, MaxResults: &max})
	for pages.HasMorePages() {
		p, err := pages.NextPage(context.Background())
		if err != nil {
			w.t.Fatal(err)
		}
		if len(p.Blocks) > int(max) || *p.BlockSize != chunks.Size {
			w.t.Errorf("%d blocks of %d", len(p.Blocks), *p.BlockSize)
		}
		for _, b := range p.Blocks {
			out[*b.BlockIndex] = *b.BlockToken
		}
	}
	return out
}

func (w *writer) get(id string, index int32, token string) ([]byte, error) {
	out, err := w.GetSnapshotBlock(context.Background(), &ebs.GetSnapshotBlockInput{SnapshotId: &id, BlockIndex: &index, BlockToken: &token})
	if err != nil {
		return nil, err
	}
	defer out.BlockData.Close()
	data, err := io.ReadAll(out.BlockData)
	if err == nil && (*out.Checksum != sumOf(data) || *out.DataLength != chunks.Size || out.ChecksumAlgorithm != "SHA256") {
		w.t.Errorf("block %d has %d bytes, checksum %s", index, *out.DataLength, *out.Checksum)
	}
	return data, err
}

func TestSnapshotsWithSDK(t *testing.T) {
	for _, https := range []bool{false, true} {
		t.Run(fmt.Sprint("HTTPS ", https), func(t *testing.T) {
			c := newEBS(t)
			client := http.DefaultClient
			if https {
				client = c.serveTLS(t)
			} else {
				c.serve(t)
			}
			cfg := c.config(c.key)
			cfg.HTTPClient = client
			snapshotsWithSDK(&writer{t, c, ebs.NewFromConfig(cfg)})
		})
	}
}

func snapshotsWithSDK(w *writer) {
	t, ctx := w.t, context.Background()
	first := map[int32]byte{0: 1, 5: 2, 2047: 3}
	for i := range int32(120) {
		first[100+i] = byte(i%7 + 1)
	}
	parent := w.write("", 1, first)
	tokens := w.list(parent, 100)
	if len(tokens) != len(first) {
		t.Fatalf("%d blocks, not %d", len(tokens), len(first))
	}
	for _, index := range []int32{0, 5, 101, 2047} {
		if data, err := w.get(parent, index, tokens[index]); err != nil || !bytes.Equal(data, block(first[index])) {
			t.Errorf("block %d: %v", index, err)
		}
	}
	// What changed: one block is another one, one has gone, one is new, one was written with what was there.
	child := w.write(parent, 2, map[int32]byte{5: 9, 100: 0, 2048: 4, 0: 1})
	got := map[int32][2]bool{}
	for next := (*string)(nil); ; {
		out, err := w.ListChangedBlocks(ctx, &ebs.ListChangedBlocksInput{FirstSnapshotId: &parent, SecondSnapshotId: &child, MaxResults: aws.Int32(100), NextToken: next})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range out.ChangedBlocks {
			got[*b.BlockIndex] = [2]bool{b.FirstBlockToken != nil, b.SecondBlockToken != nil}
			if b.SecondBlockToken != nil {
				if _, err := w.get(child, *b.BlockIndex, *b.SecondBlockToken); err != nil {
					t.Error(err)
				}
			}
		}
		if *out.VolumeSize != 2 {
			t.Error(*out.VolumeSize)
		}
		if next = out.NextToken; next == nil {
			break
		}
	}
	if len(got) != 3 || got[5] != [2]bool{true, true} || got[100] != [2]bool{true, false} || got[2048] != [2]bool{false, true} {
		t.Errorf("%v", got)
	}
	if n := len(w.list(child, 10000)); n != len(first) {
		t.Errorf("%d blocks", n)
	}

	other := w.write("", 1, map[int32]byte{0: 1})
	_, err := w.ListChangedBlocks(ctx, &ebs.ListChangedBlocksInput{FirstSnapshotId: &other, SecondSnapshotId: &child})
	if errCode(err) != "ValidationException" || !strings.Contains(err.Error(), "not of the same volume") {
		t.Error(err)
	}
	// Tokens are for one block of one snapshot and one account, and end.
	good := tokens[5]
	for name, x := range map[string]struct {
		snapshot string
		index    int32
		token    string
	}{
		"another index": {parent, 0, good}, "another snapshot": {child, 5, good}, "a page's": {parent, 5, base64.StdEncoding.EncodeToString(make([]byte, 60))},
		"no base64": {parent, 5, "%%%"}, "long": {parent, 5, strings.Repeat("A", 10000)}, "beyond": {parent, 1 << 20, good}, "negative": {parent, -1, good},
	} {
		if _, err := w.get(x.snapshot, x.index, x.token); errCode(err) != "ValidationException" {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, key, err := w.c.id.CreateAccount(ctx, identity.NewAccount{Name: "chemistry"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := w.c.config(key)
	cfg.HTTPClient = w.Options().HTTPClient
	stranger := &writer{t, w.c, ebs.NewFromConfig(cfg)}
	if _, err := stranger.get(parent, 5, good); code(err) != "ResourceNotFoundException 404" {
		t.Error(err)
	}
	share := func(change func(*resource.Snapshot)) {
		err := w.c.store.Update(ctx, func(tx *store.Tx) error {
			next := *store.Snapshots.Get(tx, parent)
			change(&next)
			return store.Snapshots.Put(tx, &next)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	share(func(s *resource.Snapshot) { s.Public = true })
	if _, err := stranger.get(parent, 5, good); errCode(err) != "ValidationException" {
		t.Errorf("another account's token: %v", err)
	}
	theirs := stranger.list(parent, 1000)
	if data, err := stranger.get(parent, 5, theirs[5]); err != nil || data[0] != 2 {
		t.Error(err)
	}
	if err := stranger.put(parent, 5, block(1)); code(err) != "ResourceNotFoundException 404" {
		t.Errorf("a stranger writes: %v", err)
	}
}

// TestSnapshotsWithOtherClients: Debian's aws CLI and boto3, unchanged. The latter signs no payload over HTTPS, and does
// not say so.
func TestSnapshotsWithOtherClients(t *testing.T) {
	for _, program := range []string{"/usr/bin/aws", "/usr/bin/python3"} {
		if _, err := os.Stat(program); err != nil {
			t.Skip(program + " is not there")
		}
	}
	c := newEBS(t)
	c.serveTLS(t)
	home := t.TempDir()
	run := func(program string, words ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, words...)
		cmd.Env = []string{
			"HOME=" + home, "PATH=/usr/bin:/bin", "AWS_ACCESS_KEY_ID=" + c.key.ID, "AWS_SECRET_ACCESS_KEY=" + c.key.Secret,
			"AWS_EC2_METADATA_DISABLED=true", "AWS_DEFAULT_REGION=us-east-1", "ENDPOINT=" + c.url, "PYTHONWARNINGS=ignore",
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s%s", words, err, out, stderr.String())
		}
		return strings.TrimSpace(string(out))
	}
	cli := func(words ...string) string {
		t.Helper()
		return run("/usr/bin/aws", append([]string{"ebs", "--endpoint-url", c.url, "--no-verify-ssl", "--output", "text"}, words...)...)
	}
	id := run("/usr/bin/python3", "testdata/snapshot.py")
	w := &writer{t, c, nil}
	w.await(id, "completed")
	words := strings.Fields(cli("list-snapshot-blocks", "--snapshot-id", id, "--query", "Blocks[?BlockIndex==`7`].[BlockIndex,BlockToken]"))
	if len(words) != 2 {
		t.Fatal(words)
	}
	file := filepath.Join(home, "block")
	cli("get-snapshot-block", "--snapshot-id", id, "--block-index", "7", "--block-token", words[1], file)
	if data, err := os.ReadFile(file); err != nil || !bytes.Equal(data, block('k')) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	second := cli("start-snapshot", "--volume-size", "1", "--parent-snapshot-id", id, "--tags", "Key=a,Value=b", "--query", "SnapshotId")
	cli("put-snapshot-block", "--snapshot-id", second, "--block-index", "8", "--data-length", fmt.Sprint(chunks.Size), "--block-data", file, "--checksum", sumOf(block('k')), "--checksum-algorithm", "SHA256")
	cli("complete-snapshot", "--snapshot-id", second, "--changed-blocks-count", "1")
	w.await(second, "completed")
	if got := cli("list-changed-blocks", "--first-snapshot-id", id, "--second-snapshot-id", second, "--query", "ChangedBlocks[].BlockIndex"); got != "8" {
		t.Error(got)
	}
}

// Nobody writes a block that was not signed for, and a payload that was signed is the one that comes.
func TestBlocksAreSigned(t *testing.T) {
	c := newEBS(t)
	c.serve(t)
	w := &writer{t, c, ebs.NewFromConfig(c.config(c.key))}
	id := w.write("", 1, map[int32]byte{3: 1})
	send := func(payload string, change func(*http.Request)) string {
		r := httptest.NewRequest("GET", c.url+"/snapshots/"+id+"/blocks", nil)
		sigv4.Sign(r, sigv4.Credentials{AccessKeyID: c.key.ID, Secret: c.key.Secret}, "us-east-1", "ebs", payload, time.Now())
		change(r)
		res := c.do(r)
		return fmt.Sprint(res.Code, " ", res.Header().Get("X-Amzn-Errortype"))
	}
	for name, got := range map[string][2]string{
		"as it is":        {send(sigv4.EmptyPayload, func(*http.Request) {}), "200 "},
		"nobody":          {send(sigv4.EmptyPayload, func(r *http.Request) { r.Header.Del("Authorization"); r.Host = "ebs.us-east-1.cloud.test" }), "403 MissingAuthenticationTokenException"},
		"another path":    {send(sigv4.EmptyPayload, func(r *http.Request) { r.URL.Path = "/snapshots/" + id + "/changedblocks" }), "403 InvalidSignatureException"},
		"another query":   {send(sigv4.EmptyPayload, func(r *http.Request) { r.URL.RawQuery = "maxResults=100" }), "403 InvalidSignatureException"},
		"another body":    {send(sigv4.EmptyPayload, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("x")) }), "403 InvalidSignatureException"},
		"no signed body":  {send(sigv4.UnsignedPayload, func(*http.Request) {}), "403 InvalidSignatureException"},
		"no such thing":   {send(sigv4.EmptyPayload, func(r *http.Request) { r.URL.Path = "/volumes" }), "404 UnknownOperationException"},
		"no such method":  {send(sigv4.EmptyPayload, func(r *http.Request) { r.Method = "DELETE" }), "404 UnknownOperationException"},
		"an escaped path": {send(sigv4.EmptyPayload, func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/snapshots/a/../b/blocks", "" }), "404 UnknownOperationException"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %s, want %s", name, got[0], got[1])
		}
	}
}
