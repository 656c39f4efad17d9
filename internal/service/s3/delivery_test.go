package s3_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
)

func code(t *testing.T, what string, err error, want string) {
	t.Helper()
	if awserr.Code(err) != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

// TestLogDelivery: other services' logs are written where the bucket's policy lets the delivery, and that is asked of
// the caller who wants them.
func TestLogDelivery(t *testing.T) {
	c := newCloud(t)
	account, other := c.accountOf(0), c.accountOf(1)
	as := func(account string) *call.Info {
		return &call.Info{Caller: call.Caller{AccountID: account, UserID: account, ARN: "arn:aws:iam::" + account + ":root"}, Region: region}
	}
	mine, theirs := call.With(t.Context(), as(account)), call.With(t.Context(), as(other))
	c.bucket(t, "logs")
	folder := "x/AWSLogs/" + account + "/"
	deliver := func(account, key string) error {
		return c.service.Deliver(t.Context(), account, region, "logs", key, []byte("records"))
	}
	code(t, "without leave", deliver(account, folder+"a"), "AccessDenied")
	if err := c.service.LetDeliver(theirs, other, region, "logs", "AWSLogs/"+other+"/"); err == nil {
		t.Error("another account gets leave for our bucket")
	}
	code(t, "no bucket", c.service.LetDeliver(mine, account, region, "nothing", folder), "NoSuchBucket")
	own := `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::logs/kept"}}`
	if _, err := c.mine.PutBucketPolicy(t.Context(), &awss3.PutBucketPolicyInput{Bucket: aws.String("logs"), Policy: &own}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if err := c.service.LetDeliver(mine, account, region, "logs", folder); err != nil {
			t.Fatal(err)
		}
	}
	p, err := c.mine.GetBucketPolicy(t.Context(), &awss3.GetBucketPolicyInput{Bucket: aws.String("logs")})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(*p.Policy, "s3:GetBucketAcl"); n != 1 || !strings.Contains(*p.Policy, "logs/kept") {
		t.Errorf("the policy is now %s", *p.Policy)
	}
	if err := deliver(account, folder+"a"); err != nil {
		t.Fatal(err)
	}
	if got := c.get(t, "logs", folder+"a"); string(got) != "records" {
		t.Errorf("%q", got)
	}
	code(t, "another folder", deliver(account, "y"), "AccessDenied")
	code(t, "for another account", deliver(other, folder+"b"), "AccessDenied")
	// Whose policy is taken back gets no more.
	if _, err := c.mine.DeleteBucketPolicy(t.Context(), &awss3.DeleteBucketPolicyInput{Bucket: aws.String("logs")}); err != nil {
		t.Fatal(err)
	}
	code(t, "taken back", deliver(account, folder+"c"), "AccessDenied")
}
