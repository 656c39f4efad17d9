package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/identity"
)

// As gives a context in which EC2's methods are called by the account's root.
func (c *Cloud) As(ctx context.Context, a Account) context.Context {
	return call.With(ctx, &call.Info{
		Caller: call.Caller{AccountID: a.ID, UserID: a.ID, ARN: identity.RootARN(a.ID), AccessKeyID: a.Key.ID, CanonicalID: a.CanonicalID, CloudAdmin: a.CloudAdmin},
		Region: Region, Service: "ec2", Time: time.Now(),
	})
}

// Launch runs count instances of a type and gives their ids.
func (c *Cloud) Launch(ctx context.Context, a Account, kind string, count int) ([]string, error) {
	out, err := c.Role.EC2.RunInstances(c.As(ctx, a), &shape.RunInstancesRequest{ImageId: c.Image, InstanceType: kind, MinCount: count, MaxCount: count})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, inst := range out.Instances {
		ids = append(ids, inst.InstanceId)
	}
	return ids, nil
}

// Terminate ends instances.
func (c *Cloud) Terminate(ctx context.Context, a Account, ids ...string) error {
	_, err := c.Role.EC2.TerminateInstances(c.As(ctx, a), &shape.TerminateInstancesRequest{InstanceIds: ids})
	return err
}

// Reboot restarts instances.
func (c *Cloud) Reboot(ctx context.Context, a Account, ids ...string) error {
	_, err := c.Role.EC2.RebootInstances(c.As(ctx, a), &shape.RebootInstancesRequest{InstanceIds: ids})
	return err
}

// Handler is the front door.
func (c *Cloud) Handler() http.Handler { return c.Role.Handler() }

// Request makes a signed request of a query service ("ec2", "iam", "sts") for the front door at endpoint.
func (a Account) Request(endpoint, service string, form url.Values, now time.Time) (*http.Request, error) {
	body := form.Encode()
	r, err := http.NewRequest(http.MethodPost, endpoint+"/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(body))
	sigv4.Sign(r, sigv4.Credentials{AccessKeyID: a.Key.ID, Secret: a.Key.Secret}, Region, service, hex.EncodeToString(sum[:]), now)
	return r, nil
}

// Call sends a signed request through the front door and gives status and body of the answer.
func (c *Cloud) Call(ctx context.Context, a Account, service string, form url.Values) (int, string, error) {
	r, err := a.Request("http://127.0.0.1:8773", service, form, time.Now())
	if err != nil {
		return 0, "", err
	}
	r.RemoteAddr = "127.0.0.1:1"
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, r.WithContext(ctx))
	return w.Code, w.Body.String(), nil
}
