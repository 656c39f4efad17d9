package iam

import (
	"cmp"
	"maps"
	"strings"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/oidc"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Permissions is what each operation asks leave for.
func Permissions() authz.Service {
	t := authz.Table{}
	for _, area := range []authz.Table{userPermissions(), personPermissions(), accountPermissions(), groupPermissions(), rolePermissions(), policyPermissions(), profilePermissions(), federationPermissions(), simulatorPermissions()} {
		maps.Copy(t, area)
	}
	return authz.Service{Table: t, Kinds: map[string]authz.Kind{
		"user": named("user", self, store.Users, func(u *resource.User) (string, *entity) { return u.Path[1:] + u.Name, &entity{u.Tags, u.Boundary} }),
		"key-owner": {
			ARN: entityARN("user"),
			Name: func(r store.Reader, info *call.Info, given string) string {
				if k := store.AccessKeys.Get(r, given); k != nil && k.AccountID == info.AccountID {
					if u := store.Users.Get(r, store.UserKey(k.AccountID, k.UserName)); u != nil && k.UserName != "" {
						return u.Path[1:] + u.Name
					}
				}
				return ""
			},
		},
		"group":            named("group", nil, store.Groups, func(g *resource.Group) (string, *entity) { return g.Path[1:] + g.Name, nil }),
		"role":             named("role", nil, store.Roles, func(r *resource.IAMRole) (string, *entity) { return r.Path[1:] + r.Name, &entity{r.Tags, r.Boundary} }),
		"instance-profile": named("instance-profile", nil, store.InstanceProfiles, func(p *resource.InstanceProfile) (string, *entity) { return p.Path[1:] + p.Name, &entity{tags: p.Tags} }),
		"server-certificate": named("server-certificate", nil, store.ServerCertificates, func(c *resource.ServerCertificate) (string, *entity) {
			return c.Path[1:] + c.Name, &entity{tags: c.Tags}
		}),
		"service-role": {ARN: entityARN("role"), New: newServiceRole},
		"deleted-role": {ARN: entityARN("role"), Name: func(_ store.Reader, _ *call.Info, task string) string {
			if i := strings.LastIndexByte(task, '/'); i > 0 {
				task = task[:i]
			}
			return strings.TrimPrefix(task, "task/")
		}},
		"any": {ARN: func(b []byte, _ *call.Info, arn string) []byte { return append(b, arn...) }},
		"mfa": {
			ARN: entityARN("mfa"), New: newName,
			Find: func(r store.Reader, info *call.Info, serial string) authz.Resource {
				if d, err := findDevice(r, info.AccountID, serial); err == nil {
					return &entity{tags: d.Tags}
				}
				return nil
			},
		},
		"principal": {ARN: entityARN("user")},
		"oidc-provider": {
			ARN: entityARN("oidc-provider"), New: newIssuer,
			Find: func(r store.Reader, info *call.Info, name string) authz.Resource {
				if p := store.OIDCProviders.Get(r, name); p != nil && p.AccountID == info.AccountID {
					return &entity{tags: p.Tags}
				}
				return nil
			},
		},
		"saml-provider": {
			ARN: entityARN("saml-provider"), New: newName,
			Find: func(r store.Reader, info *call.Info, name string) authz.Resource {
				if p := store.SAMLProviders.Get(r, name); p != nil && p.AccountID == info.AccountID {
					return &entity{tags: p.Tags}
				}
				return nil
			},
		},
		"policy": {
			ARN: entityARN("policy"), New: newName,
			Find: func(r store.Reader, info *call.Info, name string) authz.Resource {
				if p := authz.FindPolicy(r, name); p != nil && p.AccountID == info.AccountID {
					return &entity{tags: p.Tags}
				}
				return nil
			},
		},
	}}
}

// named is a kind of entity that requests call by its name. about gives its path and name, and its condition keys;
// absent is who is meant where a request names nobody.
func named[T any](noun string, absent func(store.Reader, *call.Info) string, t *store.Table[T], about func(*T) (string, *entity)) authz.Kind {
	return authz.Kind{
		ARN: entityARN(noun), New: newName, Absent: absent,
		Name: func(r store.Reader, info *call.Info, given string) string {
			if v := t.Get(r, store.UserKey(info.AccountID, given)); v != nil {
				given, _ = about(v)
			}
			return given
		},
		Find: func(r store.Reader, info *call.Info, name string) authz.Resource {
			if v := t.Get(r, store.UserKey(info.AccountID, last(name))); v != nil {
				if _, e := about(v); e != nil {
					return e
				}
			}
			return nil
		},
	}
}

// entityARN names an entity by path and name, or by an ARN that the request gives.
func entityARN(kind string) func([]byte, *call.Info, string) []byte {
	return func(b []byte, info *call.Info, name string) []byte {
		if strings.HasPrefix(name, "arn:") {
			return append(b, name...)
		}
		if name == "" {
			name = "*"
		}
		for _, s := range []string{"arn:aws:iam::", info.AccountID, ":", kind, "/", name} {
			b = append(b, s...)
		}
		return b
	}
}

// newName makes the name of something new of its name and path.
func newName(_ *call.Info, members []string) string {
	if len(members) < 2 || members[1] == "" || members[1][0] != '/' {
		return members[0]
	}
	return members[1][1:] + members[0]
}

// self is the user who calls, for requests without a name; root has keys and no user.
func self(r store.Reader, info *call.Info) string {
	if u := store.Users.Get(r, store.UserKey(info.AccountID, info.UserName)); u != nil && info.UserName != "" {
		return u.Path[1:] + u.Name
	}
	return ""
}

func last(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// entity gives the condition keys of a user, role, policy or profile.
type entity struct {
	tags     resource.Tags
	boundary string
}

// Value implements authz.Resource.
func (e *entity) Value(k policy.Key) (policy.Value, bool) {
	switch k.Name {
	case "aws:resourcetag", "iam:resourcetag":
		return authz.Tag(e.tags, k.Arg)
	case "iam:permissionsboundary":
		return policy.String(e.boundary), e.boundary != ""
	}
	return policy.Value{}, false
}

// userPermissions are those on users, their keys and what hangs on them.
func userPermissions() authz.Table {
	user := authz.Entry{On: "user:UserName"}
	return authz.Table{
		"CreateUser": {On: "user:+UserName,Path", Keys: "iam:PermissionsBoundary=PermissionsBoundary"},
		"GetUser":    user, "DeleteUser": user, "ListUsers": {},
		"UpdateUser":      {On: "user:UserName", Also: alsoRenamed},
		"CreateAccessKey": user, "DeleteAccessKey": user, "UpdateAccessKey": user, "ListAccessKeys": user, "GetAccessKeyLastUsed": {On: "key-owner:AccessKeyId"},
		"ListGroupsForUser":              user,
		"ListServiceSpecificCredentials": user, "ListSigningCertificates": user,
		"UploadSigningCertificate": user, "UpdateSigningCertificate": user, "DeleteSigningCertificate": user,
		"PutUserPolicy": user, "GetUserPolicy": user, "DeleteUserPolicy": user, "ListUserPolicies": user, "ListAttachedUserPolicies": user,
		"AttachUserPolicy":           {On: "user:UserName", Keys: "iam:PolicyARN=PolicyArn"},
		"DetachUserPolicy":           {On: "user:UserName", Keys: "iam:PolicyARN=PolicyArn"},
		"PutUserPermissionsBoundary": {On: "user:UserName", Keys: "iam:PermissionsBoundary=PermissionsBoundary"}, "DeleteUserPermissionsBoundary": user,
		"ListUserTags": user, "TagUser": user, "UntagUser": user,
	}
}

// accountPermissions are those on the account as a whole, and on its server certificates.
func accountPermissions() authz.Table {
	certificate := authz.Entry{On: "server-certificate:ServerCertificateName"}
	return authz.Table{
		"CreateAccountAlias": {}, "DeleteAccountAlias": {}, "ListAccountAliases": {}, "GetAccountSummary": {}, "SetSecurityTokenServicePreferences": {},
		"GenerateCredentialReport": {}, "GetCredentialReport": {}, "GetAccountAuthorizationDetails": {},
		"GenerateServiceLastAccessedDetails": {On: "any:Arn"}, "ListPoliciesGrantingServiceAccess": {On: "any:Arn"},
		"GetServiceLastAccessedDetails": {}, "GetServiceLastAccessedDetailsWithEntities": {},
		"CreateServiceLinkedRole": {On: "service-role:+AWSServiceName,CustomSuffix", Keys: "iam:AWSServiceName=AWSServiceName"},
		"DeleteServiceLinkedRole": {On: "role:RoleName"}, "GetServiceLinkedRoleDeletionStatus": {On: "deleted-role:DeletionTaskId"},
		"UploadServerCertificate": {On: "server-certificate:+ServerCertificateName,Path"}, "ListServerCertificates": {},
		"GetServerCertificate": certificate, "DeleteServerCertificate": certificate, "ListServerCertificateTags": certificate,
		"TagServerCertificate": certificate, "UntagServerCertificate": certificate, "UpdateServerCertificate": {On: "server-certificate:ServerCertificateName", Also: alsoRenamedCertificate},
	}
}

// personPermissions are those on passwords and MFA devices.
func personPermissions() authz.Table {
	user, device := authz.Entry{On: "user:UserName"}, authz.Entry{On: "mfa:SerialNumber"}
	return authz.Table{
		"CreateLoginProfile": user, "GetLoginProfile": user, "UpdateLoginProfile": user, "DeleteLoginProfile": user,
		"ChangePassword":              {Handler: "ChangePassword"}, // the account's password policy may let users
		"UpdateAccountPasswordPolicy": {}, "GetAccountPasswordPolicy": {}, "DeleteAccountPasswordPolicy": {},
		"CreateVirtualMFADevice": {On: "mfa:+VirtualMFADeviceName,Path"}, "DeleteVirtualMFADevice": device, "ListVirtualMFADevices": {},
		"UploadSSHPublicKey": user, "GetSSHPublicKey": user, "UpdateSSHPublicKey": user, "DeleteSSHPublicKey": user, "ListSSHPublicKeys": user,
		"EnableMFADevice": user, "DeactivateMFADevice": user, "ResyncMFADevice": user, "ListMFADevices": user, "GetMFADevice": user,
		"TagMFADevice": device, "UntagMFADevice": device, "ListMFADeviceTags": device,
	}
}

func groupPermissions() authz.Table {
	group := authz.Entry{On: "group:GroupName"}
	return authz.Table{
		"CreateGroup": {On: "group:+GroupName,Path"},
		"GetGroup":    group, "DeleteGroup": group, "ListGroups": {}, "AddUserToGroup": group, "RemoveUserFromGroup": group,
		"UpdateGroup":    {On: "group:GroupName", Also: alsoRenamedGroup},
		"PutGroupPolicy": group, "GetGroupPolicy": group, "DeleteGroupPolicy": group, "ListGroupPolicies": group, "ListAttachedGroupPolicies": group,
		"AttachGroupPolicy": {On: "group:GroupName", Keys: "iam:PolicyARN=PolicyArn"},
		"DetachGroupPolicy": {On: "group:GroupName", Keys: "iam:PolicyARN=PolicyArn"},
	}
}

func rolePermissions() authz.Table {
	role := authz.Entry{On: "role:RoleName"}
	return authz.Table{
		"CreateRole": {On: "role:+RoleName,Path", Keys: "iam:PermissionsBoundary=PermissionsBoundary"},
		"GetRole":    role, "DeleteRole": role, "ListRoles": {}, "UpdateRole": role, "UpdateRoleDescription": role, "UpdateAssumeRolePolicy": role,
		"PutRolePolicy": role, "GetRolePolicy": role, "DeleteRolePolicy": role, "ListRolePolicies": role, "ListAttachedRolePolicies": role,
		"AttachRolePolicy":           {On: "role:RoleName", Keys: "iam:PolicyARN=PolicyArn"},
		"DetachRolePolicy":           {On: "role:RoleName", Keys: "iam:PolicyARN=PolicyArn"},
		"PutRolePermissionsBoundary": {On: "role:RoleName", Keys: "iam:PermissionsBoundary=PermissionsBoundary"}, "DeleteRolePermissionsBoundary": role,
		"TagRole": role, "UntagRole": role, "ListRoleTags": role, "ListInstanceProfilesForRole": role,
	}
}

func policyPermissions() authz.Table {
	p := authz.Entry{On: "policy:PolicyArn"}
	return authz.Table{
		"CreatePolicy": {On: "policy:+PolicyName,Path"},
		"GetPolicy":    p, "DeletePolicy": p, "ListPolicies": {}, "CreatePolicyVersion": p, "GetPolicyVersion": p, "ListPolicyVersions": p,
		"DeletePolicyVersion": p, "SetDefaultPolicyVersion": p, "TagPolicy": p, "UntagPolicy": p, "ListPolicyTags": p, "ListEntitiesForPolicy": p,
	}
}

func profilePermissions() authz.Table {
	profile := authz.Entry{On: "instance-profile:InstanceProfileName"}
	return authz.Table{
		"CreateInstanceProfile": {On: "instance-profile:+InstanceProfileName,Path"},
		"GetInstanceProfile":    profile, "DeleteInstanceProfile": profile, "ListInstanceProfiles": {},
		"AddRoleToInstanceProfile":      {On: "instance-profile:InstanceProfileName", Also: alsoPassRole},
		"RemoveRoleFromInstanceProfile": profile, "TagInstanceProfile": profile, "UntagInstanceProfile": profile, "ListInstanceProfileTags": profile,
	}
}

func federationPermissions() authz.Table {
	oidc, saml := authz.Entry{On: "oidc-provider:OpenIDConnectProviderArn"}, authz.Entry{On: "saml-provider:SAMLProviderArn"}
	return authz.Table{
		"CreateOpenIDConnectProvider": {On: "oidc-provider:+Url"},
		"GetOpenIDConnectProvider":    oidc, "ListOpenIDConnectProviders": {}, "DeleteOpenIDConnectProvider": oidc,
		"UpdateOpenIDConnectProviderThumbprint": oidc, "AddClientIDToOpenIDConnectProvider": oidc, "RemoveClientIDFromOpenIDConnectProvider": oidc,
		"TagOpenIDConnectProvider": oidc, "UntagOpenIDConnectProvider": oidc, "ListOpenIDConnectProviderTags": oidc,

		"CreateSAMLProvider": {On: "saml-provider:+Name"},
		"GetSAMLProvider":    saml, "ListSAMLProviders": {}, "UpdateSAMLProvider": saml, "DeleteSAMLProvider": saml,
		"TagSAMLProvider": saml, "UntagSAMLProvider": saml, "ListSAMLProviderTags": saml,
	}
}

func simulatorPermissions() authz.Table {
	principal := authz.Entry{On: "principal:PolicySourceArn"}
	return authz.Table{
		"SimulateCustomPolicy": {}, "GetContextKeysForCustomPolicy": {}, "SimulatePrincipalPolicy": principal, "GetContextKeysForPrincipalPolicy": principal,
	}
}

// newIssuer names a provider by its URL as it is going to be kept.
func newIssuer(_ *call.Info, members []string) string {
	if url, err := oidc.CheckURL(members[0], true); err == nil {
		return url
	}
	return members[0] // the handler refuses it
}

// alsoPassRole asks for leave to hand the role on: whoever uses the profile gets what it may do.
func alsoPassRole(a *authz.Asking) {
	in := a.Input.(*shape.AddRoleToInstanceProfileRequest)
	role := store.Roles.Get(a.Reader, store.UserKey(a.Info.AccountID, in.RoleName))
	if role == nil {
		return // the handler says so
	}
	a.Ask(actPassRole, role.ARN(), func(k policy.Key) (policy.Value, bool) {
		if k.Name == "iam:passedtoservice" {
			return policy.String("ec2.amazonaws.com"), true
		}
		return (&entity{role.Tags, role.Boundary}).Value(k)
	})
}

// alsoRenamedGroup asks for the group's ARN as it is to be.
func alsoRenamedGroup(a *authz.Asking) {
	in := a.Input.(*shape.UpdateGroupRequest)
	g := store.Groups.Get(a.Reader, store.UserKey(a.Info.AccountID, in.GroupName))
	if g == nil || in.NewPath == "" && in.NewGroupName == "" {
		return
	}
	next := *g
	if in.NewPath != "" {
		next.Path = in.NewPath
	}
	if in.NewGroupName != "" {
		next.Name = in.NewGroupName
	}
	a.Ask(actUpdateGroup, next.ARN(), nil)
}

var (
	actUpdateGroup             = policy.MakeAction("iam:UpdateGroup")
	actUpdateServerCertificate = policy.MakeAction("iam:UpdateServerCertificate")
	actPassRole                = policy.MakeAction("iam:PassRole")
)

// alsoRenamedCertificate asks for the certificate's ARN as it is to be.
func alsoRenamedCertificate(a *authz.Asking) {
	in := a.Input.(*shape.UpdateServerCertificateRequest)
	c := store.ServerCertificates.Get(a.Reader, store.UserKey(a.Info.AccountID, in.ServerCertificateName))
	if c == nil || in.NewPath == "" && in.NewServerCertificateName == "" {
		return
	}
	next := *c
	next.Path, next.Name = cmp.Or(in.NewPath, c.Path), cmp.Or(in.NewServerCertificateName, c.Name)
	a.Ask(actUpdateServerCertificate, next.ARN(), (&entity{tags: c.Tags}).Value)
}

// alsoRenamed asks for the user's ARN as it is to be: nobody moves a user to where they may not.
func alsoRenamed(a *authz.Asking) {
	in := a.Input.(*shape.UpdateUserRequest)
	u := store.Users.Get(a.Reader, store.UserKey(a.Info.AccountID, in.UserName))
	if u == nil || in.NewPath == "" && in.NewUserName == "" {
		return
	}
	next := *u
	if in.NewPath != "" {
		next.Path = in.NewPath
	}
	if in.NewUserName != "" {
		next.Name = in.NewUserName
	}
	a.Ask(actUpdateUser, next.ARN(), (&entity{u.Tags, u.Boundary}).Value)
}

var actUpdateUser = policy.MakeAction("iam:UpdateUser")
