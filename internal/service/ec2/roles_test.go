package ec2

import (
	"context"
	"errors"
	"strings"
	"testing"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// role makes a role of alice's, with a profile of its name.
func (c *cloud) role(name, trust, inline string) {
	c.Helper()
	bound, missing, err := authz.Bind(c.Store.Snapshot(), trust, policy.Trust)
	if err != nil || missing != "" {
		c.Fatal(missing, err)
	}
	r := &resource.IAMRole{AccountID: alice, Name: name, ID: "AROA" + name, Path: "/", Trust: bound}
	if inline != "" {
		r.Inline = map[string]string{"p": inline}
	}
	err = c.Store.Update(context.Background(), func(tx *store.Tx) error {
		if err := store.Roles.Put(tx, r); err != nil {
			return err
		}
		return store.InstanceProfiles.Put(tx, &resource.InstanceProfile{AccountID: alice, Name: name, ID: "AIPA" + name, Path: "/", RoleID: r.ID})
	})
	if err != nil {
		c.Fatal(err)
	}
}

func TestInstanceProfiles(t *testing.T) {
	c := newCloud(t)
	c.role("web", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`, "")
	c.role("db", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`, "")
	named := func(n string) *shape.IamInstanceProfileSpecification {
		return &shape.IamInstanceProfileSpecification{Name: n}
	}
	arn := "arn:aws:iam::" + alice + ":instance-profile/web"
	with := c.run(1, func(in *shape.RunInstancesRequest) {
		in.IamInstanceProfile = &shape.IamInstanceProfileSpecification{Arn: arn}
	})[0]
	without := c.run(1)[0]
	out, err := c.DescribeInstances(c.alice, &shape.DescribeInstancesRequest{InstanceIds: []string{with}})
	if err != nil {
		t.Fatal(err)
	}
	if p := out.Reservations[0].Instances[0].IamInstanceProfile; p == nil || p.Arn != arn || p.Id != "AIPAweb" {
		t.Errorf("%+v", p)
	}
	a, err := c.AssociateIamInstanceProfile(c.alice, &shape.AssociateIamInstanceProfileRequest{InstanceId: without, IamInstanceProfile: named("db")})
	if err != nil || a.IamInstanceProfileAssociation.State != "associating" || !strings.HasPrefix(a.IamInstanceProfileAssociation.AssociationId, "iip-assoc-") {
		t.Fatalf("%+v, %v", a, err)
	}
	list, err := c.DescribeIamInstanceProfileAssociations(c.alice, &shape.DescribeIamInstanceProfileAssociationsRequest{
		Filters: []shape.Filter{{Name: "instance-id", Values: []string{without}}},
	})
	if err != nil || len(list.IamInstanceProfileAssociations) != 1 || list.IamInstanceProfileAssociations[0].State != "associated" {
		t.Fatalf("%+v, %v", list, err)
	}
	id := a.IamInstanceProfileAssociation.AssociationId
	r, err := c.ReplaceIamInstanceProfileAssociation(c.alice, &shape.ReplaceIamInstanceProfileAssociationRequest{AssociationId: id, IamInstanceProfile: named("web")})
	if err != nil || r.IamInstanceProfileAssociation.IamInstanceProfile.Id != "AIPAweb" || r.IamInstanceProfileAssociation.AssociationId == id {
		t.Fatalf("%+v, %v", r, err)
	}
	id2 := r.IamInstanceProfileAssociation.AssociationId
	for name, tt := range map[string]struct {
		want string
		err  error
	}{
		"has one":         {"IncorrectState", errorOf(c.AssociateIamInstanceProfile(c.alice, &shape.AssociateIamInstanceProfileRequest{InstanceId: with, IamInstanceProfile: named("db")}))},
		"no such profile": {"InvalidParameterValue", errorOf(c.AssociateIamInstanceProfile(c.alice, &shape.AssociateIamInstanceProfileRequest{InstanceId: with, IamInstanceProfile: named("none")}))},
		"both names": {"InvalidParameterCombination", errorOf(c.AssociateIamInstanceProfile(c.alice, &shape.AssociateIamInstanceProfileRequest{
			InstanceId: with, IamInstanceProfile: &shape.IamInstanceProfileSpecification{Name: "web", Arn: arn},
		}))},
		"other account's instance":    {"InvalidInstanceID.NotFound", errorOf(c.AssociateIamInstanceProfile(c.bob, &shape.AssociateIamInstanceProfileRequest{InstanceId: with, IamInstanceProfile: named("web")}))},
		"other account's association": {"NoSuchAssociation", errorOf(c.DisassociateIamInstanceProfile(c.bob, &shape.DisassociateIamInstanceProfileRequest{AssociationId: id2}))},
		"replaced association":        {"NoSuchAssociation", errorOf(c.DisassociateIamInstanceProfile(c.alice, &shape.DisassociateIamInstanceProfileRequest{AssociationId: id}))},
		"other account's profile": {"InvalidParameterValue", errorOf(c.RunInstances(c.bob, &shape.RunInstancesRequest{
			ImageId: c.image, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1, IamInstanceProfile: &shape.IamInstanceProfileSpecification{Arn: arn},
		}))},
	} {
		if got := awserr.Code(tt.err); got != tt.want && !(name == "other account's profile" && strings.HasPrefix(got, "InvalidAMIID")) {
			t.Errorf("%s: %v, want %s", name, tt.err, tt.want)
		}
	}
	if _, err := c.DisassociateIamInstanceProfile(c.alice, &shape.DisassociateIamInstanceProfileRequest{AssociationId: id2}); err != nil {
		t.Fatal(err)
	}
	if i := store.Instances.Get(c.Store.Snapshot(), without); i.ProfileID != "" || i.ProfileAssociation != "" {
		t.Errorf("%+v", i)
	}
}

func errorOf[T any](_ T, err error) error { return err }

// objects reads as S3 does: by the policies of who is in ctx.
type objects struct{ engine *authz.Engine }

func (o objects) Exists(ctx context.Context, bucket, key string) error {
	return o.engine.Decide(ctx, authz.Question{Action: policy.MakeAction("s3:GetObject"), Resource: "arn:aws:s3:::" + bucket + "/" + key, Owner: alice})
}

func (o objects) Probe(ctx context.Context, bucket, key string) error {
	return o.engine.Decide(ctx, authz.Question{Action: policy.MakeAction("s3:PutObject"), Resource: "arn:aws:s3:::" + bucket + "/" + key, Owner: alice})
}

// The flow of the guides: the role vmimport, its trust, its policy; each thing that is missing is named.
func TestImportRole(t *testing.T) {
	c := newCloud(t)
	engine := authz.New(authz.Deps{Store: c.Store})
	c.Roles, c.Objects = engine, objects{engine}
	// The caller is root: may read all by itself, which must not help the role.
	root := call.With(context.Background(), &call.Info{Caller: call.Caller{AccountID: alice, UserID: alice, ARN: "arn:aws:iam::" + alice + ":root"}, Region: east, Service: "ec2"})
	run := func(role string) string {
		_, err := c.ImportImage(root, &shape.ImportImageRequest{RoleName: role, DiskContainers: []shape.ImageDiskContainer{{
			Format: "raw", UserBucket: &shape.UserBucket{S3Bucket: "disks", S3Key: "tiny.raw"},
		}}})
		if err == nil {
			return ""
		}
		return err.Error()
	}
	const (
		trust   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"vmie.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:Externalid":"vmimport"}}}]}`
		other   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"vmie.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:Externalid":"another"}}}]}`
		ec2Only = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
		allow   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetBucketLocation","s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::disks","arn:aws:s3:::disks/*"]}]}`
		wrong   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::elsewhere/*"}]}`
	)
	want := func(step, got string, parts ...string) {
		t.Helper()
		if len(parts) == 0 && got != "" {
			t.Errorf("%s: %s", step, got)
		}
		for _, p := range parts {
			if !strings.Contains(got, p) {
				t.Errorf("%s: %q lacks %q", step, got, p)
			}
		}
	}
	want("no role at all: with the caller's own rights", run(""))
	want("a role that is not there", run("vmimport"), "InvalidParameter", "role vmimport provided does not exist")
	c.role("vmimport", ec2Only, allow)
	want("no trust", run(""), "InvalidParameter", "trust policy", "vmie.amazonaws.com", "external id vmimport")
	c.role("vmimport", other, allow)
	want("another external id", run(""), "trust policy")
	c.role("vmimport", trust, "")
	want("no policy", run(""), "InvalidParameter", "assumed-role/vmimport/", "not authorized to perform: s3:GetObject on resource: arn:aws:s3:::disks/tiny.raw")
	c.role("vmimport", trust, wrong)
	want("another bucket", run("vmimport"), "s3:GetObject")
	c.role("vmimport", trust, allow)
	want("all is right", run(""))
	want("by name", run("VMImport"))
}

func (objects) Read(context.Context, string, string, int64) ([]byte, error) {
	return nil, errors.New("not read in these tests")
}
