package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// asClient says that this process is a client in the cloud's namespace: the test binary runs itself there.
const asClient = "KARRI_E2E_GO_CLIENT"

// goClient uses S3 by AWS's SDK for Go and its transfer manager, with their defaults.
func goClient(ctx context.Context) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	endpoint, bucket, key := os.Getenv("S3_ENDPOINT"), "golang", "dir/big ü+"
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = &endpoint, true })
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		return err
	}
	data := make([]byte, 40<<20)
	_, _ = rand.Read(data)
	manager := transfermanager.New(client)
	// A reader that cannot seek: parts, each with a checksum in its trailer.
	up, err := manager.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: &bucket, Key: &key, Body: io.MultiReader(bytes.NewReader(data))})
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if up.ChecksumCRC32 == nil {
		return errors.New("no checksum of the whole")
	}
	got := types.NewWriteAtBuffer(nil)
	if _, err := manager.DownloadObject(ctx, &transfermanager.DownloadObjectInput{Bucket: &bucket, Key: &key, WriterAt: got}); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	if !bytes.Equal(got.Bytes(), data) {
		return errors.New("not what went up")
	}
	small, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(data[:100])})
	if err != nil {
		return err
	}
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	back, err := io.ReadAll(out.Body) // the SDK compares the checksum
	switch {
	case err != nil:
		return err
	case !bytes.Equal(back, data[:100]):
		return errors.New("not what was put")
	case small.ChecksumCRC32 == nil || *small.ChecksumCRC32 != *out.ChecksumCRC32 || out.ChecksumType != s3types.ChecksumTypeFullObject:
		return errors.New("another checksum")
	}
	if _, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		return err
	}
	_, err = client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
	return err
}
