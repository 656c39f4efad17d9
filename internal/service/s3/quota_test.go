package s3_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"karri.dev/internal/quota"
	"karri.dev/internal/store"
)

func TestQuotaOfBuckets(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		return quota.Put(tx, c.accountOf(0), map[string]int64{"s3:bucketnumber": 3})
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var made atomic.Int64
	for i := range 16 {
		wg.Go(func() {
			name := fmt.Sprintf("bucket-%d", i)
			if _, err := c.mine.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &name}); err == nil {
				made.Add(1)
			} else {
				wantCode(t, name, err, "TooManyBuckets", 400)
			}
		})
	}
	wg.Wait()
	if made.Load() != 3 {
		t.Errorf("%d buckets were made", made.Load())
	}
	name := "theirs"
	if _, err := c.them.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Errorf("another account: %v", err)
	}
}
