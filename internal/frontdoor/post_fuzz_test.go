package frontdoor_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzPost sends any form to a bucket: nobody may write there, so whatever it says, it is refused, and stores nothing.
func FuzzPost(f *testing.F) {
	c, o := newS3(f)
	part := func(name, value string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	file := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\nContent-Type: text/plain\r\n\r\ndata\r\n--b--\r\n"
	const policy = "eyJleHBpcmF0aW9uIjoiMjAzMC0wMS0wMVQwMDowMDowMFoiLCJjb25kaXRpb25zIjpbWyJzdGFydHMtd2l0aCIsIiRrZXkiLCIiXV19"
	for _, form := range []string{
		part("key", "a/${filename}") + file,
		part("key", "k") + part("policy", policy) + part("x-amz-algorithm", "AWS4-HMAC-SHA256") +
			part("x-amz-credential", "AKIAADMINADMINADMIN1/20261121/us-east-1/s3/aws4_request") + part("x-amz-date", "20261121T120000Z") + part("x-amz-signature", strings.Repeat("0", 64)) + file,
		part("key", "k") + part("AWSAccessKeyId", "AKIAADMINADMINADMIN1") + part("policy", policy) + part("signature", "AAAA") + file,
		part("key", "k") + part("key", "k") + file,
		part("tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>") + file,
		"--b--\r\n", "--b\r\n", "",
	} {
		f.Add("multipart/form-data; boundary=b", form)
	}
	f.Add("multipart/form-data", "x")
	f.Fuzz(func(t *testing.T, kind, form string) {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "http://127.0.0.1/bucket", io.NopCloser(strings.NewReader(form)))
		r.Header.Set("Content-Type", kind)
		r.ContentLength = int64(len(form))
		if w := c.do(r); w.Code < 400 || w.Code >= 500 && w.Code != 501 && w.Code != 503 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if o.calls > 0 || len(o.data) > 0 {
			t.Fatal("something was stored")
		}
	})
}
