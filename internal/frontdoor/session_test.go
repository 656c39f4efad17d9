package frontdoor_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/identity"
)

// with gives a client's configuration with a session's credentials.
func (c *cloud) with(t *types.Credentials) aws.Config {
	cfg := c.config(identity.Key{})
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*t.AccessKeyId, *t.SecretAccessKey, *t.SessionToken)
	return cfg
}

func TestUserSessions(t *testing.T) {
	c, ctx := newCloud(t), context.Background()
	c.serve(t)
	bob, key, err := c.id.CreateUser(ctx, identity.NewUser{Account: "karri", Name: "bob", Key: &identity.Key{}, Policies: []string{"AdministratorAccess"}})
	if err != nil {
		t.Fatal(err)
	}
	asBob := sts.NewFromConfig(c.config(key))
	out, err := asBob.GetSessionToken(ctx, &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(900)})
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Until(*out.Credentials.Expiration); d < 890*time.Second || d > 901*time.Second {
		t.Errorf("lasts %s", d)
	}
	session := sts.NewFromConfig(c.with(out.Credentials))
	who, err := session.GetCallerIdentity(ctx, nil)
	if err != nil || *who.UserId != bob.ID || *who.Arn != identity.UserARN(&bob) {
		t.Fatalf("%+v, %v", who, err)
	}
	info, err := asBob.GetAccessKeyInfo(ctx, &sts.GetAccessKeyInfoInput{AccessKeyId: out.Credentials.AccessKeyId})
	if err != nil || *info.Account != c.account.ID {
		t.Errorf("%+v, %v", info, err)
	}
	fed, err := asBob.GetFederationToken(ctx, &sts.GetFederationTokenInput{
		Name: aws.String("carol"), Policy: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`),
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}},
	})
	if err != nil || *fed.FederatedUser.Arn != "arn:aws:sts::"+c.account.ID+":federated-user/carol" {
		t.Fatalf("%+v, %v", fed, err)
	}
	federated := sts.NewFromConfig(c.with(fed.Credentials))
	if who, err := federated.GetCallerIdentity(ctx, nil); err != nil || *who.UserId != c.account.ID+":carol" {
		t.Errorf("%+v, %v", who, err)
	}
	// Root gets an hour at most.
	root, err := sts.NewFromConfig(c.config(c.key)).GetSessionToken(ctx, &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(129600)})
	if err != nil || time.Until(*root.Credentials.Expiration) > time.Hour+time.Second {
		t.Errorf("%+v, %v", root, err)
	}
	stolen := *out.Credentials
	stolen.SessionToken = fed.Credentials.SessionToken
	unsigned := *out.Credentials
	unsigned.SessionToken = aws.String("")
	huge := *out.Credentials
	huge.SessionToken = aws.String(strings.Repeat("A", 40<<10))
	for name, f := range map[string]struct {
		want string
		call func() error
	}{
		"session of a session": {"AccessDenied 403", func() error { _, err := session.GetSessionToken(ctx, nil); return err }},
		"federation of a session": {"AccessDenied 403", func() error {
			_, err := session.GetFederationToken(ctx, &sts.GetFederationTokenInput{Name: aws.String("dave")})
			return err
		}},
		"iam without mfa": {"InvalidClientTokenId 403", func() error { _, err := iam.NewFromConfig(c.with(out.Credentials)).GetUser(ctx, nil); return err }},
		"iam federated":   {"InvalidClientTokenId 403", func() error { _, err := iam.NewFromConfig(c.with(fed.Credentials)).GetUser(ctx, nil); return err }},
		"other token":     {"InvalidClientTokenId 403", func() error { _, err := sts.NewFromConfig(c.with(&stolen)).GetCallerIdentity(ctx, nil); return err }},
		"no token":        {"InvalidClientTokenId 403", func() error { _, err := sts.NewFromConfig(c.with(&unsigned)).GetCallerIdentity(ctx, nil); return err }},
		"huge token":      {"InvalidClientTokenId 403", func() error { _, err := sts.NewFromConfig(c.with(&huge)).GetCallerIdentity(ctx, nil); return err }},
		"too short": {"ValidationError 400", func() error {
			_, err := asBob.GetSessionToken(ctx, &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(899)})
			return err
		}},
		"too long": {"ValidationError 400", func() error {
			_, err := asBob.GetSessionToken(ctx, &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(129601)})
			return err
		}},
		"no such device": {"AccessDenied 403", func() error {
			_, err := asBob.GetSessionToken(ctx, &sts.GetSessionTokenInput{SerialNumber: aws.String("arn:aws:iam::123456789012:mfa/bob"), TokenCode: aws.String("123456")})
			return err
		}},
		"bad policy": {"MalformedPolicyDocument 400", func() error {
			_, err := asBob.GetFederationToken(ctx, &sts.GetFederationTokenInput{Name: aws.String("carol"), Policy: aws.String(`{}`)})
			return err
		}},
		"no such policy": {"MalformedPolicyDocument 400", func() error {
			_, err := asBob.GetFederationToken(ctx, &sts.GetFederationTokenInput{Name: aws.String("carol"), PolicyArns: []types.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::aws:policy/Nothing")}}})
			return err
		}},
		"same tag": {"InvalidParameterValue 400", func() error {
			_, err := asBob.GetFederationToken(ctx, &sts.GetFederationTokenInput{Name: aws.String("carol"), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("")}, {Key: aws.String("A"), Value: aws.String("")}}})
			return err
		}},
		"not a message": {"InvalidAuthorizationMessageException 400", func() error {
			_, err := asBob.DecodeAuthorizationMessage(ctx, &sts.DecodeAuthorizationMessageInput{EncodedMessage: aws.String("x")})
			return err
		}},
	} {
		if got := code(f.call()); got != f.want {
			t.Errorf("%s: %s, want %s", name, got, f.want)
		}
	}

	// Presigned, with the token signed in the URL; changed or taken away, the URL is worth nothing.
	cred := sigv4.Credentials{AccessKeyID: *out.Credentials.AccessKeyId, Secret: *out.Credentials.SecretAccessKey, Token: *out.Credentials.SessionToken}
	u, err := url.Parse("http://127.0.0.1:8773/?" + identityForm)
	if err != nil {
		t.Fatal(err)
	}
	link := sigv4.Presign(http.MethodGet, u, cred, "us-east-1", "sts", time.Hour, time.Now())
	get := func(change func(url.Values)) string {
		l, q := *link, link.Query()
		change(q)
		l.RawQuery = q.Encode()
		return answer(c.do(httptest.NewRequest(http.MethodGet, l.String(), nil)))
	}
	for want, change := range map[string]func(url.Values){
		"200":                           func(url.Values) {},
		"403 InvalidClientTokenId":      func(q url.Values) { q.Set("X-Amz-Security-Token", *fed.Credentials.SessionToken) },
		"403 InvalidClientTokenId 2":    func(q url.Values) { q.Del("X-Amz-Security-Token") },
		"400 IncompleteSignature twice": func(q url.Values) { q.Add("X-Amz-Security-Token", "x") },
	} {
		if got := get(change); !strings.HasPrefix(want, got) {
			t.Errorf("presigned: %s, want %s", got, want)
		}
	}
	// Over: the token's time is the cloud's clock, and each protocol has its own words.
	c.now = func() time.Time { return time.Now().Add(time.Hour) }
	later := func(service string) string {
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8773/?"+identityForm, nil)
		sigv4.Sign(r, cred, "us-east-1", service, sigv4.EmptyPayload, c.now())
		return answer(c.do(r))
	}
	if got := later("sts"); got != "403 ExpiredToken" {
		t.Error(got)
	}
}
