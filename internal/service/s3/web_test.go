package s3_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/resource"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/store"
)

// defaults sets an account's deviations from AWS's defaults.
func (c *cloud) defaults(t testing.TB, n int, d s3.Defaults) {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	account := store.AccessKeys.Get(c.store.Snapshot(), c.keys[n].ID).AccountID
	err = c.store.Update(t.Context(), func(tx *store.Tx) error {
		return store.Settings.Put(tx, &resource.Setting{Name: s3.DefaultsName(account), Value: string(text)})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCrossOrigin(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "bkt")
	c.put(t, "bkt", "key", []byte("x"))
	ask := func(path string, header ...string) (int, http.Header, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, c.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		c.handler.ServeHTTP(w, r)
		code := ""
		if m := codePattern.FindStringSubmatch(w.Body.String()); m != nil {
			code = m[1]
		}
		return w.Code, w.Header(), code
	}
	const origin, method, headers = "Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"
	if status, _, code := ask("/bkt/key", origin, "https://a.example", method, "PUT"); status != 403 || code != "AccessForbidden" {
		t.Error("without rules:", status, code)
	}
	c.raw(t, 0, "PUT", "/bkt?cors", `<CORSConfiguration>
		<CORSRule><AllowedOrigin>https://*.example</AllowedOrigin><AllowedMethod>PUT</AllowedMethod><AllowedMethod>GET</AllowedMethod><AllowedHeader>X-Amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule>
		<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod></CORSRule></CORSConfiguration>`)
	for _, tt := range []struct {
		header []string
		status int
		code   string
		allow  string
	}{
		{[]string{origin, "https://a.example", method, "PUT", headers, "x-amz-date, X-AMZ-acl"}, 200, "", "https://a.example"},
		{[]string{origin, "https://a.example", method, "PUT", headers, "content-type"}, 403, "AccessForbidden", ""},
		{[]string{origin, "https://a.test", method, "PUT"}, 403, "AccessForbidden", ""},
		{[]string{origin, "https://a.test", method, "HEAD"}, 200, "", "*"},
		{[]string{method, "PUT"}, 400, "BadRequest", ""},
		{[]string{origin, "https://a.example"}, 400, "BadRequest", ""},
		{[]string{origin, "https://a.example", method, "BREW"}, 400, "BadRequest", ""},
	} {
		status, h, code := ask("/bkt/key", tt.header...)
		if status != tt.status || code != tt.code || h.Get("Access-Control-Allow-Origin") != tt.allow {
			t.Errorf("%v: %d %s %v", tt.header, status, code, h)
		}
		if tt.allow == "https://a.example" && (h.Get("Access-Control-Allow-Headers") != "x-amz-date, x-amz-acl" || h.Get("Access-Control-Max-Age") != "60" || h.Get("Access-Control-Allow-Credentials") != "true") {
			t.Errorf("%v", h)
		}
	}
	// The answer itself, and the answer that is an error.
	for _, path := range []string{"/bkt/key", "/bkt/none"} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+path, nil)
		r.Header.Set("Origin", "https://a.example")
		w := httptest.NewRecorder()
		c.handler.ServeHTTP(w, r)
		if w.Header().Get("Access-Control-Expose-Headers") != "ETag" || !strings.HasPrefix(w.Header().Get("Vary"), "Origin") {
			t.Errorf("%s: %v", path, w.Header())
		}
	}
}

// form posts a browser's form; the file is the last field.
func (c *cloud) form(t testing.TB, bucket, file string, fields ...string) (int, http.Header, string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	part, err := w.CreateFormFile("file", `C:\photos\me.png`)
	if err != nil {
		t.Fatal(err)
	}
	part.Write([]byte(file))
	w.Close()
	r := httptest.NewRequest(http.MethodPost, "http://cloud.test/"+bucket, &b).WithContext(t.Context())
	r.Header.Set("Content-Type", w.FormDataContentType())
	answer := httptest.NewRecorder()
	c.handler.ServeHTTP(answer, r)
	code := answer.Body.String()
	if m := codePattern.FindStringSubmatch(code); m != nil {
		code = m[1]
	}
	return answer.Code, answer.Header(), code
}

func TestForms(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "bkt")
	now := time.Now().UTC()
	date, stamp := now.Format("20060102"), now.Format("20060102T150405Z")
	credential := c.keys[0].ID + "/" + date + "/us-east-1/s3/aws4_request"
	mac := func(key []byte, text string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	policy := func(conditions string) string {
		return base64.StdEncoding.EncodeToString([]byte(`{"expiration":"` + now.Add(time.Hour).Format(time.RFC3339) + `","conditions":[` + conditions + `]}`))
	}
	sign := func(text string) string {
		key := []byte("AWS4" + c.keys[0].Secret)
		for _, part := range []string{date, "us-east-1", "s3", "aws4_request"} {
			key = mac(key, part)
		}
		return hex.EncodeToString(mac(key, text))
	}
	const base = `{"bucket":"bkt"},["starts-with","$key","up/"],["starts-with","$x-amz-",""],{"x-amz-algorithm":"AWS4-HMAC-SHA256"},["starts-with","$x-amz-credential",""],["starts-with","$x-amz-date",""]`
	signed := func(conditions string, more ...string) []string {
		p := policy(conditions)
		return append([]string{"x-amz-algorithm", "AWS4-HMAC-SHA256", "x-amz-credential", credential, "x-amz-date", stamp, "Policy", p, "X-Amz-Signature", sign(p)}, more...)
	}
	for name, tt := range map[string]struct {
		fields []string
		status int
		code   string
	}{
		"plain":           {signed(base, "key", "up/${filename}"), 204, ""},
		"wrong signature": {append(signed(base, "key", "up/x")[:8], "X-Amz-Signature", sign("x"), "key", "up/x"), 403, "SignatureDoesNotMatch"},
		"other key":       {signed(base, "key", "down/x"), 403, "AccessDenied"},
		"extra field":     {signed(base, "key", "up/x", "acl", "private"), 403, "AccessDenied"},
		"too large":       {signed(base+`,["content-length-range",0,2]`, "key", "up/large"), 400, "EntityTooLarge"},
		"too small":       {signed(base+`,["content-length-range",9,20]`, "key", "up/small"), 400, "EntityTooSmall"},
		"no key":          {signed(base), 400, "InvalidArgument"},
		"key twice":       {signed(base, "key", "up/a", "key", "up/b"), 400, "InvalidArgument"},
		"bad policy":      {[]string{"x-amz-algorithm", "AWS4-HMAC-SHA256", "x-amz-credential", credential, "x-amz-date", stamp, "policy", "e30=", "x-amz-signature", sign("e30="), "key", "up/x"}, 400, "InvalidPolicyDocument"},
		"nobody":          {[]string{"key", "up/anonymous"}, 403, "AccessDenied"},
		"large fields":    {signed(base, "key", "up/"+strings.Repeat("x", 21<<10)), 400, "MaxPostPreDataLengthExceededError"},
		"long key":        {signed(base, "key", "up/"+strings.Repeat("x", 1100)), 400, "KeyTooLongError"},
		"version 2, off":  {[]string{"AWSAccessKeyId", c.keys[0].ID, "policy", policy(base), "signature", "x", "key", "up/x"}, 400, "InvalidRequest"},
	} {
		status, _, code := c.form(t, "bkt", "data", tt.fields...)
		if status != tt.status || code != tt.code {
			t.Errorf("%s: %d %s, want %d %s", name, status, code, tt.status, tt.code)
		}
	}
	if got := string(c.get(t, "bkt", "up/me.png")); got != "data" {
		t.Error(got)
	}
	for _, key := range []string{"up/large", "up/small", "up/x", "up/anonymous"} {
		if status, _, _ := c.raw(t, 0, "GET", "/bkt/"+key, ""); status != 404 {
			t.Errorf("%s is there", key)
		}
	}
	status, h, body := c.form(t, "bkt", "data", signed(base+`,["starts-with","$success_action_status",""]`, "key", "up/<&>", "success_action_status", "201")...)
	if status != 201 || h.Get("Location") != "http://cloud.test/bkt/up/%3C&%3E" || !strings.Contains(body, "<Key>up/&lt;&amp;&gt;</Key>") {
		t.Error(status, h, body)
	}
	status, h, _ = c.form(t, "bkt", "data", signed(base+`,["starts-with","$success_action_redirect",""]`, "key", "up/r", "success_action_redirect", "https://a.example/?x=1")...)
	if status != 303 || !strings.HasPrefix(h.Get("Location"), "https://a.example/?bucket=bkt&etag=%228d") {
		t.Error(status, h)
	}
	c.defaults(t, 0, s3.Defaults{SigV2: true})
	p := policy(base)
	m := hmac.New(sha1.New, []byte(c.keys[0].Secret))
	m.Write([]byte(p))
	if status, _, code := c.form(t, "bkt", "data", "AWSAccessKeyId", c.keys[0].ID, "policy", p, "signature", base64.StdEncoding.EncodeToString(m.Sum(nil)), "key", "up/old"); status != 403 || code != "AccessDenied" {
		t.Error("conditions on fields that are not there:", status, code)
	}
	p = policy(`{"bucket":"bkt"},["starts-with","$key","up/"]`)
	m.Reset()
	m.Write([]byte(p))
	if status, _, code := c.form(t, "bkt", "data", "AWSAccessKeyId", c.keys[0].ID, "policy", p, "signature", base64.StdEncoding.EncodeToString(m.Sum(nil)), "key", "up/old"); status != 204 {
		t.Error("version 2:", status, code)
	}
}

// Signature Version 2 in headers is off until the administrator lets an account use it, and signs what selects
// anything even then.
func TestOldHeaders(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "bkt")
	c.put(t, "bkt", "key", []byte("data"))
	do := func(method, path, resource string, change func(*http.Request)) (int, string) {
		r := httptest.NewRequestWithContext(context.Background(), method, "http://127.0.0.1"+path, nil)
		date := time.Now().UTC().Format(http.TimeFormat)
		r.Header.Set("Date", date)
		m := hmac.New(sha1.New, []byte(c.keys[0].Secret))
		m.Write([]byte(method + "\n\n\n" + date + "\n" + resource))
		r.Header.Set("Authorization", "AWS "+c.keys[0].ID+":"+base64.StdEncoding.EncodeToString(m.Sum(nil)))
		if change != nil {
			change(r)
		}
		w := httptest.NewRecorder()
		c.handler.ServeHTTP(w, r)
		if m := codePattern.FindStringSubmatch(w.Body.String()); m != nil {
			return w.Code, m[1]
		}
		return w.Code, w.Body.String()
	}
	if status, code := do("GET", "/bkt/key", "/bkt/key", nil); status != 400 || code != "InvalidRequest" {
		t.Error("off:", status, code)
	}
	c.defaults(t, 0, s3.Defaults{SigV2: true})
	for _, tt := range []struct {
		method, path, resource string
		change                 func(*http.Request)
		status                 int
		code                   string
	}{
		{"GET", "/bkt/key", "/bkt/key", nil, 200, "data"},
		{"GET", "/bkt?prefix=k&max-keys=1", "/bkt", nil, 200, ""},
		{"GET", "/bkt?location", "/bkt?location", nil, 200, ""},
		{"GET", "/bkt?location", "/bkt", nil, 403, "SignatureDoesNotMatch"},
		{"DELETE", "/bkt?encryption", "/bkt", nil, 400, "InvalidRequest"},
		{"GET", "/bkt/other", "/bkt/key", nil, 403, "SignatureDoesNotMatch"},
		{"GET", "/bkt/key", "/bkt/key", func(r *http.Request) { r.Header.Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)) }, 403, "RequestTimeTooSkewed"},
		{"GET", "/bkt/key", "/bkt/key", func(r *http.Request) { r.Header.Del("Date") }, 403, "AccessDenied"},
		{"GET", "/bkt/key", "/bkt/key", func(r *http.Request) { r.Header.Set("X-Amz-Meta-A", "b") }, 403, "SignatureDoesNotMatch"},
		{"GET", "/bkt/key", "/bkt/key", func(r *http.Request) { r.Header.Set("Authorization", "AWS nonsense") }, 400, "InvalidArgument"},
	} {
		status, code := do(tt.method, tt.path, tt.resource, tt.change)
		if status != tt.status || tt.code != "" && code != tt.code {
			t.Errorf("%s %s as %s: %d %s, want %d %s", tt.method, tt.path, tt.resource, status, code, tt.status, tt.code)
		}
	}
}

// The administrator may let an account's S3 differ from AWS's of today, for older tools.
func TestDefaults(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "before")
	if _, err := s3.ParseDefaults("acls,nonsense"); err == nil {
		t.Error("nonsense is taken")
	}
	d, err := s3.ParseDefaults("acls,public,names,recreate")
	if err != nil {
		t.Fatal(err)
	}
	account := store.AccessKeys.Get(c.store.Snapshot(), c.keys[0].ID).AccountID
	if err := c.store.Update(t.Context(), func(tx *store.Tx) error { return d.Put(tx, account) }); err != nil {
		t.Fatal(err)
	}
	if _, code, body := c.raw(t, 0, "PUT", "/after", "", "x-amz-acl", "public-read"); code != "" {
		t.Error(body)
	}
	for path, want := range map[string]string{
		"/after?ownershipControls": "OwnershipControlsNotFoundError", "/after?publicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
		"/before?ownershipControls": "", "/before?publicAccessBlock": "",
	} {
		if _, code, _ := c.raw(t, 0, "GET", path, ""); code != want {
			t.Errorf("%s: %s, want %q", path, code, want)
		}
	}
	if status, code, _ := c.raw(t, 0, "PUT", "/after", ""); status != 409 || code != "BucketAlreadyOwnedByYou" {
		t.Error(status, code)
	}
	if _, _, body := c.raw(t, 0, "GET", "/", ""); !strings.Contains(body, "<DisplayName>karri</DisplayName>") {
		t.Error(body)
	}
	if status, _, _ := c.raw(t, 1, "PUT", "/theirs", "", "x-amz-acl", "public-read"); status != 400 {
		t.Error("another account's S3 differs, too:", status)
	}
}
