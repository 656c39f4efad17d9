package zone

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/compute"
	"karri.dev/internal/network"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// desired compiles all that one node should make true out of a snapshot: its own instances, and of their
// VPCs what the node's network needs. near gives the VPC's neighbours, of this snapshot or not much older; place says
// how the node opens a volume, if that is there yet.
func desired(snap *store.Snapshot, nodeID string, cfg Config, near func(*resource.VPC) *neighbours, place func(*resource.Volume) (compute.Disk, bool)) *nodeapi.Desired {
	d := &nodeapi.Desired{Revision: snap.Revision}
	d.Network.PublicPool = cfg.PublicPool
	local := map[string][]*resource.Interface{} // by VPC
	for inst := range store.InstancesByNode.By(snap, nodeID) {
		disks, bases, forced, ready := disksOf(snap, inst, place)
		if !ready && inst.Power == resource.PowerOn && inst.State == resource.Pending {
			continue // the node has nothing of it yet
		}
		enis := interfacesOf(snap, inst)
		if inst.Power == resource.PowerOn {
			for _, e := range enis {
				local[e.VPCID] = append(local[e.VPCID], e)
			}
		}
		i := instance(snap, inst, enis, cfg.Domain)
		i.Machine.Disks, i.Bases, i.Forced = append(i.Machine.Disks, disks...), bases, forced
		i.Metadata.Role = roleOf(snap, inst, cfg.RoleKey)
		d.Instances = append(d.Instances, i)
	}
	for id, enis := range local {
		if v := store.VPCs.Get(snap, id); v != nil {
			d.Network.VPCs = append(d.Network.VPCs, vpc(snap, v, near(v), nodeID, enis))
		}
	}
	slices.SortFunc(d.Network.VPCs, func(a, b network.VPC) int { return strings.Compare(a.ID, b.ID) })
	return d
}

func interfacesOf(r store.Reader, inst *resource.Instance) []*resource.Interface {
	var out []*resource.Interface
	for _, id := range inst.Interfaces {
		if e := store.Interfaces.Get(r, id); e != nil {
			out = append(out, e)
		}
	}
	return out
}

func instance(r store.Reader, inst *resource.Instance, enis []*resource.Interface, domain string) nodeapi.Instance {
	out := nodeapi.Instance{
		ID: inst.ID, Power: inst.Power, Reboots: inst.Reboots,
		Machine: compute.Machine{ID: inst.ID, UUID: machineUUID(inst.ID), Type: inst.Type, VCPUs: inst.VCPUs, MemoryMiB: inst.MemoryMiB},
		Metadata: nodeapi.Metadata{
			AccountID: inst.AccountID, Region: inst.Region, Zone: inst.Zone,
			ReservationID: inst.ReservationID, LaunchIndex: inst.LaunchIndex,
			ImageID: inst.ImageID, InstanceType: inst.Type, KernelID: inst.KernelID, RamdiskID: inst.RamdiskID,
			PendingTime: inst.LaunchedAt, KeyName: inst.KeyName, PublicKey: inst.PublicKey, UserData: inst.UserData,
			Options: inst.IMDS,
		},
	}
	if z := store.Zones.Get(r, inst.Zone); z != nil {
		out.Metadata.ZoneID = z.ZoneID
	}
	if inst.IMDS.InstanceTags {
		out.Metadata.Tags = inst.Tags
	}
	if img := store.Images.Get(r, inst.ImageID); img != nil {
		out.Machine.UEFI = img.BootMode == "uefi"
		out.Machine.Display = img.Tags[resource.DisplayTag] == "on" || strings.EqualFold(img.Platform, "windows")
	}
	if img := store.Images.Get(r, inst.ImageID); img != nil && inst.RootDevice == "" {
		out.Image = image(img)
		out.Machine.Disks = []compute.Disk{{Name: "root", BaseFormat: img.Data.Format, SizeBytes: max(img.Data.VirtualSize, int64(inst.DiskGiB)<<30)}}
	}
	if img := store.Images.Get(r, inst.ImageID); img != nil && img.FileSystem {
		out.Machine.CommandLine = "root=/dev/vda ro console=ttyS0"
	}
	out.Kernel, out.Ramdisk = optionalImage(r, inst.KernelID), optionalImage(r, inst.RamdiskID)
	for _, e := range enis {
		out.Machine.NICs = append(out.Machine.NICs, compute.NIC{ID: e.ID, MAC: e.MAC})
		out.Metadata.Interfaces = append(out.Metadata.Interfaces, metadataInterface(r, e))
	}
	if len(enis) > 0 {
		out.Metadata.PrivateName = resource.PrivateName(inst.Region, enis[0].PrivateIP)
		if ip, v := enis[0].PublicIP, store.VPCs.Get(r, inst.VPCID); ip != "" && v != nil && v.DNSHostnames {
			out.Metadata.PublicName = resource.PublicName(inst.Region, ip, domain)
		}
	}
	return out
}

// machineUUID derives an SMBIOS UUID from an instance id. It begins with "ec2", by which cloud-init knows EC2.
func machineUUID(id string) string {
	sum := sha256.Sum256([]byte(id))
	h := "ec2" + hex.EncodeToString(sum[:])[3:32]
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:32]
}

func image(img *resource.Image) nodeapi.Image {
	return nodeapi.Image{ID: img.ID, SHA256: img.Data.SHA256, Size: img.Data.Size, VirtualSize: img.Data.VirtualSize, Format: img.Data.Format}
}

func optionalImage(r store.Reader, id string) *nodeapi.Image {
	if id == "" {
		return nil
	}
	img := store.Images.Get(r, id)
	if img == nil {
		return nil
	}
	out := image(img)
	return &out
}

func metadataInterface(r store.Reader, e *resource.Interface) nodeapi.Interface {
	out := nodeapi.Interface{
		ID: e.ID, DeviceIndex: e.DeviceIndex, MAC: e.MAC, PrivateIP: e.PrivateIP, PublicIP: e.PublicIP,
		SubnetID: e.SubnetID, VPCID: e.VPCID, GroupIDs: e.Groups,
	}
	if s := store.Subnets.Get(r, e.SubnetID); s != nil {
		out.SubnetCIDR = s.CIDR
	}
	if v := store.VPCs.Get(r, e.VPCID); v != nil {
		out.VPCCIDRs = v.Blocks()
	}
	for _, id := range e.Groups {
		if g := store.SecurityGroups.Get(r, id); g != nil {
			out.GroupNames = append(out.GroupNames, g.Name)
		}
	}
	return out
}

// vpc compiles one VPC as the node with these local interfaces needs it.
func vpc(r store.Reader, v *resource.VPC, n *neighbours, nodeID string, local []*resource.Interface) network.VPC {
	out := network.VPC{ID: v.ID, VNI: v.VNI, DNS: network.DNS{Domain: resource.PrivateDomain(v.Region)}}
	if d := store.DHCPOptions.Get(r, v.DHCPOptionsID); d != nil {
		for _, server := range d.Values["domain-name-servers"] {
			if ip := addr(server); ip.IsValid() { // "AmazonProvidedDNS" is the VPC's own
				out.DNS.Servers = append(out.DNS.Servers, ip)
			}
		}
	}
	for _, c := range v.Blocks() {
		out.CIDRs = append(out.CIDRs, prefix(c))
	}
	igw := store.InternetGatewaysByVPC.One(r, v.ID)
	tables := map[string]string{} // subnet → its table
	for t := range store.RouteTablesByVPC.By(r, v.ID) {
		out.RouteTables = append(out.RouteTables, routeTable(r, t, igw))
		for _, a := range t.Associations {
			tables[a.SubnetID] = t.ID
		}
	}
	for s := range store.SubnetsByVPC.By(r, v.ID) {
		table := tables[s.ID]
		if table == "" {
			table = v.MainRouteTable
		}
		out.Subnets = append(out.Subnets, network.Subnet{ID: s.ID, Index: s.Index, CIDR: prefix(s.CIDR), RouteTable: table, ACL: s.NetworkACL})
	}
	for a := range store.NetworkACLsByVPC.By(r, v.ID) {
		out.ACLs = append(out.ACLs, acl(a))
	}
	for _, e := range local {
		out.Interfaces = append(out.Interfaces, networkInterface(e))
	}
	slices.SortFunc(out.Interfaces, func(a, b network.Interface) int { return strings.Compare(a.ID, b.ID) })
	out.Groups = groups(r, n, local)
	out.Remotes, out.DNS.Names = n.remotes(nodeID), n.names
	return out
}

func networkInterface(e *resource.Interface) network.Interface {
	out := network.Interface{
		ID: e.ID, InstanceID: e.InstanceID, SubnetID: e.SubnetID, MAC: e.MAC, PrivateIP: addr(e.PrivateIP), PublicIP: addr(e.PublicIP),
		Groups: e.Groups, NoSourceCheck: e.NoSourceCheck, Hostname: resource.PrivateHost(e.PrivateIP),
	}
	for _, a := range e.Secondary {
		out.Secondary = append(out.Secondary, network.Address{Private: addr(a.PrivateIP), Public: addr(a.PublicIP)})
	}
	return out
}

func routeTable(r store.Reader, t *resource.RouteTable, igw *resource.InternetGateway) network.RouteTable {
	out := network.RouteTable{ID: t.ID, Index: t.Index}
	for _, route := range t.Routes {
		target := network.Blackhole
		if igw != nil && route.GatewayID == igw.ID {
			target = network.InternetGateway
		}
		destinations := []netip.Prefix{prefix(route.Destination)}
		if route.PrefixListID != "" {
			destinations = listBlocks(r, route.PrefixListID)
		}
		for _, d := range destinations {
			out.Routes = append(out.Routes, network.Route{Destination: d, Target: target})
		}
	}
	return out
}

func acl(a *resource.NetworkACL) network.ACL {
	out := network.ACL{ID: a.ID}
	for _, e := range a.Entries {
		if e.CIDR6 != "" {
			continue // IPv6 comes with the VPC issue; until then no interface has an address of it
		}
		from, to := e.FromPort, e.ToPort
		if from == 0 && to == 0 && e.Protocol != "1" && e.Protocol != "58" {
			from, to = -1, -1
		}
		out.Entries = append(out.Entries, network.ACLEntry{
			Egress: e.Egress, Allow: e.Allow, Protocol: protocol(e.Protocol), CIDR: prefix(e.CIDR), Ports: network.PortRange{From: from, To: to},
		})
	}
	return out
}

// groups gives the local interfaces' security groups, and of those that their rules name the members.
func groups(r store.Reader, n *neighbours, local []*resource.Interface) []network.Group {
	need := map[string]*network.Group{}
	want := func(id string) *network.Group {
		g := need[id]
		if g == nil {
			g = &network.Group{ID: id}
			need[id] = g
		}
		return g
	}
	for _, e := range local {
		for _, id := range e.Groups {
			g := store.SecurityGroups.Get(r, id)
			if g == nil || want(id).Rules != nil {
				continue
			}
			for _, rule := range g.Rules {
				if rule.CIDR6 != "" {
					continue // IPv6 comes with the VPC issue; until then no interface has an address of it
				}
				if rule.PrefixList != "" {
					want(id).Rules = append(want(id).Rules, listRules(r, &rule)...)
					continue
				}
				out := network.Rule{Egress: rule.Egress, Protocol: protocol(rule.Protocol), Ports: network.PortRange{From: rule.FromPort, To: rule.ToPort}}
				if rule.GroupID != "" {
					out.Group = rule.GroupID
					want(rule.GroupID)
				} else {
					out.CIDR = prefix(rule.CIDR)
				}
				want(id).Rules = append(want(id).Rules, out)
			}
		}
	}
	// Members matter only for groups that some rule names.
	named := map[string]bool{}
	for _, g := range need {
		for _, rule := range g.Rules {
			named[rule.Group] = true
		}
	}
	var out []network.Group
	for _, g := range need {
		if named[g.ID] {
			g.Members = n.members[g.ID]
		}
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b network.Group) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// listRules makes a rule that names a prefix list one rule for each of its blocks.
func listRules(r store.Reader, rule *resource.Rule) (out []network.Rule) {
	for _, block := range listBlocks(r, rule.PrefixList) {
		out = append(out, network.Rule{
			Egress: rule.Egress, Protocol: protocol(rule.Protocol), Ports: network.PortRange{From: rule.FromPort, To: rule.ToPort}, CIDR: block,
		})
	}
	return out
}

// listBlocks gives a prefix list's IPv4 blocks.
func listBlocks(r store.Reader, id string) (out []netip.Prefix) {
	if id == resource.S3PrefixList {
		return []netip.Prefix{netip.PrefixFrom(addr(resource.APIAddress), 32)}
	}
	l := store.PrefixLists.Get(r, id)
	if l == nil || l.IPv6 {
		return nil
	}
	for _, e := range l.Current().Entries {
		out = append(out, prefix(e.CIDR))
	}
	return out
}

// prefix and addr read what handlers have validated; the zero value, which matches nothing, is the answer to
// anything else.
func prefix(s string) netip.Prefix {
	p, _ := netip.ParsePrefix(s)
	return p
}

func addr(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}

func protocol(s string) int {
	switch s {
	case "tcp":
		return 6
	case "udp":
		return 17
	case "icmp":
		return 1
	case "icmpv6":
		return 58
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 255 // reserved: matches nothing
	}
	return n
}
