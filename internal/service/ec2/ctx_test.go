package ec2

import (
	"context"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
)

func callInfo(ctx context.Context) *call.Info { return call.From(ctx) }

func withInfo(ctx context.Context, info *call.Info) context.Context { return call.With(ctx, info) }

func importRequest() *shape.ImportImageRequest {
	return &shape.ImportImageRequest{
		Description: "tiny", DiskContainers: []shape.ImageDiskContainer{{Format: "RAW", UserBucket: &shape.UserBucket{S3Bucket: "disks", S3Key: "tiny.raw"}}},
	}
}
