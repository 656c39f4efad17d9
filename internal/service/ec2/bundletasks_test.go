package ec2

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/bundle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func TestBundleInstance(t *testing.T) {
	c := newCloud(t)
	id := c.run(1)[0]
	policy := func(at time.Time, bucket, prefix, acl string) []byte {
		return fmt.Appendf(nil, `{"expiration":%q,"conditions":[{"bucket":%q},{"acl":%q},["starts-with","$key",%q]]}`, at.Format(time.RFC3339), bucket, acl, prefix)
	}
	later := c.clock().Add(time.Hour)
	request := func(change func(*shape.BundleInstanceRequest, *shape.S3Storage)) *shape.BundleInstanceRequest {
		s := &shape.S3Storage{
			AWSAccessKeyId: "AKIA", Bucket: "b", Prefix: "dir/name", UploadPolicy: policy(later, "b", "dir/name", "ec2-bundle-read"), UploadPolicySignature: "c2ln",
		}
		in := &shape.BundleInstanceRequest{InstanceId: id, Storage: &shape.Storage{S3: s}}
		if change != nil {
			change(in, s)
		}
		return in
	}
	c.code("an instance that does not run yet", second(c.BundleInstance(c.alice, request(nil))), "IncorrectInstanceState")
	c.place(id)
	for name, x := range map[string]struct {
		change func(*shape.BundleInstanceRequest, *shape.S3Storage)
		code   string
	}{
		"no instance":           {func(in *shape.BundleInstanceRequest, _ *shape.S3Storage) { in.InstanceId = "" }, "MissingParameter"},
		"unknown instance":      {func(in *shape.BundleInstanceRequest, _ *shape.S3Storage) { in.InstanceId = "i-0123456789abcdef0" }, "InvalidInstanceID.NotFound"},
		"no storage":            {func(in *shape.BundleInstanceRequest, _ *shape.S3Storage) { in.Storage = nil }, "MissingParameter"},
		"no key":                {func(_ *shape.BundleInstanceRequest, s *shape.S3Storage) { s.AWSAccessKeyId = "" }, "MissingParameter"},
		"no policy":             {func(_ *shape.BundleInstanceRequest, s *shape.S3Storage) { s.UploadPolicy = nil }, "MissingParameter"},
		"no signature":          {func(_ *shape.BundleInstanceRequest, s *shape.S3Storage) { s.UploadPolicySignature = "" }, "MissingParameter"},
		"a policy that is none": {func(_ *shape.BundleInstanceRequest, s *shape.S3Storage) { s.UploadPolicy = []byte("{") }, "InvalidParameterValue"},
		"expired": {func(_ *shape.BundleInstanceRequest, s *shape.S3Storage) {
			s.UploadPolicy = policy(c.clock().Add(-time.Second), "b", "dir/name", "ec2-bundle-read")
		}, "InvalidParameterValue"},
		"of another bucket": {func(_ *shape.BundleInstanceRequest, s *shape.S3Storage) { s.Bucket = "other" }, "InvalidParameterValue"},
		"of another prefix": {func(_ *shape.BundleInstanceRequest, s *shape.S3Storage) { s.Prefix = "name" }, "InvalidParameterValue"},
		"of another ACL": {func(_ *shape.BundleInstanceRequest, s *shape.S3Storage) {
			s.UploadPolicy = policy(later, "b", "dir/name", "public-read")
		}, "InvalidParameterValue"},
		"of small files": {func(_ *shape.BundleInstanceRequest, s *shape.S3Storage) {
			s.UploadPolicy = []byte(strings.Replace(string(s.UploadPolicy), `[{`, `[["content-length-range",1,100],{`, 1))
		}, "InvalidParameterValue"},
		"a folder as name":        {func(_ *shape.BundleInstanceRequest, s *shape.S3Storage) { s.Prefix = "dir/.." }, "InvalidParameterValue"},
		"markup as name":          {func(_ *shape.BundleInstanceRequest, s *shape.S3Storage) { s.Prefix = "dir/<x>" }, "InvalidParameterValue"},
		"a name that is too long": {func(_ *shape.BundleInstanceRequest, s *shape.S3Storage) { s.Prefix = strings.Repeat("x/", 1000) + "x" }, "InvalidParameterValue"},
	} {
		c.code(name, second(c.BundleInstance(c.alice, request(x.change))), x.code)
	}
	c.code("bob", second(c.BundleInstance(c.bob, request(nil))), "InvalidInstanceID.NotFound")
	made, err := c.BundleInstance(c.alice, request(nil))
	if err != nil {
		t.Fatal(err)
	}
	task := made.BundleTask
	if !strings.HasPrefix(task.BundleId, "bun-") || task.State != "pending" || task.InstanceId != id || task.Storage.S3.Bucket != "b" || task.Storage.S3.UploadPolicySignature != "" || task.Storage.S3.UploadPolicy != nil {
		t.Errorf("%+v %+v", task, task.Storage.S3)
	}
	c.code("again", second(c.BundleInstance(c.alice, request(nil))), "BundlingInProgress")

	// The disk's snapshot is nobody's.
	hidden := store.BundleTasks.Get(c.Store.Snapshot(), task.BundleId).SnapshotID
	if s := store.Snapshots.Get(c.Store.Snapshot(), hidden); s == nil || s.RootOf != id || !s.Reboot || s.Zone == "" {
		t.Errorf("%+v", s)
	}
	if out, err := c.DescribeSnapshots(c.alice, &shape.DescribeSnapshotsRequest{}); err != nil || len(out.Snapshots) != 0 {
		t.Errorf("%+v %v", out, err)
	}
	for name, err := range map[string]error{
		"describe": second(c.DescribeSnapshots(c.alice, &shape.DescribeSnapshotsRequest{SnapshotIds: []string{hidden}})),
		"delete":   second(c.DeleteSnapshot(c.alice, &shape.DeleteSnapshotRequest{SnapshotId: hidden})),
		"volume":   second(c.CreateVolume(c.alice, &shape.CreateVolumeRequest{SnapshotId: hidden, AvailabilityZone: "us-east-1a"})),
	} {
		c.code(name+" the disk's snapshot", err, "InvalidSnapshot.NotFound")
	}

	describe := func(filters ...shape.Filter) []shape.BundleTask {
		t.Helper()
		out, err := c.DescribeBundleTasks(c.alice, &shape.DescribeBundleTasksRequest{Filters: filters})
		if err != nil {
			t.Fatal(err)
		}
		return out.BundleTasks
	}
	if n := len(describe(shape.Filter{Name: "s3-bucket", Values: []string{"b"}}, shape.Filter{Name: "state", Values: []string{"pending"}})); n != 1 {
		t.Error(n)
	}
	if n := len(describe(shape.Filter{Name: "instance-id", Values: []string{"i-2"}})); n != 0 {
		t.Error(n)
	}
	if out, err := c.DescribeBundleTasks(c.bob, &shape.DescribeBundleTasksRequest{}); err != nil || len(out.BundleTasks) != 0 {
		t.Errorf("%+v %v", out, err)
	}
	cancel := func() error {
		return second(c.CancelBundleTask(c.alice, &shape.CancelBundleTaskRequest{BundleId: task.BundleId}))
	}
	c.code("bob cancels", second(c.CancelBundleTask(c.bob, &shape.CancelBundleTaskRequest{BundleId: task.BundleId})), "InvalidBundleID.NotFound")
	c.code("cancel", cancel(), "")
	if s := describe()[0].State; s != "cancelling" {
		t.Error(s)
	}
	c.write(func(tx *store.Tx) error {
		next := *store.BundleTasks.Get(tx, task.BundleId)
		next.State, next.Code, next.Message = resource.BundleFailed, "Client.Cancelled", "m"
		return store.BundleTasks.Put(tx, &next)
	})
	c.code("cancel what has ended", cancel(), "IncorrectState")
	if e := describe()[0].BundleTaskError; e == nil || e.Code != "Client.Cancelled" {
		t.Errorf("%+v", e)
	}
	c.code("once more", second(c.BundleInstance(c.alice, request(nil))), "")
}

// A bundle that the cloud signed is that account's whose instance it was, and no other's.
func TestRegisterTheCloudsOwnBundle(t *testing.T) {
	c := newCloud(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c.BundleKey = &key.PublicKey
	cert := &x509.Certificate{PublicKey: &key.PublicKey}
	raw, err := bundle.Write(bundle.Source{
		Image: strings.NewReader("disk"), Size: 4, Name: "disk", User: alice, Kind: bundle.Machine, Certificate: cert, Key: key, Cloud: cert, Random: rand.Reader,
	}, func(string) (io.WriteCloser, error) { return discard{io.Discard}, nil })
	if err != nil {
		t.Fatal(err)
	}
	c.content = map[string]string{"disks/m": string(raw)}
	c.objects[alice+"/disks/m"], c.objects[bob+"/disks/m"] = true, true
	cert2, _ := signer(t)
	c.write(func(tx *store.Tx) error {
		return store.SigningCertificates.Put(tx, &resource.SigningCertificate{ID: "C", AccountID: bob, DER: cert2.Raw, Active: true})
	})
	c.code("bob", second(c.RegisterImage(c.bob, &shape.RegisterImageRequest{Name: "his", ImageLocation: "disks/m"})), "InvalidManifest")
	c.code("alice", second(c.RegisterImage(c.alice, &shape.RegisterImageRequest{Name: "hers", ImageLocation: "disks/m"})), "")
}
