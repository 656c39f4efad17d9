package ec2

import (
	"context"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/flowlogs"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits of flow logs, as AWS's.
const (
	maxFlowLogs     = 2    // of a VPC, a subnet or an interface
	maxFlowLogNames = 1000 // resources or logs in one call
)

// LogDelivery sees to it that flow logs may be written into a bucket, in the name of the caller in ctx.
type LogDelivery interface {
	LetDeliver(ctx context.Context, account, region, bucket, folder string) error
}

// readFlowLog checks what CreateFlowLogs asks for, and gives what its logs have in common.
func readFlowLog(in *shape.CreateFlowLogsRequest) (l resource.FlowLog, err error) {
	switch {
	case len(in.ResourceIds) == 0:
		return l, errMissing("ResourceId")
	case len(in.ResourceIds) > maxFlowLogNames:
		return l, awserr.New("InvalidParameter", "At most %d resources can be given", maxFlowLogNames)
	case in.ResourceType == "":
		return l, errMissing("ResourceType")
	case strings.HasPrefix(in.ResourceType, "TransitGateway"):
		return l, errUnsupported("There are no transit gateways here.")
	}
	if err := oneOf("resourceType", in.ResourceType, "VPC", "Subnet", "NetworkInterface"); err != nil {
		return l, err
	}
	if in.TrafficType == "" {
		return l, errMissing("TrafficType")
	}
	if err := oneOf("trafficType", in.TrafficType, "ACCEPT", "REJECT", "ALL"); err != nil {
		return l, err
	}
	if err := oneOf("logDestinationType", in.LogDestinationType, "cloud-watch-logs", "s3", "kinesis-data-firehose"); err != nil {
		return l, err
	}
	switch { // a log group and a role to write to it are what the default destination needs
	case in.LogDestinationType != "s3":
		return l, errUnsupported("Flow logs can be delivered to S3 only, not to a log group: LogDestinationType must be s3.")
	case in.LogGroupName != "":
		return l, awserr.New("InvalidParameter", "LogGroupName is not allowed with the log destination type s3.")
	case in.DeliverLogsPermissionArn != "":
		return l, awserr.New("InvalidParameter", "DeliverLogsPermissionArn is not allowed with the log destination type s3.")
	}
	l.Kind, l.Traffic, l.Seconds, l.Format = in.ResourceType, in.TrafficType, 600, in.LogFormat
	if in.MaxAggregationInterval != nil {
		l.Seconds = *in.MaxAggregationInterval
	}
	if l.Seconds != 60 && l.Seconds != 600 {
		return l, awserr.New("InvalidParameter", "Invalid Flow Log Max Aggregation Interval. It must be 60 or 600.")
	}
	if l.Format == "" {
		l.Format = flowlogs.DefaultFormat
	}
	names, err := flowlogs.Parse(l.Format)
	if err != nil {
		return l, awserr.New("InvalidParameter", "LogFormat is invalid: %s", err)
	}
	for _, n := range names {
		if flowlogs.Unkept[n] {
			return l, errUnsupported("The field ${%s} is not kept by this cloud.", n)
		}
	}
	if o := in.DestinationOptions; o != nil {
		if err := oneOf("fileFormat", o.FileFormat, "plain-text", "parquet"); err != nil {
			return l, err
		}
		if o.FileFormat == "parquet" {
			return l, errUnsupported("Flow logs are plain text here: FileFormat must be plain-text.")
		}
		l.Hive, l.PerHour = isTrue(o.HiveCompatiblePartitions), isTrue(o.PerHourPartition)
	}
	return l, readDestination(in.LogDestination, &l)
}

// readDestination reads the ARN of a bucket and a folder in it.
func readDestination(arn string, l *resource.FlowLog) error {
	if arn == "" {
		return errMissing("LogDestination")
	}
	path, ok := strings.CutPrefix(arn, "arn:aws:s3:::")
	l.Bucket, l.Prefix, _ = strings.Cut(path, "/")
	if !ok || l.Bucket == "" || len(l.Prefix) > 512 || strings.ContainsAny(path, " *?\x00\n") {
		return awserr.New("InvalidParameter", "LogDestination %s is not the ARN of a bucket.", arn)
	}
	if slices.Contains(strings.Split(l.Prefix, "/"), "AWSLogs") {
		return awserr.New("InvalidParameter", "AWSLogs cannot be the name of a folder in LogDestination.")
	}
	if l.Prefix != "" && !strings.HasSuffix(l.Prefix, "/") {
		l.Prefix += "/"
	}
	return nil
}

// monitored finds the caller's resource that a log is to be of, and its VPC.
func monitored(r store.Reader, info *call.Info, kind, id string) (vpc string, err error) {
	switch kind {
	case "VPC":
		_, err = vpcs.find(r, info, id)
		return id, err
	case "Subnet":
		s, err := subnets.find(r, info, id)
		if err != nil {
			return "", err
		}
		return s.VPCID, nil
	}
	e, err := interfaces.find(r, info, id)
	if err != nil {
		return "", err
	}
	return e.VPCID, nil
}

// CreateFlowLogs begins to log what passes at VPCs, subnets or interfaces.
func (s *Service) CreateFlowLogs(ctx context.Context, in *shape.CreateFlowLogsRequest) (*shape.CreateFlowLogsResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	common, err := readFlowLog(in)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "vpc-flow-log")
	if err != nil {
		return nil, err
	}
	token, err := tokenOfRequest(in)
	if err != nil {
		return nil, err
	}
	common.Owned, common.Token = s.owned(info, tags["vpc-flow-log"]), token.token
	for _, id := range in.ResourceIds {
		if _, err := monitored(s.Store.Snapshot(), info, common.Kind, id); err != nil {
			return nil, err
		}
	}
	out := &shape.CreateFlowLogsResult{ClientToken: in.ClientToken, FlowLogIds: []string{}, Unsuccessful: []shape.UnsuccessfulItem{}}
	if !isTrue(in.DryRun) {
		if message, err := s.letDeliver(ctx, &common); err != nil {
			return nil, err
		} else if message != "" { // as AWS does: for each resource, and the call succeeds
			for _, id := range in.ResourceIds {
				out.Unsuccessful = append(out.Unsuccessful, shape.UnsuccessfulItem{ResourceId: id, Error: &shape.UnsuccessfulItemError{Code: "400", Message: message}})
			}
			return out, nil
		}
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		out.FlowLogIds = []string{}
		for l := range store.FlowLogsByOwner.By(tx, ownerKey(info)) {
			if token.same(l.Token) {
				if err := token.check(l.Token); err != nil {
					return err
				}
				out.FlowLogIds = append(out.FlowLogIds, l.ID)
			}
		}
		if len(out.FlowLogIds) > 0 {
			return nil
		}
		for _, id := range in.ResourceIds {
			l := common
			l.ID, l.ResourceID = s.IDs.Resource(flowLogs.prefix), id
			if l.VPCID, err = monitored(tx, info, l.Kind, id); err != nil {
				return err
			}
			if err := newFlowLog(tx, &l); err != nil {
				return err
			}
			out.FlowLogIds = append(out.FlowLogIds, l.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// letDeliver asks S3; message says why the log cannot be written there.
func (s *Service) letDeliver(ctx context.Context, l *resource.FlowLog) (message string, err error) {
	if b := store.Buckets.Get(s.Store.Snapshot(), l.Bucket); b == nil || b.System {
		return "LogDestination: " + l.Bucket + " does not exist.", nil
	}
	if s.Logs == nil {
		return "", errUnsupported("This cloud delivers no flow logs.")
	}
	err = s.Logs.LetDeliver(ctx, l.AccountID, l.Region, l.Bucket, flowlogs.Folder(l))
	switch {
	case err == nil:
		return "", nil
	case awserr.Code(err) == "NoSuchBucket":
		return "LogDestination: " + l.Bucket + " does not exist.", nil
	case awserr.Code(err) != "":
		return "Access Denied for LogDestination: " + l.Bucket + ". Please check LogDestination permission", nil
	}
	return "", err
}

func newFlowLog(tx *store.Tx, l *resource.FlowLog) error {
	n := 0
	for old := range store.FlowLogsByResource.By(tx, l.ResourceID) {
		n++
		if old.Traffic == l.Traffic && old.Bucket == l.Bucket && old.Prefix == l.Prefix {
			return awserr.New("FlowLogAlreadyExists", "Error. There is an existing Flow Log with the same configuration and log destination.")
		}
	}
	if n >= maxFlowLogs {
		return awserr.New("FlowLogsLimitExceeded", "The maximum number of flow logs of %s has been reached.", l.ResourceID)
	}
	return store.FlowLogs.Put(tx, l)
}

// DeleteFlowLogs ends flow logs. What they wrote stays.
func (s *Service) DeleteFlowLogs(ctx context.Context, in *shape.DeleteFlowLogsRequest) (*shape.DeleteFlowLogsResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case len(in.FlowLogIds) == 0:
		return nil, errMissing("FlowLogId")
	case len(in.FlowLogIds) > maxFlowLogNames:
		return nil, awserr.New("InvalidParameter", "At most %d flow logs can be given", maxFlowLogNames)
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		for _, id := range in.FlowLogIds {
			if _, err := flowLogs.find(tx, info, id); err != nil {
				return err
			}
		}
		for _, id := range in.FlowLogIds {
			store.FlowLogs.Delete(tx, id)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteFlowLogsResult{Unsuccessful: []shape.UnsuccessfulItem{}}, nil
}

var flowLogFilters = &filter.Set[*resource.FlowLog]{
	Fields: map[string]func(*resource.FlowLog) []string{
		"deliver-log-status":   func(l *resource.FlowLog) []string { return one(deliverStatus(l)) },
		"log-destination-type": func(*resource.FlowLog) []string { return one("s3") },
		"flow-log-id":          func(l *resource.FlowLog) []string { return one(l.ID) },
		"log-group-name":       func(*resource.FlowLog) []string { return nil },
		"resource-id":          func(l *resource.FlowLog) []string { return one(l.ResourceID) },
		"traffic-type":         func(l *resource.FlowLog) []string { return one(l.Traffic) },
	},
	Tags: func(l *resource.FlowLog) map[string]string { return l.Tags },
}

func deliverStatus(l *resource.FlowLog) string { return choose(l.Failure == "", "SUCCESS", "FAILED") }

func shapeFlowLog(_ store.Reader, l *resource.FlowLog) shape.FlowLog {
	return shape.FlowLog{
		CreationTime: l.CreatedAt, DeliverLogsErrorMessage: l.Failure, DeliverLogsStatus: deliverStatus(l), FlowLogId: l.ID, FlowLogStatus: "ACTIVE",
		ResourceId: l.ResourceID, TrafficType: l.Traffic, LogDestinationType: "s3", LogDestination: l.Destination(), LogFormat: l.Format, Tags: shapeTags(l.Tags),
		MaxAggregationInterval: l.Seconds,
		DestinationOptions:     &shape.DestinationOptionsResponse{FileFormat: "plain-text", HiveCompatiblePartitions: l.Hive, PerHourPartition: l.PerHour},
	}
}

// DescribeFlowLogs lists flow logs.
func (s *Service) DescribeFlowLogs(ctx context.Context, in *shape.DescribeFlowLogsRequest) (*shape.DescribeFlowLogsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(flowLogFilters, in.Filter)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, flowLogs, selection[resource.FlowLog]{
		op: "DescribeFlowLogs", ids: in.FlowLogIds, max: in.MaxResults, token: in.NextToken, match: match,
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeFlowLogsResult{FlowLogs: showAll(r, list, shapeFlowLog), NextToken: next}, nil
}
