package e2e

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/totp"
)

// People with passwords, MFA devices, roles and quotas, by boto3, Debian's aws CLI and karri login. No guest runs.
// Nothing that they keep secret is anywhere in the cloud's files.
func TestPeople(t *testing.T) {
	c := newCloud(t)
	admin := c.env
	type key struct{ AccountId, AccessKeyId, SecretAccessKey, SessionToken string }
	as := func(k key) {
		c.env = append(slices.DeleteFunc(slices.Clone(admin), func(v string) bool { return strings.HasPrefix(v, "AWS_PROFILE=") || strings.HasPrefix(v, "AWS_ACCESS") }),
			"AWS_ACCESS_KEY_ID="+k.AccessKeyId, "AWS_SECRET_ACCESS_KEY="+k.SecretAccessKey, "AWS_DEFAULT_REGION=us-east-1", "AWS_ENDPOINT_URL="+c.url)
		if k.SessionToken != "" {
			c.env = append(c.env, "AWS_SESSION_TOKEN="+k.SessionToken)
		}
	}
	account := func(name string) (k key) {
		if err := json.Unmarshal([]byte(c.karri("account", "create", name, "--json", "--data-dir", c.dir)), &k); err != nil {
			t.Fatal(err)
		}
		return k
	}
	chemistry, physics := account("chemistry"), account("physics")

	dir := t.TempDir()
	cert, private := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=www.example.com", "-keyout", private, "-out", cert)
	must(t, "openssl", "rsa", "-in", private, "-traditional", "-out", private)
	as(chemistry)
	cmd := c.ns.command(t.Context(), "/usr/bin/python3", "identity/client.py")
	cmd.Env = append(c.env, "OTHER_ACCOUNT="+physics.AccountId+" "+physics.AccessKeyId+" "+physics.SecretAccessKey, "CERTIFICATE="+cert, "PRIVATE_KEY="+private, "HOME="+dir, "AWS_MAX_ATTEMPTS=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var told struct {
		Secrets []string
		Seed    string
	}
	if err != nil || json.Unmarshal(out, &told) != nil || len(told.Secrets) != 7 {
		t.Fatalf("boto3: %v %s\n%s", err, out, stderr.String())
	}

	sdk := c.ns.command(t.Context(), os.Args[0])
	sdk.Env = append(c.env, asClient+"=identity", "HOME="+dir)
	if out, err := sdk.CombinedOutput(); err != nil {
		t.Errorf("Go SDK: %v %s", err, out)
	}

	// Logins at a shell, as the guide says.
	login := func(stdin string, args ...string) (key, string, error) {
		cmd := c.ns.command(context.Background(), shared.karri, append([]string{"login", "--endpoint", c.url, "--json"}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		var k key
		if err == nil {
			err = json.Unmarshal(out, &k)
		}
		return k, stderr.String(), err
	}
	const password = "Third-Horse-Battery-3"
	c.aws("iam", "create-user", "--user-name", "bob")
	c.aws("iam", "create-login-profile", "--user-name", "bob", "--password", password, "--password-reset-required")
	refusal := map[string]bool{}
	for _, who := range [][]string{{"chemistry", "bob"}, {"chem-lab", "nobody"}, {"nowhere", "bob"}} {
		_, said, err := login("wrong\n", "--account", who[0], "--user", who[1])
		if err == nil {
			t.Errorf("%v came in with a wrong password", who)
		}
		refusal[said] = true
	}
	if len(refusal) != 1 {
		t.Errorf("refusals tell apart: %v", refusal)
	}
	const renewed = "Fourth-Horse-Battery-4"
	bob, said, err := login(password+"\n"+renewed+"\n", "--account", "chem-lab", "--user", "bob", "--duration", "1h")
	if err != nil || !strings.Contains(said, "must be changed") {
		t.Fatalf("%v %s", err, said)
	}
	as(bob)
	if arn := c.aws("sts", "get-caller-identity", "--query", "Arn", "--output", "text"); arn != "arn:aws:iam::"+chemistry.AccountId+":user/bob" {
		t.Errorf("bob is %s", arn)
	}
	c.refused("UnauthorizedOperation", "ec2", "describe-vpcs")

	// Root, with a device.
	const rootPassword = "Root-Horse-Battery-5"
	set := c.ns.command(t.Context(), shared.karri, "account", "root-login", "chemistry", "--data-dir", c.dir)
	set.Stdin = strings.NewReader(rootPassword + "\n")
	if out, err := set.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	root, said, err := login(rootPassword+"\n", "--account", "chem-lab", "--root")
	if err != nil {
		t.Fatal(said)
	}
	as(root)
	seedFile := filepath.Join(dir, "seed")
	serial := c.aws("iam", "create-virtual-mfa-device", "--virtual-mfa-device-name", "root-account-mfa-device", "--bootstrap-method", "Base32StringSeed",
		"--outfile", seedFile, "--query", "VirtualMFADevice.SerialNumber", "--output", "text")
	text, err := os.ReadFile(seedFile)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := base32.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	step := totp.Step(time.Now())
	c.aws("iam", "enable-mfa-device", "--user-name", chemistry.AccountId, "--serial-number", serial,
		"--authentication-code1", totp.Code(seed, step-1), "--authentication-code2", totp.Code(seed, step))
	if got := c.aws("iam", "get-account-summary", "--query", "SummaryMap.[AccountMFAEnabled,AccountPasswordPresent]", "--output", "text"); got != "1\t1" {
		t.Errorf("summary: %s", got)
	}
	if _, said, err := login(rootPassword+"\n", "--account", "chem-lab", "--root"); err == nil || !strings.Contains(said, "MFA code") {
		t.Errorf("root came in without a code: %v %s", err, said)
	}
	if _, said, err = login(rootPassword+"\n"+totp.Code(seed, step+1)+"\n", "--account", "chem-lab", "--root"); err != nil {
		t.Error(said)
	}

	// Quotas: of the account by the cloud's administrator, of a user by the account.
	c.karri("account", "quota", "chemistry", "ec2:volumenumber=2", "iam:usernumber=4", "--data-dir", c.dir)
	volume := []string{"ec2", "create-volume", "--availability-zone", "us-east-1a", "--size", "1"}
	c.aws("iam", "put-user-policy", "--user-name", "bob", "--policy-name", "disks", "--policy-document", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"ec2:CreateVolume","Resource":"*"},
		{"Effect":"Limit","Action":"ec2:CreateVolume","Resource":"*","Condition":{"NumericLessThanEquals":{"ec2:quota-volumenumber":"1"}}}]}`)
	as(bob)
	c.aws(volume...)
	c.refused("VolumeLimitExceeded", volume...)
	as(chemistry)
	c.aws(volume...)
	c.refused("VolumeLimitExceeded", volume...)
	c.aws("iam", "create-user", "--user-name", "fourth")
	c.refused("LimitExceeded", "iam", "create-user", "--user-name", "fifth")

	// Service Quotas says what holds, and its requests reach the administrator.
	quota := []string{"service-quotas", "get-service-quota", "--service-code", "iam", "--quota-code", "L-F55AF5E4", "--query", "Quota.Value", "--output", "text"}
	if got := c.aws(quota...); got != "4.0" {
		t.Errorf("quota: %s", got)
	}
	id := c.aws("service-quotas", "request-service-quota-increase", "--service-code", "iam", "--quota-code", "L-F55AF5E4", "--desired-value", "5", "--query", "RequestedQuota.Id", "--output", "text")
	if list := c.karri("account", "quota-requests", "--data-dir", c.dir); !strings.Contains(list, id) || !strings.Contains(list, "iam:quota-usernumber=5") {
		t.Errorf("requests: %s", list)
	}
	c.karri("account", "quota-requests", "--accept", id, "--data-dir", c.dir)
	if got := c.aws(quota...); got != "5.0" {
		t.Errorf("quota: %s", got)
	}
	c.aws("iam", "create-user", "--user-name", "fifth")

	// Guesses are remembered over a restart.
	for range 12 {
		if _, said, err = login("guess\n", "--account", "chem-lab", "--user", "fifth"); err == nil {
			t.Fatal("a guess was right")
		}
	}
	if !strings.Contains(said, "too many") {
		t.Errorf("after twelve guesses: %s", said)
	}
	c.proc.stop()
	keep := c.env
	c.up()
	c.env = keep
	if _, said, _ = login("guess\n", "--account", "chem-lab", "--user", "fifth"); !strings.Contains(said, "too many") {
		t.Errorf("after a restart: %s", said)
	}

	// What is secret is in none of the cloud's files, in no spelling.
	pem, err := os.ReadFile(private)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string][]byte{"root's seed": seed, "private key": bytes.Split(pem, []byte("\n"))[3], "bob's session": []byte(bob.SecretAccessKey)}
	for i, s := range append(told.Secrets, password, renewed, rootPassword, chemistry.SecretAccessKey, physics.SecretAccessKey, strings.TrimSpace(string(text)), "wrong\n"[:5]+"guess") {
		secrets["secret "+string(rune('a'+i))+" "+s[:4]+"…"] = []byte(s)
	}
	if secrets["ann's seed"], err = hex.DecodeString(told.Seed); err != nil {
		t.Fatal(err)
	}
	c.proc.stop() // all is written
	noSecrets(t, c.dir, "fourth", secrets)
}

// noSecrets looks for secrets in all files of a data directory but those that hand the administrator's keys out. The
// public name must be in the store's: so the search finds what is there.
func noSecrets(t *testing.T, dir, public string, secrets map[string][]byte) {
	t.Helper()
	looks := map[string][]byte{}
	for name, s := range secrets {
		looks[name] = s
		looks[name+" in hex"] = []byte(hex.EncodeToString(s))
		looks[name+" in a URL"] = []byte(url.QueryEscape(string(s)))
		for shift := range 3 { // as base64 at each place within other text
			text := base64.StdEncoding.EncodeToString(append(make([]byte, shift), s...))
			looks[name+" in base64"+strings.Repeat("'", shift)] = []byte(text[4 : len(text)-4])
		}
	}
	files, found := 0, false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.Contains(path, "/credentials/") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files, found = files+1, found || strings.Contains(path, "/state/") && bytes.Contains(data, []byte(public))
		for name, look := range looks {
			if bytes.Contains(data, look) {
				t.Errorf("%s is in %s", name, strings.TrimPrefix(path, dir))
			}
		}
		return nil
	})
	if err != nil || !found {
		t.Errorf("%d files were looked at, %s in the store's: %v (%v)", files, public, found, err)
	}
}
