package wiretest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/aws/shape/s3"
)

// TestMatch: what selects one operation never reaches another.
func TestMatch(t *testing.T) {
	s := s3.Service()
	for _, tt := range []struct{ method, target, header, want, code string }{
		{"GET", "/", "", "ListBuckets", ""},
		{"GET", "/b", "", "ListObjects", ""},
		{"GET", "/b?list-type=2&prefix=x", "", "ListObjectsV2", ""},
		{"GET", "/b?list-type=3", "", "ListObjects", "MethodNotAllowed"},
		{"GET", "/b?location", "", "GetBucketLocation", ""},
		{"GET", "/b?uploads", "", "ListMultipartUploads", ""},
		{"GET", "/b?acl", "", "GetBucketAcl", ""},
		{"GET", "/b?abac", "", "GetBucketAbac", "NotImplemented"},
		{"GET", "/b?analytics&id=1", "", "GetBucketAnalyticsConfiguration", ""},
		{"PUT", "/b?analytics&id=1", "", "PutBucketAnalyticsConfiguration", ""},
		{"GET", "/b?analytics", "", "ListBucketAnalyticsConfigurations", ""},
		{"DELETE", "/b?later", "", "DeleteBucket", "NotImplemented"},
		{"DELETE", "/b/k?later=", "", "DeleteObject", "NotImplemented"},
		{"PUT", "/b?later", "", "CreateBucket", "NotImplemented"},
		{"PUT", "/b/k?later", "", "PutObject", "NotImplemented"},
		{"PUT", "/b/k?x-mine", "", "PutObject", ""},
		{"PUT", "/b/k?x-id=PutObject", "", "PutObject", ""},
		{"POST", "/b/k?select&select-type=2", "", "SelectObjectContent", "NotImplemented"},
		{"GET", "/b?id=1&unknown", "", "ListObjects", ""},
		{"GET", "/b?acl&location", "", "GetBucketAcl", "InvalidArgument"},
		{"PUT", "/b", "", "CreateBucket", ""},
		{"PUT", "/b?versioning", "", "PutBucketVersioning", ""},
		{"PUT", "/b?location", "", "CreateBucket", "MethodNotAllowed"},
		{"DELETE", "/b", "", "DeleteBucket", ""},
		{"DELETE", "/b?inventory&id=x", "", "DeleteBucketInventoryConfiguration", ""},
		{"DELETE", "/b?versioning", "", "DeleteBucket", "MethodNotAllowed"},
		{"HEAD", "/b", "", "HeadBucket", ""},
		{"HEAD", "/b/k?tagging", "", "HeadObject", "MethodNotAllowed"},
		{"POST", "/b?delete", "", "DeleteObjects", ""},
		{"POST", "/b", "", "", "MethodNotAllowed"},
		{"PATCH", "/b/k", "", "", "MethodNotAllowed"},
		{"GET", "/b/k?partNumber=1", "", "GetObject", ""},
		{"GET", "/b/k?uploadId=u", "", "ListParts", ""},
		{"GET", "/b/k?torrent", "", "GetObjectTorrent", "NotImplemented"},
		{"PUT", "/b/k", "", "PutObject", ""},
		{"PUT", "/b/k?partNumber=1&uploadId=u", "", "UploadPart", ""},
		{"PUT", "/b/k?partNumber=1&uploadId=u", "/a/b", "UploadPartCopy", ""},
		{"PUT", "/b/k", "/a/b", "CopyObject", ""},
		{"PUT", "/b/k?uploadId=u", "", "PutObject", "MethodNotAllowed"},
		{"PUT", "/b/k?partNumber=1", "", "PutObject", "MethodNotAllowed"},
		{"PUT", "/b/k?tagging", "", "PutObjectTagging", ""},
		{"PUT", "/b/k?tagging&uploadId=u&partNumber=1", "", "PutObjectTagging", "InvalidArgument"},
		{"PUT", "/b/k?renameObject", "", "RenameObject", "NotImplemented"},
		{"DELETE", "/b/k", "", "DeleteObject", ""},
		{"DELETE", "/b/k?uploadId=u", "", "AbortMultipartUpload", ""},
		{"DELETE", "/b/k?acl", "", "DeleteObject", "MethodNotAllowed"},
		{"POST", "/b/k?uploads", "", "CreateMultipartUpload", ""},
		{"POST", "/b/k?uploadId=u", "", "CompleteMultipartUpload", ""},
		{"POST", "/b/k?restore", "", "RestoreObject", "NotImplemented"},
	} {
		u, err := url.Parse(tt.target)
		if err != nil {
			t.Fatal(err)
		}
		bucket, key, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
		header := http.Header{}
		if tt.header != "" {
			header.Set("x-amz-copy-source", tt.header)
		}
		route, op, err := s.Match(tt.method, bucket, key, u.Query(), header)
		if route.Name != tt.want || awserr.Code(err) != tt.code || (op == nil) != (tt.code != "") {
			t.Errorf("%s %s: %s, %v; want %s %s", tt.method, tt.target, route.Name, err, tt.want, tt.code)
		}
	}
}

// FuzzMatch: with a sub-resource that AWS has, nothing but the operations of that sub-resource is served.
func FuzzMatch(f *testing.F) {
	f.Add("GET", "b", "k//../x", "acl&x=y")
	f.Add("DELETE", "b", "", "versioning=")
	f.Add("PUT", "", "k", "uploadId=1&partNumber")
	f.Add("DELETE", "b", "", "later")
	s := s3.Service()
	f.Fuzz(func(t *testing.T, method, bucket, key, rawQuery string) {
		query, err := url.ParseQuery(rawQuery)
		if err != nil {
			return
		}
		route, op, err := s.Match(method, bucket, key, query, http.Header{})
		if (op == nil) == (err == nil) {
			t.Fatalf("%v, %v", op, err)
		}
		if op == nil {
			return
		}
		if query.Has("later") && query.Get("later") == "" && len(query["later"]) == 1 && method != "GET" && method != "HEAD" {
			t.Fatalf("%s %s/%s?%s reached %s", method, bucket, key, rawQuery, route.Name)
		}
		for _, sub := range []string{"acl", "tagging", "versioning", "policy", "lifecycle", "uploads", "delete", "location"} {
			if query.Has(sub) && !strings.HasSuffix(route.Path, "?"+sub) {
				t.Fatalf("%s %s/%s?%s reached %s", method, bucket, key, rawQuery, route.Name)
			}
		}
	})
}

func TestLookup(t *testing.T) {
	s := ec2.Service()
	for action, code := range map[string]string{
		"RunInstances": "", "": "MissingAction", "runInstances": "InvalidAction", "CreateFpgaImage": "InvalidAction", "<x>": "InvalidAction",
	} {
		if _, err := s.Lookup(action); awserr.Code(err) != code {
			t.Errorf("%q: %v", action, err)
		}
	}
}

// TestCoverage: what is served is known, and the table is in order.
func TestCoverage(t *testing.T) {
	for _, s := range services() {
		c := s.Coverage()
		served := 0
		for i, op := range c.Operations {
			if i > 0 && c.Operations[i-1].Name >= op.Name {
				t.Errorf("%s: %s is out of order", s.Name, op.Name)
			}
			if op.Served {
				served++
			}
		}
		if served != c.Served || served != len(s.Operations) || c.Known < c.Served {
			t.Errorf("%s: %d of %d, counted %d", s.Name, c.Served, c.Known, served)
		}
	}
}
