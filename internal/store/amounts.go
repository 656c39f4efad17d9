package store

import "karri.dev/internal/resource"

// How much there is: for quotas, and to choose a zone. Sums of regional resources are by "ACCOUNT/REGION" and, of
// those that a user or role has made, by "ID/REGION"; of global ones by "ACCOUNT" and "ID"; what a zone has room for
// also by ZoneKey.
var (
	InstancesHeld   = tally(Instances, "held", func(i *resource.Instance) ([]string, int64) { return i.Holders(), one(i.State.Alive()) })
	InstancesActive = tally(Instances, "active", func(i *resource.Instance) ([]string, int64) { return i.Holders(), one(i.State.OnNode()) })
	InstancesVCPUs  = tally(Instances, "vcpus", func(i *resource.Instance) ([]string, int64) { return onNode(i, i.VCPUs) })
	InstancesMemory = tally(Instances, "memory", func(i *resource.Instance) ([]string, int64) { return onNode(i, i.MemoryMiB) }) // MiB
	InstancesDisk   = tally(Instances, "disk", func(i *resource.Instance) ([]string, int64) { return onNode(i, i.DiskGiB) })     // GiB
	VolumesHeld     = tally(Volumes, "held", func(v *resource.Volume) ([]string, int64) { return v.Holders(), 1 })
	VolumesGiB      = tally(Volumes, "gib", func(v *resource.Volume) ([]string, int64) {
		return append(v.Holders(), ZoneKey(v.Zone)), int64(v.SizeGiB)
	})
	SnapshotsHeld = tally(Snapshots, "held", func(s *resource.Snapshot) ([]string, int64) { return s.Holders(), 1 })
	ImagesHeld    = tally(Images, "held", func(i *resource.Image) ([]string, int64) {
		return i.Holders(), one(i.State == resource.ImagePending || i.State == resource.ImageAvailable || i.State == resource.ImageDisabled)
	})
	// ImportsOpen are imports that will be images.
	ImportsOpen = tally(ImportTasks, "open", func(t *resource.ImportTask) ([]string, int64) {
		return t.Holders(), one(t.Status != "completed" && t.Status != "deleted")
	})
	AddressesHeld  = tally(Addresses, "held", func(a *resource.Address) ([]string, int64) { return a.Holders(), 1 })
	VPCsHeld       = tally(VPCs, "held", func(v *resource.VPC) ([]string, int64) { return v.Holders(), 1 })
	GatewaysHeld   = tally(InternetGateways, "held", func(g *resource.InternetGateway) ([]string, int64) { return g.Holders(), 1 })
	EgressHeld     = tally(EgressGateways, "held", func(g *resource.EgressGateway) ([]string, int64) { return g.Holders(), 1 })
	GroupsHeld     = tally(SecurityGroups, "held", func(g *resource.SecurityGroup) ([]string, int64) { return g.Holders(), 1 })
	InterfacesHeld = tally(Interfaces, "held", func(e *resource.Interface) ([]string, int64) { return e.Holders(), 1 })
	BucketsHeld    = tally(Buckets, "held", func(b *resource.Bucket) ([]string, int64) { return some(b.AccountID, b.Creator), one(!b.System) })
	UsersHeld      = tally(Users, "held", func(u *resource.User) ([]string, int64) { return []string{u.AccountID}, 1 })
	IAMGroupsHeld  = tally(Groups, "held", func(g *resource.Group) ([]string, int64) { return []string{g.AccountID}, 1 })
	RolesHeld      = tally(Roles, "held", func(r *resource.IAMRole) ([]string, int64) { return []string{r.AccountID}, 1 })
	ProfilesHeld   = tally(InstanceProfiles, "held", func(p *resource.InstanceProfile) ([]string, int64) { return []string{p.AccountID}, 1 })
	PoliciesHeld   = tally(Policies, "held", func(p *resource.Policy) ([]string, int64) { return []string{p.AccountID}, 1 })
)

// ZoneKey is the value of a zone's sums.
func ZoneKey(zone string) string { return "zone/" + zone }

func onNode(i *resource.Instance, n int) ([]string, int64) {
	return append(i.Holders(), ZoneKey(i.Zone)), int64(n) * one(i.State.OnNode())
}

func one(counts bool) int64 {
	if counts {
		return 1
	}
	return 0
}
