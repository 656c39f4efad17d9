package s3_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"karri.dev/internal/aws/sigv4"
)

// bodies has a request with a body for every kind of document that S3 takes.
var bodies = []struct{ method, target, body string }{
	{"PUT", "/fuzzed?acl", `<AccessControlPolicy><Owner><ID>x</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>`},
	{"PUT", "/fuzzed?cors", `<CORSConfiguration><CORSRule><ID>r</ID><AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedHeader>*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>3000</MaxAgeSeconds></CORSRule></CORSConfiguration>`},
	{"PUT", "/fuzzed?encryption", `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>`},
	{"PUT", "/fuzzed?lifecycle", `<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter><And><Prefix>a/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></And></Filter><Expiration><Days>3</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays><NewerNoncurrentVersions>1</NewerNoncurrentVersions></NoncurrentVersionExpiration></Rule></LifecycleConfiguration>`},
	{"PUT", "/fuzzed?logging", `<BucketLoggingStatus><LoggingEnabled><TargetBucket>fuzzed</TargetBucket><TargetPrefix>p/</TargetPrefix></LoggingEnabled></BucketLoggingStatus>`},
	{"PUT", "/fuzzed?notification", `<NotificationConfiguration><TopicConfiguration><Id>t</Id><Topic>arn:aws:sns:us-east-1:000000000000:none</Topic><Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>prefix</Name><Value>a</Value></FilterRule></S3Key></Filter></TopicConfiguration></NotificationConfiguration>`},
	{"PUT", "/locked?object-lock", `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>`},
	{"PUT", "/fuzzed?ownershipControls", `<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>`},
	{"PUT", "/fuzzed?policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::fuzzed/*","Condition":{"StringLike":{"aws:Referer":"x*"}}}]}`},
	{"PUT", "/fuzzed?publicAccessBlock", `<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><RestrictPublicBuckets>false</RestrictPublicBuckets></PublicAccessBlockConfiguration>`},
	{"PUT", "/fuzzed?replication", `<ReplicationConfiguration><Role>arn:aws:iam::000000000000:role/r</Role><Rule><ID>r</ID><Priority>1</Priority><Status>Enabled</Status><Filter><Prefix></Prefix></Filter><DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication><Destination><Bucket>arn:aws:s3:::other</Bucket></Destination></Rule></ReplicationConfiguration>`},
	{"PUT", "/fuzzed?requestPayment", `<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>`},
	{"PUT", "/fuzzed?tagging", `<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`},
	{"PUT", "/fuzzed?versioning", `<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`},
	{"PUT", "/fuzzed?website", `<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>e</Key></ErrorDocument><RoutingRules><RoutingRule><Condition><KeyPrefixEquals>d/</KeyPrefixEquals></Condition><Redirect><ReplaceKeyPrefixWith>n/</ReplaceKeyPrefixWith></Redirect></RoutingRule></RoutingRules></WebsiteConfiguration>`},
	{"PUT", "/fuzzed?accelerate", `<AccelerateConfiguration><Status>Suspended</Status></AccelerateConfiguration>`},
	{"POST", "/fuzzed?delete", `<Delete><Quiet>true</Quiet><Object><Key>a</Key><VersionId>null</VersionId></Object></Delete>`},
	{"PUT", "/fuzzed-two", `<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>`},
	{"PUT", "/fuzzed/key?acl", `<AccessControlPolicy><Owner><ID>x</ID></Owner><AccessControlList></AccessControlList></AccessControlPolicy>`},
	{"PUT", "/fuzzed/key?tagging", `<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`},
	{"PUT", "/locked/key?legal-hold", `<LegalHold><Status>OFF</Status></LegalHold>`},
	{"PUT", "/locked/key?retention", `<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>`},
	{"POST", "/fuzzed/key?uploadId=none", `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"x"</ETag></Part></CompleteMultipartUpload>`},
	{"POST", "/fuzzed/key?select&select-type=2", `<SelectObjectContentRequest><Expression>x</Expression></SelectObjectContentRequest>`},
}

// FuzzBodies sends any document, as the bucket's owner, to whatever takes one: it is taken or refused, and whatever was
// taken can be read, and does not break what comes after it.
func FuzzBodies(f *testing.F) {
	c := newCloud(f)
	c.bucket(f, "fuzzed")
	if _, err := c.mine.CreateBucket(f.Context(), &awss3.CreateBucketInput{Bucket: aws.String("locked"), ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		f.Fatal(err)
	}
	c.put(f, "fuzzed", "key", []byte("data"))
	c.put(f, "locked", "key", []byte("data"))
	for i, b := range bodies {
		f.Add(uint8(i), b.body)
	}
	f.Fuzz(func(t *testing.T, kind uint8, body string) {
		b := bodies[int(kind)%len(bodies)]
		do := func(method, target, body string) {
			t.Helper()
			r := httptest.NewRequestWithContext(context.Background(), method, "http://127.0.0.1"+target, strings.NewReader(body))
			sigv4.Sign(r, sigv4.Credentials{AccessKeyID: c.keys[0].ID, Secret: c.keys[0].Secret}, region, "s3", sigv4.UnsignedPayload, time.Now())
			w := httptest.NewRecorder()
			c.handler.ServeHTTP(w, r)
			if w.Code >= 500 && w.Code != http.StatusNotImplemented {
				t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
			}
		}
		do(http.MethodDelete, "/fuzzed?policy", "") // one may forbid everything
		do(b.method, b.target, body)
		do(http.MethodGet, b.target, "")
		do(http.MethodPut, "/fuzzed/key", "data")
		do(http.MethodGet, "/fuzzed/key", "")
	})
}
