package s3_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestWebsite reads a website as nobody: what everyone may read, and nothing else.
func TestWebsite(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	for _, name := range []string{"site", "moved", "plain"} {
		c.bucket(t, name)
	}
	for key, body := range map[string]string{
		"index.html": "home", "docs/index.html": "docs", "404.html": "no such page", "private/page": "secret", "a b+ü.txt": "odd", "new/x": "x",
	} {
		if _, err := c.mine.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String("site"), Key: &key, Body: strings.NewReader(body), ContentType: aws.String("text/html")}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.mine.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String("site"), Key: aws.String("gone"), WebsiteRedirectLocation: aws.String("https://example.com/there")}); err != nil {
		t.Fatal(err)
	}
	website := func(bucket string, w types.WebsiteConfiguration) {
		t.Helper()
		if _, err := c.mine.PutBucketWebsite(ctx, &awss3.PutBucketWebsiteInput{Bucket: &bucket, WebsiteConfiguration: &w}); err != nil {
			t.Fatal(err)
		}
	}
	index := &types.IndexDocument{Suffix: aws.String("index.html")}
	website("site", types.WebsiteConfiguration{IndexDocument: index, RoutingRules: []types.RoutingRule{
		{Condition: &types.Condition{KeyPrefixEquals: aws.String("old/")}, Redirect: &types.Redirect{ReplaceKeyPrefixWith: aws.String("new/"), HttpRedirectCode: aws.String("302")}},
	}})
	website("moved", types.WebsiteConfiguration{RedirectAllRequestsTo: &types.RedirectAllRequestsTo{HostName: aws.String("example.com"), Protocol: "https"}})

	ask := func(method, host, path string, headers ...string) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequestWithContext(ctx, method, "http://x"+path, nil)
		r.Host = host
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		c.handler.ServeHTTP(w, r)
		return w
	}
	const site = "site.s3-website.us-east-1.cloud.test"
	check := func(name string, w *httptest.ResponseRecorder, status int, body, location string) {
		t.Helper()
		if w.Code != status || !strings.Contains(w.Body.String(), body) || w.Header().Get("Location") != location {
			t.Errorf("%s: %d %q to %q, want %d %q to %q", name, w.Code, w.Body, w.Header().Get("Location"), status, body, location)
		}
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s tells the secret", name)
		}
	}
	// Nobody may read yet, whatever the website says.
	for _, path := range []string{"/", "/docs/", "/none"} {
		w := ask("GET", site, path)
		check("private "+path, w, http.StatusForbidden, "Code: AccessDenied", "")
		if kind := w.Header().Get("Content-Type"); kind != "text/html; charset=utf-8" || written(w, "x-amz-request-id") == "" {
			t.Errorf("%v", w.Header())
		}
	}
	if _, err := c.mine.DeletePublicAccessBlock(ctx, &awss3.DeletePublicAccessBlockInput{Bucket: aws.String("site")}); err != nil {
		t.Fatal(err)
	}
	policy := func(list string) {
		t.Helper()
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::site/*"},
			{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::site/private/*"}` + list + `]}`
		if _, err := c.mine.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: aws.String("site"), Policy: &text}); err != nil {
			t.Fatal(err)
		}
	}
	policy("")
	check("who may not list does not learn what is missing", ask("GET", site, "/none"), http.StatusForbidden, "Code: AccessDenied", "")
	policy(`,{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::site"}`)
	check("an error without a document", ask("GET", site, "/none<script>"), http.StatusNotFound, "Key: none&lt;script&gt;", "")
	website("site", types.WebsiteConfiguration{IndexDocument: index, ErrorDocument: &types.ErrorDocument{Key: aws.String("404.html")}, RoutingRules: []types.RoutingRule{
		{Condition: &types.Condition{KeyPrefixEquals: aws.String("old/")}, Redirect: &types.Redirect{ReplaceKeyPrefixWith: aws.String("new/"), HttpRedirectCode: aws.String("302")}},
		{Condition: &types.Condition{HttpErrorCodeReturnedEquals: aws.String("404"), KeyPrefixEquals: aws.String("lost/")}, Redirect: &types.Redirect{HostName: aws.String("found.example"), ReplaceKeyWith: aws.String("here")}},
	}})
	for _, tt := range []struct {
		name, method, path string
		status             int
		body, location     string
	}{
		{"index", "GET", "/", 200, "home", ""},
		{"index of a folder", "GET", "/docs/", 200, "docs", ""},
		{"folder without a slash", "GET", "/docs", 302, "", "http://" + site + "/docs/"},
		{"odd key", "GET", "/a%20b+%C3%BC.txt", 200, "odd", ""},
		{"missing", "GET", "/none", 404, "no such page", ""},
		{"not for everyone", "GET", "/private/page", 403, "no such page", ""},
		{"a listing is no page", "GET", "/?list-type=2", 200, "home", ""},
		{"a sub-resource is none", "GET", "/?policy", 200, "home", ""},
		{"rule", "GET", "/old/x?q=1", 302, "", "http://" + site + "/new/x?q=1"},
		{"rule of an error", "GET", "/lost/x", 301, "", "http://found.example/here"},
		{"an object's redirect", "GET", "/gone", 301, "", "https://example.com/there"},
		{"put", "PUT", "/index.html", 405, "Code: MethodNotAllowed", ""},
		{"post", "POST", "/?delete", 405, "Code: MethodNotAllowed", ""},
		{"delete", "DELETE", "/index.html", 405, "Code: MethodNotAllowed", ""},
	} {
		check(tt.name, ask(tt.method, site, tt.path), tt.status, tt.body, tt.location)
	}
	w := ask("GET", site, "/")
	if w.Header().Get("Content-Type") != "text/html" {
		t.Errorf("%v", w.Header())
	}
	check("not modified", ask("GET", site, "/", "If-None-Match", written(w, "ETag")), http.StatusNotModified, "", "")
	check("range", ask("GET", site, "/", "Range", "bytes=1-2"), http.StatusPartialContent, "om", "")
	if w := ask("HEAD", site, "/"); w.Code != http.StatusOK || w.Body.Len() > 0 || w.Header().Get("Content-Length") != "4" {
		t.Errorf("head: %d %q %v", w.Code, w.Body, w.Header())
	}
	check("all moved", ask("GET", "moved.s3-website-us-east-1.cloud.test", "/a?b"), 301, "", "https://example.com/a?b")
	check("no website", ask("GET", "plain.s3-website.us-east-1.cloud.test", "/"), 404, "Code: NoSuchWebsiteConfiguration", "")
	check("no bucket", ask("GET", "nothing.s3-website.us-east-1.cloud.test", "/"), 404, "Code: NoSuchBucket", "")
	if string(c.get(t, "site", "index.html")) != "home" {
		t.Error("somebody has changed it")
	}
}

// written gives a header by the name that S3 writes, which is not always Go's.
func written(w *httptest.ResponseRecorder, name string) string {
	for k, v := range w.Header() {
		if k == name {
			return v[0]
		}
	}
	return ""
}
