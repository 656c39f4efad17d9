package resource

import "strings"

// PrivateDomain is the DNS domain of a region's private names, as AWS has it.
func PrivateDomain(region string) string {
	if region == "us-east-1" {
		return "ec2.internal"
	}
	return region + ".compute.internal"
}

// PrivateHost is the host name that belongs to a private address: "ip-10-0-0-5".
func PrivateHost(ip string) string { return "ip-" + strings.ReplaceAll(ip, ".", "-") }

// PrivateName is the private DNS name of an address: "ip-10-0-0-5.ec2.internal".
func PrivateName(region, ip string) string { return PrivateHost(ip) + "." + PrivateDomain(region) }

// PublicName is the public DNS name of an address under the cloud's domain:
// "ec2-203-0-113-5.compute-1.DOMAIN" in us-east-1, "ec2-….REGION.compute.DOMAIN" elsewhere.
func PublicName(region, ip, domain string) string {
	host := "ec2-" + strings.ReplaceAll(ip, ".", "-")
	if region == "us-east-1" {
		return host + ".compute-1." + domain
	}
	return host + "." + region + ".compute." + domain
}
