package frontdoor_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/frontdoor"
)

// objects is an S3 service for tests of the front door. Methods not written here panic.
type objects struct {
	shape.API
	mu       sync.Mutex
	data     map[string][]byte
	trailer  http.Header
	encoding string
	meta     map[string]string
	calls    int
	sum      string // CRC32 that came with a PutObject
}

func (o *objects) PutObject(ctx context.Context, in *shape.PutObjectRequest) (*shape.PutObjectResult, error) {
	data, err := io.ReadAll(in.Body)
	if err != nil {
		return nil, err
	}
	if in.Key == "panic" {
		panic("at the disco")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls++
	if t, ok := in.Body.(interface{ Trailer() http.Header }); ok {
		o.trailer = t.Trailer()
	}
	o.sum = in.ChecksumCRC32
	o.encoding, o.meta = in.ContentEncoding, in.Metadata
	if in.ContentLength == nil || *in.ContentLength != int64(len(data)) {
		return nil, awserr.New("InternalError", "length is not that of the payload")
	}
	o.data[call.From(ctx).AccountID+"/"+in.Bucket+"/"+in.Key] = data
	return &shape.PutObjectResult{}, nil
}

func (o *objects) GetObject(ctx context.Context, in *shape.GetObjectRequest) (*shape.GetObjectResult, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if in.Key == "cut" {
		return &shape.GetObjectResult{Body: io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("half", 10_000)), broken{})), ContentLength: 1 << 20}, nil
	}
	data, ok := o.data[call.From(ctx).AccountID+"/"+in.Bucket+"/"+in.Key]
	if !ok {
		return nil, awserr.New("NoSuchKey", "The specified key does not exist.").WithStatus(404).With("Key", in.Key)
	}
	return &shape.GetObjectResult{Body: io.NopCloser(bytes.NewReader(data)), ContentLength: int64(len(data))}, nil
}

func (o *objects) HeadObject(ctx context.Context, in *shape.HeadObjectRequest) (*shape.HeadObjectResult, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	data, ok := o.data[call.From(ctx).AccountID+"/"+in.Bucket+"/"+in.Key]
	if !ok {
		return nil, awserr.New("NotFound", "Not Found").WithStatus(404)
	}
	return &shape.HeadObjectResult{ContentLength: int64(len(data))}, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func newS3(t testing.TB, change ...func(*frontdoor.Config, *frontdoor.Deps)) (*cloud, *objects) {
	c := newCloud(t, change...)
	o := &objects{data: map[string][]byte{}}
	c.Register(shape.Service(), o)
	return c, o
}

// serveTLS starts an HTTPS server; every host name leads to it.
func (c *cloud) serveTLS(t testing.TB) *http.Client {
	s := httptest.NewUnstartedServer(nil)
	s.Config = frontdoor.NewServer(c, slog.New(slog.DiscardHandler))
	s.StartTLS()
	t.Cleanup(s.Close)
	c.url = s.URL
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
		},
	}}
}

func TestObjectsWithSDK(t *testing.T) {
	for _, tt := range []struct {
		name     string
		tls      bool
		endpoint string // "" is the server's address with buckets in the path
	}{
		{"HTTP, path", false, ""},
		{"HTTPS, path", true, ""},
		{"HTTPS, bucket in host", true, "https://s3.us-east-1.cloud.test"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, o := newS3(t)
			ctx := context.Background()
			httpClient := http.DefaultClient
			if tt.tls {
				httpClient = c.serveTLS(t)
			} else {
				c.serve(t)
			}
			cfg := c.config(c.key)
			cfg.HTTPClient = httpClient
			cfg.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenSupported
			if tt.endpoint != "" {
				cfg.BaseEndpoint = &tt.endpoint
			}
			client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = tt.endpoint == "" })
			for _, key := range []string{"plain", "a//b/./../c", "/lead", "sp ace+plus%2F?&=#", "ключ/鍵", "~!*'()$@,;:", "trailing/"} {
				data := bytes.Repeat([]byte(key), 20_000)
				if _, err := client.PutObject(ctx, &s3.PutObjectInput{
					Bucket: aws.String("bucket"), Key: &key, Body: bytes.NewReader(data),
					Metadata: map[string]string{"who": "me"}, ContentEncoding: aws.String("gzip"),
				}); err != nil {
					t.Fatalf("put %q: %v", key, err)
				}
				if diff := cmp.Diff([]string{"gzip", "me"}, []string{o.encoding, o.meta["who"]}); diff != "" {
					t.Error(diff)
				}
				if tt.tls && o.trailer.Get("X-Amz-Checksum-Crc32") == "" {
					t.Errorf("no checksum in the trailer: %v", o.trailer)
				}
				got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: &key})
				if err != nil {
					t.Fatalf("get %q: %v", key, err)
				}
				back, err := io.ReadAll(got.Body)
				if err != nil || !bytes.Equal(back, data) {
					t.Errorf("%q came back as %d bytes, %v", key, len(back), err)
				}
				head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("bucket"), Key: &key})
				if err != nil || *head.ContentLength != int64(len(data)) {
					t.Errorf("head %q: %v, %v", key, head, err)
				}

				link, err := s3.NewPresignClient(client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: &key})
				if err != nil {
					t.Fatal(err)
				}
				res, err := httpClient.Get(link.URL)
				if err != nil {
					t.Fatal(err)
				}
				back, _ = io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != 200 || !bytes.Equal(back, data) {
					t.Errorf("presigned %q: %s", key, res.Status)
				}
			}
			_, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("none")})
			if code(err) != "NoSuchKey 404" {
				t.Error(code(err))
			}
			_, err = client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("bucket"), Key: aws.String("none")})
			if code(err) != "NotFound 404" {
				t.Error(code(err))
			}
			if _, err = client.GetObjectTorrent(ctx, &s3.GetObjectTorrentInput{Bucket: aws.String("bucket"), Key: aws.String("key")}); code(err) != "NotImplemented 501" {
				t.Error(code(err))
			}
			if _, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("panic"), Body: strings.NewReader("x")}); code(err) != "InternalError 500" {
				t.Error(code(err))
			}
		})
	}
}

func TestPresignedPut(t *testing.T) {
	c, o := newS3(t)
	c.serve(t)
	client := s3.NewFromConfig(c.config(c.key), func(o *s3.Options) { o.UsePathStyle = true })
	link, err := s3.NewPresignClient(client).PresignPutObject(context.Background(), &s3.PutObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("key"), Metadata: map[string]string{"a": "b"},
	})
	if err != nil {
		t.Fatal(err)
	}
	put := func(change func(*http.Request)) string {
		r, _ := http.NewRequest("PUT", link.URL, strings.NewReader("data"))
		for name, v := range link.SignedHeader {
			r.Header[name] = v
		}
		r.Header.Del("Content-Length")
		change(r)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.Status + " " + errorCode(string(body))
	}
	if got := put(func(*http.Request) {}); got != "200 OK " || o.meta["a"] != "b" {
		t.Errorf("%s, metadata %v", got, o.meta)
	}
	for name, tt := range map[string]struct {
		change func(*http.Request)
		want   string
	}{
		"other method":    {func(r *http.Request) { r.Method = "DELETE" }, "403 Forbidden SignatureDoesNotMatch"},
		"other key":       {func(r *http.Request) { r.URL.Path = "/bucket/other" }, "403 Forbidden SignatureDoesNotMatch"},
		"unsigned header": {func(r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read") }, "403 Forbidden AccessDenied"},
		"longer life": {func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Expires=900", "X-Amz-Expires=90000", 1)
		}, "403 Forbidden SignatureDoesNotMatch"},
		"too long a life": {func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Expires=900", "X-Amz-Expires=604801", 1)
		}, "400 Bad Request AuthorizationQueryParametersError"},
		"life twice":       {func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Expires=604800" }, "400 Bad Request AuthorizationQueryParametersError"},
		"more query":       {func(r *http.Request) { r.URL.RawQuery += "&partNumber=1" }, "403 Forbidden SignatureDoesNotMatch"},
		"hidden query":     {func(r *http.Request) { r.URL.RawQuery += ";uploadId=1" }, "400 Bad Request InvalidURI"},
		"header as well":   {func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x") }, "400 Bad Request InvalidArgument"},
		"other host":       {func(r *http.Request) { r.Host = "localhost" }, "403 Forbidden SignatureDoesNotMatch"},
		"without lifetime": {func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Expires", "E", 1) }, "400 Bad Request AuthorizationQueryParametersError"},
	} {
		if got := put(tt.change); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	start := time.Now()
	c.now = func() time.Time { return start.Add(16 * time.Minute) }
	if got := put(func(*http.Request) {}); got != "403 Forbidden AccessDenied" {
		t.Errorf("after its time: %s", got)
	}
}

// errorCode finds the code in an XML error.
func errorCode(body string) string {
	_, rest, ok := strings.Cut(body, "<Code>")
	if !ok {
		return ""
	}
	code, _, _ := strings.Cut(rest, "</Code>")
	return code
}

func TestCutAnswer(t *testing.T) {
	c, _ := newS3(t)
	c.serve(t)
	client := s3.NewFromConfig(c.config(c.key), func(o *s3.Options) { o.UsePathStyle = true })
	out, err := client.GetObject(context.Background(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("cut")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(out.Body); err == nil {
		t.Error("a cut answer looked whole")
	}
}
