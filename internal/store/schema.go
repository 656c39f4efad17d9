package store

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/resource"
)

// This file is the one list of what is stored. To change a record's meaning, raise its version and give
// the table an upgrade (docs/contributing/records.md).

type schema struct{ tables []anyTable }

var catalog schema // filled while the package is initialised, never changed afterwards

func table[T any](name string, version int, key func(*T) string) *Table[T] {
	t := &Table[T]{name: name, version: version, slot: len(catalog.tables), key: key}
	catalog.tables = append(catalog.tables, t)
	return t
}

func index[T any](t *Table[T], name string, values func(*T) []string) *Index[T] {
	x := &Index[T]{table: t, name: name, slot: len(t.indexes), values: values}
	t.indexes = append(t.indexes, x)
	return x
}

func unique[T any](t *Table[T], name string, values func(*T) []string) *Index[T] {
	x := index(t, name, values)
	x.unique = true
	return x
}

func tally[T any](t *Table[T], name string, values func(*T) ([]string, int64)) *Tally[T] {
	y := &Tally[T]{table: t, name: name, slot: len(t.tallies), values: values}
	t.tallies = append(t.tallies, y)
	return y
}

// some leaves out empty values.
func some(values ...string) []string {
	out := values[:0]
	for _, v := range values {
		if v != "" && !strings.HasSuffix(v, "/") {
			out = append(out, v)
		}
	}
	return out
}

// Identity.
var (
	Accounts        = table("accounts", 1, func(a *resource.Account) string { return a.ID })
	AccountsByName  = unique(Accounts, "name", func(a *resource.Account) []string { return some(a.Name) })
	AccountsByAlias = unique(Accounts, "alias", func(a *resource.Account) []string { return some(a.Alias) })
	AccountsByEmail = unique(Accounts, "email", func(a *resource.Account) []string { return some(strings.ToLower(a.Email)) })
	AccountsByCanon = unique(Accounts, "canonical", func(a *resource.Account) []string { return some(a.CanonicalID) })

	Users     = table("users", 1, func(u *resource.User) string { return UserKey(u.AccountID, u.Name) })
	UsersByID = unique(Users, "id", func(u *resource.User) []string { return some(u.ID) })

	AccessKeys       = table("access-keys", 1, func(k *resource.AccessKey) string { return k.ID })
	AccessKeysByUser = index(AccessKeys, "user", func(k *resource.AccessKey) []string { return []string{UserKey(k.AccountID, k.UserName)} })
)

// Identity: who may do what. Keys are UserKey(account, name).
var (
	UsersByPolicy = index(Users, "policy", func(u *resource.User) []string { return policiesOf(&u.Permissions) })
	UsersByGroup  = index(Users, "group", func(u *resource.User) []string { return u.Groups })

	Groups         = table("groups", 1, func(g *resource.Group) string { return UserKey(g.AccountID, g.Name) })
	GroupsByID     = unique(Groups, "id", func(g *resource.Group) []string { return some(g.ID) })
	GroupsByPolicy = index(Groups, "policy", func(g *resource.Group) []string { return policiesOf(&g.Permissions) })

	Roles         = table("roles", 1, func(r *resource.IAMRole) string { return UserKey(r.AccountID, r.Name) })
	RolesByID     = unique(Roles, "id", func(r *resource.IAMRole) []string { return some(r.ID) })
	RolesByPolicy = index(Roles, "policy", func(r *resource.IAMRole) []string { return policiesOf(&r.Permissions) })

	Policies     = table("policies", 1, func(p *resource.Policy) string { return UserKey(p.AccountID, p.Name) })
	PoliciesByID = unique(Policies, "id", func(p *resource.Policy) []string { return some(p.ID) })

	InstanceProfiles       = table("instance-profiles", 1, func(p *resource.InstanceProfile) string { return UserKey(p.AccountID, p.Name) })
	InstanceProfilesByID   = unique(InstanceProfiles, "id", func(p *resource.InstanceProfile) []string { return some(p.ID) })
	InstanceProfilesByRole = index(InstanceProfiles, "role", func(p *resource.InstanceProfile) []string { return some(p.RoleID) })
)

// Identity: who else vouches for people. Keys are ARNs.
var (
	OIDCProviders          = table("oidc-providers", 1, func(p *resource.OIDCProvider) string { return p.ARN() })
	OIDCProvidersByAccount = index(OIDCProviders, "account", func(p *resource.OIDCProvider) []string { return []string{p.AccountID} })
	SAMLProviders          = table("saml-providers", 1, func(p *resource.SAMLProvider) string { return p.ARN() })
	SAMLProvidersByAccount = index(SAMLProviders, "account", func(p *resource.SAMLProvider) []string { return []string{p.AccountID} })
)

// Identity: passwords and MFA devices.
var (
	LoginProfiles    = table("login-profiles", 1, func(p *resource.LoginProfile) string { return p.UserID })
	PasswordPolicies = table("password-policies", 1, func(p *resource.PasswordPolicy) string { return p.AccountID })

	MFADevices       = table("mfa-devices", 1, func(d *resource.MFADevice) string { return UserKey(d.AccountID, d.Name) })
	MFADevicesByUser = index(MFADevices, "user", func(d *resource.MFADevice) []string { return some(d.UserID) })

	SSHPublicKeys          = table("ssh-public-keys", 1, func(k *resource.SSHPublicKey) string { return k.ID })
	SSHPublicKeysByUser    = index(SSHPublicKeys, "user", func(k *resource.SSHPublicKey) []string { return some(k.UserID) })
	SSHPublicKeysByAccount = index(SSHPublicKeys, "account", func(k *resource.SSHPublicKey) []string { return some(k.AccountID) })

	ServerCertificates = table("server-certificates", 1, func(c *resource.ServerCertificate) string { return UserKey(c.AccountID, c.Name) })
)

// Identity: reports and tasks. Keys are UserKey(account, id).
var (
	CredentialReports = table("credential-reports", 1, func(r *resource.CredentialReport) string { return r.AccountID })
	AccessJobs        = table("access-jobs", 1, func(j *resource.AccessJob) string { return UserKey(j.AccountID, j.ID) })
	RoleDeletions     = table("role-deletions", 1, func(d *resource.RoleDeletion) string { return UserKey(d.AccountID, d.ID) })
)

// policiesOf gives the ARNs of the managed policies that an entity uses, "boundary " before those that bound it.
func policiesOf(p *resource.Permissions) []string {
	out := slices.Clone(p.Attached)
	if p.Boundary != "" {
		out = append(out, "boundary "+p.Boundary)
	}
	return out
}

// People who want accounts.
var (
	SignUps        = table("sign-ups", 1, func(s *resource.SignUp) string { return s.ID })
	SignUpsByToken = unique(SignUps, "token", func(s *resource.SignUp) []string { return some(s.Token) })
)

// Wishes for larger quotas. Keys are UserKey(account, id).
var QuotaRequests = table("quota-requests", 1, func(q *resource.QuotaRequest) string { return UserKey(q.AccountID, q.ID) })

// UserKey is a user's key: names are unique in an account without regard to case.
func UserKey(account, name string) string { return account + "/" + strings.ToLower(name) }

// Certificates that sign bundles.
var (
	SigningCertificates          = table("signing-certificates", 1, func(c *resource.SigningCertificate) string { return c.ID })
	SigningCertificatesByAccount = index(SigningCertificates, "account", func(c *resource.SigningCertificate) []string { return []string{c.AccountID} })
)

// The cloud itself.
var (
	Zones       = table("zones", 1, func(z *resource.Zone) string { return z.Name })
	Nodes       = table("nodes", 1, func(n *resource.Node) string { return n.ID })
	NodesByZone = index(Nodes, "zone", func(n *resource.Node) []string { return []string{n.Zone} })
	JoinTokens  = table("join-tokens", 1, func(t *resource.JoinToken) string { return t.ID })
	Authorities = table("authorities", 1, func(a *resource.Authority) string { return a.Name })
	Settings    = table("settings", 1, func(s *resource.Setting) string { return s.Name })
)

// Machines and images. "owner" indexes hold ACCOUNT/REGION.
var (
	Instances        = widened(table("instances", 2, func(i *resource.Instance) string { return i.ID }))
	InstancesByOwner = index(Instances, "owner", func(i *resource.Instance) []string { return []string{i.OwnedBy()} })
	// InstancesByNode holds those that still need something of their node.
	InstancesByNode = index(Instances, "node", func(i *resource.Instance) []string {
		if !i.State.Alive() {
			return nil
		}
		return some(i.Node)
	})
	// InstancesUnplaced holds, by zone, those that wait for a node.
	InstancesUnplaced = index(Instances, "unplaced", func(i *resource.Instance) []string {
		if i.Node != "" || !i.State.Alive() || i.Power == resource.PowerOff {
			return nil
		}
		return []string{i.Zone}
	})
	// InstancesByImage holds live instances by their machine image, kernel and ramdisk.
	InstancesByImage = index(Instances, "image", func(i *resource.Instance) []string {
		if !i.State.Alive() {
			return nil
		}
		return some(i.ImageID, i.KernelID, i.RamdiskID)
	})
	InstancesByToken = index(Instances, "token", func(i *resource.Instance) []string {
		if i.ClientToken == "" {
			return nil
		}
		return []string{i.OwnedBy() + "/" + i.ClientToken}
	})
	// InstancesTerminated holds, under "yes", the terminated ones that are still shown.
	InstancesTerminated = index(Instances, "terminated", func(i *resource.Instance) []string {
		if i.State != resource.Terminated {
			return nil
		}
		return []string{"yes"}
	})

	// InstancesWithProfile holds, under "yes", live instances that have a role.
	InstancesWithProfile = index(Instances, "profile", func(i *resource.Instance) []string {
		if i.ProfileID == "" || !i.State.Alive() {
			return nil
		}
		return []string{"yes"}
	})
	InstanceCredentials = table("instance-credentials", 1, func(c *resource.InstanceCredentials) string { return c.InstanceID })

	// Stores of old have counters, which tallies have replaced: nothing reads or writes them.
	_ = table("usages", 1, func(u *struct {
		Owner string `json:"owner"`
	},
	) string {
		return u.Owner
	})

	KeyPairs        = table("key-pairs", 1, func(k *resource.KeyPair) string { return k.ID })
	KeyPairsByOwner = index(KeyPairs, "owner", func(k *resource.KeyPair) []string { return []string{k.OwnedBy()} })
	KeyPairsByName  = unique(KeyPairs, "name", func(k *resource.KeyPair) []string { return []string{k.OwnedBy() + "/" + k.Name} })

	Images        = table("images", 1, func(i *resource.Image) string { return i.ID })
	ImagesByOwner = index(Images, "owner", func(i *resource.Image) []string { return []string{i.OwnedBy()} })
	ImagesByName  = unique(Images, "name", func(i *resource.Image) []string {
		if i.State == resource.ImageDeregistered || i.State == resource.ImageFailed {
			return nil
		}
		return some(i.OwnedBy() + "/" + i.Name)
	})
	// ImagesShared holds public images under "REGION/all" and shared ones under "REGION/ACCOUNT".
	ImagesShared = index(Images, "shared", func(i *resource.Image) []string {
		var out []string
		if i.Public {
			out = append(out, i.Region+"/all")
		}
		for _, a := range i.LaunchAccounts {
			out = append(out, i.Region+"/"+a)
		}
		return out
	})

	// ImagesBundled holds, under "yes", the images that are still to be made of their bundles.
	ImagesBundled = index(Images, "bundled", func(i *resource.Image) []string {
		if i.Bundle == nil || i.State != resource.ImagePending {
			return nil
		}
		return []string{"yes"}
	})

	ImportTasks        = upgraded(table("import-tasks", 2, func(t *resource.ImportTask) string { return t.ID }), severalVolumes)
	ImportTasksByOwner = index(ImportTasks, "owner", func(t *resource.ImportTask) []string { return []string{t.OwnedBy()} })
	// ImportTasksOpen holds, under "yes", those that the importer still has to work on.
	ImportTasksOpen = index(ImportTasks, "open", func(t *resource.ImportTask) []string { return openTask(t.Status) })

	ImageSettings = table("image-settings", 1, func(s *resource.ImageSettings) string { return s.Key() })

	BundleTasks        = table("bundle-tasks", 1, func(t *resource.BundleTask) string { return t.ID })
	BundleTasksByOwner = index(BundleTasks, "owner", func(t *resource.BundleTask) []string { return []string{t.OwnedBy()} })
	BundleTasksOpen    = index(BundleTasks, "open", func(t *resource.BundleTask) []string {
		if !t.Open() {
			return nil
		}
		return []string{"yes"}
	})

	ExportTasks        = table("export-tasks", 1, func(t *resource.ExportTask) string { return t.ID })
	ExportTasksByOwner = index(ExportTasks, "owner", func(t *resource.ExportTask) []string { return []string{t.OwnedBy()} })
	ExportTasksOpen    = index(ExportTasks, "open", func(t *resource.ExportTask) []string { return openTask(t.Status) })
)

func openTask(status string) []string {
	if status == "completed" || status == "deleted" {
		return nil
	}
	return []string{"yes"}
}

// Launching.
var (
	LaunchTemplates        = table("launch-templates", 1, func(t *resource.LaunchTemplate) string { return t.ID })
	LaunchTemplatesByOwner = index(LaunchTemplates, "owner", func(t *resource.LaunchTemplate) []string { return []string{t.OwnedBy()} })
	LaunchTemplatesByName  = unique(LaunchTemplates, "name", func(t *resource.LaunchTemplate) []string { return []string{t.OwnedBy() + "/" + t.Name} })

	LaunchTemplateVersions           = widened(table("launch-template-versions", 2, func(v *resource.LaunchTemplateVersion) string { return VersionKey(v.TemplateID, v.Number) }))
	LaunchTemplateVersionsByTemplate = index(LaunchTemplateVersions, "template", func(v *resource.LaunchTemplateVersion) []string { return []string{v.TemplateID} })

	PlacementGroups        = table("placement-groups", 1, func(g *resource.PlacementGroup) string { return g.ID })
	PlacementGroupsByOwner = index(PlacementGroups, "owner", func(g *resource.PlacementGroup) []string { return []string{g.OwnedBy()} })
	PlacementGroupsByName  = unique(PlacementGroups, "name", func(g *resource.PlacementGroup) []string { return []string{g.OwnedBy() + "/" + g.Name} })
	// InstancesByPlacement holds the live members of placement groups.
	InstancesByPlacement = index(Instances, "placement", func(i *resource.Instance) []string {
		if !i.State.Alive() {
			return nil
		}
		return some(i.PlacementGroup)
	})
)

// VersionKey is a launch template version's key: in order of number.
func VersionKey(template string, number int64) string {
	return fmt.Sprintf("%s/%010d", template, number)
}

// Networks.
var (
	VPCs        = table("vpcs", 1, func(v *resource.VPC) string { return v.ID })
	VPCsByOwner = index(VPCs, "owner", func(v *resource.VPC) []string { return []string{v.OwnedBy()} })
	VPCsByIPv6  = unique(VPCs, "ipv6", func(v *resource.VPC) (out []string) {
		for _, b := range v.IPv6 {
			out = append(out, b.CIDR)
		}
		return out
	})

	Subnets        = table("subnets", 1, func(s *resource.Subnet) string { return s.ID })
	SubnetsByOwner = index(Subnets, "owner", func(s *resource.Subnet) []string { return []string{s.OwnedBy()} })
	SubnetsByVPC   = index(Subnets, "vpc", func(s *resource.Subnet) []string { return []string{s.VPCID} })

	CIDRReservations         = table("cidr-reservations", 1, func(c *resource.CIDRReservation) string { return c.ID })
	CIDRReservationsByOwner  = index(CIDRReservations, "owner", func(c *resource.CIDRReservation) []string { return []string{c.OwnedBy()} })
	CIDRReservationsBySubnet = index(CIDRReservations, "subnet", func(c *resource.CIDRReservation) []string { return []string{c.SubnetID} })

	SecurityGroups        = table("security-groups", 1, func(g *resource.SecurityGroup) string { return g.ID })
	SecurityGroupsByOwner = index(SecurityGroups, "owner", func(g *resource.SecurityGroup) []string { return []string{g.OwnedBy()} })
	SecurityGroupsByVPC   = index(SecurityGroups, "vpc", func(g *resource.SecurityGroup) []string { return []string{g.VPCID} })
	SecurityGroupsByName  = unique(SecurityGroups, "name", func(g *resource.SecurityGroup) []string { return []string{g.Home() + "/" + g.Name} })

	EgressGateways        = table("egress-gateways", 1, func(g *resource.EgressGateway) string { return g.ID })
	EgressGatewaysByOwner = index(EgressGateways, "owner", func(g *resource.EgressGateway) []string { return []string{g.OwnedBy()} })
	EgressGatewaysByVPC   = index(EgressGateways, "vpc", func(g *resource.EgressGateway) []string { return []string{g.VPCID} })

	InternetGateways        = table("internet-gateways", 1, func(g *resource.InternetGateway) string { return g.ID })
	InternetGatewaysByOwner = index(InternetGateways, "owner", func(g *resource.InternetGateway) []string { return []string{g.OwnedBy()} })
	InternetGatewaysByVPC   = unique(InternetGateways, "vpc", func(g *resource.InternetGateway) []string { return some(g.VPCID) })

	RouteTables        = table("route-tables", 1, func(t *resource.RouteTable) string { return t.ID })
	RouteTablesByOwner = index(RouteTables, "owner", func(t *resource.RouteTable) []string { return []string{t.OwnedBy()} })
	RouteTablesByVPC   = index(RouteTables, "vpc", func(t *resource.RouteTable) []string { return []string{t.VPCID} })

	NetworkACLs        = table("network-acls", 1, func(a *resource.NetworkACL) string { return a.ID })
	NetworkACLsByOwner = index(NetworkACLs, "owner", func(a *resource.NetworkACL) []string { return []string{a.OwnedBy()} })
	NetworkACLsByVPC   = index(NetworkACLs, "vpc", func(a *resource.NetworkACL) []string { return []string{a.VPCID} })

	DHCPOptions        = table("dhcp-options", 1, func(d *resource.DHCPOptions) string { return d.ID })
	DHCPOptionsByOwner = index(DHCPOptions, "owner", func(d *resource.DHCPOptions) []string { return []string{d.OwnedBy()} })

	Interfaces         = table("interfaces", 1, func(e *resource.Interface) string { return e.ID })
	InterfacesByOwner  = index(Interfaces, "owner", func(e *resource.Interface) []string { return []string{e.OwnedBy()} })
	InterfacesByVPC    = index(Interfaces, "vpc", func(e *resource.Interface) []string { return []string{e.VPCID} })
	InterfacesBySubnet = index(Interfaces, "subnet", func(e *resource.Interface) []string { return []string{e.SubnetID} })
	InterfacesByGroup  = index(Interfaces, "group", func(e *resource.Interface) []string { return e.Groups })
	// InterfacesByAttachment holds those of instances.
	InterfacesByAttachment = index(Interfaces, "attachment", func(e *resource.Interface) []string { return some(e.AttachmentID) })
	InterfacesByIP         = unique(Interfaces, "ip", func(e *resource.Interface) (out []string) {
		for _, a := range e.Addresses() {
			if a.PrivateIP != "" { // a flat network's may not be known yet
				out = append(out, e.VPCID+"/"+a.PrivateIP)
			}
		}
		for _, ip := range e.IPv6 {
			out = append(out, e.VPCID+"/"+ip)
		}
		for _, ip := range e.DelegatedIPv4() {
			out = append(out, e.VPCID+"/"+ip.String())
		}
		return out
	})
	InterfacesByPublicIP = unique(Interfaces, "public-ip", func(e *resource.Interface) (out []string) {
		for _, a := range e.Addresses() {
			out = append(out, some(a.PublicIP)...)
		}
		return out
	})

	Addresses        = table("addresses", 1, func(a *resource.Address) string { return a.AllocationID })
	AddressesByOwner = index(Addresses, "owner", func(a *resource.Address) []string { return []string{a.OwnedBy()} })
	AddressesByIP    = unique(Addresses, "ip", func(a *resource.Address) []string { return some(a.PublicIP) })
	// AddressesNamed holds, under "yes", those with a reverse DNS name.
	AddressesNamed = index(Addresses, "named", func(a *resource.Address) []string {
		if a.PTR == "" {
			return nil
		}
		return []string{"yes"}
	})

	AddressTransfers        = table("address-transfers", 1, func(t *resource.AddressTransfer) string { return t.AllocationID })
	AddressTransfersByOwner = index(AddressTransfers, "owner", func(t *resource.AddressTransfer) []string { return []string{t.OwnedBy()} })
)

// Flow logs.
var (
	FlowLogs           = table("flow-logs", 1, func(l *resource.FlowLog) string { return l.ID })
	FlowLogsByOwner    = index(FlowLogs, "owner", func(l *resource.FlowLog) []string { return []string{l.OwnedBy()} })
	FlowLogsByVPC      = index(FlowLogs, "vpc", func(l *resource.FlowLog) []string { return []string{l.VPCID} })
	FlowLogsByResource = index(FlowLogs, "resource", func(l *resource.FlowLog) []string { return []string{l.ResourceID} })
)

// NAT gateways.
var (
	NATGateways        = table("nat-gateways", 1, func(g *resource.NATGateway) string { return g.ID })
	NATGatewaysByOwner = index(NATGateways, "owner", func(g *resource.NATGateway) []string { return []string{g.OwnedBy()} })
	NATGatewaysByVPC   = index(NATGateways, "vpc", func(g *resource.NATGateway) []string { return []string{g.VPCID} })
	// NATGatewaysByNode and NATGatewaysByZone hold those that are alive; NATGatewaysEnded, under "yes", the others.
	NATGatewaysByNode = index(NATGateways, "node", func(g *resource.NATGateway) []string { return some(whileAlive(g, g.Node)) })
	NATGatewaysByZone = index(NATGateways, "zone", func(g *resource.NATGateway) []string { return some(whileAlive(g, g.Zone)) })
	NATGatewaysEnded  = index(NATGateways, "ended", func(g *resource.NATGateway) []string {
		if g.Alive() {
			return nil
		}
		return []string{"yes"}
	})
)

// VPN.
var (
	CustomerGateways        = table("customer-gateways", 1, func(g *resource.CustomerGateway) string { return g.ID })
	CustomerGatewaysByOwner = index(CustomerGateways, "owner", func(g *resource.CustomerGateway) []string { return []string{g.OwnedBy()} })
	CustomerGatewaysEnded   = index(CustomerGateways, "ended", func(g *resource.CustomerGateway) []string { return ended(g.EndedAt) })

	VPNGateways        = table("vpn-gateways", 1, func(g *resource.VPNGateway) string { return g.ID })
	VPNGatewaysByOwner = index(VPNGateways, "owner", func(g *resource.VPNGateway) []string { return []string{g.OwnedBy()} })
	VPNGatewaysByVPC   = unique(VPNGateways, "vpc", func(g *resource.VPNGateway) []string { return some(g.VPCID) })
	VPNGatewaysByNode  = index(VPNGateways, "node", func(g *resource.VPNGateway) []string { return some(g.Node) })
	// VPNGatewaysByZone holds those that a VPC has.
	VPNGatewaysByZone = index(VPNGateways, "zone", func(g *resource.VPNGateway) []string {
		if g.VPCID == "" {
			return nil
		}
		return some(g.Zone)
	})
	VPNGatewaysEnded = index(VPNGateways, "ended", func(g *resource.VPNGateway) []string { return ended(g.EndedAt) })

	VPNConnections          = table("vpn-connections", 1, func(c *resource.VPNConnection) string { return c.ID })
	VPNConnectionsByOwner   = index(VPNConnections, "owner", func(c *resource.VPNConnection) []string { return []string{c.OwnedBy()} })
	VPNConnectionsByGateway = index(VPNConnections, "gateway", func(c *resource.VPNConnection) []string { return some(untilDeleted(c, c.GatewayID)) })
	// VPNConnectionsByCustomer holds them by customer gateway, until they are deleted.
	VPNConnectionsByCustomer = index(VPNConnections, "customer", func(c *resource.VPNConnection) []string { return some(untilDeleted(c, c.CustomerID)) })
	VPNConnectionsByIP       = unique(VPNConnections, "ip", func(c *resource.VPNConnection) (out []string) {
		for _, t := range c.Tunnels {
			out = append(out, some(untilDeleted(c, t.Outside))...)
		}
		return out
	})
	VPNConnectionsEnded = index(VPNConnections, "ended", func(c *resource.VPNConnection) []string { return ended(c.EndedAt) })
)

func untilDeleted(c *resource.VPNConnection, value string) string {
	if c.State == resource.VPNDeleted {
		return ""
	}
	return value
}

// ended is the key "yes" for what has ended.
func ended(at time.Time) []string {
	if at.IsZero() {
		return nil
	}
	return []string{"yes"}
}

func whileAlive(g *resource.NATGateway, value string) string {
	if !g.Alive() {
		return ""
	}
	return value
}

// BucketConfigKey is the key of a bucket's configuration; engine is Bucket.Engine.
func BucketConfigKey(engine string, kind resource.BucketPart) string {
	return engine + "/" + string(kind)
}

// VPC endpoints.
var (
	VPCEndpoints        = table("vpc-endpoints", 1, func(e *resource.VPCEndpoint) string { return e.ID })
	VPCEndpointsByOwner = index(VPCEndpoints, "owner", func(e *resource.VPCEndpoint) []string { return []string{e.OwnedBy()} })
	VPCEndpointsByVPC   = index(VPCEndpoints, "vpc", func(e *resource.VPCEndpoint) []string { return []string{e.VPCID} })
)

// What VPCs share.
var (
	PrefixLists        = table("prefix-lists", 1, func(l *resource.PrefixList) string { return l.ID })
	PrefixListsByOwner = index(PrefixLists, "owner", func(l *resource.PrefixList) []string { return []string{l.OwnedBy()} })

	Peerings = table("vpc-peerings", 1, func(p *resource.Peering) string { return p.ID })
	// PeeringsBySide holds peerings by the owners of both sides.
	PeeringsBySide = index(Peerings, "side", func(p *resource.Peering) []string {
		return unrepeated([]string{p.Requester.AccountID + "/" + p.Requester.Region, p.Accepter.AccountID + "/" + p.Accepter.Region})
	})
	// PeeringsByVPC holds peerings by both VPCs.
	PeeringsByVPC = index(Peerings, "vpc", func(p *resource.Peering) []string { return []string{p.Requester.VPCID, p.Accepter.VPCID} })

	// SecurityGroupsByList and RouteTablesByList hold what names a prefix list.
	SecurityGroupsByList = index(SecurityGroups, "prefix-list", func(g *resource.SecurityGroup) (out []string) {
		for i := range g.Rules {
			out = append(out, some(g.Rules[i].PrefixList)...)
		}
		return unrepeated(out)
	})
	RouteTablesByList = index(RouteTables, "prefix-list", func(t *resource.RouteTable) (out []string) {
		for i := range t.Routes {
			out = append(out, some(t.Routes[i].PrefixListID)...)
		}
		return unrepeated(out)
	})
	// SecurityGroupsByPeer holds groups by those of others that their rules name.
	SecurityGroupsByPeer = index(SecurityGroups, "peer", func(g *resource.SecurityGroup) (out []string) {
		for i := range g.Rules {
			if g.Rules[i].GroupID != g.ID {
				out = append(out, some(g.Rules[i].GroupID)...)
			}
		}
		return unrepeated(out)
	})
)

func unrepeated(values []string) []string {
	slices.Sort(values)
	return slices.Compact(values)
}

// Objects.
var (
	Buckets        = table("buckets", 1, func(b *resource.Bucket) string { return b.Name })
	BucketsByOwner = index(Buckets, "account", func(b *resource.Bucket) []string { return []string{b.AccountID} })

	Webhooks          = table("webhooks", 1, func(w *resource.Webhook) string { return w.ARN })
	WebhooksByAccount = index(Webhooks, "account", func(w *resource.Webhook) []string { return []string{w.AccountID} })

	ReplicaTargets          = table("replica-targets", 1, func(t *resource.ReplicaTarget) string { return t.Key() })
	ReplicaTargetsByAccount = index(ReplicaTargets, "account", func(t *resource.ReplicaTarget) []string { return []string{t.AccountID} })

	BucketConfigs = table("bucket-configs", 1, func(c *resource.BucketConfig) string { return BucketConfigKey(c.Bucket, c.Kind) })
)

// Volumes.
var (
	Volumes        = table("volumes", 1, func(v *resource.Volume) string { return v.ID })
	VolumesByOwner = index(Volumes, "owner", func(v *resource.Volume) []string { return []string{v.OwnedBy()} })
	VolumesByZone  = index(Volumes, "zone", func(v *resource.Volume) []string { return []string{v.Zone} })
	// VolumesByInstance holds those that are attached to an instance, or on the way there or back.
	VolumesByInstance = index(Volumes, "instance", func(v *resource.Volume) []string {
		if v.Attachment == nil {
			return nil
		}
		return []string{v.Attachment.InstanceID}
	})
	// VolumesWaiting holds, by zone, those whose zone has to do something to their file.
	VolumesWaiting = index(Volumes, "waiting", func(v *resource.Volume) []string {
		switch {
		case v.State == resource.VolumeError:
			return nil
		case !v.Made || v.MadeGiB < v.SizeGiB || v.State == resource.VolumeDeleting || v.Modification != nil && v.Modification.State == "modifying":
			return []string{v.Zone}
		}
		return nil
	})
	VolumesByToken = index(Volumes, "token", func(v *resource.Volume) []string {
		if v.ClientToken == "" {
			return nil
		}
		return []string{v.OwnedBy() + "/" + v.ClientToken}
	})
)
