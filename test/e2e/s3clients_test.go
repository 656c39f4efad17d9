package e2e

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Clients of S3 as people have them, each with its own defaults, against one cloud: Debian's aws CLI, boto3, s3cmd,
// rclone and restic, AWS's SDKs for Go and for JavaScript.
func TestS3Clients(t *testing.T) {
	c := newCloud(t)
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	data := make([]byte, 20<<20)
	_, _ = rand.Read(data)
	for name, content := range map[string][]byte{"small": []byte("alpha"), "empty": {}, "deep/b c+é.txt": []byte("beta"), "big": data} {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, use := range map[string]func(*s3client){
		"aws": awsCLI, "s3cmd": s3cmd, "rclone": rclone, "restic": restic,
		"boto3":  func(s *s3client) { s.run("/usr/bin/python3", "s3/client.py") },
		"node":   func(s *s3client) { s.run("node", "s3/client.mjs") },
		"golang": func(s *s3client) { s.env = append(s.env, asClient+"=1"); s.run(os.Args[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &s3client{t: t, ns: c.ns, dir: t.TempDir(), tree: tree, bucket: name}
			s.env = append(append(s.env, c.env...), "S3_ENDPOINT="+c.url, "HOME="+s.dir, "AWS_MAX_ATTEMPTS=1")
			use(s)
		})
	}
}

// s3client is a client with a folder and a bucket of its own.
type s3client struct {
	t      *testing.T
	ns     namespace
	env    []string
	dir    string
	tree   string // files to store
	bucket string
}

// try runs a program.
func (s *s3client) try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := s.ns.command(ctx, name, args...)
	cmd.Env = s.env
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// run runs a program that must succeed.
func (s *s3client) run(name string, args ...string) string {
	s.t.Helper()
	out, err := s.try(name, args...)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// path names a file of the client's own.
func (s *s3client) path(name string) string { return filepath.Join(s.dir, name) }

// same fails unless a folder holds what the tree holds.
func (s *s3client) same(dir string) {
	s.t.Helper()
	must(s.t, "diff", "-r", s.tree, dir)
}

// env gives a variable of the client's environment.
func (s *s3client) variable(name string) string {
	for i := len(s.env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(s.env[i], name+"="); ok {
			return v
		}
	}
	return ""
}

func awsCLI(s *s3client) {
	aws := func(args ...string) string {
		s.t.Helper()
		return s.run("/usr/bin/aws", append([]string{"--endpoint-url", s.variable("S3_ENDPOINT")}, args...)...)
	}
	at := "s3://aws-cli"
	aws("s3", "mb", at)
	aws("s3", "sync", "--no-progress", s.tree, at+"/tree")
	if again := aws("s3", "sync", s.tree, at+"/tree"); again != "" {
		s.t.Errorf("synchronised again: %s", again)
	}
	aws("s3", "sync", "--no-progress", at+"/tree", s.path("back"))
	s.same(s.path("back"))
	aws("s3", "cp", "--recursive", at+"/tree", at+"/copy") // on the server, large ones in parts
	aws("s3", "mv", at+"/copy/big", at+"/moved")
	aws("s3", "cp", "--no-progress", at+"/moved", s.path("moved"))
	must(s.t, "cmp", s.path("moved"), filepath.Join(s.tree, "big"))
	if got := s.run("sh", "-c", "echo from a pipe | aws --endpoint-url $S3_ENDPOINT s3 cp - "+at+"/pipe && aws --endpoint-url $S3_ENDPOINT s3 cp "+at+"/pipe -"); got != "from a pipe" {
		s.t.Errorf("pipe: %s", got)
	}
	if got := aws("s3", "ls", "--recursive", at+"/tree/deep/"); !strings.HasSuffix(got, " 4 tree/deep/b c+é.txt") {
		s.t.Errorf("ls: %s", got)
	}
	if got := s.run("curl", "-sSf", aws("s3", "presign", at+"/tree/small")); got != "alpha" {
		s.t.Errorf("presigned: %s", got)
	}
	if got := aws("s3api", "list-objects-v2", "--bucket", "aws-cli", "--page-size", "2", "--query", "length(Contents)"); got != "9" {
		s.t.Errorf("objects in pages of two: %s", got)
	}
	aws("s3", "rb", "--force", at)
}

func s3cmd(s *s3client) {
	endpoint := strings.TrimPrefix(s.variable("S3_ENDPOINT"), "http://")
	run := func(args ...string) string {
		s.t.Helper()
		return s.run("s3cmd", append([]string{
			"--no-ssl", "--host", endpoint, "--host-bucket", endpoint, "--access_key", s.variable("AWS_ACCESS_KEY_ID"), "--secret_key", s.variable("AWS_SECRET_ACCESS_KEY"), "--no-progress",
		}, args...)...)
	}
	run("mb", "s3://s3cmd")
	// This version of s3cmd copies the ACL as well: AWS refuses that, too, where ACLs are off.
	s.run("/usr/bin/aws", "--endpoint-url", s.variable("S3_ENDPOINT"), "s3api", "put-bucket-ownership-controls", "--bucket", "s3cmd", "--ownership-controls", "Rules=[{ObjectOwnership=ObjectWriter}]")
	run("sync", "--multipart-chunk-size-mb=5", s.tree+"/", "s3://s3cmd/tree/")
	run("sync", "s3://s3cmd/tree/", s.path("back")+"/")
	s.same(s.path("back"))
	run("put", "--add-header=x-amz-meta-color:blue", filepath.Join(s.tree, "small"), "s3://s3cmd/one")
	if info := run("info", "s3://s3cmd/one"); !strings.Contains(info, "x-amz-meta-color: blue") || !strings.Contains(info, "FULL_CONTROL") {
		s.t.Errorf("info: %s", info)
	}
	run("cp", "s3://s3cmd/one", "s3://s3cmd/two")
	run("mv", "s3://s3cmd/two", "s3://s3cmd/three")
	if got := run("ls", "s3://s3cmd/"); !strings.Contains(got, "s3://s3cmd/three") || strings.Contains(got, "s3://s3cmd/two") || !strings.Contains(got, "DIR") {
		s.t.Errorf("ls: %s", got)
	}
	run("setpolicy", s.policy(), "s3://s3cmd")
	run("delpolicy", "s3://s3cmd")
	run("expire", "--expiry-days=7", "--expiry-prefix=old/", "s3://s3cmd")
	run("del", "--recursive", "--force", "s3://s3cmd")
	run("rb", "s3://s3cmd")
}

// policy writes a bucket policy into a file.
func (s *s3client) policy() string {
	path := s.path("policy.json")
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObjectTorrent","Resource":"arn:aws:s3:::` + s.bucket + `/*"}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func rclone(s *s3client) {
	for k, v := range map[string]string{
		"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": s.variable("S3_ENDPOINT"), "ACCESS_KEY_ID": s.variable("AWS_ACCESS_KEY_ID"),
		"SECRET_ACCESS_KEY": s.variable("AWS_SECRET_ACCESS_KEY"), "FORCE_PATH_STYLE": "true", "REGION": "us-east-1",
	} {
		s.env = append(s.env, "RCLONE_CONFIG_KARRI_"+k+"="+v)
	}
	run := func(args ...string) string {
		s.t.Helper()
		return s.run("rclone", append([]string{"--config", "/dev/null", "--s3-upload-cutoff", "8M", "--s3-chunk-size", "5M", "--retries", "1"}, args...)...)
	}
	run("mkdir", "karri:rclone")
	run("sync", s.tree, "karri:rclone/tree")
	run("check", "--download", s.tree, "karri:rclone/tree")
	if got := run("sync", "--dry-run", "-v", s.tree, "karri:rclone/tree"); !strings.Contains(got, "There was nothing to transfer") {
		s.t.Errorf("synchronised again: %s", got)
	}
	run("copyto", "karri:rclone/tree/big", "karri:rclone/copy") // on the server
	run("moveto", "karri:rclone/copy", "karri:rclone/moved")
	run("copy", "karri:rclone/tree", s.path("back"))
	s.same(s.path("back"))
	if got := run("cat", "--offset", "1", "--count", "3", "karri:rclone/tree/small"); got != "lph" {
		s.t.Errorf("cat: %s", got)
	}
	if got := run("lsf", "-R", "--files-only", "karri:rclone"); len(strings.Fields(got)) != 6 { // a name has a space
		s.t.Errorf("lsf: %s", got)
	}
	run("purge", "karri:rclone")
}

func restic(s *s3client) {
	s.env = append(s.env, "RESTIC_REPOSITORY=s3:"+s.variable("S3_ENDPOINT")+"/restic/repo", "RESTIC_PASSWORD=secret", "RESTIC_CACHE_DIR="+s.path("cache"))
	s.run("restic", "init") // makes the bucket
	s.run("restic", "backup", s.tree)
	s.run("restic", "backup", "--force", s.tree)
	s.run("restic", "check", "--read-data")
	s.run("restic", "restore", "latest", "--target", s.path("back"))
	s.same(filepath.Join(s.path("back"), s.tree))
	s.run("restic", "forget", "--keep-last", "1", "--prune")
	s.run("restic", "check")
	if got := s.run("restic", "list", "snapshots"); len(strings.Fields(got)) != 1 {
		s.t.Errorf("snapshots: %s", got)
	}
}
