package ec2

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/userdata"
)

func text(v string) *shape.AttributeValue { return &shape.AttributeValue{Value: v} }

// DescribeInstanceAttribute answers one attribute.
func (s *Service) DescribeInstanceAttribute(ctx context.Context, in *shape.DescribeInstanceAttributeRequest) (*shape.DescribeInstanceAttributeResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	switch {
	case in.InstanceId == "":
		return nil, errMissing("InstanceId")
	case in.Attribute == "":
		return nil, errMissing("attribute")
	}
	inst, err := instances.find(r, info, in.InstanceId)
	if err != nil {
		return nil, err
	}
	v := &instanceView{Instance: inst, r: r, s: s}
	out := &shape.DescribeInstanceAttributeResult{InstanceId: inst.ID}
	switch in.Attribute {
	case "instanceType":
		out.InstanceType = text(inst.Type)
	case "kernel":
		out.KernelId = text(inst.KernelID)
	case "ramdisk":
		out.RamdiskId = text(inst.RamdiskID)
	case "userData":
		data, err := userdata.Of(s.Sealer, inst)
		if err != nil {
			return nil, err
		}
		out.UserData = text(base64.StdEncoding.EncodeToString(data))
	case "disableApiTermination":
		out.DisableApiTermination = boolean(inst.APITermination)
	case "disableApiStop":
		out.DisableApiStop = boolean(inst.APIStop)
	case "instanceInitiatedShutdownBehavior":
		out.InstanceInitiatedShutdownBehavior = text(inst.OnShutdown)
	case "rootDeviceName":
		out.RootDeviceName = text(instanceFilters.Fields["root-device-name"](v)[0])
	case "blockDeviceMapping":
		out.BlockDeviceMappings = s.shapeInstance(r, inst).BlockDeviceMappings
	case "productCodes":
		out.ProductCodes = shapeCodes(codesOf(store.Images.Get(r, inst.ImageID)))
	case "sourceDestCheck":
		if e := v.eni(); e != nil {
			out.SourceDestCheck = boolean(!e.NoSourceCheck)
		}
	case "groupSet":
		out.Groups = noGroups
		if e := v.eni(); e != nil {
			out.Groups = identifiers(r, e.Groups)
		}
	case "ebsOptimized":
		out.EbsOptimized = boolean(false)
	case "enaSupport":
		out.EnaSupport = boolean(false)
	case "sriovNetSupport":
		out.SriovNetSupport = text("")
	case "enclaveOptions":
		out.EnclaveOptions = noEnclave
	default:
		return nil, errValue(in.Attribute, "attribute")
	}
	return out, nil
}

// instanceChange is what a ModifyInstanceAttribute request changes: one of these.
type instanceChange struct {
	protect     *bool
	protectStop *bool
	mappings    []shape.InstanceBlockDeviceMappingSpecification
	sourceCheck *bool
	shutdown    string
	kind        string // instance type
	kernel      string
	ramdisk     string
	userData    *[]byte
	groups      []string
}

// changeOf reads a request's one change, from either of the forms.
func changeOf(in *shape.ModifyInstanceAttributeRequest) (*instanceChange, error) {
	c := &instanceChange{groups: in.Groups, mappings: in.BlockDeviceMappings}
	given := 0
	if len(in.BlockDeviceMappings) > 0 {
		given++
	}
	if in.DisableApiStop != nil {
		c.protectStop = in.DisableApiStop.Value
		given++
	}
	if len(in.Groups) > 0 {
		given++
	}
	if in.DisableApiTermination != nil {
		c.protect = in.DisableApiTermination.Value
		given++
	}
	if in.SourceDestCheck != nil {
		c.sourceCheck = in.SourceDestCheck.Value
		given++
	}
	if in.InstanceInitiatedShutdownBehavior != nil {
		c.shutdown = in.InstanceInitiatedShutdownBehavior.Value
		given++
	}
	if in.InstanceType != nil {
		c.kind = in.InstanceType.Value
		given++
	}
	if in.Kernel != nil {
		c.kernel = in.Kernel.Value
		given++
	}
	if in.Ramdisk != nil {
		c.ramdisk = in.Ramdisk.Value
		given++
	}
	if in.UserData != nil {
		data := in.UserData.Value
		c.userData = &data
		given++
	}
	if in.Attribute != "" {
		given++
		b, err := strconv.ParseBool(strings.ToLower(in.Value))
		switch in.Attribute {
		case "disableApiTermination":
			c.protect = &b
		case "disableApiStop":
			c.protectStop = &b
		case "sourceDestCheck":
			c.sourceCheck = &b
		case "instanceInitiatedShutdownBehavior":
			c.shutdown, err = in.Value, nil
		case "instanceType":
			c.kind, err = in.Value, nil
		case "kernel":
			c.kernel, err = in.Value, nil
		case "ramdisk":
			c.ramdisk, err = in.Value, nil
		case "userData":
			var data []byte
			data, err = userData(in.Value)
			c.userData = &data
		case "rootDeviceName", "blockDeviceMapping", "ebsOptimized", "sriovNetSupport", "enaSupport", "enclaveOptions", "productCodes", "groupSet":
			return nil, errUnsupported("The attribute '%s' cannot be changed in this way.", in.Attribute)
		default:
			return nil, errValue(in.Attribute, "attribute")
		}
		if err != nil {
			return nil, errValue(in.Value, "value")
		}
	} else if in.Value != "" {
		return nil, errMissing("attribute")
	}
	switch {
	case given == 0:
		return nil, errCombination("No attributes specified.")
	case given > 1:
		return nil, errCombination("Fields for multiple attribute types specified: only one attribute can be modified at a time.")
	case c.protect == nil && c.protectStop == nil && len(c.mappings) == 0 && c.sourceCheck == nil && c.shutdown == "" && len(c.groups) == 0 && c.kind == "" && c.kernel == "" && c.ramdisk == "" && c.userData == nil:
		return nil, errMissing("value")
	}
	if err := oneOf("instanceInitiatedShutdownBehavior", c.shutdown, "stop", "terminate"); err != nil {
		return nil, err
	}
	return c, nil
}

// ModifyInstanceAttribute changes one attribute.
func (s *Service) ModifyInstanceAttribute(ctx context.Context, in *shape.ModifyInstanceAttributeRequest) (*shape.ModifyInstanceAttributeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.InstanceId == "" {
		return nil, errMissing("InstanceId")
	}
	change, err := changeOf(in)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		inst, err := instances.find(tx, info, in.InstanceId)
		if err != nil {
			return err
		}
		if inst.Power == resource.PowerGone {
			return errInstanceState(inst.ID, string(inst.State))
		}
		if change.protect != nil {
			next := *inst
			next.APITermination = *change.protect
			return store.Instances.Put(tx, &next)
		}
		if change.protectStop != nil {
			if inst.RootDevice == "" {
				return errUnsupported("The attribute disableApiStop can only be used for EBS-backed instances.")
			}
			next := *inst
			next.APIStop = *change.protectStop
			return store.Instances.Put(tx, &next)
		}
		if len(change.mappings) > 0 {
			return changeMappings(tx, inst, change.mappings)
		}
		if change.shutdown != "" {
			if inst.RootDevice == "" && change.shutdown == "stop" {
				return errUnsupported("The attribute instanceInitiatedShutdownBehavior can only be used for EBS-backed instances.")
			}
			next := *inst
			next.OnShutdown = change.shutdown
			return store.Instances.Put(tx, &next)
		}
		if change.kind != "" || change.kernel != "" || change.ramdisk != "" || change.userData != nil {
			return s.changeStopped(tx, info, inst, change)
		}
		eni := (&instanceView{Instance: inst, r: tx, s: s}).eni()
		if eni == nil {
			return nil
		}
		if !resource.InVPC(inst.VPCID) {
			return errCombination("You may only modify the sourceDestCheck and groupSet attributes for VPC instances")
		}
		next := *eni
		if change.sourceCheck != nil {
			next.NoSourceCheck = !*change.sourceCheck
		}
		if len(change.groups) > 0 {
			if next.Groups, err = groupsIn(tx, info, inst.VPCID, change.groups); err != nil {
				return err
			}
		}
		return store.Interfaces.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ModifyInstanceAttributeResult{}, nil
}

// changeMappings says of volumes of an instance whether they end with it.
func changeMappings(tx *store.Tx, inst *resource.Instance, mappings []shape.InstanceBlockDeviceMappingSpecification) error {
	for _, m := range mappings {
		switch {
		case m.DeviceName == "":
			return errMissing("deviceName")
		case m.Ebs == nil || m.Ebs.DeleteOnTermination == nil:
			return errMissing("ebs.deleteOnTermination")
		}
		found := false
		for _, v := range volumesOf(tx, inst) {
			if !sameDevice(v.Attachment.Device, m.DeviceName) || v.Attachment.State == resource.Detaching || m.Ebs.VolumeId != "" && m.Ebs.VolumeId != v.ID {
				continue
			}
			next, link := *v, *v.Attachment
			link.DeleteOnEnd = *m.Ebs.DeleteOnTermination
			next.Attachment, found = &link, true
			if err := store.Volumes.Put(tx, &next); err != nil {
				return err
			}
		}
		if !found {
			return awserr.New("InvalidInstanceAttributeValue", "No device is currently mapped at %s", m.DeviceName)
		}
	}
	return nil
}

// groupsIn checks group ids for an interface of a VPC.
func groupsIn(r store.Reader, info *call.Info, vpc string, ids []string) ([]string, error) {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	for _, id := range ids {
		g, err := groups.find(r, info, id)
		if err != nil {
			return nil, err
		}
		if g.VPCID != vpc {
			return nil, awserr.New("InvalidGroup.NotFound", "The security group '%s' does not exist in VPC '%s'", id, vpc)
		}
	}
	if len(ids) > maxGroupsPerInterface {
		return nil, awserr.New("SecurityGroupsPerInterfaceLimitExceeded", "The maximum number of security groups per interface has been reached.")
	}
	return ids, nil
}

// ModifyInstanceMetadataOptions changes the metadata options of a live instance.
func (s *Service) ModifyInstanceMetadataOptions(ctx context.Context, in *shape.ModifyInstanceMetadataOptionsRequest) (*shape.ModifyInstanceMetadataOptionsResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.InstanceId == "" {
		return nil, errMissing("InstanceId")
	}
	ask := &shape.InstanceMetadataOptionsRequest{
		HttpTokens: in.HttpTokens, HttpPutResponseHopLimit: in.HttpPutResponseHopLimit, HttpEndpoint: in.HttpEndpoint,
		HttpProtocolIpv6: in.HttpProtocolIpv6, InstanceMetadataTags: in.InstanceMetadataTags,
	}
	if *ask == (shape.InstanceMetadataOptionsRequest{}) {
		return nil, errCombination("At least one of the options to modify must be given.")
	}
	var options resource.IMDSOptions
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		inst, err := instances.find(tx, info, in.InstanceId)
		if err != nil {
			return err
		}
		if inst.Power == resource.PowerGone {
			return errInstanceState(inst.ID, string(inst.State))
		}
		if options, err = metadataOptions(inst.IMDS, ask); err != nil {
			return err
		}
		next := *inst
		next.IMDS = options
		return store.Instances.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	out := shapeIMDS(options)
	out.State = "pending" // it is applied when the node has heard of it
	return &shape.ModifyInstanceMetadataOptionsResult{InstanceId: in.InstanceId, InstanceMetadataOptions: out}, nil
}
