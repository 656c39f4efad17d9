package s3_test

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestManyConfigurations(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "bkt")
	c.bucket(t, "lists")
	metric := func(inner string) string {
		return "<MetricsConfiguration><Id>x</Id>" + inner + "</MetricsConfiguration>"
	}
	analysis := func(inner string) string {
		return "<AnalyticsConfiguration><Id>x</Id>" + inner + "</AnalyticsConfiguration>"
	}
	tier := func(inner string) string {
		return "<IntelligentTieringConfiguration><Id>x</Id>" + inner + "</IntelligentTieringConfiguration>"
	}
	inventory := func(to, format, versions, more string) string {
		return "<InventoryConfiguration><Destination><S3BucketDestination><Bucket>" + to + "</Bucket><Format>" + format + "</Format></S3BucketDestination></Destination><IsEnabled>true</IsEnabled><Id>x</Id><IncludedObjectVersions>" +
			versions + "</IncludedObjectVersions>" + more + "<Schedule><Frequency>Daily</Frequency></Schedule></InventoryConfiguration>"
	}
	const lists, tag = "arn:aws:s3:::lists", "<Tag><Key>k</Key><Value>v</Value></Tag>"
	const archive = "<Status>Enabled</Status><Tiering><Days>90</Days><AccessTier>ARCHIVE_ACCESS</AccessTier></Tiering>"
	for _, tt := range []struct{ sub, body, code, back string }{
		{"metrics", metric(""), "", "<Id>x</Id>"},
		{"metrics", metric("<Filter><And><Prefix>a/</Prefix>" + tag + "</And></Filter>"), "", "<And><Prefix>a/</Prefix>" + tag + "</And>"},
		{"metrics", metric("<Filter><Prefix>a/</Prefix>" + tag + "</Filter>"), "MalformedXML", ""},
		{"metrics", metric("<Filter><And><Prefix>a/</Prefix></And></Filter>"), "MalformedXML", ""},
		{"metrics", metric("<Filter><AccessPointArn>arn:aws:s3:us-east-1:1:accesspoint/a</AccessPointArn></Filter>"), "InvalidArgument", ""},
		{"metrics", strings.ReplaceAll(metric(""), ">x<", ">y<"), "IdMismatch", ""},
		{"metrics", "", "MissingRequestBodyError", ""},
		{"analytics", analysis("<Filter><Prefix>a/</Prefix></Filter><StorageClassAnalysis></StorageClassAnalysis>"), "", "<Prefix>a/</Prefix>"},
		{"analytics", analysis(""), "MalformedXML", ""},
		{"analytics", analysis("<StorageClassAnalysis><DataExport><OutputSchemaVersion>V_1</OutputSchemaVersion><Destination><S3BucketDestination><Format>CSV</Format><Bucket>arn:aws:s3:::lists</Bucket></S3BucketDestination></Destination></DataExport></StorageClassAnalysis>"), "NotImplemented", ""},
		{"intelligent-tiering", tier(archive), "", "<Days>90</Days>"},
		{"intelligent-tiering", tier("<Status>Enabled</Status>"), "MalformedXML", ""},
		{"intelligent-tiering", tier(strings.ReplaceAll(archive, "90", "89")), "InvalidArgument", ""},
		{"intelligent-tiering", tier(strings.ReplaceAll(archive, "ARCHIVE_", "ICE_")), "MalformedXML", ""},
		{"intelligent-tiering", tier(archive + archive[len("<Status>Enabled</Status>"):]), "MalformedXML", ""},
		{"inventory", inventory(lists, "CSV", "All", "<OptionalFields><Field>Size</Field></OptionalFields>"), "", "<Field>Size</Field>"},
		{"inventory", inventory(lists, "Parquet", "All", ""), "NotImplemented", ""},
		{"inventory", inventory(lists, "CSV", "Some", ""), "MalformedXML", ""},
		{"inventory", inventory(lists, "CSV", "All", "<OptionalFields><Field>Colour</Field></OptionalFields>"), "MalformedXML", ""},
		{"inventory", inventory(lists, "CSV", "All", "<OptionalFields><Field>Size</Field><Field>Size</Field></OptionalFields>"), "MalformedXML", ""},
		{"inventory", inventory("lists", "CSV", "All", ""), "InvalidS3DestinationBucket", ""},
		{"inventory", inventory("arn:aws:s3:::none", "CSV", "All", ""), "InvalidS3DestinationBucket", ""},
	} {
		status, code, body := c.raw(t, 0, "PUT", "/bkt?"+tt.sub+"&id=x", tt.body)
		if code != tt.code || (code == "") != (status < 300) {
			t.Errorf("%s %s: %d %s, want %q: %s", tt.sub, tt.body, status, code, tt.code, body)
		}
		if status, code, _ := c.raw(t, 1, "PUT", "/bkt?"+tt.sub+"&id=x", tt.body); tt.code == "" && (status != 403 || code != "AccessDenied") {
			t.Errorf("%s by another account: %d %s", tt.sub, status, code)
		}
		if status, _, body := c.raw(t, 0, "GET", "/bkt?"+tt.sub+"&id=x", ""); tt.code == "" && (status != 200 || !strings.Contains(body, tt.back)) {
			t.Errorf("%s: %d %s, want %s", tt.sub, status, body, tt.back)
		}
	}
	for _, sub := range []string{"metrics", "analytics", "intelligent-tiering", "inventory"} {
		for _, tt := range []struct {
			who            int
			method, target string
			status         int
			code           string
		}{
			{0, "GET", "/bkt?" + sub, 200, ""},
			{1, "GET", "/bkt?" + sub, 403, "AccessDenied"},
			{1, "GET", "/bkt?" + sub + "&id=x", 403, "AccessDenied"},
			{1, "DELETE", "/bkt?" + sub + "&id=x", 403, "AccessDenied"},
			{0, "GET", "/bkt?" + sub + "&id=", 400, "InvalidRequest"},
			{0, "GET", "/bkt?" + sub + "&id=other", 404, "NoSuchConfiguration"},
			{0, "GET", "/lists?" + sub + "&id=x", 404, "NoSuchConfiguration"},
			{0, "DELETE", "/bkt?" + sub + "&id=x", 204, ""},
			{0, "GET", "/bkt?" + sub + "&id=x", 404, "NoSuchConfiguration"},
			{0, "DELETE", "/bkt?" + sub + "&id=x", 404, "NoSuchConfiguration"},
			{0, "GET", "/nothing?" + sub, 404, "NoSuchBucket"},
		} {
			if status, code, body := c.raw(t, tt.who, tt.method, tt.target, ""); status != tt.status || code != tt.code {
				t.Errorf("%s %s: %d %s, want %d %s: %s", tt.method, tt.target, status, code, tt.status, tt.code, body)
			}
		}
	}
	if _, _, body := c.raw(t, 0, "GET", "/bkt", ""); !strings.Contains(body, "ListBucketResult") {
		t.Errorf("the bucket is there no more: %s", body)
	}
	if _, code, _ := c.raw(t, 0, "PUT", "/bkt?metrics&id=a%2Fb", metric("")); code != "InvalidConfigurationId" {
		t.Error(code)
	}
}

// More than a page of them, and no more than a thousand.
func TestManyConfigurationsPages(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.bucket(t, "bkt")
	put := func(i int) error {
		id := aws.String(fmt.Sprintf("m%04d", i))
		_, err := c.mine.PutBucketMetricsConfiguration(ctx, &awss3.PutBucketMetricsConfigurationInput{Bucket: aws.String("bkt"), Id: id, MetricsConfiguration: &types.MetricsConfiguration{Id: id}})
		return err
	}
	for i := range 1000 {
		if err := put(i); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, "one too many", put(1000), "TooManyConfigurations", http.StatusBadRequest)
	if err := put(7); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	var seen []string
	for token := (*string)(nil); ; {
		out, err := c.mine.ListBucketMetricsConfigurations(ctx, &awss3.ListBucketMetricsConfigurationsInput{Bucket: aws.String("bkt"), ContinuationToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range out.MetricsConfigurationList {
			seen = append(seen, *m.Id)
		}
		if token = out.NextContinuationToken; !*out.IsTruncated {
			break
		}
	}
	if len(seen) != 1000 || !slices.IsSorted(seen) || seen[999] != "m0999" {
		t.Errorf("%d: %q …", len(seen), seen[:min(3, len(seen))])
	}
}

func TestInventory(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.bucket(t, "source")
	c.bucket(t, "lists")
	if _, err := c.mine.PutBucketVersioning(ctx, &awss3.PutBucketVersioningInput{Bucket: aws.String("source"), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatal(err)
	}
	c.put(t, "source", "in/a b,\"c\"\n", []byte("one"))
	c.put(t, "source", "in/a b,\"c\"\n", []byte("second"))
	c.put(t, "source", "in/gone", []byte("x"))
	c.put(t, "source", "out/x", []byte("x"))
	if _, err := c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: aws.String("source"), Key: aws.String("in/gone")}); err != nil {
		t.Fatal(err)
	}
	set := func(id string, versions types.InventoryIncludedObjectVersions, often types.InventoryFrequency, fields ...types.InventoryOptionalField) {
		t.Helper()
		if _, err := c.mine.PutBucketInventoryConfiguration(ctx, &awss3.PutBucketInventoryConfigurationInput{Bucket: aws.String("source"), Id: &id, InventoryConfiguration: &types.InventoryConfiguration{
			Id: &id, IsEnabled: aws.Bool(true), IncludedObjectVersions: versions, Schedule: &types.InventorySchedule{Frequency: often}, OptionalFields: fields, Filter: &types.InventoryFilter{Prefix: aws.String("in/")},
			Destination: &types.InventoryDestination{S3BucketDestination: &types.InventoryS3BucketDestination{Bucket: aws.String("arn:aws:s3:::lists"), Format: types.InventoryFormatCsv, Prefix: aws.String("inv")}},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	keys := func(prefix string) (list []string) {
		t.Helper()
		out, err := c.mine.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("lists"), Prefix: &prefix})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range out.Contents {
			list = append(list, *o.Key)
		}
		return list
	}
	set("all", types.InventoryIncludedObjectVersionsAll, types.InventoryFrequencyDaily, types.InventoryOptionalFieldETag, types.InventoryOptionalFieldSize, types.InventoryOptionalFieldEncryptionStatus)
	set("now", types.InventoryIncludedObjectVersionsCurrent, types.InventoryFrequencyWeekly)
	at := func(when string) error {
		now, err := time.Parse(time.RFC3339, when)
		if err != nil {
			t.Fatal(err)
		}
		c.now = func() time.Time { return now }
		return c.service.WriteInventories(ctx)
	}
	const thursday = "2026-03-05T05:06:07Z"
	if err := at(thursday); err == nil || len(keys("")) != 0 {
		t.Fatalf("written without leave: %v, %q", err, keys(""))
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::lists/inv/*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:s3:::source"},"StringEquals":{"aws:SourceAccount":"` +
		c.accountOf(0) + `","s3:x-amz-acl":"bucket-owner-full-control"}}}]}`
	if _, err := c.mine.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: aws.String("lists"), Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	if err := at(thursday); err != nil {
		t.Fatal(err)
	}
	read := func(folder string) (schema string, lines [][]string) {
		t.Helper()
		text := c.get(t, "lists", folder+"manifest.json")
		if sum := md5.Sum(text); string(c.get(t, "lists", folder+"manifest.checksum")) != hex.EncodeToString(sum[:]) {
			t.Error("manifest.checksum is another file's")
		}
		var m struct {
			SourceBucket, DestinationBucket, FileFormat, FileSchema, CreationTimestamp string
			Files                                                                      []struct{ Key, MD5checksum string }
		}
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		if m.SourceBucket != "source" || m.DestinationBucket != "arn:aws:s3:::lists" || m.FileFormat != "CSV" || m.CreationTimestamp != "1772687167000" {
			t.Errorf("%s", text)
		}
		for _, f := range m.Files {
			body := c.get(t, "lists", f.Key)
			if sum := md5.Sum(body); hex.EncodeToString(sum[:]) != f.MD5checksum {
				t.Error("MD5checksum is another file's")
			}
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			more, err := csv.NewReader(z).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, more...)
		}
		return m.FileSchema, lines
	}
	schema, lines := read("inv/source/all/2026-03-05T05-06Z/")
	if schema != "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, ETag, EncryptionStatus" || len(lines) != 4 {
		t.Fatalf("%s\n%q", schema, lines)
	}
	for i, want := range []string{
		"source in/a+b%2C%22c%22%0A true false 6 a9f0e61a137d86aa9db53465e0801612 SSE-S3", "source in/a+b%2C%22c%22%0A false false 3 f97c5d29941bfb1b2fdab0874906ab82 SSE-S3",
		"source in/gone true true   ", "source in/gone false false 1 9dd4e461268c8034f5c8564e155c67a6 SSE-S3",
	} {
		if got := strings.Join(slices.Delete(slices.Clone(lines[i]), 2, 3), " "); got != want || len(lines[i][2]) < 10 {
			t.Errorf("%q, want %q", lines[i], want)
		}
	}
	if schema, lines := read("inv/source/now/2026-03-05T05-06Z/"); schema != "Bucket, Key" || len(lines) != 1 || lines[0][1] != "in/a+b%2C%22c%22%0A" {
		t.Errorf("%s\n%q", schema, lines)
	}
	if links := string(c.get(t, "lists", "inv/source/now/hive/dt=2026-03-05-05-06/symlink.txt")); links != "s3://lists/"+keys("inv/source/now/data/")[0] {
		t.Error(links)
	}
	// Each when it is due, and no more once it is gone.
	for _, tt := range []struct {
		when     string
		all, now int
	}{
		{"2026-03-05T23:00:00Z", 1, 1}, {"2026-03-06T00:10:00Z", 2, 1}, {"2026-03-07T10:00:00Z", 3, 1}, {"2026-03-08T00:10:00Z", 4, 2}, {"2026-03-08T09:10:00Z", 4, 2},
	} {
		if err := at(tt.when); err != nil {
			t.Fatal(err)
		}
		if all, now := len(keys("inv/source/all/data/")), len(keys("inv/source/now/data/")); all != tt.all || now != tt.now {
			t.Errorf("%s: %d and %d, want %d and %d", tt.when, all, now, tt.all, tt.now)
		}
	}
	if _, err := c.mine.DeleteBucketInventoryConfiguration(ctx, &awss3.DeleteBucketInventoryConfigurationInput{Bucket: aws.String("source"), Id: aws.String("all")}); err != nil {
		t.Fatal(err)
	}
	if err := at("2026-03-15T00:10:00Z"); err != nil || len(keys("inv/source/all/data/")) != 4 || len(keys("inv/source/now/data/")) != 3 {
		t.Errorf("%v, %q", err, keys(""))
	}
}
