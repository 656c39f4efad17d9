package s3_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/frontdoor"
)

// What BundleInstance uploads is within what somebody signed, and he must be allowed to write it.
func TestUploadOfBundles(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "bkt")
	door := c.handler.(*frontdoor.Door)
	fields := func(key int, prefix, name string) map[string]string {
		p := base64.StdEncoding.EncodeToString([]byte(`{"expiration":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) +
			`","conditions":[{"bucket":"bkt"},{"acl":"ec2-bundle-read"},["starts-with","$key","` + prefix + `"]]}`))
		m := hmac.New(sha1.New, []byte(c.keys[key].Secret))
		m.Write([]byte(p))
		return map[string]string{
			"key": name, "acl": "ec2-bundle-read", "AWSAccessKeyId": c.keys[key].ID, "policy": p, "signature": base64.StdEncoding.EncodeToString(m.Sum(nil)),
		}
	}
	if err := door.Upload(t.Context(), "bkt", fields(0, "up/", "up/part"), []byte("part")); err != nil {
		t.Fatal(err)
	}
	if got := string(c.get(t, "bkt", "up/part")); got != "part" {
		t.Errorf("%q", got)
	}
	forged := fields(0, "up/", "up/x")
	forged["signature"] = strings.Repeat("A", 27) + "="
	for name, x := range map[string]struct {
		bucket string
		fields map[string]string
		code   string
	}{
		"another's bucket":  {"bkt", fields(1, "up/", "up/x"), "AccessDenied"},
		"another key":       {"bkt", fields(0, "up/", "down/x"), "AccessDenied"},
		"another bucket":    {"none", fields(0, "up/", "up/x"), "AccessDenied"},
		"a bucket's path":   {"bkt/up", fields(0, "up/", "up/x"), "MethodNotAllowed"},
		"a wrong signature": {"bkt", forged, "SignatureDoesNotMatch"},
		"nobody's":          {"bkt", map[string]string{"key": "up/x"}, "AccessDenied"},
	} {
		if err := door.Upload(t.Context(), x.bucket, x.fields, []byte("x")); awserr.Code(err) != x.code {
			t.Errorf("%s: %v, want %s", name, err, x.code)
		}
	}
	if status, _, _ := c.raw(t, 0, "GET", "/bkt/up/x", ""); status != 404 {
		t.Error("there is an object that nobody might write")
	}
}
