// Package s3client puts, gets and deletes objects over S3's own protocol, and calls EC2: what the command line needs of
// a cloud, with the credentials that AWS's tools read from the environment.
package s3client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/xml"
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

// Client speaks to one endpoint.
type Client struct {
	endpoint    string
	region      string
	credentials sigv4.Credentials
	http        *http.Client
	now         func() time.Time
}

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
	c := &Client{
		endpoint: strings.TrimSuffix(first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_URL"), "/"),
		region:   first("AWS_REGION", "AWS_DEFAULT_REGION"),
		credentials: sigv4.Credentials{
			AccessKeyID: first("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"), Secret: first("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"), Token: getenv("AWS_SESSION_TOKEN"),
		},
		now: time.Now,
	}
	if c.region == "" {
		c.region = "us-east-1"
	}
	if c.endpoint == "" || c.credentials.AccessKeyID == "" || c.credentials.Secret == "" {
		return nil, errors.New("no cloud: source its karrirc, or set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
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
	c.http = &http.Client{Transport: transport}
	return c, nil
}

// Error is what S3 answered.
type Error struct {
	Status  int    `xml:"-"`
	Code    string `xml:"Code"`
	Message string `xml:"Message"`
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d): %s", e.Code, e.Status, e.Message) }

// do sends a request; the answer is a success.
func (c *Client) do(ctx context.Context, method, bucket, key string, body []byte) (*http.Response, error) {
	u, err := url.Parse(c.endpoint)
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	u.Path = "/" + bucket
	if key != "" {
		u.Path += "/" + key
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	sigv4.Sign(r, c.credentials, c.region, "s3", digest(body), c.now())
	return c.send(r, fmt.Sprintf("%s s3://%s/%s", method, bucket, key))
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// send sends a signed request; the answer is a success. what says what it is about.
func (c *Client) send(r *http.Request, what string) (*http.Response, error) {
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	e := &Error{Status: resp.StatusCode, Code: resp.Status}
	if text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10)); err == nil {
		_ = xml.Unmarshal(text, e) // what is not XML says no more than the status
		var ec2 struct {
			Errors []*Error `xml:"Errors>Error"`
		}
		if xml.Unmarshal(text, &ec2) == nil && len(ec2.Errors) > 0 {
			e.Code, e.Message = ec2.Errors[0].Code, ec2.Errors[0].Message
		}
	}
	return nil, fmt.Errorf("%s: %w", what, e)
}

// Put writes an object.
func (c *Client) Put(ctx context.Context, bucket, key string, body []byte) error {
	resp, err := c.do(ctx, http.MethodPut, bucket, key, body)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Create makes a bucket; one that is the caller's already is no error.
func (c *Client) Create(ctx context.Context, bucket string) error {
	resp, err := c.do(ctx, http.MethodPut, bucket, "", nil)
	var e *Error
	if errors.As(err, &e) && e.Code == "BucketAlreadyOwnedByYou" {
		return nil
	}
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Get opens an object.
func (c *Client) Get(ctx context.Context, bucket, key string) (io.ReadCloser, error) {
	resp, err := c.do(ctx, http.MethodGet, bucket, key, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Delete deletes an object.
func (c *Client) Delete(ctx context.Context, bucket, key string) error {
	resp, err := c.do(ctx, http.MethodDelete, bucket, key, nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
