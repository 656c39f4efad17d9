package s3client

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// EC2 calls an operation of EC2's and reads the answer into out.
func (c *Client) EC2(ctx context.Context, action string, parameters map[string]string, out any) error {
	form := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	for k, v := range parameters {
		form.Set(k, v)
	}
	body := form.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base.String()+"/", strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	a, err := c.do(r, "ec2", digest([]byte(body)))
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	text, err := Read(a)
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return xml.Unmarshal(text, out)
}

// OwnBucket gives a name for a bucket of the caller's.
func (c *Client) OwnBucket(prefix string) string {
	return prefix + "-" + strings.ToLower(c.Credentials.AccessKeyID)
}
