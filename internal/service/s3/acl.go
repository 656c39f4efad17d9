package s3

import (
	"context"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Groups that a grant can name.
const (
	groupAll         = "http://acs.amazonaws.com/groups/global/AllUsers"
	groupUsers       = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
	groupLogDelivery = "http://acs.amazonaws.com/groups/s3/LogDelivery"
	ec2Account       = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c" // who reads for aws-exec-read, at AWS
)

// maxGrants is S3's limit of grants in an ACL.
const maxGrants = 100

// acl is an access control list as it is stored. Without one, all is the owner's.
type acl struct {
	Owner  string // canonical id
	Grants []shape.Grant
}

// grantHeaders are the x-amz-grant- headers.
type grantHeaders struct{ full, read, write, readACP, writeACP string }

func (g grantHeaders) any() bool { return g != grantHeaders{} }

func user(id string) *shape.Grantee { return &shape.Grantee{ID: id, Type: "CanonicalUser"} }

func group(uri string) *shape.Grantee { return &shape.Grantee{URI: uri, Type: "Group"} }

func owned(owner string, more ...shape.Grant) *acl {
	return &acl{owner, append([]shape.Grant{{Grantee: user(owner), Permission: "FULL_CONTROL"}}, more...)}
}

// canned gives the ACL of that name. bucketOwner is "" for the ACL of a bucket.
func canned(name, owner, bucketOwner string) (*acl, error) {
	switch name {
	case "", "private":
		return owned(owner), nil
	case "public-read":
		return owned(owner, shape.Grant{Grantee: group(groupAll), Permission: "READ"}), nil
	case "public-read-write":
		return owned(owner, shape.Grant{Grantee: group(groupAll), Permission: "READ"}, shape.Grant{Grantee: group(groupAll), Permission: "WRITE"}), nil
	case "authenticated-read":
		return owned(owner, shape.Grant{Grantee: group(groupUsers), Permission: "READ"}), nil
	case "aws-exec-read":
		return owned(owner, shape.Grant{Grantee: user(ec2Account), Permission: "READ"}), nil
	case "bucket-owner-read", "bucket-owner-full-control":
		if bucketOwner == "" || bucketOwner == owner {
			return owned(owner), nil
		}
		permission := "READ"
		if name == "bucket-owner-full-control" {
			permission = "FULL_CONTROL"
		}
		return owned(owner, shape.Grant{Grantee: user(bucketOwner), Permission: permission}), nil
	case "log-delivery-write":
		if bucketOwner == "" {
			return owned(owner, shape.Grant{Grantee: group(groupLogDelivery), Permission: "WRITE"}, shape.Grant{Grantee: group(groupLogDelivery), Permission: "READ_ACP"}), nil
		}
	}
	return nil, invalidArgument("x-amz-acl", name, "")
}

// fromHeaders reads the ACL of a request's headers; nil if they say nothing.
func fromHeaders(r store.Reader, name string, g grantHeaders, owner, bucketOwner string) (*acl, error) {
	switch {
	case name != "" && g.any():
		return nil, invalidRequest("Specifying both Canned ACLs and Header Grants is not allowed")
	case name != "":
		return canned(name, owner, bucketOwner)
	case !g.any():
		return nil, nil
	}
	a := &acl{Owner: owner}
	for _, h := range []struct{ permission, text string }{
		{"FULL_CONTROL", g.full}, {"READ", g.read}, {"WRITE", g.write}, {"READ_ACP", g.readACP}, {"WRITE_ACP", g.writeACP},
	} {
		if h.text == "" {
			continue
		}
		for item := range strings.SplitSeq(h.text, ",") {
			kind, value, ok := strings.Cut(strings.TrimSpace(item), "=")
			value = strings.Trim(strings.TrimSpace(value), `"`)
			grantee := &shape.Grantee{}
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "id":
				grantee = user(value)
			case "uri":
				grantee = group(value)
			case "emailaddress":
				grantee = &shape.Grantee{EmailAddress: value, Type: "AmazonCustomerByEmail"}
			default:
				ok = false
			}
			if !ok {
				return nil, invalidArgument("x-amz-grant-"+strings.ToLower(strings.ReplaceAll(h.permission, "_", "-")), item, "Argument format not recognized")
			}
			a.Grants = append(a.Grants, shape.Grant{Grantee: grantee, Permission: h.permission})
		}
	}
	return a, checkGrants(r, a.Grants)
}

// checkGrants refuses grants that say nothing, or to nobody.
func checkGrants(r store.Reader, grants []shape.Grant) error {
	if len(grants) > maxGrants {
		return awserr.New("MalformedACLError", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	for _, g := range grants {
		switch g.Permission {
		case "FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP":
		default:
			return awserr.New("MalformedACLError", "The XML you provided was not well-formed or did not validate against our published schema")
		}
		if g.Grantee == nil {
			return awserr.New("MalformedACLError", "The XML you provided was not well-formed or did not validate against our published schema")
		}
		switch g.Grantee.Type {
		case "CanonicalUser":
			if store.AccountsByCanon.One(r, g.Grantee.ID) == nil && g.Grantee.ID != ec2Account {
				return invalidArgument("CanonicalUser/ID", g.Grantee.ID, "Invalid id")
			}
		case "Group":
			if g.Grantee.URI != groupAll && g.Grantee.URI != groupUsers && g.Grantee.URI != groupLogDelivery {
				return invalidArgument("Group/URI", g.Grantee.URI, "Invalid group uri")
			}
		case "AmazonCustomerByEmail":
			return awserr.New("UnresolvableGrantByEmailAddress", "The e-mail address you provided does not match any account on record.").With("EmailAddress", g.Grantee.EmailAddress)
		default:
			return awserr.New("MalformedACLError", "The XML you provided was not well-formed or did not validate against our published schema")
		}
	}
	return nil
}

// asked gives the ACL that a PutBucketAcl or PutObjectAcl asks for. It has one source only.
func (s *Service) askedACL(r store.Reader, name string, g grantHeaders, doc *shape.AccessControlPolicy, owner, bucketOwner string) (*acl, error) {
	a, err := fromHeaders(r, name, g, owner, bucketOwner)
	switch {
	case err != nil:
		return nil, err
	case a != nil && doc != nil:
		return nil, awserr.New("UnexpectedContent", "This request does not support content")
	case a != nil:
		return a, nil
	case doc == nil:
		return nil, awserr.New("MissingSecurityHeader", "Your request was missing a required header").With("MissingHeaderName", "x-amz-acl")
	case doc.Owner == nil || doc.Owner.ID == "":
		return nil, awserr.New("MalformedACLError", "The XML you provided was not well-formed or did not validate against our published schema")
	case doc.Owner.ID != owner:
		return nil, accessDenied()
	}
	grants := make([]shape.Grant, len(doc.Grants))
	for i, g := range doc.Grants {
		grants[i] = g
		if g.Grantee != nil { // names are not ours to keep
			e := *g.Grantee
			e.DisplayName = ""
			grants[i].Grantee = &e
		}
	}
	return &acl{owner, grants}, checkGrants(r, grants)
}

// publicACL says whether an ACL grants anything to everyone.
func publicACL(a *acl) bool {
	for _, g := range a.Grants {
		if g.Grantee.URI == groupAll || g.Grantee.URI == groupUsers {
			return true
		}
	}
	return false
}

// onlyOwner says that an ACL grants nothing to anybody but the owner.
func onlyOwner(a *acl, owner string) bool {
	for _, g := range a.Grants {
		if g.Grantee.ID != owner {
			return false
		}
	}
	return true
}

// bucketACL gives a bucket's ACL.
func (s *Service) bucketACL(r store.Reader, b *resource.Bucket) (*acl, error) {
	a, err := config[acl](s, r, b, resource.PartACL)
	if a == nil && err == nil {
		a = owned(s.canonical(r, b.AccountID))
	}
	return a, err
}

// canonical gives an account's S3 id.
func (s *Service) canonical(r store.Reader, account string) string {
	if a := store.Accounts.Get(r, account); a != nil {
		return a.CanonicalID
	}
	return account
}

// settable judges an ACL that is to be set on a bucket or in it.
func (s *Service) settable(r store.Reader, b *resource.Bucket, a *acl) error {
	ownership, err := s.ownership(r, b)
	if err != nil {
		return err
	}
	if ownership == ownerEnforced {
		return aclsOff()
	}
	block, err := s.block(r, b)
	if err == nil && block.acls && publicACL(a) {
		err = awserr.New("AccessDenied", "User is not authorized because public ACLs are prevented by the BlockPublicAcls setting in S3 Block Public Access.").WithStatus(403)
	}
	return err
}

// PutBucketAcl sets a bucket's ACL.
func (s *Service) PutBucketAcl(ctx context.Context, in *shape.PutBucketAclRequest) (*shape.PutBucketAclResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketAcl")
	if err != nil {
		return nil, err
	}
	snap := s.store.Snapshot()
	a, err := s.askedACL(snap, in.ACL, grantHeaders{in.GrantFullControl, in.GrantRead, in.GrantWrite, in.GrantReadACP, in.GrantWriteACP}, in.AccessControlPolicy, s.canonical(snap, b.AccountID), "")
	if err != nil {
		return nil, err
	}
	return &shape.PutBucketAclResult{}, s.setConfig(ctx, b, resource.PartACL, a, func(tx *store.Tx) error { return s.settable(tx, b, a) })
}

// GetBucketAcl gives a bucket's ACL.
func (s *Service) GetBucketAcl(ctx context.Context, in *shape.GetBucketAclRequest) (*shape.GetBucketAclResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "GetBucketAcl")
	if err != nil {
		return nil, err
	}
	snap := s.store.Snapshot()
	a, err := s.bucketACL(snap, b)
	if err != nil {
		return nil, err
	}
	owner, grants := s.shown(snap, a)
	return &shape.GetBucketAclResult{Owner: owner, Grants: grants}, nil
}

// shown gives an ACL as it is answered.
func (s *Service) shown(r store.Reader, a *acl) (*shape.Owner, []shape.Grant) {
	return s.ownerByID(r, a.Owner), a.Grants
}
