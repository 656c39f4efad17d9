package ec2

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strconv"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/userdata"
)

// Tags by which AWS marks instances that come of a template.
const (
	templateTag        = "aws:ec2launchtemplate:id"
	templateVersionTag = "aws:ec2launchtemplate:version"
)

// fromTemplate completes a launch by the template that it names: what the request says counts, list elements
// of one device, interface index or resource type are completed one by one. data gives a version's parameters. system are tags for the instances.
func fromTemplate(r store.Reader, info *call.Info, in *shape.RunInstancesRequest, data func(*resource.LaunchTemplateVersion) (json.RawMessage, error)) (whole *shape.RunInstancesRequest, system resource.Tags, err error) {
	t, err := findTemplate(r, info, in.LaunchTemplate.LaunchTemplateId, in.LaunchTemplate.LaunchTemplateName)
	if err != nil {
		return nil, nil, err
	}
	v, err := findVersion(r, t, in.LaunchTemplate.Version)
	if err != nil {
		return nil, nil, err
	}
	whole = new(shape.RunInstancesRequest)
	text, err := data(v)
	if err != nil {
		return nil, nil, err
	}
	if err := recast(text, whole); err != nil {
		return nil, nil, err
	}
	// Old names of kinds of tags in templates: a launch here makes no spot request.
	kept := whole.TagSpecifications[:0]
	for _, spec := range whole.TagSpecifications {
		if spec.ResourceType != "spot-instances-request" {
			kept = append(kept, spec)
		}
	}
	whole.TagSpecifications = kept
	if len(in.SecurityGroupIds)+len(in.SecurityGroups) > 0 {
		whole.SecurityGroupIds, whole.SecurityGroups = nil, nil
	}
	template := *whole
	overlay(whole, in)
	complete(&whole.Placement, template.Placement, in.Placement)
	complete(&whole.MetadataOptions, template.MetadataOptions, in.MetadataOptions)
	complete(&whole.PrivateDnsNameOptions, template.PrivateDnsNameOptions, in.PrivateDnsNameOptions)
	whole.TagSpecifications = tagsOver(template.TagSpecifications, in.TagSpecifications)
	whole.BlockDeviceMappings = listOver(template.BlockDeviceMappings, in.BlockDeviceMappings, func(m *shape.BlockDeviceMapping) string { return m.DeviceName })
	whole.NetworkInterfaces = listOver(template.NetworkInterfaces, in.NetworkInterfaces, func(e *shape.InstanceNetworkInterfaceSpecification) string {
		if e.DeviceIndex == nil {
			return ""
		}
		return strconv.Itoa(*e.DeviceIndex)
	})
	return whole, resource.Tags{templateTag: t.ID, templateVersionTag: strconv.FormatInt(v.Number, 10)}, nil
}

// complete sets *to to what under says with over's fields on top.
func complete[T any](to **T, under, over *T) {
	if under == nil || over == nil {
		return
	}
	whole := *under
	overlay(&whole, over)
	*to = &whole
}

// listOver puts a request's elements over a template's with the same key.
func listOver[T any](under, over []T, key func(*T) string) []T {
	out := append([]T(nil), under...)
next:
	for i := range over {
		for j := range out {
			if key(&out[j]) == key(&over[i]) && key(&over[i]) != "" {
				overlay(&out[j], &over[i])
				continue next
			}
		}
		out = append(out, over[i])
	}
	return out
}

// tagsOver puts a request's tags over a template's, tag by tag.
func tagsOver(under, over []shape.TagSpecification) []shape.TagSpecification {
	var out []shape.TagSpecification
	for _, spec := range under {
		out = append(out, shape.TagSpecification{ResourceType: spec.ResourceType, Tags: append([]shape.Tag(nil), spec.Tags...)})
	}
next:
	for _, spec := range over {
		for i := range out {
			if out[i].ResourceType == spec.ResourceType {
				out[i].Tags = listOver(out[i].Tags, spec.Tags, func(t *shape.Tag) string { return t.Key })
				continue next
			}
		}
		out = append(out, spec)
	}
	return out
}

// GetLaunchTemplateData gives the parameters by which an instance's like can be launched.
func (s *Service) GetLaunchTemplateData(ctx context.Context, in *shape.GetLaunchTemplateDataRequest) (*shape.GetLaunchTemplateDataResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.InstanceId == "" {
		return nil, errMissing("InstanceId")
	}
	inst, err := instances.find(r, info, in.InstanceId)
	if err != nil {
		return nil, err
	}
	if !inst.State.Alive() {
		return nil, awserr.New("IncorrectInstanceState", "The instance '%s' is terminated.", inst.ID)
	}
	data, err := userdata.Of(s.Sealer, inst)
	if err != nil {
		return nil, err
	}
	terminates := inst.APITermination
	show := s.shapeInstance(r, inst)
	out := &shape.ResponseLaunchTemplateData{
		KernelId: inst.KernelID, RamDiskId: inst.RamdiskID, ImageId: inst.ImageID, InstanceType: inst.Type, KeyName: inst.KeyName,
		Monitoring: &shape.LaunchTemplatesMonitoring{Enabled: inst.Monitoring}, DisableApiTermination: &terminates,
		InstanceInitiatedShutdownBehavior: inst.OnShutdown, UserData: base64.StdEncoding.EncodeToString(data),
		Placement: &shape.LaunchTemplatePlacement{
			AvailabilityZone: inst.Zone, Tenancy: "default", GroupName: show.Placement.GroupName, PartitionNumber: inst.Partition,
		},
		CapacityReservationSpecification: &shape.LaunchTemplateCapacityReservationSpecificationResponse{CapacityReservationPreference: "open"},
		HibernationOptions:               &shape.LaunchTemplateHibernationOptions{}, EnclaveOptions: &shape.LaunchTemplateEnclaveOptions{},
	}
	if err := recast(show.MetadataOptions, &out.MetadataOptions); err != nil {
		return nil, err
	}
	if err := recast(show.CpuOptions, &out.CpuOptions); err != nil {
		return nil, err
	}
	for _, e := range show.NetworkInterfaces {
		spec := shape.LaunchTemplateInstanceNetworkInterfaceSpecification{
			AssociatePublicIpAddress: e.Association != nil, DeleteOnTermination: e.Attachment.DeleteOnTermination, Description: e.Description,
			DeviceIndex: e.Attachment.DeviceIndex, InterfaceType: e.InterfaceType, SubnetId: e.SubnetId, Groups: []string{},
			Ipv6Addresses: []shape.InstanceIpv6Address{}, PrivateIpAddresses: []shape.PrivateIpAddressSpecification{},
		}
		for _, g := range e.Groups {
			spec.Groups = append(spec.Groups, g.GroupId)
		}
		out.NetworkInterfaces = append(out.NetworkInterfaces, spec)
	}
	var tags []shape.Tag
	for _, t := range show.Tags {
		if !reserved(t.Key) {
			tags = append(tags, t)
		}
	}
	if len(tags) > 0 {
		out.TagSpecifications = []shape.LaunchTemplateTagSpecification{{ResourceType: "instance", Tags: tags}}
	}
	return &shape.GetLaunchTemplateDataResult{LaunchTemplateData: out}, nil
}
