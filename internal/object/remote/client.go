package remote

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"time"

	"karri.dev/internal/object"
	"karri.dev/internal/s3client"
)

const (
	// answerTime is how long the endpoint may take until it begins to answer.
	answerTime = time.Minute
	// stallTime is how long no byte may move.
	stallTime = time.Minute
	// attempts of what can be repeated.
	attempts = 4
)

// client speaks S3 with one service account.
type client struct {
	s3client.Endpoint
	cfg Config
}

// failure is what the endpoint has answered.
type failure struct{ of *s3client.Error }

func (f failure) Error() string {
	return fmt.Sprintf("the object store answers %d %s: %s", f.of.Status, f.of.Code, f.of.Message)
}

// Unwrap names what the engine has names for.
func (f failure) Unwrap() error {
	switch {
	case f.of.Status == http.StatusNotFound && f.of.Code != "NoSuchBucket":
		return fs.ErrNotExist
	case f.of.Status == http.StatusInsufficientStorage || f.of.Code == "QuotaExceeded":
		return object.ErrNoSpace
	}
	return object.ErrOffline
}

func (f failure) temporary() bool {
	return f.of.Status >= 500 && f.of.Status != http.StatusInsufficientStorage || f.of.Status == http.StatusTooManyRequests || f.of.Code == "RequestTimeout"
}

// named gives an error the engine's names.
func named(err error) error {
	var answer *s3client.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer):
		return failure{answer}
	}
	return fmt.Errorf("%w: %w", object.ErrOffline, err)
}

// send sends a request once. The answer is a success. The bytes are sealed: what is changed on its way does not open.
func (c *client) send(ctx context.Context, method, key string, query url.Values, header http.Header, body io.Reader, size int64) (*http.Response, error) {
	a, err := c.Send(ctx, s3client.Request{Method: method, Bucket: c.cfg.Bucket, Key: key, Query: query, Header: header, Body: body, Size: size})
	return a, named(err)
}

// repeat sends what can be repeated until it is answered.
func (c *client) repeat(ctx context.Context, method, key string, query url.Values, header http.Header, body []byte) (*http.Response, error) {
	pause := 100 * time.Millisecond
	for n := 1; ; n++ {
		a, err := c.send(ctx, method, key, query, header, bytes.NewReader(body), int64(len(body)))
		var f failure
		if err == nil || n == attempts || ctx.Err() != nil || errors.As(err, &f) && !f.temporary() {
			return a, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
		pause *= 4
	}
}

// call is repeat without an answer's body, or with one in XML.
func (c *client) call(ctx context.Context, method, key string, query url.Values, header http.Header, body []byte, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime)
	defer cancel()
	a, err := c.repeat(ctx, method, key, query, header, body)
	if err != nil {
		return nil, err
	}
	text, err := s3client.Read(a)
	if err != nil {
		return nil, named(err)
	}
	if out == nil {
		return a.Header, nil
	}
	if err := xml.Unmarshal(text, out); err != nil {
		return nil, fmt.Errorf("answer of the object store: %w", err)
	}
	return a.Header, nil
}

func (c *client) list(ctx context.Context, query url.Values, out any) (http.Header, error) {
	return c.call(ctx, http.MethodGet, "", query, nil, nil, out)
}

// objectPage and uploadPage are what listings answer.
type (
	objectPage struct {
		Contents []struct {
			Key string `xml:"Key"`
		} `xml:"Contents"`
		Truncated bool   `xml:"IsTruncated"`
		Next      string `xml:"NextContinuationToken"`
	}
	uploadPage struct {
		Uploads []struct {
			Key string `xml:"Key"`
			ID  string `xml:"UploadId"`
		} `xml:"Upload"`
		Truncated bool   `xml:"IsTruncated"`
		NextKey   string `xml:"NextKeyMarker"`
		NextID    string `xml:"NextUploadIdMarker"`
	}
)
