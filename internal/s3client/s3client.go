// Package s3client speaks S3's own protocol with an endpoint: Endpoint is for whoever needs any request, Client is what the
// command line needs of a cloud, with the credentials that AWS's tools read from the environment.
package s3client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"karri.dev/internal/aws/sigv4"
)

// Client is what the command line needs of an endpoint.
type Client struct{ Endpoint }

// FromEnvironment makes a client of what karrirc exports: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
// AWS_SESSION_TOKEN, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL or S3_URL, AWS_REGION, AWS_CA_BUNDLE.
func FromEnvironment(getenv func(string) string) (*Client, error) {
	first := func(names ...string) string {
		for _, n := range names {
			if v := getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	endpoint := strings.TrimSuffix(first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_URL"), "/")
	c := &Client{Endpoint{
		Region: first("AWS_REGION", "AWS_DEFAULT_REGION"),
		Credentials: sigv4.Credentials{
			AccessKeyID: first("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"), Secret: first("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"), Token: getenv("AWS_SESSION_TOKEN"),
		},
		Now: time.Now,
	}}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if endpoint == "" || c.Credentials.AccessKeyID == "" || c.Credentials.Secret == "" {
		return nil, errors.New("no cloud: source its karrirc, or set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	var err error
	if c.Base, err = url.Parse(endpoint); err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if path := getenv("AWS_CA_BUNDLE"); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read AWS_CA_BUNDLE: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("AWS_CA_BUNDLE %s holds no certificate", path)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	c.HTTP = &http.Client{Transport: transport}
	return c, nil
}

// send sends a request and says in the error what it was.
func (c *Client) send(ctx context.Context, q Request) (*http.Response, error) {
	a, err := c.Send(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("%s s3://%s/%s: %w", q.Method, q.Bucket, q.Key, err)
	}
	return a, nil
}

// done sends a request whose answer says nothing but success.
func (c *Client) done(ctx context.Context, q Request) error {
	a, err := c.send(ctx, q)
	if err != nil {
		return err
	}
	return a.Body.Close()
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Put writes an object.
func (c *Client) Put(ctx context.Context, bucket, key string, body []byte) error {
	return c.done(ctx, Request{Method: http.MethodPut, Bucket: bucket, Key: key, Body: bytes.NewReader(body), Size: int64(len(body)), SHA256: digest(body)})
}

// PutFile writes an object of size bytes, whose SHA-256 is known, as hex.
func (c *Client) PutFile(ctx context.Context, bucket, key string, body io.Reader, size int64, sha256 string) error {
	return c.done(ctx, Request{Method: http.MethodPut, Bucket: bucket, Key: key, Body: io.NopCloser(body), Size: size, SHA256: sha256})
}

// Create makes a bucket; one that is the caller's already is no error.
func (c *Client) Create(ctx context.Context, bucket string) error {
	err := c.done(ctx, Request{Method: http.MethodPut, Bucket: bucket, SHA256: digest(nil)})
	var e *Error
	if errors.As(err, &e) && e.Code == "BucketAlreadyOwnedByYou" {
		return nil
	}
	return err
}

// Get opens an object.
func (c *Client) Get(ctx context.Context, bucket, key string) (io.ReadCloser, error) {
	a, err := c.send(ctx, Request{Method: http.MethodGet, Bucket: bucket, Key: key, SHA256: digest(nil)})
	if err != nil {
		return nil, err
	}
	return a.Body, nil
}

// Delete deletes an object.
func (c *Client) Delete(ctx context.Context, bucket, key string) error {
	return c.done(ctx, Request{Method: http.MethodDelete, Bucket: bucket, Key: key, SHA256: digest(nil)})
}
