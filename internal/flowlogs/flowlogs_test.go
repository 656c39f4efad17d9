package flowlogs

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/ids"
	"karri.dev/internal/network"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// bucket is a Bucket in memory.
type bucket struct {
	err     error
	objects map[string]string
}

func (b *bucket) Deliver(_ context.Context, account, _, name, key string, body []byte) error {
	if b.err != nil {
		return b.err
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(z)
	b.objects[account+" "+name+" "+key] = string(text)
	return err
}

func put[T any](t *testing.T, s *store.Store, table *store.Table[T], v T) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return table.Put(tx, &v) }); err != nil {
		t.Fatal(err)
	}
}

func record() network.FlowRecord {
	at := time.Unix(1_770_000_000, 0)
	return network.FlowRecord{
		LogID: "fl-1", VPCID: "vpc-1", SubnetID: "subnet-1", InterfaceID: "eni-1", InstanceID: "i-1", Source: netip.MustParseAddr("10.0.0.77"), Dest: netip.MustParseAddr("192.0.2.1"),
		SourcePort: 40000, DestPort: 443, Protocol: 6, Packets: 3, Bytes: 180, Start: at, End: at.Add(time.Minute), Egress: true,
	}
}

func TestDeliver(t *testing.T) {
	st := store.OpenMemory(slog.New(slog.DiscardHandler))
	defer st.Close()
	owner := resource.Owned{AccountID: "111122223333", Region: "us-east-1"}
	put(t, st, store.FlowLogs, resource.FlowLog{Owned: owner, ID: "fl-1", VPCID: "vpc-1", Kind: "VPC", ResourceID: "vpc-1", Bucket: "logs", Prefix: "net/", Format: DefaultFormat})
	put(t, st, store.FlowLogs, resource.FlowLog{
		Owned: owner, ID: "fl-2", VPCID: "vpc-1", Kind: "Subnet", ResourceID: "subnet-1", Bucket: "logs", Hive: true, PerHour: true,
		Format: "${version} ${vpc-id} ${az-id} ${type} ${pkt-srcaddr} ${srcaddr} ${flow-direction} ${reject-reason} ${log-status}",
	})
	put(t, st, store.FlowLogs, resource.FlowLog{Owned: resource.Owned{AccountID: "444455556666", Region: "us-east-1"}, ID: "fl-3", Kind: "VPC", ResourceID: "vpc-1", Bucket: "theirs", Format: DefaultFormat})
	put(t, st, store.Zones, resource.Zone{Name: "us-east-1a", ZoneID: "use1-az1"})
	put(t, st, store.Interfaces, resource.Interface{Owned: owner, ID: "eni-1", VPCID: "vpc-1", SubnetID: "subnet-1", PrivateIP: "10.0.0.10", InstanceID: "i-1", Zone: "us-east-1a"})
	put(t, st, store.Instances, resource.Instance{Owned: owner, ID: "i-1", Node: "node-1"})
	b := &bucket{objects: map[string]string{}}
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	d := &Deliverer{Store: st, Bucket: b, IDs: ids.New(strings.NewReader(strings.Repeat("0123456789", 1000))), Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)}

	one, two, rejected, nothing := record(), record(), record(), record()
	two.LogID = "fl-2"
	rejected.Rejected, rejected.Egress, rejected.Source, rejected.Dest = true, false, rejected.Dest, rejected.Source
	nothing.Status = network.NoData
	foreign, elsewhere, unknown := record(), record(), record()
	foreign.LogID = "fl-3"        // another account's, of the same VPC
	elsewhere.InstanceID = "i-2"  // not whose interface it is
	unknown.InterfaceID = "eni-9" // nobody's
	if err := d.Deliver(t.Context(), "node-1", []network.FlowRecord{one, rejected, nothing, two, foreign, elsewhere, unknown}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"111122223333 logs net/AWSLogs/111122223333/vpcflowlogs/us-east-1/2026/02/03/111122223333_vpcflowlogs_us-east-1_fl-1_20260203T0405Z_": `version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status
2 111122223333 eni-1 10.0.0.10 192.0.2.1 40000 443 6 3 180 1770000000 1770000060 ACCEPT OK
2 111122223333 eni-1 192.0.2.1 10.0.0.10 40000 443 6 3 180 1770000000 1770000060 REJECT OK
2 111122223333 eni-1 - - - - - - - 1770000000 1770000060 - NODATA
`,
		"111122223333 logs AWSLogs/aws-account-id=111122223333/aws-service=vpcflowlogs/aws-region=us-east-1/year=2026/month=02/day=03/hour=04/111122223333_vpcflowlogs_us-east-1_fl-2_20260203T0405Z_": `version vpc-id az-id type pkt-srcaddr srcaddr flow-direction reject-reason log-status
8 vpc-1 use1-az1 IPv4 10.0.0.77 10.0.0.10 egress - OK
`,
	}
	for k, text := range b.objects {
		stem, rest := k[:strings.LastIndex(k, "_")+1], k[strings.LastIndex(k, "_")+1:]
		if want[stem] != text {
			t.Errorf("%s:\n%s\nwant\n%s", k, text, want[stem])
		}
		if !strings.HasSuffix(rest, ".log.gz") {
			t.Errorf("the object is called %s", k)
		}
		delete(want, stem)
	}
	if len(want) > 0 {
		t.Errorf("not there: %v", want)
	}

	// Another node may not speak for the interface.
	b.objects = map[string]string{}
	if err := d.Deliver(t.Context(), "node-2", []network.FlowRecord{one}); err != nil || len(b.objects) > 0 {
		t.Errorf("another node's word is taken: %v %v", err, b.objects)
	}
	failure := func() string { return store.FlowLogs.Get(st.Snapshot(), "fl-1").Failure }
	b.err = errors.New("the disk is gone") // to be given again
	if err := d.Deliver(t.Context(), "node-1", []network.FlowRecord{one}); err == nil || failure() != "Unknown error" {
		t.Errorf("%v, %q", err, failure())
	}
	b.err = awserr.New("AccessDenied", "no") // the bucket's owner has changed its mind: gone
	if err := d.Deliver(t.Context(), "node-1", []network.FlowRecord{one}); err != nil || failure() != "Access error" {
		t.Errorf("%v, %q", err, failure())
	}
	b.err = nil
	if err := d.Deliver(t.Context(), "node-1", []network.FlowRecord{one}); err != nil || failure() != "" {
		t.Errorf("%v, %q", err, failure())
	}
}

func TestParse(t *testing.T) {
	for format, ok := range map[string]bool{
		DefaultFormat: true, "${srcaddr}": true, "${tcp-flags}": true, "": false, "srcaddr": false, "${srcaddr": false, "${nothing}": false, "${srcaddr} ${dstaddr},${action}": false,
	} {
		if _, err := Parse(format); (err == nil) != ok {
			t.Errorf("%q: %v", format, err)
		}
	}
}
