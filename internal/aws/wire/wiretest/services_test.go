package wiretest

import (
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awscloudtrail "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	awsebs "github.com/aws/aws-sdk-go-v2/service/ebs"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awsorganizations "github.com/aws/aws-sdk-go-v2/service/organizations"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	awsquotas "github.com/aws/aws-sdk-go-v2/service/servicequotas"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"karri.dev/internal/aws/shape/cloudtrail"
	"karri.dev/internal/aws/shape/ebs"
	"karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/aws/shape/organizations"
	"karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/aws/shape/servicequotas"
	"karri.dev/internal/aws/shape/sts"
	"karri.dev/internal/aws/wire"
)

// tested is one service under test.
type tested struct {
	*wire.Service
	api    reflect.Type                  // the generated interface
	client func(cfg aws.Config) any      // the SDK's client
	suffix string                        // characters that strings can carry everywhere
	in     func(path string) (any, bool) // members of requests and answers whose values are not free
	out    func(path string) (any, bool)
}

func services() []tested {
	const hard = " <&>\"'é\t✓"
	return []tested{
		{ec2.Service(), reflect.TypeFor[ec2.API](), func(c aws.Config) any { return awsec2.NewFromConfig(c) }, hard, nil, nil},
		{iam.Service(), reflect.TypeFor[iam.API](), func(c aws.Config) any { return awsiam.NewFromConfig(c) }, hard, nil, nil},
		{sts.Service(), reflect.TypeFor[sts.API](), func(c aws.Config) any { return awssts.NewFromConfig(c) }, hard, nil, nil},
		{cloudtrail.Service(), reflect.TypeFor[cloudtrail.API](), func(c aws.Config) any { return awscloudtrail.NewFromConfig(c) }, hard, nil, nil},
		{organizations.Service(), reflect.TypeFor[organizations.API](), func(c aws.Config) any { return awsorganizations.NewFromConfig(c) }, hard, nil, nil},
		{servicequotas.Service(), reflect.TypeFor[servicequotas.API](), func(c aws.Config) any { return awsquotas.NewFromConfig(c) }, hard, nil, nil},
		{ebs.Service(), reflect.TypeFor[ebs.API](), func(c aws.Config) any { return awsebs.NewFromConfig(c) }, "", ebsBlock, ebsBlock},
		{s3.Service(), reflect.TypeFor[s3.API](), func(c aws.Config) any {
			return awss3.NewFromConfig(c, func(o *awss3.Options) { o.UsePathStyle = true })
		}, "", s3Request, s3Answer},
	}
}

func ebsBlock(path string) (any, bool) {
	switch path {
	case "BlockData":
		return text("hello"), true
	case "DataLength":
		return int64(5), true
	}
	return nil, false
}

// s3Key is a key as hard as they come: it must arrive byte for byte.
const s3Key = "dir//./a b/../é+&%2F=?#.txt"

func s3Request(path string) (any, bool) {
	switch path {
	case "Bucket":
		return "example-bucket", true
	case "Key":
		return s3Key, true
	case "CopySource":
		return "example-bucket/other%20key", true
	case "Body":
		return text("hello"), true
	case "ContentLength":
		return int64(5), true
	case "ContentMD5", "ChecksumAlgorithm": // must be that of the payload; the SDK would compute one
		return nil, true
	case "Expires", "CopySourceIfModifiedSince":
		return time.Unix(1_700_000_000, 0).UTC(), true
	}
	if strings.HasPrefix(path, "Checksum") && path != "ChecksumCRC64NVME" && path != "ChecksumType" && path != "ChecksumMode" {
		return nil, true // the SDK allows one only
	}
	return nil, false
}

func s3Answer(path string) (any, bool) {
	switch path {
	case "Body":
		return text("hello"), true
	case "ContentLength":
		return int64(5), true
	case "Expires":
		return time.Unix(1_700_000_000, 0).UTC(), true
	}
	return nil, false
}

// types gives the request's and the result's struct of an operation, ours and the SDK's.
func (s tested) types(client any, operation string) (in, out, sdkIn, sdkOut reflect.Type) {
	ours, _ := s.api.MethodByName(operation)
	theirs, _ := reflect.TypeOf(client).MethodByName(operation)
	return ours.Type.In(1).Elem(), ours.Type.Out(0).Elem(), theirs.Type.In(2).Elem(), theirs.Type.Out(0).Elem()
}

func config(srv *server) aws.Config {
	return aws.Config{
		Region:                     "us-east-1",
		BaseEndpoint:               aws.String("http://localhost"),
		Credentials:                credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
		HTTPClient:                 srv,
		RetryMaxAttempts:           1,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}
}
