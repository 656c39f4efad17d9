package audit

import (
	"net/url"
	"slices"
	"strings"
)

// Resource is what a call is about.
type Resource struct {
	AccountID string `json:"accountId,omitempty"`
	Type      string `json:"type,omitempty"` // AWS::EC2::Instance
	ARN       string `json:"ARN,omitempty"`
	Name      string `json:"resourceName,omitempty"` // as the caller named it
}

// ec2Types are the types of resources by the prefix of their ids.
var ec2Types = map[string]string{
	"i": "Instance", "ami": "Ami", "vol": "Volume", "snap": "Snapshot", "vpc": "VPC", "subnet": "Subnet", "sg": "SecurityGroup", "rtb": "RouteTable",
	"igw": "InternetGateway", "eigw": "EgressOnlyInternetGateway", "eni": "NetworkInterface", "acl": "NetworkAcl", "dopt": "DHCPOptions", "eipalloc": "EIP", "nat": "NatGateway", "lt": "LaunchTemplate",
}

// iamTypes are the types of what parameters of IAM and STS name.
var iamTypes = map[string]string{
	"UserName": "User", "RoleName": "Role", "GroupName": "Group", "PolicyArn": "Policy", "RoleArn": "Role", "InstanceProfileName": "InstanceProfile",
	"AccessKeyId": "AccessKey", "PolicyName": "Policy",
}

// maxResources bounds what one event lists.
const maxResources = 50

// resources finds what a call is about in its parameters.
func resources(service, account string, form url.Values, object string) []Resource {
	var out []Resource
	add := func(kind, name, arn string) {
		if len(out) < maxResources && name != "" {
			out = append(out, Resource{AccountID: account, Type: "AWS::" + kind, ARN: clip(arn), Name: clip(name)})
		}
	}
	switch service {
	case "s3":
		bucket, key, isObject := strings.Cut(object, "/")
		add("S3::Bucket", bucket, "arn:aws:s3:::"+bucket)
		if isObject {
			add("S3::Object", key, "arn:aws:s3:::"+object)
		}
	case "ec2":
		for _, values := range form {
			for _, id := range values {
				prefix, rest, ok := strings.Cut(id, "-")
				if kind := ec2Types[prefix]; ok && kind != "" && (len(rest) == 8 || len(rest) == 17) {
					add("EC2::"+kind, id, "")
				}
			}
		}
	case "iam", "sts":
		for name, values := range form {
			kind := iamTypes[name]
			if kind == "" || len(values) == 0 {
				continue
			}
			v, arn := values[0], ""
			if strings.HasPrefix(v, "arn:") {
				arn = v
			}
			add("IAM::"+kind, v, arn)
		}
	}
	slices.SortFunc(out, func(a, b Resource) int { return strings.Compare(a.Type+a.Name, b.Type+b.Name) })
	return slices.Compact(out)
}
