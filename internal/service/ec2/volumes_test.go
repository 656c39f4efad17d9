package ec2

import (
	"context"
	"testing"
	"time"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// volume makes a volume of alice's, and the zone its file.
func (c *cloud) volume(gib int) string {
	c.Helper()
	out, err := c.CreateVolume(c.alice, &shape.CreateVolumeRequest{AvailabilityZone: "us-east-1a", Size: &gib, VolumeType: "gp3"})
	if err != nil {
		c.Fatal(err)
	}
	c.made(out.VolumeId)
	return out.VolumeId
}

// made does what a zone does when a volume's file is made or has grown.
func (c *cloud) made(id string) {
	c.Helper()
	c.write(func(tx *store.Tx) error {
		v := *store.Volumes.Get(tx, id)
		v.Made, v.MadeGiB = true, v.SizeGiB
		if v.State == resource.VolumeCreating {
			v.State = resource.VolumeAvailable
		}
		return store.Volumes.Put(tx, &v)
	})
}

func (c *cloud) vol(id string) *resource.Volume { return store.Volumes.Get(c.Store.Snapshot(), id) }

func TestCreateVolume(t *testing.T) {
	c := newCloud(t)
	type req = shape.CreateVolumeRequest
	zone := "us-east-1a"
	for name, x := range map[string]struct {
		in               req
		code             string
		iops, throughput int
	}{
		"default":          {in: req{Size: ptr(8)}, iops: 100},
		"gp2 of 1 TiB":     {in: req{Size: ptr(1024), VolumeType: "gp2"}, iops: 3072},
		"gp3":              {in: req{Size: ptr(1), VolumeType: "gp3"}, iops: 3000, throughput: 125},
		"gp3, fast":        {in: req{Size: ptr(100), VolumeType: "gp3", Iops: ptr(4000), Throughput: ptr(1000)}, iops: 4000, throughput: 1000},
		"iops alone":       {in: req{Size: ptr(4), Iops: ptr(200)}, iops: 200},
		"io2":              {in: req{Size: ptr(4), VolumeType: "io2", Iops: ptr(4000)}, iops: 4000},
		"st1":              {in: req{Size: ptr(125), VolumeType: "st1"}},
		"no size":          {in: req{}, code: "MissingParameter"},
		"no such type":     {in: req{Size: ptr(1), VolumeType: "gp9"}, code: "UnknownVolumeType"},
		"empty":            {in: req{Size: ptr(0), VolumeType: "gp3"}, code: "InvalidParameterValue"},
		"huge":             {in: req{Size: ptr(16385), VolumeType: "gp2"}, code: "InvalidParameterValue"},
		"small st1":        {in: req{Size: ptr(124), VolumeType: "st1"}, code: "InvalidParameterValue"},
		"gp2 with iops":    {in: req{Size: ptr(8), VolumeType: "gp2", Iops: ptr(100)}, code: "InvalidParameterCombination"},
		"io1 without iops": {in: req{Size: ptr(8), VolumeType: "io1"}, code: "MissingParameter"},
		"io1 ratio":        {in: req{Size: ptr(4), VolumeType: "io1", Iops: ptr(201)}, code: "InvalidParameterCombination"},
		"gp3 slow":         {in: req{Size: ptr(8), VolumeType: "gp3", Iops: ptr(2999)}, code: "InvalidParameterValue"},
		"gp3 ratio":        {in: req{Size: ptr(8), VolumeType: "gp3", Throughput: ptr(751)}, code: "InvalidParameterCombination"},
		"gp2 throughput":   {in: req{Size: ptr(8), VolumeType: "gp2", Throughput: ptr(125)}, code: "InvalidParameterCombination"},
		"snapshot":         {in: req{SnapshotId: "snap-0123456789abcdef0"}, code: "InvalidSnapshot.NotFound"},
		"zone":             {in: req{Size: ptr(1), AvailabilityZone: "us-east-1f"}, code: "InvalidZone.NotFound"},
		"many":             {in: req{Size: ptr(4), VolumeType: "io1", Iops: ptr(200), MultiAttachEnabled: ptr(true)}, code: "UnsupportedOperation"},
		"key":              {in: req{Size: ptr(4), KmsKeyId: "k"}, code: "UnsupportedOperation"},
		"dry":              {in: req{Size: ptr(4), DryRun: ptr(true)}, code: "DryRunOperation"},
	} {
		if x.in.AvailabilityZone == "" {
			x.in.AvailabilityZone = zone
		}
		out, err := c.CreateVolume(c.alice, &x.in)
		c.code(name, err, x.code)
		if err == nil && (out.State != "creating" || out.Iops != x.iops || out.Throughput != x.throughput) {
			t.Errorf("%s: %+v", name, out)
		}
	}
}

func TestVolumeToken(t *testing.T) {
	c := newCloud(t)
	in := &shape.CreateVolumeRequest{AvailabilityZone: "us-east-1a", Size: ptr(3), ClientToken: "t"}
	first, err := c.CreateVolume(c.alice, in)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.CreateVolume(c.alice, in)
	if err != nil || again.VolumeId != first.VolumeId {
		t.Errorf("%+v, %v", again, err)
	}
	in.Size = ptr(4)
	_, err = c.CreateVolume(c.alice, in)
	c.code("other parameters", err, "IdempotentParameterMismatch")
	if other, err := c.CreateVolume(c.bob, in); err != nil || other.VolumeId == first.VolumeId {
		t.Errorf("another account: %+v, %v", other, err)
	}
}

// TestVolumeQuotas: what is deleted is free again, and a zone never promises more than it has.
func TestVolumeQuotas(t *testing.T) {
	c := newCloud(t)
	c.write(func(tx *store.Tx) error {
		z := *store.Zones.Get(tx, "us-east-1a")
		z.StorageGiB = 200
		return store.Zones.Put(tx, &z)
	})
	c.quota("", map[string]int64{"ec2:volumenumber": 3, "ec2:volumetotalsize": 90})
	try := func(ctx context.Context, gib int) error {
		_, err := c.CreateVolume(ctx, &shape.CreateVolumeRequest{AvailabilityZone: "us-east-1a", Size: &gib})
		return err
	}
	c.code("too large", try(c.alice, 91), "VolumeLimitExceeded")
	first := c.volume(80)
	c.code("no room", try(c.bob, 121), "InsufficientVolumeCapacity")
	c.volume(1)
	c.volume(1)
	c.code("too many", try(c.alice, 1), "VolumeLimitExceeded")
	if _, err := c.DeleteVolume(c.alice, &shape.DeleteVolumeRequest{VolumeId: first}); err != nil {
		t.Fatal(err)
	}
	c.code("not gone yet", try(c.alice, 80), "VolumeLimitExceeded")
	c.write(func(tx *store.Tx) error { store.Volumes.Delete(tx, first); return nil })
	c.code("room again", try(c.alice, 80), "")
}

func TestAttach(t *testing.T) {
	c := newCloud(t)
	inst := c.run(1)[0]
	v := c.volume(2)
	attach := func(ctx context.Context, v, i, device string) error {
		_, err := c.AttachVolume(ctx, &shape.AttachVolumeRequest{VolumeId: v, InstanceId: i, Device: device})
		return err
	}
	c.code("pending", attach(c.alice, v, inst, "/dev/sdf"), "IncorrectState")
	c.place(inst)
	c.code("another's volume", attach(c.bob, v, inst, "/dev/sdf"), "InvalidVolume.NotFound")
	c.code("no device", attach(c.alice, v, inst, "nvme1"), "InvalidParameterValue")
	c.code("attach", attach(c.alice, v, inst, "/dev/sdf"), "")
	c.code("twice", attach(c.alice, v, inst, "/dev/sdg"), "VolumeInUse")
	w := c.volume(1)
	c.code("device in use", attach(c.alice, w, inst, "sdf"), "InvalidParameterValue")
	_, err := c.DeleteVolume(c.alice, &shape.DeleteVolumeRequest{VolumeId: v})
	c.code("delete in use", err, "VolumeInUse")
	if got := c.one(inst).BlockDeviceMappings; len(got) != 1 || got[0].DeviceName != "/dev/sdf" || got[0].Ebs.VolumeId != v || got[0].Ebs.Status != "attaching" {
		t.Errorf("mappings %+v", got)
	}
	other, err := c.CreateVolume(c.alice, &shape.CreateVolumeRequest{AvailabilityZone: "us-east-1b", Size: ptr(1)})
	if err != nil {
		t.Fatal(err)
	}
	c.code("being made", attach(c.alice, other.VolumeId, inst, "/dev/sdh"), "IncorrectState")
	c.made(other.VolumeId)
	c.code("other zone", attach(c.alice, other.VolumeId, inst, "/dev/sdh"), "InvalidVolume.ZoneMismatch")

	detach := func(in shape.DetachVolumeRequest) error {
		_, err := c.DetachVolume(c.alice, &in)
		return err
	}
	c.code("another device", detach(shape.DetachVolumeRequest{VolumeId: v, Device: "/dev/sdz"}), "InvalidAttachment.NotFound")
	c.code("not attached", detach(shape.DetachVolumeRequest{VolumeId: w}), "IncorrectState")
	c.code("detach", detach(shape.DetachVolumeRequest{VolumeId: v, InstanceId: inst}), "")
	if a := c.vol(v).Attachment; a.State != resource.Detaching || a.Force {
		t.Errorf("attachment %+v", a)
	}
	c.code("by force", detach(shape.DetachVolumeRequest{VolumeId: v, Force: ptr(true)}), "")
	c.code("not forced", detach(shape.DetachVolumeRequest{VolumeId: v}), "")
	if a := c.vol(v).Attachment; a.State != resource.Detaching || !a.Force {
		t.Errorf("attachment %+v", a)
	}
	// The instance's end frees one volume and takes the other along.
	c.code("attach", attach(c.alice, w, inst, "/dev/sdg"), "")
	c.write(func(tx *store.Tx) error {
		v := *store.Volumes.Get(tx, w)
		a := *v.Attachment
		a.DeleteOnEnd = true
		v.Attachment = &a
		return store.Volumes.Put(tx, &v)
	})
	c.write(func(tx *store.Tx) error {
		_, err := lifecycle.Finish(tx, store.Instances.Get(tx, inst), c.clock())
		return err
	})
	if v, w := c.vol(v), c.vol(w); v.State != resource.VolumeAvailable || v.Attachment != nil || w.State != resource.VolumeDeleting {
		t.Errorf("%+v\n%+v", v, w)
	}
}

func TestAttachmentLimit(t *testing.T) {
	c := newCloud(t)
	inst := c.run(1)[0]
	c.place(inst)
	var err error
	n := 0
	for ; n < 20 && err == nil; n++ {
		_, err = c.AttachVolume(c.alice, &shape.AttachVolumeRequest{VolumeId: c.volume(1), InstanceId: inst, Device: "/dev/xvd" + string(rune('f'+n))})
	}
	c.code("one too many", err, "AttachmentLimitExceeded")
	if n != 7 { // 8 slots, less the root disk and the interface, and the one that was refused
		t.Errorf("refused at the %d-th", n)
	}
}

func TestModifyVolume(t *testing.T) {
	c := newCloud(t)
	v := c.volume(10)
	modify := func(in shape.ModifyVolumeRequest) error {
		in.VolumeId = v
		_, err := c.ModifyVolume(c.alice, &in)
		return err
	}
	c.code("nothing", modify(shape.ModifyVolumeRequest{}), "InvalidParameterCombination")
	c.code("smaller", modify(shape.ModifyVolumeRequest{Size: ptr(9)}), "InvalidParameterValue")
	c.code("the same", modify(shape.ModifyVolumeRequest{Size: ptr(10)}), "InvalidParameterValue")
	c.code("to io2", modify(shape.ModifyVolumeRequest{VolumeType: "io2"}), "MissingParameter")
	c.code("grow", modify(shape.ModifyVolumeRequest{Size: ptr(20), Iops: ptr(4000)}), "")
	if got := c.vol(v); got.SizeGiB != 20 || got.IOPS != 4000 || got.Throughput != 125 || got.Modification.State != "modifying" {
		t.Errorf("%+v", got)
	}
	c.code("again", modify(shape.ModifyVolumeRequest{Size: ptr(30)}), "IncorrectModificationState")
	c.write(func(tx *store.Tx) error {
		v := *store.Volumes.Get(tx, v)
		m := *v.Modification
		m.State, v.Modification = "completed", &m
		return store.Volumes.Put(tx, &v)
	})
	c.code("too soon", modify(shape.ModifyVolumeRequest{Size: ptr(30)}), "VolumeModificationRateExceeded")
	c.pass(6 * time.Hour)
	c.code("in time", modify(shape.ModifyVolumeRequest{VolumeType: "gp2"}), "")
	out, err := c.DescribeVolumesModifications(c.alice, &shape.DescribeVolumesModificationsRequest{})
	if err != nil || len(out.VolumesModifications) != 1 || out.VolumesModifications[0].OriginalIops != 4000 || out.VolumesModifications[0].TargetIops != 100 {
		t.Errorf("%+v, %v", out, err)
	}
	if gib, n := store.VolumesGiB.Sum(c.Store.Snapshot(), alice+"/"+east), store.VolumesHeld.Sum(c.Store.Snapshot(), alice+"/"+east); gib != 20 || n != 1 {
		t.Errorf("%d volumes of %d GiB", n, gib)
	}
}

func TestVolumeFilters(t *testing.T) {
	c := newCloud(t)
	inst := c.run(1)[0]
	c.place(inst)
	v, w := c.volume(1), c.volume(2)
	if _, err := c.AttachVolume(c.alice, &shape.AttachVolumeRequest{VolumeId: v, InstanceId: inst, Device: "/dev/sdf"}); err != nil {
		t.Fatal(err)
	}
	for filter, want := range map[[2]string]string{
		{"attachment.instance-id", inst}:    v,
		{"attachment.device", "/dev/sd*"}:   v,
		{"attachment.status", "attaching"}:  v,
		{"status", "available"}:             w,
		{"size", "2"}:                       w,
		{"availability-zone", "us-east-1b"}: "",
	} {
		out, err := c.DescribeVolumes(c.alice, &shape.DescribeVolumesRequest{Filters: []shape.Filter{{Name: filter[0], Values: filter[1:]}}})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, v := range out.Volumes {
			got += v.VolumeId
		}
		if got != want {
			t.Errorf("%v: %s", filter, got)
		}
	}
	status, err := c.DescribeVolumeStatus(c.alice, &shape.DescribeVolumeStatusRequest{VolumeIds: []string{w}})
	if err != nil || len(status.VolumeStatuses) != 1 || status.VolumeStatuses[0].VolumeStatus.Status != "ok" {
		t.Errorf("%+v, %v", status, err)
	}
}

// An account that goes takes its volumes with it, data first, and nobody else's.
func TestAnAccountsVolumesGoWithIt(t *testing.T) {
	c := newCloud(t)
	one, two := c.volume(1), c.volume(2)
	theirs, err := c.CreateVolume(c.bob, &shape.CreateVolumeRequest{AvailabilityZone: "us-east-1a", Size: ptr(1), VolumeType: "gp3"})
	c.code("bob's", err, "")
	remove := func(tx *store.Tx) error { return DeleteAccount(tx, alice) }
	if err := c.Store.Update(context.Background(), remove); err == nil {
		t.Error("an account with volumes is deleted")
	}
	left := 0
	for want := 2; want >= 0; want-- {
		c.write(func(tx *store.Tx) (err error) {
			left, err = DeleteVolumes(tx, alice)
			return err
		})
		if left != want {
			t.Errorf("%d left, want %d", left, want)
		}
		if want > 0 { // the zone has deleted one's data
			id := []string{one, two}[want-1]
			if v := c.vol(id); v.State != resource.VolumeDeleting {
				t.Errorf("%s is %s", id, v.State)
			}
			c.write(func(tx *store.Tx) error { store.Volumes.Delete(tx, id); return nil })
		}
	}
	c.write(remove)
	if c.vol(theirs.VolumeId) == nil || c.vol(theirs.VolumeId).State == resource.VolumeDeleting {
		t.Error("bob's volume went with alice's account")
	}
}
