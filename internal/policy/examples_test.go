package policy

import (
	"net/netip"
	"testing"
	"time"
)

// The situations of the IAM and S3 guides' examples, in our own words: one policy, then what it lets through.
func TestDocumentedExamples(t *testing.T) {
	ann := worldPrincipals[2]
	at := func(s string) Value {
		tm, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return Time(tm)
	}
	addr := func(s string) Value { return Addr(netip.MustParseAddr(s)) }
	type try struct {
		action, resource string
		ctx              typedContext
		want             bool
	}
	for _, ex := range []struct {
		name, policy string
		tries        []try
	}{
		{"access between two dates", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:Describe*","Resource":"*",
			"Condition":{"DateGreaterThan":{"aws:CurrentTime":"2026-04-01T00:00:00Z"},"DateLessThan":{"aws:CurrentTime":"2026-06-30T23:59:59Z"}}}]}`, []try{
			{"ec2:DescribeInstances", "*", typedContext{"aws:currenttime": at("2026-05-01T12:00:00Z")}, true},
			{"ec2:DescribeInstances", "*", typedContext{"aws:currenttime": at("2026-07-01T00:00:00Z")}, false},
			{"ec2:RunInstances", "*", typedContext{"aws:currenttime": at("2026-05-01T12:00:00Z")}, false},
		}},
		{"everything denied from outside the office, but by services", `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":"*","Resource":"*"},
			{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":["192.0.2.0/24","203.0.113.0/24"]},"Bool":{"aws:ViaAWSService":"false"}}}]}`, []try{
			{"s3:GetObject", "arn:aws:s3:::b/k", typedContext{"aws:sourceip": addr("203.0.113.9"), "aws:viaawsservice": Bool(false)}, true},
			{"s3:GetObject", "arn:aws:s3:::b/k", typedContext{"aws:sourceip": addr("198.51.100.9"), "aws:viaawsservice": Bool(false)}, false},
			{"s3:GetObject", "arn:aws:s3:::b/k", typedContext{"aws:sourceip": addr("198.51.100.9"), "aws:viaawsservice": Bool(true)}, true},
		}},
		{"a home directory in a bucket", `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":["s3:ListAllMyBuckets","s3:GetBucketLocation"],"Resource":"*"},
			{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::home","Condition":{"StringLike":{"s3:prefix":["","home/","home/${aws:username}/*"]}}},
			{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::home/home/${aws:username}","arn:aws:s3:::home/home/${aws:username}/*"]}]}`, []try{
			{"s3:ListAllMyBuckets", "*", nil, true},
			{"s3:ListBucket", "arn:aws:s3:::home", typedContext{"s3:prefix": String("home/")}, true},
			{"s3:ListBucket", "arn:aws:s3:::home", typedContext{"s3:prefix": String("home/ann/x")}, true},
			{"s3:ListBucket", "arn:aws:s3:::home", typedContext{"s3:prefix": String("home/bob/")}, false},
			{"s3:ListBucket", "arn:aws:s3:::home", nil, false},
			{"s3:DeleteObject", "arn:aws:s3:::home/home/ann/file", nil, true},
			{"s3:GetObject", "arn:aws:s3:::home/home/annette/file", nil, false},
		}},
		{"only with a second factor of the last hour", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*","Condition":{"NumericLessThan":{"aws:MultiFactorAuthAge":"3600"}}}]}`, []try{
			{"ec2:StopInstances", "*", typedContext{"aws:multifactorauthage": Int(3599)}, true},
			{"ec2:StopInstances", "*", typedContext{"aws:multifactorauthage": Int(3600)}, false},
			{"ec2:StopInstances", "*", nil, false},
		}},
		{"all but IAM without a second factor", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
			{"Effect":"Deny","NotAction":["iam:*","sts:GetSessionToken"],"Resource":"*","Condition":{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}}]}`, []try{
			{"ec2:RunInstances", "*", nil, false},
			{"ec2:RunInstances", "*", typedContext{"aws:multifactorauthpresent": Bool(true)}, true},
			{"iam:ListUsers", "*", nil, true},
		}},
		{"instances with one's own tag", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ec2:StartInstances","ec2:StopInstances"],"Resource":"arn:aws:ec2:*:*:instance/*",
			"Condition":{"StringEquals":{"aws:ResourceTag/Owner":"${aws:username}"}}},{"Effect":"Allow","Action":"ec2:DescribeInstances","Resource":"*"}]}`, []try{
			{"ec2:StopInstances", "arn:aws:ec2:us-east-1:111111111111:instance/i-1", typedContext{"aws:resourcetag/owner": String("ann")}, true},
			{"ec2:StopInstances", "arn:aws:ec2:us-east-1:111111111111:instance/i-1", typedContext{"aws:resourcetag/owner": String("bob")}, false},
			{"ec2:StopInstances", "arn:aws:ec2:us-east-1:111111111111:instance/i-1", nil, false},
			{"ec2:StopInstances", "arn:aws:ec2:us-east-1:111111111111:volume/vol-1", typedContext{"aws:resourcetag/owner": String("ann")}, false},
		}},
		{"tags that may be given, and no others", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:CreateTags","Resource":"*",
			"Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["environment","cost-center"]},"StringEquals":{"aws:RequestTag/environment":["preprod","production"]}}}]}`, []try{
			{"ec2:CreateTags", "*", typedContext{"aws:tagkeys": Strings([]string{"environment"}), "aws:requesttag/environment": String("preprod")}, true},
			{"ec2:CreateTags", "*", typedContext{"aws:tagkeys": Strings([]string{"environment", "extra"}), "aws:requesttag/environment": String("preprod")}, false},
			{"ec2:CreateTags", "*", typedContext{"aws:tagkeys": Strings([]string{"environment"}), "aws:requesttag/environment": String("test")}, false},
		}},
		{"types of instances", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:RunInstances","Resource":["arn:aws:ec2:*:*:instance/*","arn:aws:ec2:*::image/ami-*","arn:aws:ec2:*:*:subnet/*"],
			"Condition":{"StringLikeIfExists":{"ec2:InstanceType":["t2.*","m5.large"]}}}]}`, []try{
			{"ec2:RunInstances", "arn:aws:ec2:us-east-1:111111111111:instance/*", typedContext{"ec2:instancetype": String("t2.nano")}, true},
			{"ec2:RunInstances", "arn:aws:ec2:us-east-1:111111111111:instance/*", typedContext{"ec2:instancetype": String("m5.xlarge")}, false},
			{"ec2:RunInstances", "arn:aws:ec2:us-east-1::image/ami-0123", nil, true},
			{"ec2:RunInstances", "arn:aws:ec2:us-east-1:111111111111:key-pair/k", nil, false},
		}},
		{"a role to pass to one service", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::*:role/EC2-roles-for-XYZ-*","Condition":{"StringEquals":{"iam:PassedToService":"ec2.amazonaws.com"}}}]}`, []try{
			{"iam:PassRole", "arn:aws:iam::111111111111:role/EC2-roles-for-XYZ-1", typedContext{"iam:passedtoservice": String("ec2.amazonaws.com")}, true},
			{"iam:PassRole", "arn:aws:iam::111111111111:role/admin", typedContext{"iam:passedtoservice": String("ec2.amazonaws.com")}, false},
			{"iam:PassRole", "arn:aws:iam::111111111111:role/EC2-roles-for-XYZ-1", typedContext{"iam:passedtoservice": String("lambda.amazonaws.com")}, false},
		}},
		{"one's own credentials", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:*AccessKey*","iam:ChangePassword"],"Resource":"arn:aws:iam::*:user/${aws:username}"}]}`, []try{
			{"iam:CreateAccessKey", "arn:aws:iam::111111111111:user/ann", nil, true},
			{"iam:ListAccessKeys", "arn:aws:iam::111111111111:user/ann", nil, true},
			{"iam:CreateAccessKey", "arn:aws:iam::111111111111:user/bob", nil, false},
			{"iam:CreateUser", "arn:aws:iam::111111111111:user/ann", nil, false},
		}},
		{"a region", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","NotAction":["iam:*","sts:*","s3:ListAllMyBuckets"],"Resource":"*","Condition":{"StringNotEquals":{"aws:RequestedRegion":["eu-central-1"]}}}]}`, []try{
			{"ec2:RunInstances", "*", typedContext{"aws:requestedregion": String("eu-central-1")}, true},
			{"ec2:RunInstances", "*", typedContext{"aws:requestedregion": String("us-east-1")}, false},
			{"iam:ListUsers", "*", typedContext{"aws:requestedregion": String("us-east-1")}, true},
		}},
	} {
		p := mustParse(t, ex.policy, Identity)
		for _, c := range ex.tries {
			r := &Request{Principal: ann, Action: MakeAction(c.action), Resource: c.resource, Context: c.ctx}
			if d := Evaluate(r, &Policies{Identity: []*Policy{p}}); d.Allowed != c.want {
				t.Errorf("%s: %s on %s with %v: %s", ex.name, c.action, c.resource, c.ctx, d.Reason)
			}
		}
	}
}

// The role that importing images needs: assumed by a service, with the external id that service sends.
func TestImportRole(t *testing.T) {
	role := mustParse(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"vmie.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:Externalid":"vmimport"}}}]}`, Trust)
	r := &Request{Principal: worldPrincipals[5], Action: MakeAction("sts:AssumeRole"), Resource: "arn:aws:iam::111111111111:role/vmimport", Owner: "111111111111"}
	p := &Policies{Resource: role, Trust: true}
	if Evaluate(r, p).Allowed {
		t.Error("assumed without the external id")
	}
	r.Context = typedContext{"sts:externalid": String("vmimport")}
	if d := Evaluate(r, p); !d.Allowed {
		t.Error(d.Reason)
	}
	r.Principal = worldPrincipals[1]
	if Evaluate(r, p).Allowed {
		t.Error("root took the service's role")
	}
}

func TestManaged(t *testing.T) {
	all, err := Managed()
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]*Policy{}
	for _, m := range all {
		if Size(m.Text) > ManagedSize && m.Name != "ReadOnlyAccess" {
			t.Errorf("%s has %d characters", m.Name, Size(m.Text))
		}
		by[m.Name] = m.Policy
	}
	elb := typedContext{"iam:awsservicename": String("elasticloadbalancing.amazonaws.com")}
	for _, c := range []struct {
		name, action, resource string
		ctx                    typedContext
		want                   bool
	}{
		{"AdministratorAccess", "iam:CreateUser", "arn:aws:iam::111111111111:user/x", nil, true},
		{"PowerUserAccess", "iam:CreateUser", "arn:aws:iam::111111111111:user/x", nil, false},
		{"PowerUserAccess", "iam:ListRoles", "*", nil, true},
		{"PowerUserAccess", "ec2:RunInstances", "*", nil, true},
		{"ReadOnlyAccess", "ec2:DescribeInstances", "*", nil, true},
		{"ReadOnlyAccess", "s3:GetObject", "arn:aws:s3:::b/k", nil, true},
		{"ReadOnlyAccess", "s3:PutObject", "arn:aws:s3:::b/k", nil, false},
		{"ReadOnlyAccess", "iam:CreateAccessKey", "*", nil, false},
		{"ReadOnlyAccess", "sts:AssumeRole", "*", nil, false},
		{"AmazonEC2FullAccess", "ec2:RunInstances", "*", nil, true},
		{"AmazonEC2FullAccess", "iam:CreateServiceLinkedRole", "*", elb, true},
		{"AmazonEC2FullAccess", "iam:CreateServiceLinkedRole", "*", nil, false},
		{"AmazonEC2FullAccess", "iam:PassRole", "*", nil, false},
		{"AmazonEC2ReadOnlyAccess", "ec2:DescribeImages", "*", nil, true},
		{"AmazonEC2ReadOnlyAccess", "ec2:GetConsoleOutput", "*", nil, false},
		{"AmazonS3FullAccess", "s3:DeleteBucket", "arn:aws:s3:::b", nil, true},
		{"AmazonS3FullAccess", "ec2:DescribeImages", "*", nil, false},
		{"AmazonS3ReadOnlyAccess", "s3:ListBucket", "arn:aws:s3:::b", nil, true},
		{"AmazonS3ReadOnlyAccess", "s3:PutObject", "arn:aws:s3:::b/k", nil, false},
		{"AmazonVPCFullAccess", "ec2:CreateVpc", "*", nil, true},
		{"AmazonVPCFullAccess", "ec2:RunInstances", "*", nil, false},
		{"IAMFullAccess", "iam:CreateUser", "*", nil, true},
		{"IAMReadOnlyAccess", "iam:GetUser", "*", nil, true},
		{"IAMReadOnlyAccess", "iam:CreateUser", "*", nil, false},
		{"IAMUserChangePassword", "iam:ChangePassword", "arn:aws:iam::111111111111:user/ann", nil, true},
		{"IAMUserChangePassword", "iam:ChangePassword", "arn:aws:iam::111111111111:user/bob", nil, false},
	} {
		r := &Request{Principal: worldPrincipals[2], Action: MakeAction(c.action), Resource: c.resource, Context: c.ctx}
		if by[c.name] == nil || Evaluate(r, &Policies{Identity: []*Policy{by[c.name]}}).Allowed != c.want {
			t.Errorf("%s: %s, want %v", c.name, c.action, c.want)
		}
	}
}
