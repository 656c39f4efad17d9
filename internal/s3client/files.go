package s3client

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"karri.dev/internal/aws/sigv4"
)

// PutFile writes an object of size bytes, whose SHA-256 is known, as hex.
func (c *Client) PutFile(ctx context.Context, bucket, key string, body io.Reader, size int64, sha256 string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, c.endpoint+"/"+bucket+"/"+url.PathEscape(key), io.NopCloser(body))
	if err != nil {
		return err
	}
	r.ContentLength = size
	sigv4.Sign(r, c.credentials, c.region, "s3", sha256, c.now())
	resp, err := c.send(r, fmt.Sprintf("PUT s3://%s/%s", bucket, key))
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// EC2 calls an operation of EC2's and reads the answer into out.
func (c *Client) EC2(ctx context.Context, action string, parameters map[string]string, out any) error {
	form := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	for k, v := range parameters {
		form.Set(k, v)
	}
	body := form.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint+"/", strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sigv4.Sign(r, c.credentials, c.region, "ec2", digest([]byte(body)), c.now())
	resp, err := c.send(r, action)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return xml.Unmarshal(text, out)
}

// OwnBucket gives a name for a bucket of the caller's.
func (c *Client) OwnBucket(prefix string) string {
	return prefix + "-" + strings.ToLower(c.credentials.AccessKeyID)
}
