package frontdoor_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/aws/sigv4"
)

// oldURL presigns as `aws s3 presign` does: Signature Version 2. path is the signed one, with the bucket.
func oldURL(method, contentType, path string, end time.Time, secret string) string {
	expires := strconv.FormatInt(end.Unix(), 10)
	m := hmac.New(sha1.New, []byte(secret))
	m.Write([]byte(method + "\n\n" + contentType + "\n" + expires + "\n" + path))
	return "?AWSAccessKeyId=" + adminKey + "&Expires=" + expires + "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(m.Sum(nil)))
}

func TestOldPresignedURLs(t *testing.T) {
	c, _ := newS3(t)
	if w := c.do(signedS3("PUT", "http://127.0.0.1/bucket/key", sigv4.UnsignedPayload, "x", c.key, nil)); w.Code != 200 {
		t.Fatal(w.Body)
	}
	soon := time.Now().Add(time.Minute)
	for name, x := range map[string]struct{ method, host, path, query, want string }{
		"get":            {"GET", "127.0.0.1", "/bucket/key", oldURL("GET", "", "/bucket/key", soon, adminSecret), "200"},
		"put":            {"PUT", "127.0.0.1", "/bucket/key", oldURL("PUT", "text/plain", "/bucket/key", soon, adminSecret) + "&content-type=text/plain", "200"},
		"bucket in host": {"GET", "bucket.s3.cloud.test", "/key", oldURL("GET", "", "/bucket/key", soon, adminSecret), "200"},
		"other bucket":   {"GET", "other.s3.cloud.test", "/key", oldURL("GET", "", "/bucket/key", soon, adminSecret), "403 SignatureDoesNotMatch"},
		"other key":      {"GET", "127.0.0.1", "/bucket/kez", oldURL("GET", "", "/bucket/key", soon, adminSecret), "403 SignatureDoesNotMatch"},
		"other secret":   {"GET", "127.0.0.1", "/bucket/key", oldURL("GET", "", "/bucket/key", soon, "guess"), "403 SignatureDoesNotMatch"},
		"over":           {"GET", "127.0.0.1", "/bucket/key", oldURL("GET", "", "/bucket/key", time.Now().Add(-time.Second), adminSecret), "403 AccessDenied"},
		"token":          {"GET", "127.0.0.1", "/bucket/key", oldURL("GET", "", "/bucket/key", soon, adminSecret) + "&x-amz-security-token=t", "400 InvalidToken"},
		"listing":        {"GET", "127.0.0.1", "/bucket", oldURL("GET", "", "/bucket", soon, adminSecret) + "&prefix=secret", "400 InvalidRequest"},
		"unknown key":    {"GET", "127.0.0.1", "/bucket/key", strings.Replace(oldURL("GET", "", "/bucket/key", soon, adminSecret), adminKey, "AKIANOSUCHKEYNOSUCHK", 1), "403 InvalidAccessKeyId"},
		"other service":  {"GET", "iam.cloud.test", "/", oldURL("GET", "", "/", soon, adminSecret), "403 SignatureDoesNotMatch"},
	} {
		r := httptest.NewRequest(x.method, "http://"+x.host+x.path+x.query, strings.NewReader(""))
		w := c.do(r)
		if got := answer(w); got != x.want {
			t.Errorf("%s: %s, want %s: %s", name, got, x.want, w.Body)
		}
	}
}
