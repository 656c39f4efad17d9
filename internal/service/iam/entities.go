package iam

import (
	"iter"
	"net/url"
	"strings"
	"unicode"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/identity"
	"karri.dev/internal/policy"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// kind is what users, groups, roles, policies and instance profiles have in common: names that are unique in an account
// without regard to case, paths, and a quota.
type kind[T any] struct {
	noun    string // in messages: "role"
	member  string // of requests: "roleName"
	longest int    // name
	quota   string // "VirtualMFADevicesPerAccount"
	most    int    // 0: internal/quota counts them
	table   *store.Table[T]
	account func(*T) string
	name    func(*T) string
	path    func(*T) string
}

var (
	userKind = &kind[resource.User]{
		"user", "userName", 64, "", 0, store.Users,
		func(u *resource.User) string { return u.AccountID }, func(u *resource.User) string { return u.Name }, func(u *resource.User) string { return u.Path },
	}
	groupKind = &kind[resource.Group]{
		"group", "groupName", 128, "", 0, store.Groups,
		func(g *resource.Group) string { return g.AccountID }, func(g *resource.Group) string { return g.Name }, func(g *resource.Group) string { return g.Path },
	}
	roleKind = &kind[resource.IAMRole]{
		"role", "roleName", 64, "", 0, store.Roles,
		func(r *resource.IAMRole) string { return r.AccountID }, func(r *resource.IAMRole) string { return r.Name }, func(r *resource.IAMRole) string { return r.Path },
	}
	policyKind = &kind[resource.Policy]{
		"policy", "policyName", 128, "", 0, store.Policies,
		func(p *resource.Policy) string { return p.AccountID }, func(p *resource.Policy) string { return p.Name }, func(p *resource.Policy) string { return p.Path },
	}
	profileKind = &kind[resource.InstanceProfile]{
		"instance profile", "instanceProfileName", 128, "", 0, store.InstanceProfiles,
		func(p *resource.InstanceProfile) string { return p.AccountID }, func(p *resource.InstanceProfile) string { return p.Name }, func(p *resource.InstanceProfile) string { return p.Path },
	}
)

// find gives the account's entity of this name, or NoSuchEntity.
func (k *kind[T]) find(r store.Reader, account, name string) (*T, error) {
	if v := k.table.Get(r, store.UserKey(account, name)); v != nil && name != "" {
		return v, nil
	}
	return nil, noEntity("The %s with name %s cannot be found.", k.noun, name)
}

// all gives the account's entities in order of lower-case name, from those of this name on.
func (k *kind[T]) all(r store.Reader, account, from string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for v := range k.table.From(r, store.UserKey(account, from)) {
			if k.account(v) != account || !yield(v) {
				return
			}
		}
	}
}

// admit checks the name and path of an entity that is to be made, and that there is room. It gives the path.
func (k *kind[T]) admit(r store.Reader, account, name, path string) (string, error) {
	if path == "" {
		path = "/"
	}
	if err := checkName(k.member, name, k.longest); err != nil {
		return "", err
	}
	if err := identity.CheckPath(path); err != nil {
		return "", err
	}
	if k.table.Get(r, store.UserKey(account, name)) != nil {
		return "", exists("%s with name %s already exists.", strings.ToUpper(k.noun[:1])+k.noun[1:], name)
	}
	if k.most > 0 && k.count(r, account) >= k.most {
		return "", identity.OverQuota(k.quota, k.most)
	}
	return path, nil
}

func (k *kind[T]) count(r store.Reader, account string) (n int) {
	for range k.all(r, account, "") {
		n++
	}
	return n
}

// list gives a page of the account's entities below a path, and the marker of the next page.
func (k *kind[T]) list(r store.Reader, account, prefix string, p page, keep func(*T) bool) (list []*T, next string, err error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, "", err
	}
	for v := range k.all(r, account, p.after) {
		if strings.EqualFold(k.name(v), p.after) || !strings.HasPrefix(k.path(v), prefix) || keep != nil && !keep(v) {
			continue
		}
		if len(list) == p.max {
			return list, marker(k.name(list[p.max-1])), nil
		}
		list = append(list, v)
	}
	return list, "", nil
}

// cut gives the page of a list in order of name.
func cut[T any](p page, all []T, name func(T) string) (list []T, next string) {
	list = []T{}
	for _, v := range all {
		if p.after != "" && name(v) <= p.after {
			continue
		}
		if len(list) == p.max {
			return list, marker(name(list[p.max-1]))
		}
		list = append(list, v)
	}
	return list, ""
}

func checkPrefix(prefix string) error {
	if prefix != "" && (prefix[0] != '/' || len(prefix) > 512) {
		return invalid("The specified value for pathPrefix is invalid. It must begin with the / character and contain only alphanumeric characters and/or / characters.")
	}
	return nil
}

// checkName applies IAM's rule for names.
func checkName(member, name string, longest int) error {
	if name == "" || len(name) > longest {
		return invalid("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length between 1 and %d", member, longest)
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_+=,.@-", c) >= 0) {
			return invalid("The specified value for %s is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-", member)
		}
	}
	return nil
}

// checkDocument parses a policy of at most limit characters beside white space.
func checkDocument(text string, kind policy.Kind, limit int) error {
	if text == "" {
		return invalid("1 validation error detected: Value at 'policyDocument' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	if size(text) > limit {
		return awserr.New("LimitExceeded", "Maximum policy size of %d bytes exceeded", limit).WithStatus(409)
	}
	p, err := policy.Parse(text, kind)
	if err == nil {
		err = quota.Check(p)
	}
	if err != nil {
		return malformed(err)
	}
	return nil
}

// size counts a policy's characters as IAM's quotas do: without white space.
func size(text string) (n int) {
	for _, c := range text {
		if !unicode.IsSpace(c) {
			n++
		}
	}
	return n
}

func malformed(err error) error { return awserr.New("MalformedPolicyDocument", "%s", err.Error()) }

func noEntity(format string, args ...any) error {
	return awserr.New("NoSuchEntity", format, args...).WithStatus(404)
}

func exists(format string, args ...any) error {
	return awserr.New("EntityAlreadyExists", format, args...).WithStatus(409)
}

func conflict(format string, args ...any) error {
	return awserr.New("DeleteConflict", format, args...).WithStatus(409)
}

// escaped gives a policy's text as answers carry it: percent-encoded.
func escaped(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
