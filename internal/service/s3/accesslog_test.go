package s3_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// logLine is AWS's format of a line: 26 fields.
var logLine = regexp.MustCompile(`^(\S+) (\S+) (\[[^\]]+\]) (\S+) (\S+) (\S+) (\S+) (\S+) ("[^"]*") (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) ("[^"]*") ("[^"]*") (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) (\S+)$`)

func TestAccessLog(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	c.bucket(t, "logged")
	c.bucket(t, "logs")
	set := func(l types.LoggingEnabled) error {
		_, err := c.mine.PutBucketLogging(ctx, &awss3.PutBucketLoggingInput{Bucket: aws.String("logged"), BucketLoggingStatus: &types.BucketLoggingStatus{LoggingEnabled: &l}})
		return err
	}
	plain := types.LoggingEnabled{TargetBucket: aws.String("logs"), TargetPrefix: aws.String("p/")}
	wantCode(t, "nobody lets the delivery write", set(plain), "InvalidTargetBucketForLogging", http.StatusBadRequest)
	if _, err := c.them.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("theirs")}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "another account's bucket", set(types.LoggingEnabled{TargetBucket: aws.String("theirs"), TargetPrefix: aws.String("")}), "InvalidTargetBucketForLogging", http.StatusBadRequest)
	wantCode(t, "no bucket", set(types.LoggingEnabled{TargetBucket: aws.String("nothing"), TargetPrefix: aws.String("")}), "InvalidTargetBucketForLogging", http.StatusBadRequest)
	let := func(source string) {
		t.Helper()
		policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"logging.s3.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::logs/p/*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:s3:::` + source + `"},"StringEquals":{"aws:SourceAccount":"` + c.accountOf(0) + `"}}}]}`
		if _, err := c.mine.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: aws.String("logs"), Policy: &policy}); err != nil {
			t.Fatal(err)
		}
	}
	let("other")
	wantCode(t, "for another bucket", set(plain), "InvalidTargetBucketForLogging", http.StatusBadRequest)
	let("logged")
	wantCode(t, "grants without ACLs", set(types.LoggingEnabled{TargetBucket: aws.String("logs"), TargetPrefix: aws.String("p/"), TargetGrants: []types.TargetGrant{
		{Grantee: &types.Grantee{Type: types.TypeCanonicalUser, ID: aws.String(c.canonicalOf(1))}, Permission: types.BucketLogsPermissionRead},
	}}), "InvalidTargetBucketForLogging", http.StatusBadRequest)
	if err := set(plain); err != nil {
		t.Fatal(err)
	}

	c.put(t, "logged", "a b", []byte("hello"))
	c.get(t, "logged", "a b")
	_, err := c.them.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("logged"), Key: aws.String("a b")})
	wantCode(t, "another account", err, "AccessDenied", http.StatusForbidden)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/logged/x?list-type=2", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", `forged" 200 - "`) // cannot forge a line
	if answer, err := http.DefaultClient.Do(r); err == nil {
		answer.Body.Close()
	}
	keys := func() []string {
		t.Helper()
		out, err := c.mine.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("logs")})
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, o := range out.Contents {
			list = append(list, *o.Key)
		}
		return list
	}
	c.service.WriteAccessLogs(ctx)
	list := keys()
	if len(list) != 1 || !regexp.MustCompile(`^p/\d{4}(-\d\d){5}-[0-9A-F]{16}$`).MatchString(list[0]) {
		t.Fatalf("%q", list)
	}
	var got []string
	for line := range strings.Lines(string(c.get(t, "logs", list[0]))) {
		f := logLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if f == nil {
			t.Fatalf("no line of AWS's: %q", line)
		}
		requester := map[string]string{c.canonicalOf(0): "me", c.canonicalOf(1): "them"}[f[5]]
		if f[1] != c.canonicalOf(0) || f[2] != "logged" {
			t.Errorf("%q", line)
		}
		got = append(got, strings.Join([]string{requester, f[7], f[8], f[10], f[11], f[12], f[13], f[20], f[22]}, " "))
	}
	if want := []string{
		"me REST.PUT.LOGGING_STATUS - 200 - - - SigV4 AuthHeader",
		"me REST.PUT.OBJECT a+b 200 - - 5 SigV4 AuthHeader",
		"me REST.GET.OBJECT a+b 200 - 5 5 SigV4 AuthHeader",
	}; len(got) != 5 || !slices.Equal(got[:3], want) || !strings.HasPrefix(got[3], "them REST.GET.OBJECT a+b 403 AccessDenied ") {
		t.Errorf("%q", got)
	}

	// By date; and nothing once the policy is gone.
	c.now = func() time.Time { return now }
	if err := set(types.LoggingEnabled{TargetBucket: aws.String("logs"), TargetPrefix: aws.String("p/"), TargetObjectKeyFormat: &types.TargetObjectKeyFormat{
		PartitionedPrefix: &types.PartitionedPrefix{PartitionDateSource: types.PartitionDateSourceDeliveryTime},
	}}); err != nil {
		t.Fatal(err)
	}
	c.service.WriteAccessLogs(ctx)
	prefix := "p/" + c.accountOf(0) + "/us-east-1/logged/2026/03/04/2026-03-04-05-06-07-"
	if list := keys(); len(list) != 2 || !slices.ContainsFunc(list, func(k string) bool { return strings.HasPrefix(k, prefix) }) {
		t.Errorf("%q, want %s…", list, prefix)
	}
	let("other")
	c.get(t, "logged", "a b")
	c.service.WriteAccessLogs(ctx)
	if list := keys(); len(list) != 2 {
		t.Errorf("written without leave: %q", list)
	}
}
