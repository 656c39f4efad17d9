package wiretest

import (
	"fmt"
	"testing"
	"time"

	"karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/aws/wire"
)

// instances is an answer as a cloud of n machines gives it.
func instances(n int) *ec2.DescribeInstancesResult {
	out := &ec2.DescribeInstancesResult{}
	for i := range n {
		id := fmt.Sprintf("i-%017x", i)
		groups := []ec2.GroupIdentifier{{GroupId: "sg-0123456789abcdef0", GroupName: "default"}}
		out.Reservations = append(out.Reservations, ec2.Reservation{
			ReservationId: "r-0123456789abcdef0", OwnerId: "123456789012",
			Instances: []ec2.Instance{{
				InstanceId: id, ImageId: "ami-0123456789abcdef0", InstanceType: "t3.micro", KeyName: "key",
				State: &ec2.InstanceState{Code: 16, Name: ec2.InstanceStateNameRunning}, LaunchTime: time.Unix(1_700_000_000, 0),
				PrivateIpAddress: "172.31.0.10", PublicIpAddress: "192.0.2.10", PrivateDnsName: "ip-172-31-0-10.ec2.internal",
				PublicDnsName: "ec2-192-0-2-10.compute-1.amazonaws.com", SubnetId: "subnet-0123456789abcdef0", VpcId: "vpc-0123456789abcdef0",
				Placement: &ec2.Placement{AvailabilityZone: "us-east-1a", Tenancy: "default"}, Monitoring: &ec2.Monitoring{State: "disabled"},
				Architecture: "x86_64", RootDeviceName: "/dev/sda1", RootDeviceType: "instance-store", Hypervisor: "xen", VirtualizationType: "hvm",
				SecurityGroups: groups, Tags: []ec2.Tag{{Key: "Name", Value: id}, {Key: "role", Value: "web & <more>"}},
				NetworkInterfaces: []ec2.InstanceNetworkInterface{{
					NetworkInterfaceId: "eni-0123456789abcdef0", Groups: groups, MacAddress: "02:00:00:00:00:01", PrivateIpAddress: "172.31.0.10",
					Attachment:         &ec2.InstanceNetworkInterfaceAttachment{AttachmentId: "eni-attach-0123456789abcdef0", Status: "attached", DeleteOnTermination: true},
					PrivateIpAddresses: []ec2.InstancePrivateIpAddress{{PrivateIpAddress: "172.31.0.10", Primary: true}},
				}},
			}},
		})
	}
	return out
}

func BenchmarkDescribeInstances1000(b *testing.B) {
	op, err := ec2.Service().Lookup("DescribeInstances")
	if err != nil {
		b.Fatal(err)
	}
	out := instances(1000)
	w := &wire.Response{RequestID: requestID, Namespace: "http://ec2.amazonaws.com/doc/2016-11-15/"}
	b.ReportAllocs()
	for b.Loop() {
		w.Body = w.Body[:0]
		if err := op.Encode(w, out); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(w.Body)))
}

func BenchmarkDecodeRunInstances(b *testing.B) {
	s := services()[0]
	op, err := s.Lookup("RunInstances")
	if err != nil {
		b.Fatal(err)
	}
	req := &wire.Request{Form: map[string][]string{
		"ImageId": {"ami-0123456789abcdef0"}, "InstanceType": {"t3.micro"}, "MinCount": {"1"}, "MaxCount": {"1"},
		"SecurityGroupId.1": {"sg-0123456789abcdef0"}, "SubnetId": {"subnet-0123456789abcdef0"}, "ClientToken": {"token"},
		"TagSpecification.1.ResourceType": {"instance"}, "TagSpecification.1.Tag.1.Key": {"Name"}, "TagSpecification.1.Tag.1.Value": {"web"},
	}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := op.Decode(req); err != nil {
			b.Fatal(err)
		}
	}
}
