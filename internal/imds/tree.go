package imds

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
)

// versions are the API versions that EC2's service lists. The tree is the same in each.
var versions = []string{
	"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
	"2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19",
	"2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03",
	"2021-03-23", "2021-07-15", "2022-09-24", "latest",
}

const plain = "text/plain"

// Read gives what is at a path, with or without a slash at its end: a value, or the listing of a folder.
func Read(c Caller, path string) (body []byte, contentType string, ok bool) {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if len(parts) == 0 {
		return []byte(strings.Join(versions, "\n")), plain, true
	}
	if !slices.Contains(versions, parts[0]) {
		return nil, "", false
	}
	path = strings.Join(parts[1:], "/")
	if path == "user-data" {
		return c.Metadata.UserData, "application/octet-stream", len(c.Metadata.UserData) > 0
	}
	t := tree(c)
	if v, ok := t[path]; ok {
		return []byte(v), plain, true
	}
	names := list(t, path)
	switch path {
	case "":
		if len(c.Metadata.UserData) > 0 {
			names = append(names, "user-data")
		}
	case "meta-data/public-keys":
		names = []string{"0=" + c.Metadata.KeyName}
		if c.Metadata.PublicKey == "" {
			return nil, "", false
		}
	}
	return []byte(strings.Join(names, "\n")), plain, len(names) > 0
}

// list gives a folder's children in order, folders with a slash.
func list(t map[string]string, path string) []string {
	var names []string
	for p := range t {
		rest := p
		if path != "" {
			var below bool
			if rest, below = strings.CutPrefix(p, path+"/"); !below {
				continue
			}
		}
		name, _, folder := strings.Cut(rest, "/")
		if folder && path != "" {
			name += "/"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// tree gives every value by its path below a version.
func tree(c Caller) map[string]string {
	m := c.Metadata
	t := map[string]string{}
	put := func(path, value string) {
		if value != "" {
			t["meta-data/"+path] = value
		}
	}
	put("ami-id", m.ImageID)
	put("ami-launch-index", strconv.Itoa(m.LaunchIndex))
	put("ami-manifest-path", "(unknown)")
	put("block-device-mapping/ami", "/dev/sda1")
	put("block-device-mapping/root", "/dev/sda1")
	put("events/maintenance/history", "[]")
	put("events/maintenance/scheduled", "[]")
	putRole(put, m.Role)
	put("hostname", m.PrivateName)
	put("instance-action", "none")
	put("instance-id", c.InstanceID)
	put("instance-life-cycle", "on-demand")
	put("instance-type", m.InstanceType)
	put("kernel-id", m.KernelID)
	put("local-hostname", m.PrivateName)
	put("placement/availability-zone", m.Zone)
	put("placement/availability-zone-id", m.ZoneID)
	put("placement/region", m.Region)
	put("profile", "default-hvm")
	put("public-hostname", m.PublicName)
	if m.PublicKey != "" {
		put("public-keys/0/openssh-key", m.PublicKey)
	}
	put("ramdisk-id", m.RamdiskID)
	put("reservation-id", m.ReservationID)
	put("services/domain", "amazonaws.com")
	put("services/partition", "aws")
	if m.Options.InstanceTags {
		for k, v := range m.Tags {
			if k != "" && !strings.Contains(k, "/") && k != "." && k != ".." { // EC2 refuses such keys here
				t["meta-data/tags/instance/"+k] = v
			}
		}
	}
	for _, i := range m.Interfaces {
		if i.DeviceIndex == 0 {
			put("local-ipv4", i.PrivateIP)
			put("mac", i.MAC)
			if len(i.IPv6) > 0 {
				put("ipv6", i.IPv6[0])
			}
			put("public-ipv4", i.PublicIP)
			put("security-groups", strings.Join(i.GroupNames, "\n"))
		}
		putInterface(put, m, i)
	}
	t["dynamic/instance-identity/document"] = document(c)
	return t
}

func putInterface(put func(path, value string), m nodeapi.Metadata, i nodeapi.Interface) {
	at := "network/interfaces/macs/" + i.MAC + "/"
	put(at+"device-number", strconv.Itoa(i.DeviceIndex))
	put(at+"interface-id", i.ID)
	put(at+"ipv4-prefix", strings.Join(i.Prefixes, "\n"))
	put(at+"local-hostname", m.PrivateName)
	put(at+"local-ipv4s", i.PrivateIP)
	put(at+"mac", i.MAC)
	put(at+"owner-id", cmp.Or(i.Owner, m.AccountID))
	put(at+"security-group-ids", strings.Join(i.GroupIDs, "\n"))
	put(at+"security-groups", strings.Join(i.GroupNames, "\n"))
	if resource.InVPC(i.VPCID) {
		put(at+"subnet-id", i.SubnetID)
		put(at+"subnet-ipv4-cidr-block", i.SubnetCIDR)
		put(at+"vpc-id", i.VPCID)
		if len(i.VPCCIDRs) > 0 {
			put(at+"vpc-ipv4-cidr-block", i.VPCCIDRs[0])
			put(at+"vpc-ipv4-cidr-blocks", strings.Join(i.VPCCIDRs, "\n"))
		}
	}
	put(at+"ipv6s", strings.Join(i.IPv6, "\n"))
	if len(i.IPv6) > 0 {
		put(at+"subnet-ipv6-cidr-blocks", i.SubnetCIDR6)
		put(at+"vpc-ipv6-cidr-blocks", strings.Join(i.VPCCIDRs6, "\n"))
	}
	if i.PublicIP != "" {
		put(at+"public-hostname", m.PublicName)
		put(at+"public-ipv4s", i.PublicIP)
		put(at+"ipv4-associations/"+i.PublicIP, i.PrivateIP)
	}
}

// identity is the instance identity document, fields in EC2's order.
type identity struct {
	AccountID        string   `json:"accountId"`
	Architecture     string   `json:"architecture"`
	AvailabilityZone string   `json:"availabilityZone"`
	BillingProducts  []string `json:"billingProducts"`
	DevpayCodes      []string `json:"devpayProductCodes"`
	MarketplaceCodes []string `json:"marketplaceProductCodes"`
	ImageID          string   `json:"imageId"`
	InstanceID       string   `json:"instanceId"`
	InstanceType     string   `json:"instanceType"`
	KernelID         *string  `json:"kernelId"`
	PendingTime      string   `json:"pendingTime"`
	PrivateIP        string   `json:"privateIp"`
	RamdiskID        *string  `json:"ramdiskId"`
	Region           string   `json:"region"`
	Version          string   `json:"version"`
}

func document(c Caller) string {
	m := c.Metadata
	optional := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	d := identity{
		AccountID: m.AccountID, Architecture: "x86_64", AvailabilityZone: m.Zone, ImageID: m.ImageID,
		InstanceID: c.InstanceID, InstanceType: m.InstanceType, KernelID: optional(m.KernelID), RamdiskID: optional(m.RamdiskID),
		PendingTime: m.PendingTime.UTC().Format(time.RFC3339), Region: m.Region, Version: "2017-09-30",
	}
	for _, i := range m.Interfaces {
		if i.DeviceIndex == 0 {
			d.PrivateIP = i.PrivateIP
		}
	}
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("imds: encode the identity document: %v", err)) // strings always encode
	}
	return string(b)
}
