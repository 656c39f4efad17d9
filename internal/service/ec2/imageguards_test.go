package ec2

import (
	"testing"
	"time"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func TestImagesAreGuarded(t *testing.T) {
	c := newCloud(t)
	share := func() error {
		return second(c.ModifyImageAttribute(c.alice, &shape.ModifyImageAttributeRequest{ImageId: c.image, Attribute: "launchPermission", OperationType: "add", UserGroups: []string{"all"}}))
	}
	state := func() string {
		out, err := c.GetImageBlockPublicAccessState(c.alice, &shape.GetImageBlockPublicAccessStateRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return out.ImageBlockPublicAccessState
	}
	if got := state(); got != "unblocked" {
		t.Error(got)
	}
	c.code("block how", second(c.EnableImageBlockPublicAccess(c.alice, &shape.EnableImageBlockPublicAccessRequest{ImageBlockPublicAccessState: "x"})), "InvalidParameterValue")
	c.code("block", second(c.EnableImageBlockPublicAccess(c.alice, &shape.EnableImageBlockPublicAccessRequest{ImageBlockPublicAccessState: "block-new-sharing"})), "")
	if got := state(); got != "block-new-sharing" {
		t.Error(got)
	}
	c.code("publish", share(), "OperationNotPermitted")
	c.code("unblock", second(c.DisableImageBlockPublicAccess(c.alice, &shape.DisableImageBlockPublicAccessRequest{})), "")
	c.code("publish now", share(), "")
	c.code("block again", second(c.EnableImageBlockPublicAccess(c.alice, &shape.EnableImageBlockPublicAccessRequest{ImageBlockPublicAccessState: "block-new-sharing"})), "")
	c.code("what is public stays", share(), "")

	at := func(d time.Duration) *shape.EnableImageDeprecationRequest {
		return &shape.EnableImageDeprecationRequest{ImageId: c.image, DeprecateAt: c.clock().Add(d)}
	}
	c.code("in the past", second(c.EnableImageDeprecation(c.alice, at(-time.Hour))), "InvalidParameterValue")
	c.code("public, in 3 years", second(c.EnableImageDeprecation(c.alice, at(3*365*24*time.Hour))), "InvalidParameterValue")
	c.code("bob", second(c.EnableImageDeprecation(c.bob, at(time.Hour))), "AuthFailure")
	c.code("deprecate", second(c.EnableImageDeprecation(c.alice, at(time.Hour))), "")
	sees := func(who string, in shape.DescribeImagesRequest) int {
		ctx := c.alice
		if who == "bob" {
			ctx = c.bob
		}
		out, err := c.DescribeImages(ctx, &in)
		if err != nil {
			t.Fatal(err)
		}
		return len(out.Images)
	}
	if sees("bob", shape.DescribeImagesRequest{}) != 1 {
		t.Error("hidden before its time")
	}
	c.time = c.time.Add(2 * time.Hour)
	for what, x := range map[string]struct {
		who  string
		in   shape.DescribeImagesRequest
		want int
	}{
		"others": {"bob", shape.DescribeImagesRequest{}, 0}, "by id": {"bob", shape.DescribeImagesRequest{ImageIds: []string{c.image}}, 1},
		"who asks": {"bob", shape.DescribeImagesRequest{IncludeDeprecated: ptr(true)}, 1}, "its owner": {"alice", shape.DescribeImagesRequest{}, 1},
	} {
		if got := sees(x.who, x.in); got != x.want {
			t.Errorf("%s: %d images", what, got)
		}
	}
	c.code("take back", second(c.DisableImageDeprecation(c.alice, &shape.DisableImageDeprecationRequest{ImageId: c.image})), "")
	if sees("bob", shape.DescribeImagesRequest{}) != 1 {
		t.Error("still hidden")
	}

	deregister := func() error {
		return second(c.DeregisterImage(c.alice, &shape.DeregisterImageRequest{ImageId: c.image}))
	}
	on, err := c.EnableImageDeregistrationProtection(c.alice, &shape.EnableImageDeregistrationProtectionRequest{ImageId: c.image, WithCooldown: ptr(true)})
	if err != nil || on.Return != "enabled-with-cooldown" {
		t.Errorf("%+v %v", on, err)
	}
	c.code("protected", deregister(), "OperationNotPermitted")
	c.code("bob unprotects", second(c.DisableImageDeregistrationProtection(c.bob, &shape.DisableImageDeregistrationProtectionRequest{ImageId: c.image})), "AuthFailure")
	c.code("unprotect", second(c.DisableImageDeregistrationProtection(c.alice, &shape.DisableImageDeregistrationProtectionRequest{ImageId: c.image})), "")
	c.code("cooling down", deregister(), "OperationNotPermitted")
	c.time = c.time.Add(25 * time.Hour)
	c.code("afterwards", deregister(), "")
}

// What Terraform asks of images: the drivers that one has are kept with it, and a launch permission needs no operation type.
func TestImagesAsTerraformAsks(t *testing.T) {
	c := newCloud(t)
	c.write(func(tx *store.Tx) error {
		return store.Snapshots.Put(tx, &resource.Snapshot{
			Owned: resource.Owned{AccountID: alice, Region: east}, ID: "snap-0123456789abcdef0", SizeGiB: 1, State: "completed", Data: resource.ImageData{Key: "x", Format: "qcow2"},
		})
	})
	register := func(sriov string) (*shape.RegisterImageResult, error) {
		return c.RegisterImage(c.alice, &shape.RegisterImageRequest{
			Name: "drivers", RootDeviceName: "/dev/sda1", EnaSupport: ptr(true), SriovNetSupport: sriov,
			BlockDeviceMappings: []shape.BlockDeviceMapping{{DeviceName: "/dev/sda1", Ebs: &shape.EbsBlockDevice{SnapshotId: "snap-0123456789abcdef0"}}},
		})
	}
	c.code("unknown drivers", second(register("double")), "InvalidParameterValue")
	made, err := register("simple")
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.DescribeImages(c.alice, &shape.DescribeImagesRequest{ImageIds: []string{made.ImageId}})
	if err != nil || !out.Images[0].EnaSupport || out.Images[0].SriovNetSupport != "simple" {
		t.Errorf("%+v %v", out, err)
	}
	modify := func(change func(*shape.ModifyImageAttributeRequest)) error {
		in := &shape.ModifyImageAttributeRequest{ImageId: made.ImageId, Attribute: "launchPermission"}
		change(in)
		return second(c.ModifyImageAttribute(c.alice, in))
	}
	friend := &shape.LaunchPermissionModifications{Add: []shape.LaunchPermission{{UserId: bob}}}
	c.code("permission", modify(func(in *shape.ModifyImageAttributeRequest) { in.LaunchPermission = friend }), "")
	if img := store.Images.Get(c.Store.Snapshot(), made.ImageId); len(img.LaunchAccounts) != 1 {
		t.Errorf("%+v", img)
	}
	c.code("both forms", modify(func(in *shape.ModifyImageAttributeRequest) { in.LaunchPermission, in.UserIds = friend, []string{bob} }), "MissingParameter")
	c.code("neither", modify(func(*shape.ModifyImageAttributeRequest) {}), "MissingParameter")
}
