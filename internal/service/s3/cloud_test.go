package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"karri.dev/internal/authz"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/aws/wire/wiretest"
	"karri.dev/internal/frontdoor"
	"karri.dev/internal/identity"
	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/store"
)

// cloud is S3 behind a front door, with two accounts.
type cloud struct {
	url        string
	handler    http.Handler
	now        func() time.Time
	store      *store.Store
	engine     *disk.Engine
	archive    *disk.Engine // another object store, of this name
	service    *s3.Service
	sealer     *seal.Sealer
	authz      *authz.Engine
	id         *identity.Identity
	keys       []identity.Key
	mine, them *awss3.Client
}

const region = "us-east-1"

func newCloud(t testing.TB) *cloud {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	c := &cloud{store: store.OpenMemory(log), now: time.Now}
	t.Cleanup(func() { c.store.Close() })
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	ledger := object.NewLedger()
	engine, err := disk.Open(disk.Config{Dir: "/objects", FS: disk.InMemory(), Sealer: sealer, Ledger: ledger})
	if err != nil {
		t.Fatal(err)
	}
	c.engine = engine
	if c.archive, err = disk.Open(disk.Config{Dir: "/archive", FS: disk.InMemory(), Ledger: ledger}); err != nil {
		t.Fatal(err)
	}
	routes := object.Routes{Home: engine, Others: map[string]object.Engine{"archive": c.archive}}
	t.Cleanup(func() {
		if err := routes.Close(); err != nil {
			t.Error(err)
		}
	})
	id := identity.New(identity.Config{}, identity.Deps{Store: c.store, Sealer: sealer, Log: log})
	_, key, err := id.Bootstrap(context.Background(), identity.Key{ID: "AKIAADMINADMINADMIN1", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"})
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := id.CreateAccount(context.Background(), identity.NewAccount{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	c.keys, c.id = []identity.Key{key, other}, id
	c.sealer = sealer
	c.authz = authz.New(authz.Deps{Store: c.store})
	if err := authz.Register[shape.API](c.authz, shape.Service(), s3.Permissions()); err != nil {
		t.Fatal(err)
	}
	regions := []string{region, "eu-west-1"}
	c.service = s3.New(s3.Config{Regions: regions, Endpoint: "http://cloud.test", Stores: routes.Names(), ReplicaPart: 5 << 20, QueueMax: 20}, s3.Deps{Store: c.store, Engine: routes, Now: func() time.Time { return c.now() }, Authz: c.authz, Quotas: quota.New(c.authz), Ledger: ledger, Sealer: sealer})
	door := frontdoor.New(frontdoor.Config{Regions: regions, Domain: "cloud.test"}, frontdoor.Deps{Authenticator: id, Authorizer: c.authz})
	door.Register(shape.Service(), c.service)
	c.handler = door
	server := httptest.NewUnstartedServer(nil)
	server.Config = frontdoor.NewServer(door, log)
	server.Start()
	t.Cleanup(server.Close)
	c.url = server.URL
	c.mine, c.them = c.client(0, region), c.client(1, region)
	return c
}

// client gives the SDK's client for account n.
func (c *cloud) client(n int, region string, change ...func(*awss3.Options)) *awss3.Client {
	o := awss3.Options{
		Region: region, BaseEndpoint: aws.String(c.url), UsePathStyle: true, RetryMaxAttempts: 1, HTTPClient: &http.Client{Transport: &wiretest.Transport{}}, DisableS3ExpressSessionAuth: aws.Bool(true),
		Credentials: credentials.NewStaticCredentialsProvider(c.keys[n].ID, c.keys[n].Secret, ""),
	}
	return awss3.New(o, change...)
}

// account makes another account and gives its client.
func (c *cloud) account(t testing.TB, name string) *awss3.Client {
	t.Helper()
	_, key, err := c.id.CreateAccount(t.Context(), identity.NewAccount{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	c.keys = append(c.keys, key)
	return c.client(len(c.keys)-1, region)
}

func (c *cloud) bucket(t testing.TB, name string) {
	t.Helper()
	if _, err := c.mine.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
}

func (c *cloud) put(t testing.TB, bucket, key string, body []byte) *awss3.PutObjectOutput {
	t.Helper()
	out, err := c.mine.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return out
}

func (c *cloud) get(t testing.TB, bucket, key string) []byte {
	t.Helper()
	out, err := c.mine.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	return read(t, out.Body)
}

func read(t testing.TB, r io.ReadCloser) []byte {
	t.Helper()
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantCode fails unless err is the AWS error of this code and HTTP status.
func wantCode(t testing.TB, what string, err error, code string, status int) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Fatalf("%s: %v, want %s", what, err, code)
	}
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) || response.HTTPStatusCode() != status {
		t.Fatalf("%s: %v, want status %d", what, err, status)
	}
}

func (c *cloud) record(t testing.TB, b *resource.Bucket) {
	t.Helper()
	if err := c.store.Update(t.Context(), func(tx *store.Tx) error { return store.Buckets.Put(tx, b) }); err != nil {
		t.Fatal(err)
	}
}
