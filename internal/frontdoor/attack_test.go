package frontdoor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	ec2shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/aws/wire"
	"karri.dev/internal/frontdoor"
	"karri.dev/internal/identity"
)

// answer is "STATUS CODE" of an error.
func answer(w *httptest.ResponseRecorder) string {
	return strings.TrimSpace(fmt.Sprint(w.Code, " ", errorCode(w.Body.String())))
}

func TestTamperedQueryRequests(t *testing.T) {
	c := newCloud(t)
	const form = "Action=CreateUser&UserName=mallory&Version=2010-05-08"
	body := func(r *http.Request, s string) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(s)), int64(len(s))
		r.Header.Set("Content-Length", fmt.Sprint(len(s)))
	}
	for name, tt := range map[string]struct {
		change func(r *http.Request)
		want   string
	}{
		"replayed later":       {func(*http.Request) { c.now = func() time.Time { return time.Now().Add(16 * time.Minute) } }, "403 SignatureDoesNotMatch"},
		"replayed earlier":     {func(*http.Request) { c.now = func() time.Time { return time.Now().Add(-16 * time.Minute) } }, "403 SignatureDoesNotMatch"},
		"other body":           {func(r *http.Request) { body(r, form+"&Path=%2Fadmin%2F") }, "403 SignatureDoesNotMatch"},
		"no body":              {func(r *http.Request) { body(r, "") }, "403 SignatureDoesNotMatch"},
		"short body":           {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(form[:10])) }, "400 IncompleteBody"},
		"large body":           {func(r *http.Request) { body(r, form+"&X="+strings.Repeat("x", 1<<20)) }, "413 RequestEntityTooLarge"},
		"large without end":    {func(r *http.Request) { body(r, strings.Repeat("x", 1<<21)); r.ContentLength = -1 }, "413 RequestEntityTooLarge"},
		"other host":           {func(r *http.Request) { r.Host = "elsewhere.test" }, "403 SignatureDoesNotMatch"},
		"other path":           {func(r *http.Request) { r.URL.Path = "/x" }, "403 SignatureDoesNotMatch"},
		"other method":         {func(r *http.Request) { r.Method = "PUT" }, "405 MethodNotAllowed"},
		"parameter in URL":     {func(r *http.Request) { r.URL.RawQuery = "UserName=eve" }, "403 SignatureDoesNotMatch"},
		"semicolon in URL":     {func(r *http.Request) { r.URL.RawQuery = "a;UserName=eve" }, "400 InvalidURI"},
		"unsigned amz header":  {func(r *http.Request) { r.Header.Set("X-Amz-Target", "x") }, "403 SignatureDoesNotMatch"},
		"second signature":     {func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, "400 IncompleteSignature"},
		"no signature":         {func(r *http.Request) { r.Header.Del("Authorization") }, "403 MissingAuthenticationToken"},
		"not a form":           {func(r *http.Request) { r.Header.Set("Content-Type", "text/xml") }, "400 MalformedHttpRequestException"},
		"other service's name": {func(r *http.Request) { r.Host = "sts.us-east-1.cloud.test" }, "403 SignatureDoesNotMatch"},
		"other region's name":  {func(r *http.Request) { r.Host = "iam.eu-west-1.cloud.test" }, "403 SignatureDoesNotMatch"},
		"empty key": {func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "Credential="+adminKey, "Credential=", 1))
		}, "400 IncompleteSignature"},
	} {
		c.now = time.Now
		r := signedForm("http://127.0.0.1:8773/", "iam", form, c.key, time.Now())
		tt.change(r)
		if got := answer(c.do(r)); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	c.now = time.Now
	if users, err := c.id.Account("karri"); err != nil || users.Name != "karri" {
		t.Fatal(err)
	}
	if w := c.do(signedForm("http://127.0.0.1:8773/", "iam", "Action=ListUsers", c.key, time.Now())); strings.Contains(w.Body.String(), "mallory") {
		t.Error("a tampered request was served")
	}
	// Correctly signed, and still to be refused.
	for form, want := range map[string]string{
		"Action=GetUser&Action=DeleteUser":                            "400 MalformedQueryString",
		"Action=GetUser&UserName=a&UserName=b":                        "400 MalformedQueryString",
		"Action=GetUser&UserName=%zz":                                 "400 MalformedQueryString",
		"Action=GetUser&Version=%3Cscript%3E":                         "400 NoSuchVersion",
		"UserName=x":                                                  "400 MissingAction",
		"Action=MakeCoffee":                                           "400 InvalidAction",
		"Action=GetOrganizationsAccessReport&Version=2010-05-08":      "400 InvalidAction",
		"Action=GetUser&UserName=" + url.QueryEscape("a\x00b"):        "400 ValidationError",
		"Action=CreateUser&UserName=x&PermissionsBoundary=" + longARN: "404 NoSuchEntity",
	} {
		if got := answer(c.do(signedForm("http://127.0.0.1:8773/", "iam", form, c.key, time.Now()))); got != want {
			t.Errorf("%s: %s, want %s", form, got, want)
		}
	}
	// Duplicates between URL and body, both signed.
	if got := answer(c.do(signedForm("http://127.0.0.1:8773/?Action=DeleteUser", "iam", "Action=GetUser", c.key, time.Now()))); got != "400 MalformedQueryString" {
		t.Error(got)
	}
}

const longARN = "arn%3Aaws%3Aiam%3A%3A123456789012%3Apolicy%2Fboundary"

func TestVersionsAndGET(t *testing.T) {
	c := newCloud(t)
	w := c.do(signedForm("http://127.0.0.1:8773/", "sts", "Action=GetCallerIdentity&Version=2099-12-31", c.key, time.Now()))
	if !strings.Contains(w.Body.String(), `xmlns="https://sts.amazonaws.com/doc/2099-12-31/"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, host := range []string{"127.0.0.1:8773", "sts.cloud.test", "sts.us-east-1.cloud.test:8773", "STS.us-east-1.CLOUD.test"} {
		r := httptest.NewRequest("GET", "http://"+host+"/?"+identityForm, nil)
		sigv4.Sign(r, sigv4.Credentials{AccessKeyID: c.key.ID, Secret: c.key.Secret}, "us-east-1", "sts", sigv4.EmptyPayload, time.Now())
		if w := c.do(r); w.Code != 200 || w.Header().Get("X-Amzn-Requestid") == "" {
			t.Errorf("%s: %d %s", host, w.Code, w.Body)
		}
		u, _ := url.Parse("http://" + host + "/?" + identityForm)
		link := sigv4.Presign("GET", u, sigv4.Credentials{AccessKeyID: c.key.ID, Secret: c.key.Secret}, "us-east-1", "sts", time.Minute, time.Now())
		if w := c.do(httptest.NewRequest("GET", link.String(), nil)); w.Code != 200 {
			t.Errorf("presigned %s: %d %s", host, w.Code, w.Body)
		}
	}
}

func TestAnonymous(t *testing.T) {
	c, o := newS3(t)
	for target, want := range map[string]string{
		"GET /": "403 AccessDenied", "GET /bucket": "403 AccessDenied", "GET /bucket/key": "403 AccessDenied", "PUT /bucket/key": "403 AccessDenied",
		"GET /?Action=GetCallerIdentity":                             "403 MissingAuthenticationToken",
		"GET /?Action=DescribeInstances":                             "403 MissingAuthenticationToken",
		"GET /?AWSAccessKeyId=AKIA&Signature=x&SignatureVersion=2":   "400 InvalidRequest",
		"GET /bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256":           "400 AuthorizationQueryParametersError",
		"GET /bucket/key?X-Amz-Signature=" + strings.Repeat("a", 64): "400 AuthorizationQueryParametersError",
		"BREW /bucket/key": "405 MethodNotAllowed",
		"GET //bucket":     "400 InvalidURI",
	} {
		method, path, _ := strings.Cut(target, " ")
		r := httptest.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader("x"))
		w := c.do(r)
		if got := answer(w); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
	if o.calls != 0 {
		t.Error("a call was made for nobody")
	}
}

// signedS3 gives a signed S3 request.
func signedS3(method, target, payload, body string, k identity.Key, header http.Header) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for name, v := range header {
		r.Header[name] = v
	}
	sigv4.Sign(r, sigv4.Credentials{AccessKeyID: k.ID, Secret: k.Secret}, "us-east-1", "s3", payload, time.Now())
	return r
}

func TestTamperedObjects(t *testing.T) {
	c, o := newS3(t)
	const digestOfData = "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"
	for name, tt := range map[string]struct {
		change func(r *http.Request)
		want   string
	}{
		"nothing":        {func(*http.Request) {}, "200"},
		"other body":     {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("dato")) }, "400 XAmzContentSHA256Mismatch"},
		"short body":     {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("dat")) }, "400 IncompleteBody"},
		"unsigned body":  {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", sigv4.UnsignedPayload) }, "403 SignatureDoesNotMatch"},
		"other bucket":   {func(r *http.Request) { r.URL.Path = "/other/key" }, "403 SignatureDoesNotMatch"},
		"bucket in host": {func(r *http.Request) { r.Host = "other.s3.us-east-1.cloud.test" }, "403 SignatureDoesNotMatch"},
		"copy source":    {func(r *http.Request) { r.Header.Set("X-Amz-Copy-Source", "/secret/key") }, "403 AccessDenied"},
		"sub-resource":   {func(r *http.Request) { r.URL.RawQuery = "acl" }, "403 SignatureDoesNotMatch"},
		"chunked":        {func(r *http.Request) { r.ContentLength = -1 }, "411 MissingContentLength"},
		"unknown key": {func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), adminKey, "AKIANOSUCHKEYNOSUCHK", 1))
		}, "403 InvalidAccessKeyId"},
		"wrong region": {func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "us-east-1", "mars", 1))
		}, "400 AuthorizationHeaderMalformed"},
		"broken header": {func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x") }, "400 AuthorizationHeaderMalformed"},
		"clock":         {func(*http.Request) { c.now = func() time.Time { return time.Now().Add(time.Hour) } }, "403 RequestTimeTooSkewed"},
	} {
		c.now = time.Now
		r := signedS3("PUT", "http://127.0.0.1/bucket/key", digestOfData, "data", c.key, http.Header{"Content-Length": {"4"}})
		o.calls = 0
		tt.change(r)
		w := c.do(r)
		if got := answer(w); got != tt.want {
			t.Errorf("%s: %s, want %s: %s", name, got, tt.want, w.Body)
		}
		if (tt.want == "200") != (o.calls == 1) {
			t.Errorf("%s: %d calls", name, o.calls)
		}
		var head strings.Builder
		if w.Result().Header.Write(&head); !strings.Contains(head.String(), "x-amz-request-id: ") || !strings.Contains(head.String(), "x-amz-id-2: ") {
			t.Errorf("%s: no request ids", name)
		}
	}
	c.now = time.Now
	if got := answer(c.do(signedS3("DELETE", "http://127.0.0.1/bucket/key?torrent", sigv4.EmptyPayload, "", c.key, nil))); !strings.HasPrefix(got, "405") && !strings.HasPrefix(got, "501") {
		t.Errorf("unknown sub-resource: %s", got)
	}
	r := signedS3("PUT", "http://127.0.0.1/bucket/key", sigv4.UnsignedPayload, "data", c.key, nil)
	r.ContentLength = -1
	r.Header.Del("Content-Length")
	if got := answer(c.do(r)); got != "411 MissingContentLength" {
		t.Errorf("no length: %s", got)
	}
}

func TestDryRun(t *testing.T) {
	c := newCloud(t)
	calls := 0
	c.Register(&wire.Service{
		Name: "ec2", Protocol: wire.EC2, Namespace: func(string) string { return "http://ec2.amazonaws.com/doc/2016-11-15/" },
		Known: []wire.Route{{Name: "RunInstances"}},
		Operations: []wire.Operation{{
			Route:  wire.Route{Name: "RunInstances"},
			Decode: func(*wire.Request) (any, error) { return &ec2shape.RunInstancesRequest{}, nil },
			Invoke: func(context.Context, any, any) (any, error) { calls++; return nil, nil },
			Encode: func(w *wire.Response, _ any) error { w.Body = append(w.Body, "<ok/>"...); return nil },
		}},
	}, nil)
	run := func(form string, k identity.Key) string {
		return answer(c.do(signedForm("http://ec2.us-east-1.cloud.test/", "ec2", form, k, time.Now())))
	}
	for form, want := range map[string]string{
		"Action=RunInstances&DryRun=true":  "412 DryRunOperation",
		"Action=RunInstances&DryRun=false": "200",
		"Action=Nonsense":                  "400 InvalidAction",
		"Action=RunInstances&Version=1":    "400 NoSuchVersion",
	} {
		if got := run(form, c.key); got != want {
			t.Errorf("%s: %s, want %s", form, got, want)
		}
	}
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
	for name, k := range map[string]identity.Key{"key": {ID: "AKIANOSUCHKEYNOSUCHK", Secret: "x"}, "secret": {ID: adminKey, Secret: "x"}} {
		if got := run("Action=RunInstances", k); got != "401 AuthFailure" {
			t.Errorf("wrong %s: %s", name, got)
		}
	}
	c.now = func() time.Time { return time.Now().Add(time.Hour) }
	if got := run("Action=RunInstances", c.key); got != "400 RequestExpired" {
		t.Error(got)
	}
}

func TestThrottle(t *testing.T) {
	c, _ := newS3(t, func(cfg *frontdoor.Config, _ *frontdoor.Deps) { cfg.RatePerSecond, cfg.Burst = 1, 2 })
	at := time.Now()
	c.now = func() time.Time { return at }
	_, other, err := c.id.CreateAccount(context.Background(), identity.NewAccount{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	run := func(k identity.Key) string {
		return answer(c.do(signedForm("http://127.0.0.1/", "sts", identityForm, k, at)))
	}
	got := fmt.Sprint(run(c.key), ", ", run(c.key), ", ", run(c.key), ", ", run(other), ", ", answer(c.do(signedS3("HEAD", "http://127.0.0.1/b/k", sigv4.EmptyPayload, "", c.key, nil))))
	if got != "200, 200, 400 Throttling, 200, 503" {
		t.Error(got)
	}
	at = at.Add(time.Second)
	if got := run(c.key); got != "200" {
		t.Error(got)
	}
}

func TestOwnPages(t *testing.T) {
	healthy := error(nil)
	c := newCloud(t, func(_ *frontdoor.Config, d *frontdoor.Deps) { d.Health = func() error { return healthy } })
	c.do(signedForm("http://127.0.0.1/", "sts", identityForm, c.key, time.Now()))
	get := func(path, from string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "http://127.0.0.1"+path, nil)
		r.RemoteAddr = from
		return c.do(r)
	}
	if w := get("/_karri/healthz", "192.0.2.1:1"); w.Code != 200 {
		t.Error(w.Code)
	}
	healthy = io.ErrUnexpectedEOF
	if w := get("/_karri/healthz", "192.0.2.1:1"); w.Code != 503 {
		t.Error(w.Code)
	}
	if w := get("/_karri/metrics", "192.0.2.1:1"); w.Code != 403 {
		t.Error(w.Code)
	}
	w := get("/_karri/metrics", "127.0.0.1:1")
	if !strings.Contains(w.Body.String(), `karri_api_requests_total{code="OK",operation="GetCallerIdentity",service="sts"} 1`) {
		t.Error(w.Body)
	}
}

func TestAuditHidesSecrets(t *testing.T) {
	c := newCloud(t)
	c.do(signedForm("http://127.0.0.1/", "iam", "Action=GetUser&UserName=bob&SecretAccessKey=hush&Version=2010-05-08", c.key, time.Now()))
	e := c.audit.last()
	line, err := json.Marshal(e)
	if err != nil || strings.Contains(string(line), "hush") || strings.Contains(string(line), adminSecret) {
		t.Errorf("%s, %v", line, err)
	}
	if e.Name != "GetUser" || e.Source != "iam.amazonaws.com" || e.UserIdentity.Type != "Root" || e.ErrorCode == "" || !e.ReadOnly || e.Parameters["UserName"] != "bob" {
		t.Errorf("%s", line)
	}
	c.do(httptest.NewRequest("GET", "/?Action=%3Cscript%3E", nil))
	if e := c.audit.last(); e.Name != "" || e.UserIdentity.Type != "Anonymous" || e.UserIdentity.AccountID != "" {
		t.Errorf("%+v", e)
	}
}

func FuzzHandler(f *testing.F) {
	c, _ := newS3(f)
	f.Add("GET", "/bucket/key?x=y", "127.0.0.1", "", "")
	f.Add("POST", "/", "sts.cloud.test", "AWS4-HMAC-SHA256 Credential=AKIAADMINADMINADMIN1/20261121/us-east-1/sts/aws4_request, SignedHeaders=host, Signature="+sigv4.EmptyPayload, identityForm)
	f.Fuzz(func(t *testing.T, method, target, host, auth, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || strings.HasPrefix(u.Path, frontdoor.Own) {
			return
		}
		r := &http.Request{
			Method: method, URL: u, Host: host, Header: http.Header{"X-Amz-Date": {"20261121T120000Z"}},
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), RemoteAddr: "127.0.0.1:1",
		}
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		if w := c.do(r); w.Code < 400 || w.Code >= 500 && w.Code != 501 && w.Code != 503 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}
