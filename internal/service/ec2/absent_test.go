package ec2

import (
	"reflect"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
)

func TestIdle(t *testing.T) {
	yes, no := true, false
	for name, x := range map[string]struct {
		value any
		want  bool
	}{
		"nothing":       {(*shape.HibernationOptionsRequest)(nil), true},
		"empty":         {&shape.HibernationOptionsRequest{}, true},
		"told no":       {&shape.HibernationOptionsRequest{Configured: &no}, true}, // as Terraform does
		"told yes":      {&shape.HibernationOptionsRequest{Configured: &yes}, false},
		"false":         {&no, true},
		"true":          {&yes, false},
		"empty list":    {[]string{}, true},
		"list of empty": {[]string{""}, false},
		"text":          {"x", false},
	} {
		if got := idle(reflect.ValueOf(x.value)); got != x.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestVolumes(t *testing.T) {
	c := newCloud(t)
	out, err := c.DescribeVolumes(c.alice, &shape.DescribeVolumesRequest{Filters: []shape.Filter{{Name: "attachment.instance-id", Values: []string{"i-1"}}}})
	if err != nil || len(out.Volumes) != 0 {
		t.Errorf("%v, %v", out, err)
	}
	five := 5
	for name, x := range map[string]struct {
		in   shape.DescribeVolumesRequest
		code string
	}{
		"unknown":     {shape.DescribeVolumesRequest{VolumeIds: []string{"vol-0123456789abcdef0"}}, "InvalidVolume.NotFound"},
		"no id":       {shape.DescribeVolumesRequest{VolumeIds: []string{"i-0123456789abcdef0"}}, "InvalidParameterValue"},
		"filter":      {shape.DescribeVolumesRequest{Filters: []shape.Filter{{Name: "colour", Values: []string{"x"}}}}, "InvalidParameterValue"},
		"ids, a page": {shape.DescribeVolumesRequest{VolumeIds: []string{"vol-0123456789abcdef0"}, MaxResults: &five}, "InvalidParameterCombination"},
	} {
		_, err := c.DescribeVolumes(c.alice, &x.in)
		c.code(name, err, x.code)
	}
}

func TestCreditSpecifications(t *testing.T) {
	c := newCloud(t)
	ask := func(kind string) string {
		out, err := c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, InstanceType: kind, MinCount: 1, MaxCount: 1})
		if err != nil {
			t.Fatal(err)
		}
		return out.Instances[0].InstanceId
	}
	burstable, other := ask("t3.nano"), ask("m5.large")
	out, err := c.DescribeInstanceCreditSpecifications(c.alice, &shape.DescribeInstanceCreditSpecificationsRequest{})
	if err != nil || !reflect.DeepEqual(out.InstanceCreditSpecifications, []shape.InstanceCreditSpecification{{InstanceId: burstable, CpuCredits: "unlimited"}}) {
		t.Errorf("%v, %v", out, err)
	}
	_, err = c.DescribeInstanceCreditSpecifications(c.alice, &shape.DescribeInstanceCreditSpecificationsRequest{InstanceIds: []string{other}})
	c.code("not burstable", err, "InvalidInstanceID.NotBurstable")
	_, err = c.DescribeInstanceCreditSpecifications(c.bob, &shape.DescribeInstanceCreditSpecificationsRequest{InstanceIds: []string{burstable}})
	c.code("another account's", err, "InvalidInstanceID.NotFound")
}
