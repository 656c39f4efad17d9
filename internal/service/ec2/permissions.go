package ec2

import (
	"slices"
	"strings"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Permissions is what each operation asks leave for: the table's on, keys and also. A Describe… without them is
// about "*", as AWS has it.
func Permissions() authz.Service {
	s := authz.Service{Table: authz.Table{}, Kinds: map[string]authz.Kind{}}
	more := permissionsOf()
	for name, m := range operations() {
		if m.on == "" {
			m.on = more[name]
		}
		switch {
		case strings.HasPrefix(name, "Create"):
			m.more = first(m.more, madeIn)
		case strings.HasPrefix(name, "Modify"), strings.HasPrefix(name, "Reset"):
			m.more = first(m.more, attributeKeys(m.on))
		}
		if m.on != "" || m.also != nil || strings.HasPrefix(name, "Describe") {
			s.Table[name] = authz.Entry{On: m.on, Keys: m.keys, Also: m.also, More: m.more, Whole: m.whole}
		}
	}
	for _, t := range taggables() {
		s.Kinds[t.name] = t.access
	}
	if _, ok := s.Kinds["snapshot"]; !ok {
		s.Kinds["snapshot"] = authz.Kind{ARN: func(b []byte, info *call.Info, name string) []byte { return appendARN(b, info, "snapshot", name) }}
	}
	const deviceType = "vpn-connection-device-type" // AWS's, not anybody's
	s.Kinds[deviceType] = authz.Kind{ARN: func(b []byte, info *call.Info, name string) []byte { return appendARN(b, info, deviceType, name) }}
	s.Kinds["any"] = anyKind()
	return s
}

// access makes what authz knows of a kind. Ids of others are not found, so that their tags stay theirs.
func (k *kind[T]) access() authz.Kind {
	out := authz.Kind{
		ARN: func(b []byte, info *call.Info, name string) []byte { return appendARN(b, info, k.name, name) },
		Find: func(r store.Reader, info *call.Info, name string) authz.Resource {
			if v := k.table.Get(r, name); v != nil && k.mine(info, v) {
				return found[T]{r, k, v}
			}
			return nil
		},
	}
	switch k.name {
	case "image":
		out.Name = func(_ store.Reader, _ *call.Info, given string) string { return imageID(given) }
		out.Find = func(r store.Reader, info *call.Info, name string) authz.Resource {
			v := store.Images.Get(r, name)
			switch {
			case v == nil || !visible(info, v):
				return nil
			case images.mine(info, v):
				return found[resource.Image]{r, images, v}
			}
			return sharedImage{v} // whose it is counts, its tags are its owner's
		}
	case "snapshot":
		out.Find = func(r store.Reader, info *call.Info, name string) authz.Resource {
			v := store.Snapshots.Get(r, name)
			switch {
			case v == nil || v.Region != info.Region || !mayRestore(r, info.AccountID, v):
				return nil
			case snapshots.mine(info, v):
				return found[resource.Snapshot]{r, snapshots, v}
			}
			return sharedSnapshot{v}
		}
	case "security-group":
		out.Name = groupID
	case "elastic-ip":
		out.Name = allocationID
	case "vpc", "subnet", "route-table", "network-interface":
		out.Name = ofAssociation
	case "launch-template":
		out.Name = templateID
	case "placement-group":
		out.New = func(_ *call.Info, members []string) string { return members[0] }
	case "key-pair":
		out.Name = keyName
		out.New = func(_ *call.Info, members []string) string { return members[0] }
		out.Find = func(r store.Reader, info *call.Info, name string) authz.Resource {
			if v := store.KeyPairsByName.One(r, ownerKey(info)+"/"+name); v != nil {
				return found[resource.KeyPair]{r, keyPairs, v}
			}
			return nil
		}
	}
	return out
}

// appendARN names a resource of the caller's. Images and snapshots have no account in their ARNs.
func appendARN(b []byte, info *call.Info, kind, name string) []byte {
	account := info.AccountID
	if kind == "image" || kind == "snapshot" {
		account = ""
	}
	if name == "" {
		name = "*"
	}
	for _, s := range []string{"arn:aws:ec2:", info.Region, ":", account, ":", kind, "/", name} {
		b = append(b, s...)
	}
	return b
}

// groupID gives the id of a security group that is named by id, or by name in the default VPC.
func groupID(r store.Reader, info *call.Info, given string) string {
	if strings.HasPrefix(given, "sg-") {
		return given
	}
	if v := home(r, info); v != nil {
		if g := groupNamed(r, info, v.ID, given); g != nil {
			return g.ID
		}
	}
	return given
}

// ofAssociation gives the id of what is named by one of its associations or attachments.
func ofAssociation(r store.Reader, info *call.Info, given string) string {
	switch {
	case strings.HasPrefix(given, "vpc-cidr-assoc-"):
		for v := range store.VPCsByOwner.By(r, ownerKey(info)) {
			if slices.Contains(vpcAssociations(v), given) || slices.ContainsFunc(v.IPv6, func(b resource.V6Block) bool { return b.AssociationID == given }) {
				return v.ID
			}
		}
	case strings.HasPrefix(given, "subnet-cidr-assoc-"):
		for sub := range store.SubnetsByOwner.By(r, ownerKey(info)) {
			if sub.IPv6 != nil && sub.IPv6.AssociationID == given {
				return sub.ID
			}
		}
	case strings.HasPrefix(given, "aclassoc-"):
		for sub := range store.SubnetsByOwner.By(r, ownerKey(info)) {
			if aclAssociation(sub) == given {
				return sub.ID
			}
		}
	case strings.HasPrefix(given, "rtbassoc-"):
		if t, _, err := associationOf(r, info, given); err == nil {
			return t.ID
		}
	case strings.HasPrefix(given, "eni-attach-"):
		if e := attachedBy(r, info, given); e != nil {
			return e.ID
		}
	}
	return given
}

// keyName gives the name of a key pair, which its ARN is made of.
func keyName(r store.Reader, info *call.Info, given string) string {
	if k := store.KeyPairs.Get(r, given); k != nil && keyPairs.mine(info, k) {
		return k.Name
	}
	return given
}

// allocationID gives the id of an elastic IP that is named by itself or by its association.
func allocationID(r store.Reader, info *call.Info, given string) string {
	switch {
	case strings.HasPrefix(given, "eipalloc-"):
	case strings.HasPrefix(given, "eipassoc-"):
		for a := range store.AddressesByOwner.By(r, ownerKey(info)) {
			if a.AssociationID == given {
				return a.AllocationID
			}
		}
	default:
		if a := store.AddressesByIP.One(r, given); a != nil && addresses.mine(info, a) {
			return a.AllocationID
		}
	}
	return given
}

// templateID gives the id of a launch template that is named by id or by name.
func templateID(r store.Reader, info *call.Info, given string) string {
	for t := range store.LaunchTemplatesByOwner.By(r, ownerKey(info)) {
		if t.Name == given {
			return t.ID
		}
	}
	return given
}

// anyKind is for the tag calls: resources of every kind, told apart by the prefix of their ids. Its names are KIND/NAME.
func anyKind() authz.Kind {
	kinds := map[string]tagged{}
	for _, k := range taggables() {
		kinds[k.name] = k
	}
	return authz.Kind{
		Name: func(r store.Reader, info *call.Info, given string) string {
			given = imageID(given)
			for _, k := range kinds {
				if !wellFormed(k.prefix, given) {
					continue
				}
				if k.access.Name != nil {
					given = k.access.Name(r, info, given)
				}
				return k.name + "/" + given
			}
			return "*/" + given // no such kind: the handler will say so
		},
		ARN: func(b []byte, info *call.Info, name string) []byte {
			kind, id, _ := strings.Cut(name, "/")
			return appendARN(b, info, kind, id)
		},
		Find: func(r store.Reader, info *call.Info, name string) authz.Resource {
			kind, id, _ := strings.Cut(name, "/")
			if find := kinds[kind].access.Find; find != nil {
				return find(r, info, id)
			}
			return nil
		},
	}
}

// passProfile asks for iam:PassRole on the role of an instance profile, which is named by ARN or by name: who puts
// a role on an instance gets its powers. One that is not there is for the handler to refuse.
func passProfile(a *authz.Asking, arn, name string) {
	if name == "" {
		_, name = authz.SplitARN(arn)
	}
	p := store.InstanceProfiles.Get(a.Reader, store.UserKey(a.Info.AccountID, name))
	if p == nil {
		return
	}
	role := store.RolesByID.One(a.Reader, p.RoleID)
	if role == nil || role.AccountID != a.Info.AccountID {
		return
	}
	a.Ask(actPassRole, role.ARN(), func(k policy.Key) (policy.Value, bool) {
		switch k.Name {
		case "iam:passedtoservice":
			return policy.String("ec2.amazonaws.com"), true
		case "iam:resourcetag", "aws:resourcetag":
			return authz.Tag(role.Tags, k.Arg)
		}
		return policy.Value{}, false
	})
}
