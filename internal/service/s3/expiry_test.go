package s3_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
)

// Objects and uploads go when their time is over, others stay.
func TestLifecycle(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "bkt")
	for _, key := range []string{"log/a", "log/b", "keep/a", "large/a"} {
		c.put(t, "bkt", key, []byte("data"))
	}
	c.put(t, "bkt", "large/b", make([]byte, 2000))
	for _, key := range []string{"log/upload", "keep/upload"} {
		if _, err := c.mine.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: aws.String("bkt"), Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
	if status, _, body := c.raw(t, 0, "PUT", "/bkt?lifecycle", `<LifecycleConfiguration>
		<Rule><ID>1</ID><Prefix>log/</Prefix><Status>Enabled</Status><Expiration><Days>2</Days></Expiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>
		<Rule><ID>2</ID><Prefix>keep/</Prefix><Status>Disabled</Status><Expiration><Days>1</Days></Expiration></Rule>
		<Rule><ID>3</ID><Filter><And><Prefix>large/</Prefix><ObjectSizeGreaterThan>1000</ObjectSizeGreaterThan></And></Filter><Status>Enabled</Status><Expiration><Days>5</Days></Expiration></Rule>
		</LifecycleConfiguration>`); status != 200 {
		t.Fatal(body)
	}
	start := time.Now()
	at := func(days int) {
		t.Helper()
		c.now = func() time.Time { return start.AddDate(0, 0, days) }
		if err := c.service.ApplyLifecycles(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := func(keys, uploads string) {
		t.Helper()
		list, err := c.mine.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("bkt")})
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for _, o := range list.Contents {
			have = append(have, *o.Key)
		}
		ups, err := c.mine.ListMultipartUploads(t.Context(), &awss3.ListMultipartUploadsInput{Bucket: aws.String("bkt")})
		if err != nil {
			t.Fatal(err)
		}
		var open []string
		for _, u := range ups.Uploads {
			open = append(open, *u.Key)
		}
		if fmt.Sprint(have) != keys || fmt.Sprint(open) != uploads {
			t.Errorf("objects %v, uploads %v", have, open)
		}
	}
	const all = "[keep/a large/a large/b log/a log/b]"
	at(1) // days end at midnight
	want(all, "[keep/upload log/upload]")
	at(2)
	want(all, "[keep/upload]")
	c.put(t, "bkt", "log/b", []byte("anew")) // its time is the engine's: now
	at(3)
	want("[keep/a large/a large/b]", "[keep/upload]")
	at(6)
	want("[keep/a large/a]", "[keep/upload]")
}
