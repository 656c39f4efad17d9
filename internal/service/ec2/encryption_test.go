package ec2

import (
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// TestEncryption: what is encrypted, by request, by default and by descent.
func TestEncryption(t *testing.T) {
	c := newCloud(t)
	create := func(in shape.CreateVolumeRequest) *resource.Volume {
		t.Helper()
		in.AvailabilityZone = "us-east-1a"
		out, err := c.CreateVolume(c.alice, &in)
		if err != nil {
			t.Fatal(err)
		}
		c.made(out.VolumeId)
		v := c.vol(out.VolumeId)
		if out.Encrypted != v.Encrypted || (out.KmsKeyId != "") != v.Encrypted {
			t.Errorf("answer %+v", out)
		}
		return v
	}
	plain, v := create(shape.CreateVolumeRequest{Size: ptr(1)}), create(shape.CreateVolumeRequest{Size: ptr(1), Encrypted: ptr(true)})
	if plain.Encrypted || plain.Key != nil || plain.Format != "raw" {
		t.Errorf("%+v", plain)
	}
	if key, err := c.VolumeKeys.Open(v.AccountID, v.ID, v.Key); err != nil || key == "" || !v.Encrypted || v.Format != "qcow2" {
		t.Errorf("%+v: %v", v, err)
	}
	found, err := c.DescribeVolumes(c.alice, &shape.DescribeVolumesRequest{Filters: []shape.Filter{{Name: "encrypted", Values: []string{"true"}}}})
	if err != nil || len(found.Volumes) != 1 || found.Volumes[0].VolumeId != v.ID || found.Volumes[0].KmsKeyId != "arn:aws:kms:us-east-1:"+alice+":alias/aws/ebs" {
		t.Errorf("%+v, %v", found, err)
	}
	_, err = c.CreateVolume(c.alice, &shape.CreateVolumeRequest{AvailabilityZone: "us-east-1a", Size: ptr(1), Encrypted: ptr(true), KmsKeyId: "alias/mine"})
	c.code("a key of KMS", err, "UnsupportedOperation")

	snap := &resource.Snapshot{Owned: v.Owned, ID: "snap-0123456789abcdef0", VolumeID: v.ID, SizeGiB: 1, State: "completed", Encrypted: true, Data: resource.ImageData{Format: "qcow2"}}
	open := *snap
	open.ID, open.Encrypted = "snap-0123456789abcdef1", false
	c.write(func(tx *store.Tx) error {
		if err := store.Snapshots.Put(tx, &open); err != nil {
			return err
		}
		return store.Snapshots.Put(tx, snap)
	})
	if child := create(shape.CreateVolumeRequest{SnapshotId: snap.ID}); !child.Encrypted || string(child.Key) == string(v.Key) || child.Key == nil {
		t.Errorf("%+v", child)
	}
	_, err = c.CreateVolume(c.alice, &shape.CreateVolumeRequest{AvailabilityZone: "us-east-1a", SnapshotId: snap.ID, Encrypted: ptr(false)})
	c.code("an open volume of an encrypted snapshot", err, "InvalidParameterValue")
	_, err = c.ModifySnapshotAttribute(c.alice, &shape.ModifySnapshotAttributeRequest{SnapshotId: snap.ID, Attribute: "createVolumePermission", OperationType: "add", UserIds: []string{bob}})
	c.code("share", err, "OperationNotPermitted")
	copied := func(in shape.CopySnapshotRequest) bool {
		t.Helper()
		in.SourceRegion = "us-east-1"
		out, err := c.CopySnapshot(c.alice, &in)
		if err != nil {
			t.Fatal(err)
		}
		return store.Snapshots.Get(c.Store.Snapshot(), out.SnapshotId).Encrypted
	}
	if !copied(shape.CopySnapshotRequest{SourceSnapshotId: snap.ID}) || copied(shape.CopySnapshotRequest{SourceSnapshotId: open.ID}) || !copied(shape.CopySnapshotRequest{SourceSnapshotId: open.ID, Encrypted: ptr(true)}) {
		t.Error("copies")
	}

	if _, err := c.EnableEbsEncryptionByDefault(c.alice, &shape.EnableEbsEncryptionByDefaultRequest{DryRun: ptr(true)}); err == nil {
		t.Error("a dry run without an answer")
	}
	state := func(who string) bool {
		ctx := c.alice
		if who == bob {
			ctx = c.bob
		}
		out, err := c.GetEbsEncryptionByDefault(ctx, &shape.GetEbsEncryptionByDefaultRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return out.EbsEncryptionByDefault
	}
	if state(alice) {
		t.Error("on without being asked for")
	}
	if out, err := c.EnableEbsEncryptionByDefault(c.alice, &shape.EnableEbsEncryptionByDefaultRequest{}); err != nil || !out.EbsEncryptionByDefault || !state(alice) || state(bob) {
		t.Errorf("%+v %v", out, err)
	}
	if !create(shape.CreateVolumeRequest{Size: ptr(1)}).Encrypted || !create(shape.CreateVolumeRequest{Size: ptr(1), Encrypted: ptr(false)}).Encrypted || !copied(shape.CopySnapshotRequest{SourceSnapshotId: open.ID}) {
		t.Error("not encrypted by default")
	}
	if out, err := c.DisableEbsEncryptionByDefault(c.alice, &shape.DisableEbsEncryptionByDefaultRequest{}); err != nil || out.EbsEncryptionByDefault || state(alice) {
		t.Errorf("%+v %v", out, err)
	}
	if out, err := c.GetEbsDefaultKmsKeyId(c.alice, &shape.GetEbsDefaultKmsKeyIdRequest{}); err != nil || out.KmsKeyId != "alias/aws/ebs" {
		t.Errorf("%+v %v", out, err)
	}
}
