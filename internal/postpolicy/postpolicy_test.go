package postpolicy

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

func parse(t testing.TB, text string) (*Policy, error) {
	t.Helper()
	return Parse(base64.StdEncoding.EncodeToString([]byte(text)))
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                                     "Invalid JSON.",
		`{"conditions":[]}`:                     "Policy missing expiration.",
		`{"expiration":"2030-01-01T00:00:00Z"}`: "Policy missing conditions.",
		`{"expiration":"soon","conditions":[]}`: "Invalid 'expiration' value: 'soon'",
		`{"expiration":"2030-01-01T00:00:00Z","conditions":[{"a":"b","c":"d"}]}`:                             "Simple-Conditions must have exactly one",
		`{"expiration":"2030-01-01T00:00:00Z","conditions":[["eq","$a"]]}`:                                   "wrong number of arguments",
		`{"expiration":"2030-01-01T00:00:00Z","conditions":[["matches","$a","b"]]}`:                          "unknown operation",
		`{"expiration":"2030-01-01T00:00:00Z","conditions":[["eq","a","b"]]}`:                                "must begin with $",
		`{"expiration":"2030-01-01T00:00:00Z","conditions":[["content-length-range",5,1]]}`:                  "Invalid content-length-range",
		`{"expiration":"2030-01-01T00:00:00.000Z","conditions":[["content-length-range","1","5"],{"a":""}]}`: "",
	} {
		_, err := parse(t, text)
		var bad *Error
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
		} else if !errors.As(err, &bad) || !bad.Document || !strings.Contains(bad.Reason, want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	p, err := parse(t, `{"expiration":"2030-01-01T00:00:00Z","conditions":[{"bucket":"b"},["starts-with","$key","user/"],{"ACL":"private"},
		["starts-with","$Content-Type","image/"],["starts-with","$x-amz-meta-any",""],["content-length-range",1,10],["content-length-range",0,8]]}`)
	if err != nil {
		t.Fatal(err)
	}
	if p.Least != 1 || p.Most != 8 {
		t.Error(p.Least, p.Most)
	}
	now := time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC)
	good := func() map[string]string {
		return map[string]string{"key": "user/x", "acl": "private", "content-type": "image/png", "policy": "p", "signature": "s", "x-ignore-me": "1"}
	}
	if err := p.Check(good(), "b", now); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(map[string]string) (string, time.Time){
		"Policy expired":                   func(map[string]string) (string, time.Time) { return "b", now.AddDate(2, 0, 0) },
		`["eq", "$bucket", "b"]`:           func(map[string]string) (string, time.Time) { return "c", now },
		`["starts-with", "$key", "user/"]`: func(f map[string]string) (string, time.Time) { f["key"] = "user"; return "b", now },
		`["eq", "$ACL", "private"]`:        func(f map[string]string) (string, time.Time) { delete(f, "acl"); return "b", now },
		`["starts-with", "$Content-Type", "ima`: func(f map[string]string) (string, time.Time) {
			f["content-type"] = "image/png,text/html"
			return "b", now
		},
		"Extra input fields: x-amz-storage-clas": func(f map[string]string) (string, time.Time) { f["x-amz-storage-class"] = "x"; return "b", now },
	} {
		f := good()
		bucket, at := change(f)
		var bad *Error
		if err := p.Check(f, bucket, at); !errors.As(err, &bad) || bad.Document || !strings.Contains(bad.Reason, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"expiration":"2030-01-01T00:00:00Z","conditions":[["eq","$a","b"],{"c":"d"},["content-length-range",1,2]]}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parse(t, text)
		if err != nil {
			var bad *Error
			if !errors.As(err, &bad) {
				t.Fatal(err)
			}
			return
		}
		if p.Least < 0 || p.Most < p.Least && p.Most > 0 && p.Least > 0 && !strings.Contains(text, "range") {
			t.Fatal(p.Least, p.Most)
		}
		_ = p.Check(map[string]string{"a": "b"}, "c", time.Now())
	})
}
