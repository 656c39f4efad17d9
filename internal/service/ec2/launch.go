package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/compute"
	"karri.dev/internal/instancetype"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/userdata"
)

const (
	defaultType    = "m1.small" // what AWS takes when none is given
	maxUserData    = 16 << 10   // bytes, before base64
	maxClientToken = 64
	maxLaunch      = 1000 // instances in one call
)

// launch is a checked RunInstances request: what could be checked without looking at the state.
type launch struct {
	in       *shape.RunInstancesRequest
	userData []byte
	imds     resource.IMDSOptions
	nets     []netSpec
	tags     map[string]resource.Tags
	digest   string
}

// check checks a request as far as possible without the state, in AWS's order: syntax, then combinations.
func check(in *shape.RunInstancesRequest) (*launch, error) {
	l := &launch{in: in}
	switch {
	case in.ImageId == "":
		return nil, errMissing("ImageId")
	case in.MinCount < 1:
		return nil, errValue(itoa(in.MinCount), "minCount")
	case in.MaxCount < 1:
		return nil, errValue(itoa(in.MaxCount), "maxCount")
	case in.MinCount > in.MaxCount:
		return nil, awserr.New("InvalidParameterValue", "Value (%d) for parameter maxCount is invalid. It must not be below minCount (%d).", in.MaxCount, in.MinCount)
	case in.MinCount > maxLaunch:
		return nil, awserr.New("InstanceLimitExceeded", "At most %d instances can be launched with one request.", maxLaunch)
	case len(in.ClientToken) > maxClientToken:
		return nil, awserr.New("InvalidParameterValue", "The client token has more than %d characters.", maxClientToken)
	}
	var err error
	if l.userData, err = userData(in.UserData); err != nil {
		return nil, err
	}
	if err := checkChoices(in); err != nil {
		return nil, err
	}
	if l.imds, err = metadataOptions(resource.IMDSOptions{HopLimit: 1}, in.MetadataOptions); err != nil {
		return nil, err
	}
	if l.nets, err = networkSpecs(in); err != nil {
		return nil, err
	}
	if l.tags, err = tagsOnCreate(in.TagSpecifications, "instance", "network-interface", "volume"); err != nil {
		return nil, err
	}
	l.digest = launchDigest(in)
	return l, nil
}

// mark adds the cloud's own tags to those of the instances.
func (l *launch) mark(system resource.Tags) {
	tags := maps.Clone(l.tags["instance"])
	if tags == nil {
		tags = resource.Tags{}
	}
	maps.Copy(tags, system)
	l.tags["instance"] = tags
}

func userData(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, awserr.New("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data")
	}
	if len(data) > maxUserData {
		return nil, awserr.New("InvalidParameterValue", "User data is limited to %d bytes", maxUserData)
	}
	return data, nil
}

// launchDigest is digest of a launch.
func launchDigest(in *shape.RunInstancesRequest) string {
	plain := *in
	plain.ClientToken, plain.DryRun = "", nil
	return digest(&plain)
}

// digest tells whether a client token is used again with other parameters.
func digest(parameters any) string {
	data, err := json.Marshal(parameters)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// RunInstances launches instances: everything is resolved, and addresses are taken, in one transaction.
func (s *Service) RunInstances(ctx context.Context, in *shape.RunInstancesRequest) (*shape.RunInstancesResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	var l *launch
	if in.LaunchTemplate == nil {
		if l, err = check(in); err != nil {
			return nil, err
		}
	}
	sum := launchDigest(in)
	rnd := s.random()
	var list []*resource.Instance
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		list = nil
		if in.ClientToken != "" {
			list = slices.Collect(store.InstancesByToken.By(tx, ownerKey(info)+"/"+in.ClientToken))
			if len(list) > 0 && list[0].TokenDigest != sum {
				return awserr.New("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
			}
		}
		if len(list) > 0 {
			return nil // the launch that this token began
		}
		if in.LaunchTemplate != nil { // versions are looked up where nobody can move them
			whole, system, err := fromTemplate(tx, info, in, s.templateData)
			if err != nil {
				return err
			}
			if err := s.checkMembers(whole); err != nil {
				return err
			}
			if l, err = check(whole); err != nil {
				return err
			}
			if s.Roles != nil { // the template that was asked about may be another by now
				if err := s.Roles.Again(ctx, tx, whole); err != nil {
					return err
				}
			}
			l.digest = sum
			l.mark(system)
		}
		plan, err := s.resolve(tx, info, l)
		if err != nil {
			return err
		}
		list, err = s.make(tx, info, plan, rnd)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b *resource.Instance) int { return a.LaunchIndex - b.LaunchIndex })
	r := s.Store.Snapshot()
	out := &shape.RunInstancesResult{Groups: []shape.GroupIdentifier{}, OwnerId: info.AccountID, ReservationId: list[0].ReservationID}
	for _, inst := range list {
		out.Instances = append(out.Instances, s.shapeInstance(r, inst))
	}
	return out, nil
}

// plan is a launch with everything that it names looked up.
type plan struct {
	*launch
	image           *resource.Image
	kernel, ramdisk string
	kind            *instancetype.Type
	key             *resource.KeyPair
	subnet          *resource.Subnet
	vpc             *resource.VPC
	flat            *resource.Zone // on whose flat network it is; nil = on a VPC
	profile         *resource.InstanceProfile
	cards           []card // by device index
	count           int
	placement       *resource.PlacementGroup
	volumes         []newVolume
	id              string // of the only instance, if it is known before
}

// resolve looks up all that a launch names, in AWS's order.
func (s *Service) resolve(tx *store.Tx, info *call.Info, l *launch) (*plan, error) {
	p := &plan{launch: l, count: min(l.in.MaxCount, maxLaunch)}
	var err error
	if p.image, err = findImage(tx, info, l.in.ImageId); err != nil {
		return nil, err
	}
	if p.image.Kind != "machine" {
		return nil, awserr.New("InvalidAMIID.Malformed", "Invalid id: \"%s\" (expecting \"ami-...\")", p.image.ID)
	}
	if p.image.State != resource.ImageAvailable {
		return nil, awserr.New("InvalidAMIID.Unavailable", "The image ID '%s' is not available", p.image.ID)
	}
	if p.profile, err = findProfile(tx, info, l.in.IamInstanceProfile); err != nil {
		return nil, err
	}
	types, err := s.Types.At(tx)
	if err != nil {
		return nil, err
	}
	name := l.in.InstanceType
	if name == "" {
		name = defaultType
	}
	if p.kind = types.Get(name); p.kind == nil {
		return nil, awserr.New("InvalidParameterValue", "Invalid value '%s' for InstanceType.", name)
	}
	if arch := p.image.Architecture; arch != architecture {
		return nil, awserr.New("InvalidParameterValue", "The architecture '%s' of the specified instance type does not match the architecture '%s' of the specified AMI. "+
			"Specify an instance type and an AMI that have matching architectures, and try again. You can use 'describe-instance-types' or 'describe-images' "+
			"to discover the architecture of the instance type or AMI.", architecture, arch)
	}
	if err := checkCPU(l.in.CpuOptions, p.kind); err != nil {
		return nil, err
	}
	if p.kernel, err = part(tx, info, "kernel", l.in.KernelId, p.image.KernelID); err != nil {
		return nil, err
	}
	if p.ramdisk, err = part(tx, info, "ramdisk", l.in.RamdiskId, p.image.RamdiskID); err != nil {
		return nil, err
	}
	if p.kernel == "" && p.image.FileSystem {
		if p.kernel = defaultPart(tx, p.image, DefaultKernel, "kernel"); p.kernel == "" {
			return nil, awserr.New("InvalidParameterCombination", "The image %s is a file system without a boot loader: launch it with a kernel.", p.image.ID)
		}
		if p.ramdisk == "" {
			p.ramdisk = defaultPart(tx, p.image, DefaultRamdisk, "ramdisk")
		}
	}
	if l.in.KeyName != "" {
		if p.key = keyPairByName(tx, info, l.in.KeyName); p.key == nil {
			return nil, errNoKeyPair(l.in.KeyName)
		}
	}
	if p.image.RootDeviceType != "ebs" && l.in.InstanceInitiatedShutdownBehavior == "stop" {
		return nil, errCombination("The attribute instanceInitiatedShutdownBehavior can only be used for EBS-backed images.")
	}
	if p.volumes, err = s.planVolumes(tx, info, p.image, l.in.BlockDeviceMappings); err != nil {
		return nil, err
	}
	if err := p.findSubnet(tx, info); err != nil {
		return nil, err
	}
	if err := p.findCards(tx, info); err != nil {
		return nil, err
	}
	if err := p.findPlacement(tx, info); err != nil {
		return nil, err
	}
	return p, p.limit(tx, info, s.Quotas)
}

// part gives the kernel or ramdisk: the one asked for, else the image's.
func part(r store.Reader, info *call.Info, kind, asked, own string) (string, error) {
	if asked == "" {
		return own, nil
	}
	id := imageID(asked)
	if img := store.Images.Get(r, id); wellFormed(imagePrefix(kind), id) && img != nil && img.Kind == kind && visible(info, img) && img.State == resource.ImageAvailable {
		return id, nil
	}
	return "", images.notFound(id)
}

// limit lowers the count to the account's quotas, or refuses. What comes with the instances is for update to count.
func (p *plan) limit(r store.Reader, info *call.Info, quotas *quota.Keeper) error {
	disk := 0
	if p.image.RootDeviceType != "ebs" {
		disk = p.diskGiB()
	}
	for _, q := range []struct {
		key string
		per int // instance
	}{{quota.Instances, 1}, {quota.ActiveInstances, 1}, {quota.VCPUs, p.kind.VCPUs}, {quota.Memory, p.kind.MemoryMiB}, {quota.Disk, disk}} {
		if q.per == 0 {
			continue
		}
		room, refusal, err := quotas.Room(r, info, q.key)
		if err != nil {
			return err
		}
		if fit := int(room) / q.per; fit < p.count {
			if fit < p.in.MinCount {
				return refusal
			}
			p.count = fit
		}
	}
	return nil
}

// diskGiB is the size of an instance-store root disk.
func (p *plan) diskGiB() int {
	return max(p.kind.DiskGiB, int((p.image.Data.VirtualSize+1<<30-1)>>30))
}

// make writes the instances and their interfaces.
func (s *Service) make(tx *store.Tx, info *call.Info, p *plan, rnd rng) ([]*resource.Instance, error) {
	reservation := s.IDs.Resource("r-")
	now := s.now()
	var out []*resource.Instance
	for index := range p.count {
		inst := &resource.Instance{
			Owned: s.owned(info, p.tags["instance"]),
			ID:    pick(p.id, s.IDs.Resource("i-")), ReservationID: reservation, LaunchIndex: index, ClientToken: p.in.ClientToken,
			ImageID: p.image.ID, KernelID: p.kernel, RamdiskID: p.ramdisk, Type: p.kind.Name, VCPUs: p.kind.VCPUs, MemoryMiB: p.kind.MemoryMiB,
			DiskGiB: p.diskGiB(), Zone: p.subnet.Zone,
			VPCID: p.vpc.ID, SubnetID: p.subnet.ID, IMDS: p.imds, APITermination: isTrue(p.in.DisableApiTermination), OnShutdown: "terminate",
			Monitoring: p.in.Monitoring != nil && p.in.Monitoring.Enabled, Power: resource.PowerOn, State: resource.Pending, LaunchedAt: now,
			StateReason: resource.StateReason{Code: "pending", Message: "pending"},
		}
		userdata.Set(s.Sealer, inst, p.userData)
		if p.profile != nil {
			inst.ProfileID, inst.ProfileAssociation, inst.ProfileSince = p.profile.ID, s.IDs.Resource("iip-assoc-"), now
		}
		if p.in.ClientToken != "" {
			inst.TokenDigest = p.digest
		}
		disks := 1
		if p.image.RootDeviceType == "ebs" {
			inst.RootDevice, inst.DiskGiB, inst.OnShutdown, disks = p.image.RootDeviceName, 0, pick(p.in.InstanceInitiatedShutdownBehavior, "stop"), 0
		}
		inst.Slots = compute.Slots(disks + len(p.volumes) + 1)
		if p.key != nil {
			inst.KeyName, inst.PublicKey = p.key.Name, p.key.PublicKey
		}
		if err := s.putInterfaces(tx, p, inst, rnd); err != nil {
			if index >= p.in.MinCount && isShortage(err) { // as many as there is room for, but at least MinCount
				for _, id := range inst.Interfaces {
					store.Interfaces.Delete(tx, id)
				}
				break
			}
			return nil, err
		}
		p.join(tx, inst)
		if err := store.Instances.Put(tx, inst); err != nil {
			return nil, err
		}
		if err := s.addVolumes(tx, info, p, inst); err != nil {
			return nil, err
		}
		out = append(out, inst)
	}
	return out, nil
}

func isShortage(err error) bool {
	code := awserr.Code(err)
	return code == "InsufficientFreeAddressesInSubnet" || code == "InsufficientAddressCapacity"
}
