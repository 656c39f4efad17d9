package ec2

import (
	"strconv"
	"strings"

	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// instanceView is an instance with what filters need beside it, looked up only when asked for.
type instanceView struct {
	*resource.Instance
	r store.Reader
	s *Service
}

// eni gives the primary interface, or nil.
func (v *instanceView) eni() *resource.Interface {
	if !v.State.Alive() || len(v.Interfaces) == 0 {
		return nil
	}
	return store.Interfaces.Get(v.r, v.Interfaces[0])
}

// image gives the image, or nil if it is forgotten.
func (v *instanceView) image() *resource.Image { return store.Images.Get(v.r, v.ImageID) }

// ofENI is a filter on the primary interface.
func ofENI(value func(interfaceView) []string) func(*instanceView) []string {
	return func(v *instanceView) []string {
		e := v.eni()
		if e == nil {
			return nil
		}
		return value(interfaceView{e, v.r, v.s.cfg.Domain})
	}
}

// ofImage is a filter on the image, with a value for images that are forgotten.
func ofImage(none string, value func(*resource.Image) string) func(*instanceView) []string {
	return func(v *instanceView) []string {
		if img := v.image(); img != nil {
			return one(value(img))
		}
		return one(none)
	}
}

func alive(value func(*instanceView) string) func(*instanceView) []string {
	return func(v *instanceView) []string {
		if !v.State.Alive() {
			return nil
		}
		return one(value(v))
	}
}

// imds is a filter on the metadata options as they are shown.
func imds(value func(o resource.IMDSOptions) string) func(*instanceView) []string {
	return func(v *instanceView) []string { return one(value(v.IMDS)) }
}

func choose[T any](b bool, yes, no T) T {
	if b {
		return yes
	}
	return no
}

var instanceFilters = func() *filter.Set[*instanceView] {
	type view = *instanceView
	set := &filter.Set[view]{
		Fields: map[string]func(view) []string{
			"architecture":      ofImage("x86_64", func(i *resource.Image) string { return i.Architecture }),
			"availability-zone": func(v view) []string { return one(v.Zone) },
			"availability-zone-id": func(v view) []string {
				if z := store.Zones.Get(v.r, v.Zone); z != nil {
					return one(z.ZoneID)
				}
				return nil
			},
			"product-code":      func(v view) []string { return codesOf(v.image()) },
			"product-code.type": func(v view) []string { return codeTypes(codesOf(v.image())) },
			"boot-mode":         ofImage("", func(i *resource.Image) string { return i.BootMode }),
			"capacity-reservation-specification.capacity-reservation-preference": constant[view]("open"),
			"client-token":                      func(v view) []string { return one(v.ClientToken) },
			"current-instance-boot-mode":        ofImage("legacy-bios", func(i *resource.Image) string { return choose(i.UEFI(), "uefi", "legacy-bios") }),
			"dns-name":                          ofENI(func(v interfaceView) []string { return one(publicName(v, v.Addresses()[0])) }),
			"ebs-optimized":                     constant[view]("false"),
			"ena-support":                       constant[view]("false"),
			"enclave-options.enabled":           constant[view]("false"),
			"hibernation-options.configured":    constant[view]("false"),
			"hypervisor":                        constant[view]("xen"),
			"image-id":                          func(v view) []string { return one(v.ImageID) },
			"instance-id":                       func(v view) []string { return one(v.ID) },
			"instance-state-code":               func(v view) []string { return one(strconv.Itoa(v.State.Code())) },
			"instance-state-name":               func(v view) []string { return one(string(v.State)) },
			"instance-type":                     func(v view) []string { return one(v.Type) },
			"instance.group-id":                 ofENI(func(v interfaceView) []string { return v.Groups }),
			"instance.group-name":               ofENI(interfaceView.groupNames),
			"group-id":                          ofENI(func(v interfaceView) []string { return v.Groups }),
			"group-name":                        ofENI(interfaceView.groupNames),
			"ip-address":                        ofENI(func(v interfaceView) []string { return one(v.PublicIP) }),
			"kernel-id":                         func(v view) []string { return one(v.KernelID) },
			"key-name":                          func(v view) []string { return one(v.KeyName) },
			"launch-index":                      func(v view) []string { return one(strconv.Itoa(v.LaunchIndex)) },
			"launch-time":                       func(v view) []string { return one(awsTime(v.LaunchedAt)) },
			"maintenance-options.auto-recovery": constant[view]("disabled"),
			"metadata-options.http-endpoint":    imds(func(o resource.IMDSOptions) string { return choose(o.Disabled, "disabled", "enabled") }),
			"metadata-options.http-tokens":      imds(func(o resource.IMDSOptions) string { return choose(o.TokensNeeded, "required", "optional") }),
			"metadata-options.instance-metadata-tags":      imds(func(o resource.IMDSOptions) string { return choose(o.InstanceTags, "enabled", "disabled") }),
			"metadata-options.http-put-response-hop-limit": imds(func(o resource.IMDSOptions) string { return strconv.Itoa(max(1, o.HopLimit)) }),
			"metadata-options.http-protocol-ipv4":          constant[view]("enabled"),
			"metadata-options.http-protocol-ipv6":          constant[view]("disabled"),
			"metadata-options.state":                       constant[view]("applied"),
			"monitoring-state":                             func(v view) []string { return one(choose(v.Monitoring, "enabled", "disabled")) },
			"operator.managed":                             constant[view]("false"),
			"owner-id":                                     func(v view) []string { return one(v.AccountID) },
			"platform":                                     ofImage("", func(i *resource.Image) string { return choose(strings.EqualFold(i.Platform, "windows"), "windows", "") }),
			"platform-details":                             constant[view]("Linux/UNIX"),
			"placement-group-name": func(v view) []string {
				if g := store.PlacementGroups.Get(v.r, v.PlacementGroup); g != nil {
					return one(g.Name)
				}
				return nil
			},
			"placement-partition-number": func(v view) []string {
				if v.Partition == 0 {
					return nil
				}
				return one(strconv.Itoa(v.Partition))
			},
			"private-dns-name":                                              ofENI(func(v interfaceView) []string { return one(privateName(v.Region, v.PrivateIP)) }),
			"private-dns-name-options.hostname-type":                        constant[view]("ip-name"),
			"private-dns-name-options.enable-resource-name-dns-a-record":    constant[view]("false"),
			"private-dns-name-options.enable-resource-name-dns-aaaa-record": constant[view]("false"),
			"private-ip-address":                                            ofENI(func(v interfaceView) []string { return one(v.PrivateIP) }),
			"ramdisk-id":                                                    func(v view) []string { return one(v.RamdiskID) },
			"reason":                                                        func(v view) []string { return one(transition(v.Instance)) },
			"reservation-id":                                                func(v view) []string { return one(v.ReservationID) },
			"root-device-name": func(v view) []string {
				if v.RootDevice != "" {
					return one(v.RootDevice)
				}
				return ofImage(defaultRootDevice, func(i *resource.Image) string {
					return choose(i.RootDeviceName == "", defaultRootDevice, i.RootDeviceName)
				})(v)
			},
			"root-device-type":            func(v view) []string { return one(choose(v.RootDevice != "", "ebs", "instance-store")) },
			"source-dest-check":           ofENI(func(v interfaceView) []string { return yes(!v.NoSourceCheck) }),
			"state-reason-code":           func(v view) []string { return one(v.StateReason.Code) },
			"state-reason-message":        func(v view) []string { return one(v.StateReason.Message) },
			"subnet-id":                   alive(func(v view) string { return v.SubnetID }),
			"tenancy":                     constant[view]("default"),
			"usage-operation":             constant[view]("RunInstances"),
			"usage-operation-update-time": func(v view) []string { return one(awsTime(v.LaunchedAt)) },
			"virtualization-type":         constant[view]("hvm"),
			"vpc-id":                      alive(func(v view) string { return shownVPC(v.VPCID) }),
		},
		Never: []string{
			"affinity", "capacity-reservation-id", "host-id", "iam-instance-profile.arn",
			"iam-instance-profile.id", "iam-instance-profile.name", "instance-lifecycle", "network-interface.addresses.association.carrier-ip",
			"network-interface.addresses.association.customer-owned-ip", "network-interface.association.carrier-ip", "network-interface.association.customer-owned-ip",
			"network-interface.deny-all-igw-traffic", "network-interface.ipv4-prefixes.ipv4-prefix",
			"network-interface.ipv6-prefixes.ipv6-prefix", "network-interface.operator.principal", "network-interface.outpost-arn",
			"network-interface.requester-id", "network-performance-options.bandwidth-weighting", "operator.principal", "outpost-arn",
			"requester-id", "spot-instance-request-id", "tpm-support",
		},
		Tags: func(v view) map[string]string { return v.Tags },
	}
	for name, value := range map[string]func(*resource.Volume) string{
		"attach-time":           func(v *resource.Volume) string { return awsTime(v.Attachment.At) },
		"delete-on-termination": func(v *resource.Volume) string { return strconv.FormatBool(v.Attachment.DeleteOnEnd) },
		"device-name":           func(v *resource.Volume) string { return v.Attachment.Device },
		"status":                func(v *resource.Volume) string { return string(v.Attachment.State) },
		"volume-id":             func(v *resource.Volume) string { return v.ID },
	} {
		set.Fields["block-device-mapping."+name] = func(v view) (out []string) {
			for _, vol := range volumesOf(v.r, v.Instance) {
				out = append(out, value(vol))
			}
			return out
		}
	}
	for name, value := range interfaceFields() {
		set.Fields["network-interface."+name] = ofENI(value)
	}
	set.Fields["network-interface.ipv6-address"] = set.Fields["network-interface.ipv6-addresses.ipv6-address"]
	set.Fields["ipv6-address"] = set.Fields["network-interface.ipv6-address"]
	set.Fields["network-interface.tag-key"] = ofENI(func(v interfaceView) (out []string) {
		for k := range v.Tags {
			out = append(out, k)
		}
		return out
	})
	set.Fields["network-interface.tag-value"] = ofENI(func(v interfaceView) (out []string) {
		for _, t := range v.Tags {
			out = append(out, t)
		}
		return out
	})
	return set
}()
