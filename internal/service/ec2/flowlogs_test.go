package ec2

import (
	"context"
	"strings"
	"testing"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/flowlogs"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// lets is a LogDelivery that says yes below one folder.
type lets string

func (l lets) LetDeliver(_ context.Context, _, _, bucket, folder string) error {
	if bucket+"/"+folder != string(l) {
		return awserr.New("AccessDenied", "no")
	}
	return nil
}

func TestFlowLogs(t *testing.T) {
	c := newCloud(t)
	vpc, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	account := store.VPCs.Get(c.Store.Snapshot(), vpc).AccountID
	eni := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub}).NetworkInterface.NetworkInterfaceId
	c.write(func(tx *store.Tx) error {
		return store.Buckets.Put(tx, &resource.Bucket{Name: "logs", AccountID: account, Region: "us-east-1"})
	})
	c.Logs = lets("logs/net/AWSLogs/" + account + "/")
	base := func(change func(*shape.CreateFlowLogsRequest)) shape.CreateFlowLogsRequest {
		in := shape.CreateFlowLogsRequest{ResourceIds: []string{vpc}, ResourceType: "VPC", TrafficType: "ALL", LogDestinationType: "s3", LogDestination: "arn:aws:s3:::logs/net"}
		change(&in)
		return in
	}
	for what, change := range map[string]func(*shape.CreateFlowLogsRequest){
		"MissingParameter resource":    func(in *shape.CreateFlowLogsRequest) { in.ResourceIds = nil },
		"MissingParameter type":        func(in *shape.CreateFlowLogsRequest) { in.ResourceType = "" },
		"MissingParameter traffic":     func(in *shape.CreateFlowLogsRequest) { in.TrafficType = "" },
		"MissingParameter destination": func(in *shape.CreateFlowLogsRequest) { in.LogDestination = "" },
		"InvalidParameterValue type":   func(in *shape.CreateFlowLogsRequest) { in.ResourceType = "Instance" },
		"InvalidParameterValue word":   func(in *shape.CreateFlowLogsRequest) { in.TrafficType = "accept" },
		"UnsupportedOperation logs":    func(in *shape.CreateFlowLogsRequest) { in.LogDestinationType = "cloud-watch-logs" },
		"UnsupportedOperation group": func(in *shape.CreateFlowLogsRequest) {
			in.LogDestinationType, in.LogDestination, in.LogGroupName, in.DeliverLogsPermissionArn = "", "", "flows", "arn:aws:iam::111122223333:role/flows"
		},
		"InvalidParameter group": func(in *shape.CreateFlowLogsRequest) { in.LogGroupName = "flows" },
		"InvalidParameter role": func(in *shape.CreateFlowLogsRequest) {
			in.DeliverLogsPermissionArn = "arn:aws:iam::111122223333:role/flows"
		},
		"UnsupportedOperation default": func(in *shape.CreateFlowLogsRequest) { in.LogDestinationType = "" },
		"UnsupportedOperation hose":    func(in *shape.CreateFlowLogsRequest) { in.LogDestinationType = "kinesis-data-firehose" },
		"UnsupportedOperation transit": func(in *shape.CreateFlowLogsRequest) { in.ResourceType = "TransitGateway" },
		"UnsupportedOperation field":   func(in *shape.CreateFlowLogsRequest) { in.LogFormat = "${srcaddr} ${tcp-flags}" },
		"InvalidParameter field":       func(in *shape.CreateFlowLogsRequest) { in.LogFormat = "${srcaddr} ${colour}" },
		"InvalidParameter interval":    func(in *shape.CreateFlowLogsRequest) { in.MaxAggregationInterval = ptr(61) },
		"InvalidParameter arn":         func(in *shape.CreateFlowLogsRequest) { in.LogDestination = "logs" },
		"InvalidParameter folder":      func(in *shape.CreateFlowLogsRequest) { in.LogDestination = "arn:aws:s3:::logs/AWSLogs/" },
		"InvalidVpcID.NotFound":        func(in *shape.CreateFlowLogsRequest) { in.ResourceIds = []string{vpc, "vpc-0123456789abcdef0"} },
		"InvalidSubnetID.NotFound":     func(in *shape.CreateFlowLogsRequest) { in.ResourceType = "Subnet" },
		"UnsupportedOperation parquet": func(in *shape.CreateFlowLogsRequest) {
			in.DestinationOptions = &shape.DestinationOptionsRequest{FileFormat: "parquet"}
		},
		"DryRunOperation": func(in *shape.CreateFlowLogsRequest) { in.DryRun = ptr(true) },
	} {
		refused(c, c.CreateFlowLogs, base(change), strings.Fields(what)[0])
	}
	// Where the delivery may not write, the call says so for each resource.
	for destination, message := range map[string]string{"arn:aws:s3:::logs/other": "Access Denied for LogDestination: logs.", "arn:aws:s3:::nothing": "LogDestination: nothing does not exist."} {
		out := do(c, c.CreateFlowLogs, base(func(in *shape.CreateFlowLogsRequest) { in.LogDestination = destination }))
		if len(out.FlowLogIds) != 0 || len(out.Unsuccessful) != 1 || out.Unsuccessful[0].ResourceId != vpc || !strings.HasPrefix(out.Unsuccessful[0].Error.Message, message) {
			t.Errorf("%s: %+v", destination, out)
		}
	}
	tagged := base(func(in *shape.CreateFlowLogsRequest) {
		in.ClientToken, in.MaxAggregationInterval = "t", ptr(60)
		in.TagSpecifications = []shape.TagSpecification{{ResourceType: "vpc-flow-log", Tags: []shape.Tag{{Key: "a", Value: "b"}}}}
	})
	id := do(c, c.CreateFlowLogs, tagged).FlowLogIds[0]
	if again := do(c, c.CreateFlowLogs, tagged).FlowLogIds; len(again) != 1 || again[0] != id {
		t.Errorf("a client token made %v", again)
	}
	tagged.TrafficType = "REJECT"
	refused(c, c.CreateFlowLogs, tagged, "IdempotentParameterMismatch")
	refused(c, c.CreateFlowLogs, base(func(*shape.CreateFlowLogsRequest) {}), "FlowLogAlreadyExists")
	do(c, c.CreateFlowLogs, base(func(in *shape.CreateFlowLogsRequest) { in.TrafficType = "ACCEPT" }))
	refused(c, c.CreateFlowLogs, base(func(in *shape.CreateFlowLogsRequest) { in.TrafficType = "REJECT" }), "FlowLogsLimitExceeded")
	do(c, c.CreateFlowLogs, base(func(in *shape.CreateFlowLogsRequest) {
		in.ResourceType, in.ResourceIds = "NetworkInterface", []string{eni}
	}))
	do(c, c.CreateFlowLogs, base(func(in *shape.CreateFlowLogsRequest) { in.ResourceType, in.ResourceIds = "Subnet", []string{sub} }))
	l := do(c, c.DescribeFlowLogs, shape.DescribeFlowLogsRequest{FlowLogIds: []string{id}}).FlowLogs[0]
	if l.LogDestination != "arn:aws:s3:::logs/net/" || l.LogFormat != flowlogs.DefaultFormat || l.MaxAggregationInterval != 60 || l.DeliverLogsStatus != "SUCCESS" || l.FlowLogStatus != "ACTIVE" || len(l.Tags) != 1 {
		t.Errorf("%+v", l)
	}
	for filter, n := range map[string]int{"resource-id " + vpc: 2, "resource-id " + eni: 1, "traffic-type ACCEPT": 1, "deliver-log-status FAILED": 0, "log-destination-type s3": 4, "flow-log-id " + id: 1, "tag:a b": 1} {
		name, value, _ := strings.Cut(filter, " ")
		if out := do(c, c.DescribeFlowLogs, shape.DescribeFlowLogsRequest{Filter: filters(name, value)}); len(out.FlowLogs) != n {
			t.Errorf("filter %s: %d, want %d", filter, len(out.FlowLogs), n)
		}
	}
	refused(c, c.DeleteFlowLogs, shape.DeleteFlowLogsRequest{FlowLogIds: []string{id, "fl-0123456789abcdef0"}}, "InvalidFlowLogId.NotFound")
	do(c, c.DeleteFlowLogs, shape.DeleteFlowLogsRequest{FlowLogIds: []string{id}})
	if out := do(c, c.DescribeFlowLogs, shape.DescribeFlowLogsRequest{}); len(out.FlowLogs) != 3 {
		t.Errorf("%d are left", len(out.FlowLogs))
	}
}
