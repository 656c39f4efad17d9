package zone

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"karri.dev/internal/compute"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/userdata"
)

// desired compiles all that one node should make true out of a snapshot: its own instances, and of their
// VPCs what the node's network needs. near gives the VPC's neighbours, of this snapshot or not much older; place says
// how the node opens a volume, if that is there yet.
func desired(snap *store.Snapshot, nodeID string, cfg Config, near func(*resource.VPC) *neighbours, place func(*resource.Volume) (compute.Disk, bool)) *nodeapi.Desired {
	d := &nodeapi.Desired{Revision: snap.Revision, Storage: cfg.Storage}
	d.Network.PublicPool = cfg.PublicPool
	nets := &networks{r: snap, node: nodeID, near: near, key: cfg.RoleKey, local: map[string][]*resource.Interface{}}
	for inst := range store.InstancesByNode.By(snap, nodeID) {
		disks, bases, forced, ready := disksOf(snap, inst, place)
		if !ready && inst.Power == resource.PowerOn && inst.State == resource.Pending {
			continue // the node has nothing of it yet
		}
		enis := interfacesOf(snap, inst)
		if inst.Power == resource.PowerOn {
			for _, e := range enis {
				nets.local[e.VPCID] = append(nets.local[e.VPCID], e)
			}
		}
		i := instance(snap, inst, enis, cfg.Domain)
		i.Metadata.UserData, _ = userdata.Of(cfg.RoleKey, inst) // what does not open is as good as none
		i.Machine.Disks, i.Bases, i.Forced = append(i.Machine.Disks, disks...), bases, forced
		i.Rootless = inst.RootDevice != "" && !rooted(snap, inst, disks)
		i.Metadata.Role = roleOf(snap, inst, cfg.RoleKey)
		d.Instances = append(d.Instances, i)
	}
	d.Network.VPCs = nets.all()
	d.Network.Flat = flat(snap, cfg.Name, nets.local)
	d.Gateways = gatewaysOf(snap, nodeID)
	return d
}

// rooted says that a root volume is among the disks: then it is the first.
func rooted(r store.Reader, inst *resource.Instance, disks []compute.Disk) bool {
	if len(disks) == 0 {
		return false
	}
	v := store.Volumes.Get(r, disks[0].Name)
	return v != nil && v.Attachment != nil && v.Attachment.Device == inst.RootDevice
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
		ID: inst.ID, Power: inst.Power, Reboots: inst.Reboots, Restarts: inst.Restarts,
		Machine: compute.Machine{ID: inst.ID, UUID: machineUUID(inst.ID), Type: inst.Type, VCPUs: inst.VCPUs, MemoryMiB: inst.MemoryMiB},
		Metadata: nodeapi.Metadata{
			AccountID: inst.AccountID, Region: inst.Region, Zone: inst.Zone,
			ReservationID: inst.ReservationID, LaunchIndex: inst.LaunchIndex,
			ImageID: inst.ImageID, InstanceType: inst.Type, KernelID: inst.KernelID, RamdiskID: inst.RamdiskID,
			PendingTime: inst.LaunchedAt, KeyName: inst.KeyName, PublicKey: inst.PublicKey,
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
		out.Machine.UEFI = img.UEFI()
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
		if e.AttachState != "detaching" { // which its tap outlives
			out.Machine.NICs = append(out.Machine.NICs, compute.NIC{ID: e.ID, MAC: e.MAC})
		}
		out.Metadata.Interfaces = append(out.Metadata.Interfaces, metadataInterface(r, e))
	}
	if len(enis) > 0 && enis[0].PrivateIP != "" {
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
		SubnetID: e.SubnetID, VPCID: e.VPCID, GroupIDs: e.Groups, IPv6: e.IPv6, Prefixes: e.IPv4Prefixes(), Owner: e.AccountID,
	}
	if s := store.Subnets.Get(r, e.SubnetID); s != nil {
		out.SubnetCIDR = s.CIDR
		if s.IPv6 != nil {
			out.SubnetCIDR6 = s.IPv6.CIDR
		}
	}
	if v := store.VPCs.Get(r, e.VPCID); v != nil {
		out.VPCCIDRs, out.VPCCIDRs6 = v.Blocks(), v.Ranges()[len(v.Blocks()):]
	}
	for _, id := range e.Groups {
		if g := store.SecurityGroups.Get(r, id); g != nil {
			out.GroupNames = append(out.GroupNames, g.Name)
		}
	}
	return out
}
