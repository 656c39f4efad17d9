package sigv4

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// What botocore 1.43 made, with its clock at 1700000000 and ten minutes to live.
var oldURLs = []struct{ method, target string }{
	{"GET", "/bucket/k?AWSAccessKeyId=AKIDEXAMPLE&Signature=QfFwoBu0oXfOczMxy8d8%2Bgd2iDM%3D&Expires=1700000600"},
	{"GET", "/bucket/dir/a%20b%2B%C3%A9%26?response-content-type=text%2Fx%20y&response-content-disposition=attachment%3B%20filename%3D%22x%22&AWSAccessKeyId=AKIDEXAMPLE&Signature=1GXt22xxbHhCjChf5Y6Ulwvajq0%3D&Expires=1700000600"},
	{"HEAD", "/bucket/k?AWSAccessKeyId=AKIDEXAMPLE&Signature=ISbTprer1K4UPGFMVC5qWWALvY4%3D&Expires=1700000600"},
	{"PUT", "/bucket/k?AWSAccessKeyId=AKIDEXAMPLE&Signature=9Mp3j7XJnUBrENMDVhPgLfgNTTM%3D&content-type=text%2Fplain&x-amz-meta-color=blue&Expires=1700000600"},
	{"PUT", "/bucket/k?uploadId=u&partNumber=1&AWSAccessKeyId=AKIDEXAMPLE&Signature=Y3nIOWPMt%2BQOl3QQ1zZpyNDzicQ%3D&Expires=1700000600"},
}

const oldSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

func checkOld(method, target, region string, header http.Header, now time.Time) error {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return err
	}
	query := u.Query()
	s, err := Parse(header, query)
	if err != nil {
		return err
	}
	if err := s.CheckTime(now); err != nil {
		return err
	}
	return s.VerifyOld(&Request{Method: method, Query: query, Header: header}, u.EscapedPath(), region, oldSecret)
}

func TestOldURLs(t *testing.T) {
	now := time.Unix(1_700_000_599, 0)
	for _, u := range oldURLs {
		if err := checkOld(u.method, u.target, "us-east-1", http.Header{"Range": {"bytes=0-1"}}, now); err != nil {
			t.Errorf("%s %s: %v", u.method, u.target, err)
		}
	}
	get, put := oldURLs[1], oldURLs[3]
	for name, x := range map[string]struct {
		method, target, region string
		header                 http.Header
		now                    time.Time
		want                   Reason
	}{
		"over":           {get.method, get.target, "us-east-1", nil, now.Add(time.Second), Expired},
		"longer":         {get.method, strings.Replace(get.target, "1700000600", "1700000601", 1), "us-east-1", nil, now, Mismatch},
		"method":         {"DELETE", get.target, "us-east-1", nil, now, Mismatch},
		"key":            {get.method, strings.Replace(get.target, "dir", "dis", 1), "us-east-1", nil, now, Mismatch},
		"escaping":       {get.method, strings.Replace(get.target, "dir/", "dir%2F", 1), "us-east-1", nil, now, Mismatch},
		"response":       {get.method, strings.Replace(get.target, "text", "next", 1), "us-east-1", nil, now, Mismatch},
		"sub-resource":   {get.method, get.target + "&acl", "us-east-1", nil, now, Mismatch},
		"unsigned":       {get.method, get.target + "&prefix=x", "us-east-1", nil, now, Unsupported},
		"new region":     {get.method, get.target, "eu-central-1", nil, now, Unsupported},
		"metadata":       {put.method, put.target + "&x-amz-meta-more=1", "us-east-1", nil, now, Mismatch},
		"header":         {put.method, put.target, "us-east-1", http.Header{"X-Amz-Acl": {"private"}}, now, Mismatch},
		"both":           {put.method, put.target, "us-east-1", http.Header{"X-Amz-Meta-Color": {"red"}}, now, NotAllowed},
		"case":           {put.method, put.target + "&X-Amz-Meta-Color=red", "us-east-1", nil, now, NotAllowed},
		"twice":          {put.method, put.target + "&x-amz-meta-color=red", "us-east-1", nil, now, NotAllowed},
		"content type":   {put.method, put.target, "us-east-1", http.Header{"Content-Type": {"text/html"}}, now, Mismatch},
		"chunks":         {put.method, put.target, "us-east-1", http.Header{"X-Amz-Content-Sha256": {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}}, now, Unsupported},
		"no end":         {get.method, strings.Replace(get.target, "Expires", "expires", 1), "us-east-1", nil, now, Unsupported},
		"never ends":     {get.method, strings.Replace(get.target, "1700000600", "99999999999999999999", 1), "us-east-1", nil, now, NotAllowed},
		"before 1970":    {get.method, strings.Replace(get.target, "1700000600", "-1", 1), "us-east-1", nil, now, NotAllowed},
		"two mechanisms": {get.method, get.target + "&X-Amz-Algorithm=AWS4-HMAC-SHA256", "us-east-1", nil, now, TwoMechanisms},
	} {
		err := checkOld(x.method, x.target, x.region, x.header, x.now)
		var bad *Error
		if !errors.As(err, &bad) || bad.Reason != x.want {
			t.Errorf("%s: %v, want reason %d", name, err, x.want)
		}
	}
}
