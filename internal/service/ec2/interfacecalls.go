package ec2

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/cidr"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits of AWS.
const (
	maxInterfaces = 5000 // of an account in a region
	maxSecondary  = 49   // of an interface that no instance has
)

// interfaceSpec is what a caller says of a new interface's addresses.
type interfaceSpec struct {
	ip        string
	secondary []string
	count     int // of further addresses that the cloud picks
}

// readAddresses gathers the addresses of a request from the places where they can be said.
func readAddresses(ip string, list []shape.PrivateIpAddressSpecification, count *int) (spec interfaceSpec, err error) {
	spec.ip = ip
	for _, a := range list {
		switch {
		case a.PrivateIpAddress == "":
			return spec, errMissing("privateIpAddress")
		case isTrue(a.Primary) && spec.ip != "":
			return spec, errCombination("Only one primary private IP address can be specified.")
		case isTrue(a.Primary):
			spec.ip = a.PrivateIpAddress
		default:
			spec.secondary = append(spec.secondary, a.PrivateIpAddress)
		}
	}
	if count != nil {
		if *count < 1 || *count > maxSecondary {
			return spec, errValue(itoa(*count), "secondaryPrivateIpAddressCount")
		}
		if len(spec.secondary) > 0 {
			return spec, errCombination("The parameters privateIpAddresses and secondaryPrivateIpAddressCount cannot be used together")
		}
		spec.count = *count
	}
	seen := map[string]bool{}
	for _, a := range append(one(spec.ip), spec.secondary...) {
		ip, err := netip.ParseAddr(a)
		if err != nil || !ip.Is4() {
			return spec, awserr.New("InvalidParameterValue", "invalid value for parameter address: %s", a)
		}
		if seen[a] {
			return spec, awserr.New("InvalidParameterValue", "The address %s is given twice", a)
		}
		seen[a] = true
	}
	return spec, nil
}

const secondaryAddresses = "Secondary private IP addresses are"

func (s *Service) checkSecondary(spec interfaceSpec) error {
	return open(s.opened.secondary || len(spec.secondary)+spec.count == 0, secondaryAddresses)
}

// takeAddress gives a private address of a subnet: the one asked for, if it is free, or any. taken has those
// that were taken in this call and are not in the store yet.
func takeAddress(r store.Reader, sub *resource.Subnet, want string, taken map[string]bool, rnd *rand.Rand) (string, error) {
	block := prefixOf(sub.CIDR)
	room := cidr.Subnet(block)
	used := func(ip netip.Addr) bool {
		return taken[ip.String()] || store.InterfacesByIP.One(r, sub.VPCID+"/"+ip.String()) != nil
	}
	if want == "" {
		ip, ok := room.Free(rnd.Uint32(), used)
		if !ok {
			return "", awserr.New("InsufficientFreeAddressesInSubnet", "The specified subnet '%s' does not have enough free addresses to satisfy the request.", sub.ID)
		}
		taken[ip.String()] = true
		return ip.String(), nil
	}
	ip, err := netip.ParseAddr(want)
	switch {
	case err != nil || !block.Contains(ip):
		return "", awserr.New("InvalidParameterValue", "Address %s does not fall within the subnet's address range", want)
	case !room.Contains(ip):
		return "", awserr.New("InvalidParameterValue", "Address %s is in subnet's reserved address range", want)
	case used(ip):
		return "", awserr.New("InvalidIPAddress.InUse", "Address %s is in use.", want)
	}
	taken[want] = true
	return want, nil
}

// giveAddresses gives a new interface its private addresses and what follows of them.
func giveAddresses(r store.Reader, e *resource.Interface, sub *resource.Subnet, spec interfaceSpec, rnd *rand.Rand) (err error) {
	taken := map[string]bool{}
	if e.PrivateIP, err = takeAddress(r, sub, spec.ip, taken, rnd); err != nil {
		return err
	}
	for _, want := range append(slices.Clone(spec.secondary), make([]string, spec.count)...) {
		ip, err := takeAddress(r, sub, want, taken, rnd)
		if err != nil {
			return err
		}
		e.Secondary = append(e.Secondary, resource.PrivateAddress{PrivateIP: ip})
	}
	v := store.VPCs.Get(r, sub.VPCID)
	e.VPCID, e.SubnetID, e.Zone, e.MAC = v.ID, sub.ID, sub.Zone, mac(v.VNI, netip.MustParseAddr(e.PrivateIP))
	return nil
}

// CreateNetworkInterface makes an interface that no instance has.
func (s *Service) CreateNetworkInterface(ctx context.Context, in *shape.CreateNetworkInterfaceRequest) (*shape.CreateNetworkInterfaceResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.SubnetId == "" {
		return nil, errMissing("subnetId")
	}
	if err := oneOf("interfaceType", in.InterfaceType, "interface"); err != nil {
		return nil, errUnsupported("Interfaces of the type '%s' are not supported by this cloud.", in.InterfaceType)
	}
	if len(in.Description) > 255 {
		return nil, awserr.New("InvalidParameterValue", "The description has more than 255 characters.")
	}
	spec, err := readAddresses(in.PrivateIpAddress, in.PrivateIpAddresses, in.SecondaryPrivateIpAddressCount)
	if err != nil {
		return nil, err
	}
	if err := s.checkSecondary(spec); err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "network-interface")
	if err != nil {
		return nil, err
	}
	plain := *in
	plain.ClientToken, plain.DryRun = "", nil
	token, err := tokenOf(in.ClientToken, plain)
	if err != nil {
		return nil, err
	}
	id, rnd := s.IDs.Resource("eni-"), s.random()
	var made *resource.Interface
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		for e := range store.InterfacesByOwner.By(tx, ownerKey(info)) {
			if token.same(e.Token) {
				made = e
				return token.check(e.Token)
			}
		}
		sub, err := subnets.find(tx, info, in.SubnetId)
		if err != nil {
			return err
		}
		made = &resource.Interface{Owned: s.owned(info, tags["network-interface"]), ID: id, Description: in.Description, Token: token.token}
		if made.Groups, err = groupsOr(tx, info, sub.VPCID, in.Groups); err != nil {
			return err
		}
		if interfaces.count(tx, info) >= maxInterfaces {
			return awserr.New("NetworkInterfaceLimitExceeded", "The maximum number of network interfaces has been reached.")
		}
		if err := giveAddresses(tx, made, sub, spec, rnd); err != nil {
			return err
		}
		return store.Interfaces.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := s.shapeInterface(s.Store.Snapshot(), made)
	out.Status = "pending" // as AWS answers; it is there when the next call comes
	return &shape.CreateNetworkInterfaceResult{NetworkInterface: &out, ClientToken: in.ClientToken}, nil
}

// groupsOr gives checked groups for an interface, the VPC's default one if none are named.
func groupsOr(r store.Reader, info *call.Info, vpc string, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return []string{store.VPCs.Get(r, vpc).DefaultGroup}, nil
	}
	return groupsIn(r, info, vpc, ids)
}

func errRequester(e *resource.Interface) error {
	return awserr.New("OperationNotPermitted", "You do not have permission to change the network interface '%s': %s keeps it.", e.ID, e.Requester)
}

// DeleteNetworkInterface deletes an interface that nothing has.
func (s *Service) DeleteNetworkInterface(ctx context.Context, in *shape.DeleteNetworkInterfaceRequest) (*shape.DeleteNetworkInterfaceResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.NetworkInterfaceId == "" {
		return nil, errMissing("networkInterfaceId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		e, err := interfaces.find(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		if e.InstanceID != "" || e.Requester != "" {
			return awserr.New("InvalidParameterValue", "Network interface '%s' is currently in use.", e.ID)
		}
		for _, address := range e.Addresses() {
			if a := store.Addresses.Get(tx, address.AllocationID); a != nil {
				if err := s.dissociate(tx, a); err != nil {
					return err
				}
			}
		}
		store.Interfaces.Delete(tx, e.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteNetworkInterfaceResult{}, nil
}

// editable gives the caller's interface, unless a service keeps it.
func editable(r store.Reader, info *call.Info, id string) (*resource.Interface, error) {
	if id == "" {
		return nil, errMissing("networkInterfaceId")
	}
	e, err := interfaces.find(r, info, id)
	if err != nil {
		return nil, err
	}
	if e.Requester != "" {
		return nil, errRequester(e)
	}
	return e, nil
}

// AssignPrivateIpAddresses gives an interface further private addresses.
func (s *Service) AssignPrivateIpAddresses(ctx context.Context, in *shape.AssignPrivateIpAddressesRequest) (*shape.AssignPrivateIpAddressesResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	count := 0
	if in.SecondaryPrivateIpAddressCount != nil {
		count = *in.SecondaryPrivateIpAddressCount
	}
	switch {
	case in.NetworkInterfaceId == "":
		return nil, errMissing("networkInterfaceId")
	case len(in.PrivateIpAddresses) == 0 && in.SecondaryPrivateIpAddressCount == nil:
		return nil, awserr.New("MissingParameter", "Either privateIpAddresses or secondaryPrivateIpAddressCount must be given")
	case len(in.PrivateIpAddresses) > 0 && in.SecondaryPrivateIpAddressCount != nil:
		return nil, errCombination("The parameters privateIpAddresses and secondaryPrivateIpAddressCount cannot be used together")
	case in.SecondaryPrivateIpAddressCount != nil && (count < 1 || count > maxSecondary):
		return nil, errValue(itoa(count), "secondaryPrivateIpAddressCount")
	}
	if err := open(s.opened.secondary, secondaryAddresses); err != nil {
		return nil, err
	}
	rnd := s.random()
	out := &shape.AssignPrivateIpAddressesResult{NetworkInterfaceId: in.NetworkInterfaceId}
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		out.AssignedPrivateIpAddresses = nil
		e, err := editable(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		sub := store.Subnets.Get(tx, e.SubnetID)
		next, taken := *e, map[string]bool{}
		next.Secondary = slices.Clone(e.Secondary)
		for _, want := range append(slices.Clone(in.PrivateIpAddresses), make([]string, count)...) {
			if want != "" && slices.ContainsFunc(next.Addresses(), func(a resource.PrivateAddress) bool { return a.PrivateIP == want }) {
				if want == e.PrivateIP {
					return awserr.New("InvalidParameterValue", "Address %s is the primary address of %s", want, e.ID)
				}
				continue // it has it
			}
			if want != "" && isTrue(in.AllowReassignment) {
				if err := s.reassign(tx, info, e, want); err != nil {
					return err
				}
			}
			ip, err := takeAddress(tx, sub, want, taken, rnd)
			if err != nil {
				return err
			}
			next.Secondary = append(next.Secondary, resource.PrivateAddress{PrivateIP: ip})
			out.AssignedPrivateIpAddresses = append(out.AssignedPrivateIpAddresses, shape.AssignedPrivateIpAddress{PrivateIpAddress: ip})
		}
		if err := s.checkAddressLimit(tx, &next); err != nil {
			return err
		}
		return store.Interfaces.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// reassign takes a further address from the interface of the caller's that has it.
func (s *Service) reassign(tx *store.Tx, info *call.Info, to *resource.Interface, ip string) error {
	other := store.InterfacesByIP.One(tx, to.VPCID+"/"+ip)
	if other == nil || other.ID == to.ID || other.PrivateIP == ip || !interfaces.mine(info, other) || other.Requester != "" {
		return nil // takeAddress says what is wrong
	}
	return s.unassign(tx, other, []string{ip})
}

// unassign takes further addresses from an interface; their elastic IPs are free again.
func (s *Service) unassign(tx *store.Tx, e *resource.Interface, ips []string) error {
	for _, a := range e.Secondary {
		if slices.Contains(ips, a.PrivateIP) && a.AllocationID != "" {
			if err := s.dissociate(tx, store.Addresses.Get(tx, a.AllocationID)); err != nil {
				return err
			}
		}
	}
	next := *store.Interfaces.Get(tx, e.ID)
	next.Secondary = slices.DeleteFunc(slices.Clone(next.Secondary), func(a resource.PrivateAddress) bool { return slices.Contains(ips, a.PrivateIP) })
	return store.Interfaces.Put(tx, &next)
}

// checkAddressLimit holds an interface to its instance type's number of addresses.
func (s *Service) checkAddressLimit(r store.Reader, e *resource.Interface) error {
	most := maxSecondary + 1
	if inst := store.Instances.Get(r, e.InstanceID); inst != nil {
		types, err := s.Types.At(r)
		if err != nil {
			return err
		}
		if t := types.Get(inst.Type); t != nil {
			most = t.AddressesPerInterface()
		}
	}
	if len(e.Addresses()) > most {
		return awserr.New("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.")
	}
	return nil
}

// UnassignPrivateIpAddresses takes further addresses from an interface.
func (s *Service) UnassignPrivateIpAddresses(ctx context.Context, in *shape.UnassignPrivateIpAddressesRequest) (*shape.UnassignPrivateIpAddressesResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(in.PrivateIpAddresses) == 0 {
		return nil, errMissing("privateIpAddresses")
	}
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		e, err := editable(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		for _, ip := range in.PrivateIpAddresses {
			if !slices.ContainsFunc(e.Secondary, func(a resource.PrivateAddress) bool { return a.PrivateIP == ip }) {
				return awserr.New("InvalidParameterValue", "Some of [%s] are not assigned to interface %s", strings.Join(in.PrivateIpAddresses, ", "), e.ID)
			}
		}
		return s.unassign(tx, e, in.PrivateIpAddresses)
	})
	if err != nil {
		return nil, err
	}
	return &shape.UnassignPrivateIpAddressesResult{}, nil
}

// DescribeNetworkInterfaceAttribute answers one attribute.
func (s *Service) DescribeNetworkInterfaceAttribute(ctx context.Context, in *shape.DescribeNetworkInterfaceAttributeRequest) (*shape.DescribeNetworkInterfaceAttributeResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	switch {
	case in.NetworkInterfaceId == "":
		return nil, errMissing("networkInterfaceId")
	case in.Attribute == "":
		return nil, errMissing("attribute")
	}
	e, err := interfaces.find(r, info, in.NetworkInterfaceId)
	if err != nil {
		return nil, err
	}
	view := s.shapeInterface(r, e)
	out := &shape.DescribeNetworkInterfaceAttributeResult{NetworkInterfaceId: e.ID}
	switch in.Attribute {
	case "description":
		out.Description = text(e.Description)
	case "groupSet":
		out.Groups = view.Groups
	case "sourceDestCheck":
		out.SourceDestCheck = boolean(!e.NoSourceCheck)
	case "attachment":
		out.Attachment = view.Attachment
	default:
		return nil, errValue(in.Attribute, "attribute")
	}
	return out, nil
}

// ModifyNetworkInterfaceAttribute changes one attribute.
func (s *Service) ModifyNetworkInterfaceAttribute(ctx context.Context, in *shape.ModifyNetworkInterfaceAttributeRequest) (*shape.ModifyNetworkInterfaceAttributeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	given := 0
	for _, yes := range []bool{in.Description != nil, in.SourceDestCheck != nil, in.Attachment != nil, len(in.Groups) > 0} {
		if yes {
			given++
		}
	}
	switch {
	case given == 0:
		return nil, errCombination("No attributes specified.")
	case given > 1:
		return nil, errCombination("Fields for multiple attribute types specified: only one attribute can be modified at a time.")
	case in.Description != nil && len(in.Description.Value) > 255:
		return nil, awserr.New("InvalidParameterValue", "The description has more than 255 characters.")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		e, err := editable(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		next := *e
		switch {
		case in.Description != nil:
			next.Description = in.Description.Value
		case in.SourceDestCheck != nil:
			next.NoSourceCheck = !isTrue(in.SourceDestCheck.Value)
		case in.Attachment != nil:
			if in.Attachment.AttachmentId == "" || in.Attachment.AttachmentId != e.AttachmentID {
				return errNoAttachment(in.Attachment.AttachmentId)
			}
			if in.Attachment.DeleteOnTermination == nil {
				return errMissing("deleteOnTermination")
			}
			next.DeleteOnEnd = *in.Attachment.DeleteOnTermination
		default:
			if next.Groups, err = groupsIn(tx, info, e.VPCID, in.Groups); err != nil {
				return err
			}
		}
		return store.Interfaces.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ModifyNetworkInterfaceAttributeResult{}, nil
}

// ResetNetworkInterfaceAttribute turns the source/destination check on again.
func (s *Service) ResetNetworkInterfaceAttribute(ctx context.Context, in *shape.ResetNetworkInterfaceAttributeRequest) (*shape.ResetNetworkInterfaceAttributeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.SourceDestCheck == "" {
		return nil, errMissing("sourceDestCheck")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		e, err := editable(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		next := *e
		next.NoSourceCheck = false
		return store.Interfaces.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ResetNetworkInterfaceAttributeResult{}, nil
}

func errNoAttachment(id string) error {
	return awserr.New("InvalidAttachmentID.NotFound", "The attachment '%s' does not exist.", id)
}

// AttachNetworkInterface gives a stopped instance an interface, which it finds when it starts.
func (s *Service) AttachNetworkInterface(ctx context.Context, in *shape.AttachNetworkInterfaceRequest) (*shape.AttachNetworkInterfaceResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.InstanceId == "":
		return nil, errMissing("instanceId")
	case in.DeviceIndex < 1 || in.DeviceIndex > 31:
		return nil, errValue(itoa(in.DeviceIndex), "deviceIndex")
	case in.NetworkCardIndex != nil && *in.NetworkCardIndex != 0:
		return nil, errValue(itoa(*in.NetworkCardIndex), "networkCardIndex")
	}
	id := s.IDs.Resource("eni-attach-")
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		e, err := editable(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		inst, err := instances.find(tx, info, in.InstanceId)
		if err != nil {
			return err
		}
		if err := plugged(inst); err != nil {
			return err
		}
		if err := s.attachable(tx, e, inst, in.DeviceIndex); err != nil {
			return err
		}
		return attach(tx, e, inst, in.DeviceIndex, id, s.now())
	})
	if err != nil {
		return nil, err
	}
	return &shape.AttachNetworkInterfaceResult{AttachmentId: id}, nil
}

// plugged refuses to change the interfaces of an instance that is not stopped.
func plugged(inst *resource.Instance) error {
	switch inst.State {
	case resource.Stopped:
		return nil
	case resource.Running:
		return errUnsupported("Network interfaces of the running instance '%s' cannot be changed in this cloud yet: stop it first.", inst.ID)
	}
	return errInstanceState(inst.ID, string(inst.State))
}

// attachable checks that an instance can have an interface at a device index.
func (s *Service) attachable(r store.Reader, e *resource.Interface, inst *resource.Instance, device int) error {
	switch {
	case e.InstanceID != "" || e.Requester != "":
		return awserr.New("InvalidNetworkInterface.InUse", "Interface: [%s] in use.", e.ID)
	case e.Zone != inst.Zone:
		return errCombination("You may not attach a network interface to an instance if they are not in the same availability zone")
	case e.VPCID != inst.VPCID:
		return errUnsupported("The network interface '%s' is in another VPC than the instance '%s'.", e.ID, inst.ID)
	}
	for _, id := range inst.Interfaces {
		if other := store.Interfaces.Get(r, id); other != nil && other.DeviceIndex == device {
			return awserr.New("InvalidParameterValue", "Instance '%s' already has an interface attached at device index '%d'.", inst.ID, device)
		}
	}
	types, err := s.Types.At(r)
	if err != nil {
		return err
	}
	if t := types.Get(inst.Type); t != nil {
		if len(inst.Interfaces) >= t.MaxInterfaces() {
			return awserr.New("AttachmentLimitExceeded", "Interface count %d exceeds the limit for %s", len(inst.Interfaces)+1, t.Name)
		}
		if len(e.Addresses()) > t.AddressesPerInterface() {
			return awserr.New("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.")
		}
	}
	return nil
}

// attach writes an attachment into both records.
func attach(tx *store.Tx, e *resource.Interface, inst *resource.Instance, device int, id string, now time.Time) error {
	next, owner := *e, *inst
	next.InstanceID, next.DeviceIndex, next.AttachmentID, next.AttachedAt, next.DeleteOnEnd = inst.ID, device, id, now, false
	owner.Interfaces = append(slices.Clone(inst.Interfaces), e.ID)
	if err := store.Interfaces.Put(tx, &next); err != nil {
		return err
	}
	return store.Instances.Put(tx, &owner)
}

// DetachNetworkInterface takes an interface from a stopped instance.
func (s *Service) DetachNetworkInterface(ctx context.Context, in *shape.DetachNetworkInterfaceRequest) (*shape.DetachNetworkInterfaceResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.AttachmentId == "" {
		return nil, errMissing("attachmentId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		for e := range store.InterfacesByOwner.By(tx, ownerKey(info)) {
			if e.AttachmentID == in.AttachmentId {
				return detach(tx, e)
			}
		}
		return errNoAttachment(in.AttachmentId)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DetachNetworkInterfaceResult{}, nil
}

func detach(tx *store.Tx, e *resource.Interface) error {
	inst := store.Instances.Get(tx, e.InstanceID)
	switch {
	case e.Requester != "":
		return errRequester(e)
	case e.DeviceIndex == 0 || inst == nil:
		return awserr.New("OperationNotPermitted", "The network interface at device index 0 cannot be detached.")
	}
	if err := plugged(inst); err != nil {
		return err
	}
	next, owner := *e, *inst
	next.InstanceID, next.DeviceIndex, next.AttachmentID, next.AttachedAt, next.DeleteOnEnd = "", 0, "", time.Time{}, false
	owner.Interfaces = slices.DeleteFunc(slices.Clone(inst.Interfaces), func(id string) bool { return id == e.ID })
	if err := store.Interfaces.Put(tx, &next); err != nil {
		return err
	}
	return store.Instances.Put(tx, &owner)
}
