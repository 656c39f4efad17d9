package authz_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"karri.dev/internal/authz"
	"karri.dev/internal/service/ec2"
	"karri.dev/internal/service/iam"
	"karri.dev/internal/service/organizations"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/service/servicequotas"
	"karri.dev/internal/service/sts"
)

// asksAlso are the kinds that an operation's Also asks for.
var asksAlso = map[string]string{
	"ec2:AcceptVpcPeeringConnection": "vpc", "ec2:CreateImage": "snapshot", "ec2:CreateSnapshots": "volume snapshot", "ec2:DetachNetworkInterface": "instance",
	"ec2:DisassociateIamInstanceProfile": "instance", "ec2:ReplaceIamInstanceProfileAssociation": "instance", "ec2:DisassociateRouteTable": "subnet",
	"ec2:ReplaceRouteTableAssociation": "subnet", "ec2:ModifyNetworkInterfaceAttribute": "instance", "ec2:RunInstances": "volume snapshot",
}

// standsFor are kinds that go by other names in the tables.
var standsFor = map[string]string{
	"iam:any": "user group role policy", "iam:principal": "user group role", "iam:key-owner": "user", "iam:service-role": "role", "iam:deleted-role": "role",
	"ec2:any": "any import-image-task import-snapshot-task subnet vpc network-interface transit-gateway transit-gateway-attachment natgateway",
}

// notAsked are AWS's kinds that an operation here does not ask for. Of most there is none in this cloud: a request that
// names one is refused, whoever makes it.
var notAsked = map[string]string{
	"ec2:*":                                "ipam-pool ipv4pool-ec2 ipv6pool-ec2 transit-gateway transit-gateway-attachment vpn-concentrator capacity-reservation elastic-gpu elastic-inference license-configuration group secondary-interface secondary-subnet spot-instances-request export-instance-task",
	"ec2:AllocateHosts":                    "dedicated-host",               // always refused, as the next two
	"ec2:ImportInstance":                   "security-group subnet volume", //
	"ec2:RequestSpotInstances":             "image key-pair network-interface placement-group security-group snapshot subnet",
	"ec2:AssociateRouteTable":              "internet-gateway vpn-gateway", // gateways have no route tables here
	"ec2:DisassociateRouteTable":           "internet-gateway vpn-gateway", //
	"ec2:ReplaceRouteTableAssociation":     "internet-gateway vpn-gateway", //
	"ec2:CreateNatGateway":                 "vpc",                          // of regional NAT gateways
	"ec2:DisassociateAddress":              "network-interface",            // AWS takes either: the address is asked for
	"ec2:DisassociateNatGatewayAddress":    "network-interface",            // likewise
	"ec2:DeleteNetworkInterfacePermission": "network-interface",            // AWS takes "*" too
	"ec2:ImportImage":                      "snapshot",                     // DiskContainers.SnapshotId is refused
	"ec2:ModifyInstanceAttribute":          "volume",                       // BlockDeviceMappings is refused
	"ec2:ModifyNetworkInterfaceAttribute":  "subnet",                       // AssociatedSubnetIds is not in the API served
	"iam:DeleteVirtualMFADevice":           "sms-mfa",
}

// Every call asks for the actions and the kinds of resources that AWS's service authorization reference has for it
// (testdata/reference.txt: SERVICE:ACTION KIND…, "!" for what is always asked for, "any" for more than twenty).
func TestAgainstAWSsReference(t *testing.T) {
	text, err := os.ReadFile("testdata/reference.txt")
	if err != nil {
		t.Fatal(err)
	}
	reference := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		reference[words[0]] = words[1:]
	}
	for name, service := range map[string]authz.Service{
		"ec2": ec2.Permissions(), "s3": s3.Permissions(), "iam": iam.Permissions(), "sts": sts.Permissions(),
		"servicequotas": servicequotas.Permissions(), "organizations": organizations.Permissions(),
	} {
		for op, e := range service.Table {
			full := name + ":" + op
			for act := range strings.FieldsSeq(e.Handler) {
				if _, ok := reference[name+":"+act]; !ok {
					t.Errorf("%s asks for %s:%s, which AWS does not have", full, name, act)
				}
			}
			if e.Handler != "" || e.Free != "" {
				continue
			}
			if e.Action != "" {
				full = name + ":" + e.Action
			}
			kinds, ok := reference[full]
			if !ok {
				t.Errorf("%s is not an action of AWS's", full)
			}
			compare(t, name, full, e.On, kinds)
		}
	}
}

func compare(t *testing.T, service, full, on string, kinds []string) {
	asked := strings.Fields(asksAlso[full])
	for term := range strings.FieldsSeq(on) {
		kind, _, named := strings.Cut(term, ":")
		switch other := standsFor[service+":"+kind]; {
		case other != "":
			asked = append(asked, strings.Fields(other)...)
		case named:
			asked = append(asked, kind)
		}
		if strings.HasSuffix(term, ":+?") {
			continue // only tags are asked for
		}
		if named && standsFor[service+":"+kind] == "" && !slices.Contains(kinds, kind) && !slices.Contains(kinds, kind+"!") {
			t.Errorf("%s asks for a %s, AWS does not", full, kind)
		}
	}
	without := strings.Fields(notAsked[service+":*"] + " " + notAsked[full])
	for _, kind := range kinds {
		kind = strings.TrimSuffix(kind, "!")
		if !slices.Contains(asked, kind) && !slices.Contains(without, kind) {
			t.Errorf("%s asks for no %s, AWS does", full, kind)
		}
	}
}
