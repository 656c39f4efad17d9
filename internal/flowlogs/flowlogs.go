// Package flowlogs writes VPC flow logs as AWS does: the fields of a record, the names of the objects, and their
// delivery into the owner's bucket.
package flowlogs

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"karri.dev/internal/network"
	"karri.dev/internal/resource"
)

// DefaultFormat is that of a flow log without one of its own.
const DefaultFormat = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}"

// Unkept are fields of AWS's that this cloud cannot fill: a log that asks for one is refused.
var Unkept = map[string]bool{
	"tcp-flags": true, "traffic-path": true, "ecs-cluster-arn": true, "ecs-cluster-name": true, "ecs-container-instance-arn": true,
	"ecs-container-instance-id": true, "ecs-container-id": true, "ecs-second-container-id": true, "ecs-service-name": true,
	"ecs-task-definition-arn": true, "ecs-task-arn": true, "ecs-task-id": true, "encryption-status": true,
}

// line is a record with what is known of its place.
type line struct {
	network.FlowRecord
	log     *resource.FlowLog
	primary string // of the interface
	zone    string // its zone's id
	version int
}

// fields gives a record's fields; ok is false where a record without a flow has none.
var fields = map[string]struct {
	since int  // version of AWS's fields
	plain bool // also there without a flow
	value func(*line) string
}{
	"version":             {2, true, func(l *line) string { return strconv.Itoa(l.version) }},
	"account-id":          {2, true, func(l *line) string { return l.log.AccountID }},
	"interface-id":        {2, true, func(l *line) string { return l.InterfaceID }},
	"srcaddr":             {2, false, func(l *line) string { return l.end(l.Source, l.Egress) }},
	"dstaddr":             {2, false, func(l *line) string { return l.end(l.Dest, !l.Egress) }},
	"srcport":             {2, false, func(l *line) string { return strconv.Itoa(int(l.SourcePort)) }},
	"dstport":             {2, false, func(l *line) string { return strconv.Itoa(int(l.DestPort)) }},
	"protocol":            {2, false, func(l *line) string { return strconv.Itoa(int(l.Protocol)) }},
	"packets":             {2, false, func(l *line) string { return strconv.FormatUint(l.Packets, 10) }},
	"bytes":               {2, false, func(l *line) string { return strconv.FormatUint(l.Bytes, 10) }},
	"start":               {2, true, func(l *line) string { return strconv.FormatInt(l.Start.Unix(), 10) }},
	"end":                 {2, true, func(l *line) string { return strconv.FormatInt(l.End.Unix(), 10) }},
	"action":              {2, false, func(l *line) string { return word(l.Rejected, "REJECT", "ACCEPT") }},
	"log-status":          {2, true, func(l *line) string { return word(l.Status == "", "OK", l.Status) }},
	"vpc-id":              {3, true, func(l *line) string { return l.VPCID }},
	"subnet-id":           {3, true, func(l *line) string { return l.SubnetID }},
	"instance-id":         {3, true, func(l *line) string { return l.InstanceID }},
	"type":                {3, false, func(l *line) string { return word(l.Source.Is4(), "IPv4", "IPv6") }},
	"pkt-srcaddr":         {3, false, func(l *line) string { return l.Source.String() }},
	"pkt-dstaddr":         {3, false, func(l *line) string { return l.Dest.String() }},
	"region":              {4, true, func(l *line) string { return l.log.Region }},
	"az-id":               {4, true, func(l *line) string { return l.zone }},
	"sublocation-type":    {4, true, func(*line) string { return "" }}, // of Wavelength zones and Outposts
	"sublocation-id":      {4, true, func(*line) string { return "" }},
	"pkt-src-aws-service": {5, false, func(*line) string { return "" }}, // of AWS's own address ranges
	"pkt-dst-aws-service": {5, false, func(*line) string { return "" }},
	"flow-direction":      {5, false, func(l *line) string { return word(l.Egress, "egress", "ingress") }},
	"reject-reason":       {8, false, func(*line) string { return "" }}, // of Block Public Access
}

// end is an address as srcaddr and dstaddr have it: of the interface's own end its primary one.
func (l *line) end(a netip.Addr, own bool) string {
	if own && a.Is4() && l.primary != "" {
		return l.primary
	}
	return a.String()
}

func word(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// Parse reads a format: field names as ${name}, separated by spaces.
func Parse(format string) (names []string, err error) {
	for _, w := range strings.Fields(format) {
		name, ok := strings.CutPrefix(w, "${")
		name, end := strings.CutSuffix(name, "}")
		if !ok || !end || fields[name].value == nil && !Unkept[name] {
			return nil, fmt.Errorf("unknown field %s", w)
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no fields")
	}
	return names, nil
}

// text gives records as the content of an object: the names of the fields, then a line each.
func text(log *resource.FlowLog, records []network.FlowRecord, where func(*network.FlowRecord) (primary, zone string)) string {
	names, err := Parse(log.Format)
	if err != nil {
		names, _ = Parse(DefaultFormat)
	}
	version := 2
	for _, n := range names {
		version = max(version, fields[n].since)
	}
	var b strings.Builder
	b.WriteString(strings.Join(names, " "))
	b.WriteByte('\n')
	for _, r := range records {
		l := line{FlowRecord: r, log: log, version: version}
		l.primary, l.zone = where(&r)
		for i, n := range names {
			if i > 0 {
				b.WriteByte(' ')
			}
			f := fields[n]
			v := ""
			if f.plain || r.Status == "" {
				v = f.value(&l)
			}
			if v == "" {
				v = "-"
			}
			b.WriteString(v)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Folder is what all of an account's flow logs in a bucket are below.
func Folder(log *resource.FlowLog) string {
	if log.Hive {
		return log.Prefix + "AWSLogs/aws-account-id=" + log.AccountID + "/"
	}
	return log.Prefix + "AWSLogs/" + log.AccountID + "/"
}

// key names an object. unique tells those of a minute apart.
func key(log *resource.FlowLog, at time.Time, unique string) string {
	at = at.UTC()
	layout := "2006/01/02/"
	folder := Folder(log) + "vpcflowlogs/" + log.Region + "/"
	hour := "15/"
	if log.Hive {
		folder = Folder(log) + "aws-service=vpcflowlogs/aws-region=" + log.Region + "/"
		layout, hour = "year=2006/month=01/day=02/", "hour=15/"
	}
	if log.PerHour {
		layout += hour
	}
	return folder + at.Format(layout) + log.AccountID + "_vpcflowlogs_" + log.Region + "_" + log.ID + at.Format("_20060102T1504Z_") + unique + ".log.gz"
}
