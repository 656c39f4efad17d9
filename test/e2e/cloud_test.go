package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a running Karri process.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	log string
}

// start runs karri in a namespace and waits for its ready line.
func start(t *testing.T, n namespace, logName string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: n.command(context.Background(), shared.karri, args...), log: filepath.Join(t.TempDir(), logName)}
	stderr, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	p.cmd.Stderr = stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			text, _ := os.ReadFile(p.log)
			t.Logf("log of karri %s:\n%s", args[0], tail(string(text), 60))
		}
	})
	ready := make(chan bool, 1)
	go func() {
		r := bufio.NewReader(stdout)
		line, _ := r.ReadString('\n')
		ready <- strings.HasPrefix(line, "ready ")
		io.Copy(io.Discard, r)
	}()
	select {
	case ok := <-ready:
		if !ok {
			text, _ := os.ReadFile(p.log)
			t.Fatalf("karri %s ended before it was ready:\n%s", args[0], tail(string(text), 60))
		}
	case <-time.After(60 * time.Second):
		t.Fatalf("karri %s is not ready", args[0])
	}
	return p
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// stop ends the process as an operator does.
func (p *process) stop() { p.end(syscall.SIGTERM) }

// kill ends it as a power cut does.
func (p *process) kill() { p.end(syscall.SIGKILL) }

func (p *process) end(s syscall.Signal) {
	if p.cmd.ProcessState != nil {
		return
	}
	p.cmd.Process.Signal(s) // nsenter has become karri: same process
	p.cmd.Wait()
}

// cloud is a whole cloud and its administrator's clients.
type cloud struct {
	args []string // further ones of `karri up`
	t    *testing.T
	ns   namespace
	dir  string
	proc *process
	env  []string // of clients
	url  string
	ca   string
}

const api = "127.0.0.1:8773"

// newCloud runs `karri up` in a namespace of its own.
func newCloud(t *testing.T) *cloud {
	t.Helper()
	return newCloudWith(t)
}

// newCloudWith is newCloud with further arguments of `karri up`.
func newCloudWith(t *testing.T, args ...string) *cloud {
	t.Helper()
	c := prepareCloud(t, args...)
	c.up()
	return c
}

// prepareCloud makes the namespace of a cloud that is not up yet.
func prepareCloud(t *testing.T, args ...string) *cloud {
	t.Helper()
	c := &cloud{t: t, args: args, ns: newNamespace(t, "cloud"), dir: filepath.Join(shared.dir, strings.ReplaceAll(t.Name(), "/", "-")), url: "http://" + api}
	t.Cleanup(func() { c.down(c.ns, c.dir) })
	return c
}

func (c *cloud) up() {
	c.t.Helper()
	c.proc = start(c.t, c.ns, "up.log", append([]string{"up", "--data-dir", c.dir, "--api-addr", api}, c.args...)...)
	c.clients(c.dir)
	c.karri("status", "--wait", "--data-dir", c.dir)
}

// down removes what a Karri process made on the host, and its data.
func (c *cloud) down(n namespace, dir string) {
	out, err := n.command(context.Background(), shared.karri, "down", "--data-dir", dir).CombinedOutput()
	if err != nil {
		c.t.Errorf("karri down: %v\n%s", err, out)
	}
	os.RemoveAll(dir)
}

// clients makes the environment of AWS clients from the administrator's credentials.
func (c *cloud) clients(dir string) {
	c.t.Helper()
	rc := filepath.Join(dir, "credentials", "admin", "karrirc")
	c.env = strings.Split(strings.TrimSpace(must(c.t, "env", "-i", "PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME="+shared.dir, "bash", "-c", ". "+rc+" && env")), "\n")
	for _, v := range c.env {
		if ca, ok := strings.CutPrefix(v, "AWS_CA_BUNDLE="); ok {
			c.ca = ca
		}
	}
}

// karri runs a karri command in the cloud's namespace.
func (c *cloud) karri(args ...string) string {
	c.t.Helper()
	out, err := c.ns.command(context.Background(), shared.karri, args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("karri %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// try runs Debian's aws CLI and gives its output.
func (c *cloud) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := c.ns.command(ctx, "/usr/bin/aws", append([]string{"--endpoint-url", c.url}, args...)...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// aws runs Debian's aws CLI, which must succeed.
func (c *cloud) aws(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// text runs an ec2 command with a query and text output.
func (c *cloud) text(query string, args ...string) string {
	c.t.Helper()
	return c.aws(append(append([]string{"ec2"}, args...), "--query", query, "--output", "text")...)
}

// refused runs a command that must fail with an AWS error code.
func (c *cloud) refused(code string, args ...string) {
	c.t.Helper()
	out, err := c.try(args...)
	if err == nil || !strings.Contains(out, "("+code+")") {
		c.t.Errorf("aws %s: want %s, got %v: %s", strings.Join(args, " "), code, err, out)
	}
}

// upload puts a file into a bucket.
func (c *cloud) upload(file, bucket, key string) {
	c.t.Helper()
	if out, err := c.try("s3api", "head-bucket", "--bucket", bucket); err != nil {
		c.aws("s3", "mb", "s3://"+bucket)
		_ = out
	}
	c.aws("s3", "cp", "--no-progress", file, "s3://"+bucket+"/"+key)
}

// importImage imports an object and gives the image id, or the message of the failure.
func (c *cloud) importImage(format, bucket, key string) (image, failure string) {
	c.t.Helper()
	task := c.text("ImportTaskId", "import-image", "--disk-containers", "Format="+format+",UserBucket={S3Bucket="+bucket+",S3Key="+key+"}")
	var fields []string
	eventually(c.t, "import of "+key, 5*time.Minute, func() bool {
		fields = strings.SplitN(c.text("ImportImageTasks[0].[Status,ImageId,StatusMessage]", "describe-import-image-tasks", "--import-task-ids", task), "\t", 3)
		return fields[0] == "completed" || fields[0] == "deleted"
	})
	if fields[0] == "deleted" {
		return "", fields[2]
	}
	return fields[1], ""
}

// tinyImage uploads and imports the small guest.
func (c *cloud) tinyImage() string {
	c.t.Helper()
	c.upload(shared.tiny, "images", "tiny.raw")
	image, failure := c.importImage("raw", "images", "tiny.raw")
	if failure != "" {
		c.t.Fatal(failure)
	}
	return image
}

// keyPair makes a key pair and gives the private key's file.
func (c *cloud) keyPair(name string) string {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), name+".pem")
	if err := os.WriteFile(path, []byte(c.text("KeyMaterial", "create-key-pair", "--key-name", name)+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

func (c *cloud) openPort(port string) {
	c.t.Helper()
	c.aws("ec2", "authorize-security-group-ingress", "--group-name", "default", "--protocol", "tcp", "--port", port, "--cidr", "0.0.0.0/0")
}

// instance is what tests need to know of one.
type instance struct {
	ID      string `json:"InstanceId"`
	Public  string `json:"PublicIpAddress"`
	Private string `json:"PrivateIpAddress"`
	State   struct{ Name string }
	Type    string `json:"InstanceType"`
	Root    string `json:"RootDeviceType"`
}

// launch starts instances and waits until they run.
func (c *cloud) launch(image, key string, count string, more ...string) []instance {
	c.t.Helper()
	ids := strings.Fields(c.text("Instances[].InstanceId", append([]string{"run-instances", "--image-id", image, "--instance-type", "t3.nano", "--key-name", key, "--count", count}, more...)...))
	c.wait("instance-running", "--instance-ids", ids...)
	return c.describe(ids...)
}

func (c *cloud) describe(ids ...string) []instance {
	c.t.Helper()
	var out []instance
	text := c.aws(append([]string{"ec2", "describe-instances", "--query", "Reservations[].Instances[]", "--output", "json", "--instance-ids"}, ids...)...)
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		c.t.Fatalf("%v\n%s", err, text)
	}
	return out
}

// waiters says how to see what the CLI's waiters wait for: the describing call and its query.
var waiters = map[string][2]string{
	"instance-running":            {"describe-instances", "Reservations[].Instances[].State.Name"},
	"instance-stopped":            {"describe-instances", "Reservations[].Instances[].State.Name"},
	"instance-terminated":         {"describe-instances", "Reservations[].Instances[].State.Name"},
	"volume-available":            {"describe-volumes", "Volumes[].State"},
	"snapshot-completed":          {"describe-snapshots", "Snapshots[].State"},
	"image-available":             {"describe-images", "Images[].State"},
	"nat-gateway-available":       {"describe-nat-gateways", "NatGateways[].State"},
	"nat-gateway-deleted":         {"describe-nat-gateways", "NatGateways[].State"},
	"network-interface-available": {"describe-network-interfaces", "NetworkInterfaces[].Status"},
	"vpn-connection-available":    {"describe-vpn-connections", "VpnConnections[].State"},
}

// wait uses one of the CLI's waiters. They look every 15 seconds: so what it waits for is looked for more often before, and the
// waiter only has to find it.
func (c *cloud) wait(waiter, flag string, ids ...string) {
	c.t.Helper()
	if look, ok := waiters[waiter]; ok {
		want := waiter[strings.LastIndexByte(waiter, '-')+1:]
		over := []string{want, "terminated", "error", "failed", "deleted"}
		eventually(c.t, waiter, 10*time.Minute, func() bool {
			states := strings.Fields(c.text(look[1], append([]string{look[0], flag}, ids...)...))
			return !slices.ContainsFunc(states, func(s string) bool { return !slices.Contains(over, s) })
		})
	}
	c.aws(append([]string{"ec2", "wait", waiter, flag}, ids...)...)
}

// sshCommand is a command in a guest, from a namespace.
func (c *cloud) sshCommand(ctx context.Context, key, address, command string) *exec.Cmd {
	return c.ns.command(ctx, "ssh", "-i", key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "ConnectTimeout=3", "root@"+address, command)
}

// ssh runs a command in a guest from a namespace.
func (c *cloud) ssh(key, address, command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := c.sshCommand(ctx, key, address, command)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// login waits until SSH answers and gives the command's output.
func (c *cloud) login(key string, i instance, command string) string {
	c.t.Helper()
	var out string
	end := time.Now().Add(3 * time.Minute)
	for {
		var err error
		if out, err = c.ssh(key, i.Public, command); err == nil {
			return out
		}
		if time.Now().After(end) {
			c.t.Fatalf("no SSH at %s (%s): %v %s\nconsole:\n%s", i.ID, i.Public, err, out,
				c.text("Output", "get-console-output", "--latest", "--instance-id", i.ID))
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// diskOf waits until a guest has a volume, and gives its name there.
func (c *cloud) diskOf(key string, i instance, vol string) (name string) {
	c.t.Helper()
	serial := strings.Replace(vol, "-", "", 1)
	eventually(c.t, "the guest has the disk", time.Minute, func() bool {
		name = c.login(key, i, "for d in /sys/block/vd*; do [ $(cat $d/serial) = "+serial+" ] && echo /dev/${d##*/}; done; true")
		return name != ""
	})
	return name
}

// terminate ends instances and waits until they are gone.
func (c *cloud) terminate(ids ...string) {
	c.t.Helper()
	c.aws(append([]string{"ec2", "terminate-instances", "--instance-ids"}, ids...)...)
	c.wait("instance-terminated", "--instance-ids", ids...)
}
