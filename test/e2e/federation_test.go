package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"karri.dev/internal/saml/samltest"
)

// Federation with the aws CLI: a token of an issuer on this machine, and a SAML response, take a role; the simulator says beforehand
// what the role may do.
func TestFederation(t *testing.T) {
	c := newCloudWith(t, "--oidc-networks", "127.0.0.1")
	admin := c.env
	write := func(name, text string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}

	// The issuer runs where the cloud does: a process of its own in the cloud's namespace.
	program := filepath.Join(t.TempDir(), "issuer")
	must(t, "env", "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false -trimpath", "go", "build", "-o", program, "./issuer")
	issuer := c.ns.command(t.Context(), program)
	in, err := issuer.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := issuer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := issuer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = issuer.Wait()
	})
	var idp struct{ URL, Thumbprint, Good, Expired, Stranger string }
	if err := json.NewDecoder(out).Decode(&idp); err != nil {
		t.Fatal(err)
	}

	account := c.aws("sts", "get-caller-identity", "--query", "Account", "--output", "text")
	host := strings.TrimPrefix(idp.URL, "https://")
	provider := c.aws("iam", "create-open-id-connect-provider", "--url", idp.URL, "--client-id-list", "sts.amazonaws.com", "--thumbprint-list", idp.Thumbprint, "--query", "OpenIDConnectProviderArn", "--output", "text")
	c.aws("iam", "create-role", "--role-name", "ci", "--assume-role-policy-document",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"`+provider+`"},"Action":"sts:AssumeRoleWithWebIdentity",
		"Condition":{"StringEquals":{"`+host+`:aud":"sts.amazonaws.com","`+host+`:sub":"alice"}}}]}`)
	c.aws("iam", "put-role-policy", "--role-name", "ci", "--policy-name", "list", "--policy-document",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}]}`)
	arn := "arn:aws:iam::" + account + ":role/ci"
	simulate := func(action string) string {
		return c.aws("iam", "simulate-principal-policy", "--policy-source-arn", arn, "--action-names", action, "--query", "EvaluationResults[0].EvalDecision", "--output", "text")
	}
	if yes, no := simulate("s3:ListAllMyBuckets"), simulate("s3:CreateBucket"); yes != "allowed" || no != "implicitDeny" {
		t.Errorf("simulated: %s, %s", yes, no)
	}
	where := c.aws("iam", "simulate-principal-policy", "--policy-source-arn", arn, "--action-names", "s3:ListAllMyBuckets", "--query", "EvaluationResults[0].MatchedStatements[0].[SourcePolicyId,SourcePolicyType,StartPosition.Line]", "--output", "text")
	if where != "role_ci_list\trole\t1" {
		t.Errorf("matched: %q", where)
	}
	if keys := c.aws("iam", "get-context-keys-for-custom-policy", "--policy-input-list",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${aws:username}/*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}}`,
		"--query", "ContextKeyNames", "--output", "text"); keys != "aws:username\taws:SecureTransport" {
		t.Errorf("keys: %q", keys)
	}

	where = c.aws("iam", "simulate-custom-policy", "--policy-input-list",
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}}`,
		"--action-names", "ec2:RunInstances", "--context-entries", "ContextKeyName=aws:SourceIp,ContextKeyType=ip,ContextKeyValues=10.1.2.3", "--query", "EvaluationResults[0].EvalDecision", "--output", "text")
	if keys := c.aws("iam", "get-context-keys-for-principal-policy", "--policy-source-arn", arn, "--query", "length(ContextKeyNames)"); where != "allowed" || keys != "0" {
		t.Errorf("simulated: %s; keys: %s", where, keys)
	}
	// The thumbprint as the guide takes it.
	print, err := c.ns.command(t.Context(), "bash", "-c", "openssl s_client -connect "+strings.TrimSuffix(host, "/realms/acme")+
		" </dev/null 2>/dev/null | openssl x509 -noout -sha1 -fingerprint | cut -d= -f2 | tr -d :").Output()
	if got := strings.ToLower(strings.TrimSpace(string(print))); err != nil || got != idp.Thumbprint {
		t.Errorf("thumbprint %q, %v", got, err)
	}

	// Whoever has the token has no key: the CLI signs nothing.
	nobody := slices.DeleteFunc(slices.Clone(admin), func(v string) bool {
		return strings.HasPrefix(v, "AWS_PROFILE=") || strings.HasPrefix(v, "AWS_SHARED_CREDENTIALS_FILE=") || strings.HasPrefix(v, "AWS_CONFIG_FILE=") ||
			strings.HasPrefix(v, "AWS_ACCESS_KEY_ID=") || strings.HasPrefix(v, "AWS_SECRET_ACCESS_KEY=")
	})
	nobody = append(nobody, "AWS_DEFAULT_REGION=us-east-1")
	c.env = nobody
	assume := func(token string) []string {
		return []string{"sts", "assume-role-with-web-identity", "--role-arn", arn, "--role-session-name", "build-7", "--web-identity-token", "file://" + write("token", token)}
	}
	if who := c.aws(append(assume(idp.Good), "--query", "[AssumedRoleUser.Arn,SubjectFromWebIdentityToken,Audience]", "--output", "text")...); who != "arn:aws:sts::"+account+":assumed-role/ci/build-7\talice\tsts.amazonaws.com" {
		t.Errorf("assumed: %q", who)
	}
	c.refused("AccessDenied", assume(idp.Stranger)...)
	c.refused("ExpiredTokenException", assume(idp.Expired)...)
	c.refused("InvalidIdentityToken", assume(idp.Good[:len(idp.Good)-8]+"AAAAAAAA")...)

	// SAML.
	c.env = admin
	saml := samltest.New(t)
	provider = c.aws("iam", "create-saml-provider", "--name", "Acme", "--saml-metadata-document", "file://"+write("metadata.xml", saml.Metadata()), "--query", "SAMLProviderArn", "--output", "text")
	c.aws("iam", "create-role", "--role-name", "sso", "--assume-role-policy-document",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"`+provider+`"},"Action":"sts:AssumeRoleWithSAML","Condition":{"StringEquals":{"saml:aud":"https://signin.aws.amazon.com/saml"}}}]}`)
	arn = "arn:aws:iam::" + account + ":role/sso"
	xml := saml.XML(t, samltest.Response{Attributes: map[string][]string{samltest.Attribute + "RoleSessionName": {"alice"}, samltest.Attribute + "Role": {arn + "," + provider}}})
	c.env = nobody
	withSAML := func(xml string) []string {
		return []string{"sts", "assume-role-with-saml", "--role-arn", arn, "--principal-arn", provider, "--saml-assertion", "file://" + write("response", samltest.Encode(xml))}
	}
	if who := c.aws(append(withSAML(xml), "--query", "[AssumedRoleUser.Arn,Subject]", "--output", "text")...); who != "arn:aws:sts::"+account+":assumed-role/sso/alice\talice" {
		t.Errorf("assumed: %q", who)
	}
	c.refused("InvalidIdentityToken", withSAML(strings.Replace(xml, ">alice<", ">root<", 1))...)
}
