package resource

import "strings"

// VPCEndpoint leads from a VPC to a service of the cloud. A gateway endpoint is found by routes, which its route tables
// hold; an interface endpoint by its interfaces, one a subnet.
type VPCEndpoint struct {
	Owned
	ID         string   `json:"id"` // vpce-…
	VPCID      string   `json:"vpc"`
	Service    string   `json:"service"` // its AWS name, com.amazonaws.REGION.s3
	Gateway    bool     `json:"gateway,omitempty"`
	Policy     *Bound   `json:"policy,omitempty"` // nil = everything is allowed
	Interfaces []string `json:"interfaces,omitempty"`
	Groups     []string `json:"groups,omitempty"`
	PrivateDNS bool     `json:"private_dns,omitempty"`
	Label      string   `json:"label,omitempty"` // what makes its own DNS names hard to guess
	Token      string   `json:"token,omitempty"` // the client token that it was made with, and a digest of the parameters
}

// EndpointServices are the services that have VPC endpoints, by their signing names.
var EndpointServices = []string{"cloudtrail", "ec2", "iam", "s3", "sts"}

// EndpointService is AWS's name of a service for VPC endpoints. IAM belongs to no region.
func EndpointService(region, service string) string {
	if service == "iam" {
		return "com.amazonaws.iam"
	}
	return "com.amazonaws." + region + "." + service
}

// Signing gives the signing name of the endpoint's service.
func (e *VPCEndpoint) Signing() string { return e.Service[strings.LastIndexByte(e.Service, '.')+1:] }

// ServiceName is the DNS name of a service under the cloud's domain, which an endpoint takes over with private DNS.
func ServiceName(region, service, domain string) string {
	if service == "iam" {
		return "iam." + domain
	}
	return service + "." + region + "." + domain
}

// Names gives the DNS names of an interface endpoint itself: one for all, and one a zone.
func (e *VPCEndpoint) Names(domain string, zones []string) (all string, zonal []string) {
	at := "." + e.Signing() + "." + e.Region + ".vpce." + domain
	all = e.ID + "-" + e.Label + at
	for _, z := range zones {
		zonal = append(zonal, e.ID+"-"+e.Label+"-"+z+at)
	}
	return all, zonal
}
