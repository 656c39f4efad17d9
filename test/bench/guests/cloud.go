package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"karri.dev/internal/aws/sigv4"
)

// command runs to its end.
func command(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w", filepath.Base(name), args[0], err)
	}
	return string(out), err
}

// spawn starts a process that stop ends.
func spawn(name string, args ...string) (stop func(), err error) {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}, nil
}

// cloud is a running `karri up` as its administrator sees it.
type cloud struct {
	cmd      *exec.Cmd
	endpoint string
	key      sigv4.Credentials
	env      []string // of the aws CLI
	image    string
	keyFile  string
	log      string
}

// startCloud starts karri and gives the time until it was ready.
func startCloud(ctx context.Context, karri, data string) (*cloud, time.Duration, error) {
	if err := os.Mkdir(data, 0o711); err != nil {
		return nil, 0, err
	}
	log, err := os.Create(data + ".log")
	if err != nil {
		return nil, 0, err
	}
	defer log.Close()
	c := &cloud{log: data + ".log", cmd: exec.Command(karri, "up", "--data-dir", data, "--api-addr", "127.0.0.1:8773")}
	c.cmd.Stderr = log
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, 0, err
	}
	began := time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, 0, err
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	took := time.Since(began)
	go io.Copy(io.Discard, out) //nolint:errcheck // it ends with the process
	api := regexp.MustCompile(`api=(\S+)`).FindStringSubmatch(line)
	if api == nil {
		text, _ := os.ReadFile(data + ".log")
		return nil, 0, fmt.Errorf("karri up says %q\n%s", line, text)
	}
	c.endpoint = api[1]
	admin := filepath.Join(data, "credentials", "admin")
	text, err := os.ReadFile(filepath.Join(admin, "credentials"))
	if err != nil {
		return nil, 0, err
	}
	for line := range strings.Lines(string(text)) {
		switch k, v, _ := strings.Cut(line, "="); strings.TrimSpace(k) {
		case "aws_access_key_id":
			c.key.AccessKeyID = strings.TrimSpace(v)
		case "aws_secret_access_key":
			c.key.Secret = strings.TrimSpace(v)
		}
	}
	c.env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+c.key.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+c.key.Secret,
		"AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=")
	if out, err := command(ctx, karri, "status", "--wait", "--data-dir", data); err != nil {
		return nil, 0, fmt.Errorf("%w: %s", err, out)
	}
	return c, took, nil
}

func (c *cloud) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	_ = c.cmd.Wait()
}

// resident gives the process's resident memory in bytes.
func (c *cloud) resident() int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.cmd.Process.Pid))
	var size, pages int
	fmt.Sscan(string(text), &size, &pages)
	return pages * os.Getpagesize()
}

// aws runs Debian's aws CLI: for what is not measured.
func (c *cloud) aws(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "/usr/bin/aws", append([]string{"--endpoint-url", c.endpoint, "--output", "text"}, args...)...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("aws %s: %w: %s", strings.Join(args[:2], " "), err, out)
	}
	return strings.TrimSpace(string(out)), err
}

// prepare imports the image and makes a key pair and an open port.
func (c *cloud) prepare(ctx context.Context, disk string) error {
	if _, err := c.aws(ctx, "s3", "mb", "s3://images"); err != nil {
		return err
	}
	if _, err := c.aws(ctx, "s3", "cp", "--no-progress", disk, "s3://images/tiny.raw"); err != nil {
		return err
	}
	task, err := c.aws(ctx, "ec2", "import-image", "--disk-containers", "Format=raw,UserBucket={S3Bucket=images,S3Key=tiny.raw}", "--query", "ImportTaskId")
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, hopeless)
	defer cancel()
	err = every(limited, 200*time.Millisecond, func() (bool, error) {
		text, err := c.aws(ctx, "ec2", "describe-import-image-tasks", "--import-task-ids", task, "--query", "ImportImageTasks[0].[Status,ImageId,StatusMessage]")
		if strings.HasPrefix(text, "deleted") {
			err = errors.New("import failed: " + text)
		}
		if f := strings.Fields(text); len(f) > 1 && f[0] == "completed" {
			c.image = f[1]
		}
		return c.image != "", err
	})
	if err != nil {
		return err
	}
	pem, err := c.aws(ctx, "ec2", "create-key-pair", "--key-name", "bench", "--key-type", "ed25519", "--query", "KeyMaterial")
	if err != nil {
		return err
	}
	c.keyFile = disk + ".pem"
	if err := os.WriteFile(c.keyFile, []byte(pem+"\n"), 0o600); err != nil {
		return err
	}
	_, err = c.aws(ctx, "ec2", "authorize-security-group-ingress", "--group-name", "default", "--protocol", "tcp", "--port", "22", "--cidr", "0.0.0.0/0")
	return err
}

// call makes an EC2 call without a CLI's start in front of it.
func (c *cloud) call(ctx context.Context, action string, params ...string) (string, error) {
	form := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	body := form.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint+"/", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(body))
	sigv4.Sign(r, c.key, "us-east-1", "ec2", hex.EncodeToString(sum[:]), time.Now())
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", action, res.Status, text)
	}
	return string(text), err
}

var (
	instanceID = regexp.MustCompile(`<instanceId>(i-[0-9a-f]+)</instanceId>`)
	output     = regexp.MustCompile(`<output>([^<]*)</output>`)
	publicIP   = regexp.MustCompile(`<ipAddress>([0-9.]+)</ipAddress>`)
	stateName  = regexp.MustCompile(`<instanceState><code>\d+</code><name>([a-z-]+)</name>`)
)

func (c *cloud) launch(ctx context.Context, count int) ([]string, error) {
	n := fmt.Sprint(count)
	text, err := c.call(ctx, "RunInstances", "ImageId", c.image, "InstanceType", "t3.nano", "KeyName", "bench", "MinCount", n, "MaxCount", n)
	var ids []string
	for _, m := range instanceID.FindAllStringSubmatch(text, -1) {
		ids = append(ids, m[1])
	}
	if err == nil && len(ids) != count {
		err = fmt.Errorf("no instances in %s", text)
	}
	return ids, err
}

// asking is when a console is first asked for: before, no guest can be there, and each call costs the guest processor
// time that a bare QEMU's log file does not. Whoever were quicker would be measured too slow, not too fast.
const asking = time.Second

// userland waits until the consoles of all show it.
func (c *cloud) userland(ctx context.Context, ids ...string) error {
	ctx, cancel := context.WithTimeout(ctx, hopeless)
	defer cancel()
	time.Sleep(asking)
	for _, id := range ids {
		err := every(ctx, 10*time.Millisecond, func() (bool, error) {
			console, err := c.console(ctx, id)
			return strings.Contains(console, userland), err
		})
		if err != nil {
			return fmt.Errorf("console of %s: %w", id, err)
		}
	}
	return nil
}

// started says when QEMU began to run an instance's guest, by Karri's log: to the millisecond.
func (c *cloud) started(id string) (time.Time, error) {
	text, err := os.ReadFile(c.log)
	if err != nil {
		return time.Time{}, err
	}
	m := regexp.MustCompile(`time=(\S+) \S+ msg="machine started" machine=` + id).FindSubmatch(text)
	if m == nil {
		return time.Time{}, fmt.Errorf("the log does not say when %s began", id)
	}
	return time.Parse(time.RFC3339Nano, string(m[1]))
}

func (c *cloud) console(ctx context.Context, id string) (string, error) {
	text, err := c.call(ctx, "GetConsoleOutput", "InstanceId", id, "Latest", "true")
	if err != nil {
		return "", err
	}
	m := output.FindStringSubmatch(text)
	if m == nil {
		return "", nil
	}
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(m[1]))
	return string(data), err
}

// login waits until the guest lets us in.
func (c *cloud) login(ctx context.Context, id string) error {
	text, err := c.call(ctx, "DescribeInstances", "InstanceId.1", id)
	if err != nil {
		return err
	}
	m := publicIP.FindStringSubmatch(text)
	if m == nil {
		return fmt.Errorf("%s has no public address", id)
	}
	ctx, cancel := context.WithTimeout(ctx, hopeless)
	defer cancel()
	last := ""
	err = every(ctx, 20*time.Millisecond, func() (bool, error) {
		out, err := command(ctx, "ssh", "-i", c.keyFile, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
			"-o", "LogLevel=ERROR", "-o", "ConnectTimeout=3", "root@"+m[1], "true")
		last = out
		return err == nil, nil
	})
	if err != nil {
		console, _ := c.console(context.WithoutCancel(ctx), id)
		err = fmt.Errorf("no login at %s: %w (%s)\n%s", m[1], err, last, console)
	}
	return err
}

// terminate ends instances and waits until they are gone.
func (c *cloud) terminate(ctx context.Context, ids ...string) error {
	var params []string
	for i, id := range ids {
		params = append(params, fmt.Sprintf("InstanceId.%d", i+1), id)
	}
	if _, err := c.call(ctx, "TerminateInstances", params...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, hopeless)
	defer cancel()
	err := every(ctx, 100*time.Millisecond, func() (bool, error) {
		text, err := c.call(ctx, "DescribeInstances", params...)
		left := len(ids)
		for _, m := range stateName.FindAllStringSubmatch(text, -1) {
			if m[1] == "terminated" {
				left--
			}
		}
		return left == 0, err
	})
	if err != nil {
		err = fmt.Errorf("not terminated: %w", err)
	}
	return err
}
