package ec2

import (
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func TestProductCodes(t *testing.T) {
	c := newCloud(t)
	modify := func(in *shape.ModifyImageAttributeRequest) error {
		in.ImageId = c.image
		return second(c.ModifyImageAttribute(c.alice, in))
	}
	c.code("add", modify(&shape.ModifyImageAttributeRequest{ProductCodes: []string{"774F4FF8"}}), "")
	c.code("add another, and the first again", modify(&shape.ModifyImageAttributeRequest{Attribute: "productCodes", ProductCodes: []string{"774F4FF8", "abc"}}), "")
	c.code("no codes", modify(&shape.ModifyImageAttributeRequest{Attribute: "productCodes"}), "MissingParameter")
	c.code("bad code", modify(&shape.ModifyImageAttributeRequest{ProductCodes: []string{"<x>"}}), "InvalidAMIAttributeItemValue")
	c.code("two things", modify(&shape.ModifyImageAttributeRequest{ProductCodes: []string{"x"}, Description: text("y")}), "InvalidParameterCombination")
	c.code("bob", second(c.ModifyImageAttribute(c.bob, &shape.ModifyImageAttributeRequest{ImageId: c.image, ProductCodes: []string{"x"}})), "InvalidAMIID.NotFound")
	out, err := c.DescribeImageAttribute(c.alice, &shape.DescribeImageAttributeRequest{ImageId: c.image, Attribute: "productCodes"})
	if err != nil || len(out.ProductCodes) != 2 || out.ProductCodes[1].ProductCodeId != "abc" {
		t.Errorf("%+v %v", out, err)
	}
	for code, want := range map[string]int{"abc": 1, "abd": 0} {
		if out, err := c.DescribeImages(c.alice, &shape.DescribeImagesRequest{Filters: filters("product-code", code)}); err != nil || len(out.Images) != want {
			t.Errorf("%s: %+v %v", code, out, err)
		}
	}
	r, err := c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, MinCount: 1, MaxCount: 1})
	if err != nil || len(r.Instances[0].ProductCodes) != 2 {
		t.Fatalf("%+v %v", r, err)
	}
	id := r.Instances[0].InstanceId
	if out, err := c.DescribeInstances(c.alice, &shape.DescribeInstancesRequest{Filters: filters("product-code", "abc", "product-code.type", "devpay")}); err != nil || len(out.Reservations) != 1 {
		t.Errorf("%+v %v", out, err)
	}
	confirm := func(code string) *shape.ConfirmProductInstanceResult {
		out, err := c.ConfirmProductInstance(c.alice, &shape.ConfirmProductInstanceRequest{InstanceId: id, ProductCode: code})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if yes := confirm("abc"); !yes.Return || yes.OwnerId != alice {
		t.Errorf("%+v", yes)
	}
	if no := confirm("x"); no.Return || no.OwnerId != "" {
		t.Errorf("%+v", no)
	}
	// Whose image it is not learns nothing, not even that there is such an instance.
	if out, err := c.ConfirmProductInstance(c.bob, &shape.ConfirmProductInstanceRequest{InstanceId: id, ProductCode: "abc"}); err != nil || out.Return || out.OwnerId != "" {
		t.Errorf("%+v %v", out, err)
	}
}

// What boots how, and what cannot be launched here.
func TestBootModesAndArchitectures(t *testing.T) {
	c := newCloud(t)
	set := func(mode, arch string) {
		c.write(func(tx *store.Tx) error {
			img := *store.Images.Get(tx, c.image)
			img.BootMode, img.Architecture = mode, arch
			return store.Images.Put(tx, &img)
		})
	}
	for mode, current := range map[string]string{"": "legacy-bios", "legacy-bios": "legacy-bios", "uefi": "uefi", "uefi-preferred": "uefi"} {
		set(mode, "x86_64")
		r, err := c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, MinCount: 1, MaxCount: 1})
		if err != nil || r.Instances[0].BootMode != mode || r.Instances[0].CurrentInstanceBootMode != current {
			t.Errorf("%s: %+v %v", mode, r, err)
		}
	}
	set("uefi", "arm64")
	c.code("arm64", second(c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, MinCount: 1, MaxCount: 1})), "InvalidParameterValue")
}

// The filters of mappings and of the reason of a failure.
func TestImageFilters(t *testing.T) {
	c := newCloud(t)
	c.write(func(tx *store.Tx) error {
		img := *store.Images.Get(tx, c.image)
		img.State, img.StateReason = resource.ImageFailed, "The part is missing"
		img.Mappings = []resource.ImageMapping{{Device: "/dev/sda1", SnapshotID: "snap-1", SizeGiB: 8, Type: "gp3", DeleteOnEnd: true}}
		return store.Images.Put(tx, &img)
	})
	for _, f := range [][2]string{
		{"block-device-mapping.device-name", "/dev/sda1"},
		{"block-device-mapping.snapshot-id", "snap-1"},
		{"block-device-mapping.volume-size", "8"},
		{"block-device-mapping.volume-type", "gp3"},
		{"block-device-mapping.delete-on-termination", "true"},
		{"block-device-mapping.encrypted", "false"},
		{"state-reason-code", "Client.InvalidBundle"},
		{"state-reason-message", "*missing"},
	} {
		for value, want := range map[string]int{f[1]: 1, "other": 0} {
			out, err := c.DescribeImages(c.alice, &shape.DescribeImagesRequest{Filters: filters(f[0], value)})
			if err != nil || len(out.Images) != want {
				t.Errorf("%s=%s: %v %v", f[0], value, out, err)
			}
		}
	}
	out, err := c.DescribeImageAttribute(c.alice, &shape.DescribeImageAttributeRequest{ImageId: c.image, Attribute: "blockDeviceMapping"})
	if err != nil || len(out.BlockDeviceMappings) != 1 {
		t.Errorf("%+v %v", out, err)
	}
}
