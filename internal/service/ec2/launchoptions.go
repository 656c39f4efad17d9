package ec2

import (
	"strconv"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/instancetype"
	"karri.dev/internal/resource"
)

// checkChoices checks the parts of a launch of which Karri offers one choice: that one may be named.
func checkChoices(in *shape.RunInstancesRequest) error {
	if p := in.Placement; p != nil && p.Tenancy != "" && p.Tenancy != "default" {
		return errUnsupported("The tenancy '%s' is not supported by this cloud.", p.Tenancy)
	}
	if err := oneOf("instanceInitiatedShutdownBehavior", in.InstanceInitiatedShutdownBehavior, "stop", "terminate"); err != nil {
		return err
	}
	if c := in.CapacityReservationSpecification; c != nil {
		if err := oneOf("capacityReservationPreference", c.CapacityReservationPreference, "open", "none"); err != nil {
			return err
		}
	}
	if m := in.MaintenanceOptions; m != nil {
		if err := oneOf("autoRecovery", m.AutoRecovery, "default", "disabled"); err != nil {
			return err
		}
		if m.AutoRecovery == "default" {
			return errUnsupported("Automatic recovery is not supported by this cloud.")
		}
	}
	if d := in.PrivateDnsNameOptions; d != nil {
		if err := oneOf("hostnameType", d.HostnameType, "ip-name", "resource-name"); err != nil {
			return err
		}
		if d.HostnameType == "resource-name" || isTrue(d.EnableResourceNameDnsARecord) || isTrue(d.EnableResourceNameDnsAAAARecord) {
			return errUnsupported("Resource-based host names are not supported by this cloud.")
		}
	}
	if c := in.CreditSpecification; c != nil {
		if err := oneOf("cpuCredits", c.CpuCredits, "standard", "unlimited"); err != nil {
			return err
		}
		if c.CpuCredits == "standard" {
			return errUnsupported("CPU credits are not counted by this cloud: every instance is unlimited.")
		}
	}
	return checkMappings(in.BlockDeviceMappings)
}

// checkCPU takes the type's own cores and threads, and nothing else.
func checkCPU(c *shape.CpuOptionsRequest, t *instancetype.Type) error {
	if c == nil {
		return nil
	}
	if c.CoreCount != nil && *c.CoreCount != t.Cores() {
		return errCombination("The instance type %s has %d CPU cores; %d are not supported by this cloud.", t.Name, t.Cores(), *c.CoreCount)
	}
	if c.ThreadsPerCore != nil && *c.ThreadsPerCore != t.ThreadsPerCore() {
		return errCombination("The instance type %s has %d threads per core; %d are not supported by this cloud.", t.Name, t.ThreadsPerCore(), *c.ThreadsPerCore)
	}
	return nil
}

// metadataOptions changes options by a request; nil changes nothing.
func metadataOptions(o resource.IMDSOptions, in *shape.InstanceMetadataOptionsRequest) (resource.IMDSOptions, error) {
	if in == nil {
		return o, nil
	}
	for _, e := range []error{
		oneOf("httpTokens", in.HttpTokens, "optional", "required"),
		oneOf("httpEndpoint", in.HttpEndpoint, "enabled", "disabled"),
		oneOf("httpProtocolIpv6", in.HttpProtocolIpv6, "enabled", "disabled"),
		oneOf("instanceMetadataTags", in.InstanceMetadataTags, "enabled", "disabled"),
	} {
		if e != nil {
			return o, e
		}
	}
	if in.HttpProtocolIpv6 == "enabled" {
		return o, errUnsupported("The metadata service has no IPv6 endpoint in this cloud.")
	}
	if in.HttpTokens != "" {
		o.TokensNeeded = in.HttpTokens == "required"
	}
	if in.HttpEndpoint != "" {
		o.Disabled = in.HttpEndpoint == "disabled"
	}
	if in.InstanceMetadataTags != "" {
		o.InstanceTags = in.InstanceMetadataTags == "enabled"
	}
	if n := in.HttpPutResponseHopLimit; n != nil {
		if *n < 1 || *n > 64 {
			return o, errValue(strconv.Itoa(*n), "httpPutResponseHopLimit")
		}
		o.HopLimit = *n
	}
	return o, nil
}
