package ec2

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits of AWS, and how many old versions are kept.
const (
	maxPrefixLists   = 100 // of an account in a region
	maxPrefixEntries = 1000
	maxVersions      = 100
)

// awsLists gives the lists that the cloud itself keeps: the range in which its S3 is found from inside a VPC.
func awsLists(region string) []resource.PrefixList {
	list := func(id, service, block string) resource.PrefixList {
		return resource.PrefixList{
			Owned: resource.Owned{AccountID: "AWS", Region: region}, ID: id, Name: "com.amazonaws." + region + "." + service, State: "create-complete",
			Versions: []resource.PrefixListVersion{{Number: 1, Entries: []resource.PrefixEntry{{CIDR: block}}}},
		}
	}
	return []resource.PrefixList{list(resource.S3PrefixList, "s3", resource.S3Address+"/32")}
}

// prefixList gives a list of the caller's or one of the cloud's own.
func prefixList(r store.Reader, info *call.Info, id string) (*resource.PrefixList, error) {
	for _, l := range awsLists(info.Region) {
		if l.ID == id {
			return &l, nil
		}
	}
	return prefixLists.find(r, info, id)
}

// shapeList shows a prefix list.
func shapeList(_ store.Reader, l *resource.PrefixList) shape.ManagedPrefixList {
	out := shape.ManagedPrefixList{
		PrefixListId: l.ID, AddressFamily: "IPv4", State: l.State, PrefixListArn: prefixLists.arn(l), PrefixListName: l.Name,
		MaxEntries: l.MaxEntries, Version: l.Current().Number, Tags: shapeTags(l.Tags), OwnerId: l.AccountID,
	}
	if l.IPv6 {
		out.AddressFamily = "IPv6"
	}
	if l.AccountID == "AWS" {
		out.PrefixListArn, out.Version = "arn:aws:ec2:"+l.Region+":aws:prefix-list/"+l.ID, 0
	}
	return out
}

// entriesOf checks blocks and descriptions for a list.
func entriesOf(in []shape.AddPrefixListEntry, v6 bool) (out []resource.PrefixEntry, err error) {
	for _, e := range in {
		p, err := netip.ParsePrefix(e.Cidr)
		if err != nil || p.Addr().Is4() == v6 || p.Addr().Is4In6() {
			return nil, awserr.New("InvalidParameterValue", "The CIDR (%s) is invalid for the address family of the prefix list.", e.Cidr)
		}
		if len(e.Description) > 255 {
			return nil, awserr.New("InvalidParameterValue", "The description has more than 255 characters.")
		}
		block := p.Masked().String()
		if slices.ContainsFunc(out, func(o resource.PrefixEntry) bool { return o.CIDR == block }) {
			return nil, awserr.New("InvalidParameterValue", "The CIDR (%s) is given twice.", block)
		}
		out = append(out, resource.PrefixEntry{CIDR: block, Description: e.Description})
	}
	return out, nil
}

func checkListName(name string) error {
	if name == "" {
		return errMissing("prefixListName")
	}
	if len(name) > 255 || strings.HasPrefix(strings.ToLower(name), "com.amazonaws") {
		return errValue(name, "prefixListName")
	}
	return nil
}

func checkListSize(max int) error {
	if max < 1 || max > maxPrefixEntries {
		return errValue(strconv.Itoa(max), "maxEntries")
	}
	return nil
}

// CreateManagedPrefixList makes a list.
func (s *Service) CreateManagedPrefixList(ctx context.Context, in *shape.CreateManagedPrefixListRequest) (*shape.CreateManagedPrefixListResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := checkListName(in.PrefixListName); err != nil {
		return nil, err
	}
	if in.AddressFamily == "" {
		return nil, errMissing("addressFamily")
	}
	if err := oneOf("addressFamily", in.AddressFamily, "IPv4", "IPv6"); err != nil {
		return nil, err
	}
	if err := checkListSize(in.MaxEntries); err != nil {
		return nil, err
	}
	entries, err := entriesOf(in.Entries, in.AddressFamily == "IPv6")
	if err != nil {
		return nil, err
	}
	if len(entries) > in.MaxEntries {
		return nil, errListFull(in.MaxEntries)
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "prefix-list")
	if err != nil {
		return nil, err
	}
	token, err := tokenOfRequest(in)
	if err != nil {
		return nil, err
	}
	made := &resource.PrefixList{
		Owned: s.owned(info, tags["prefix-list"]), ID: s.IDs.Resource("pl-"), Name: in.PrefixListName, IPv6: in.AddressFamily == "IPv6",
		MaxEntries: in.MaxEntries, Versions: []resource.PrefixListVersion{{Number: 1, Entries: entries}}, State: "create-complete", Token: token.token,
	}
	shown := made
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		shown = made
		for l := range store.PrefixListsByOwner.By(tx, ownerKey(info)) {
			if token.same(l.Token) {
				shown = l
				return token.check(l.Token)
			}
		}
		if prefixLists.count(tx, info) >= maxPrefixLists {
			return awserr.New("PrefixListLimitExceeded", "The maximum number of prefix lists has been reached.")
		}
		return store.PrefixLists.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapeList(nil, shown)
	out.State = "create-in-progress" // as AWS answers; it is complete when the next call comes
	return &shape.CreateManagedPrefixListResult{PrefixList: &out}, nil
}

func errListFull(max int) error {
	return awserr.New("PrefixListMaxEntriesExceeded", "You've reached the maximum number of entries for the prefix list: %d.", max)
}

// changeable gives a list that the caller may change.
func changeable(r store.Reader, info *call.Info, id string) (*resource.PrefixList, error) {
	if id == "" {
		return nil, errMissing("prefixListId")
	}
	l, err := prefixList(r, info, id)
	if err == nil && l.AccountID == "AWS" {
		return nil, awserr.New("OperationNotPermitted", "The prefix list '%s' is AWS's own and cannot be changed.", id)
	}
	return l, err
}

// ModifyManagedPrefixList changes a list's name, size or entries; new entries make a new version.
func (s *Service) ModifyManagedPrefixList(ctx context.Context, in *shape.ModifyManagedPrefixListRequest) (*shape.ModifyManagedPrefixListResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	changes := len(in.AddEntries) + len(in.RemoveEntries)
	switch {
	case changes == 0 && in.PrefixListName == "" && in.MaxEntries == nil:
		return nil, errCombination("Nothing to modify is given.")
	case changes > 0 && in.MaxEntries != nil:
		return nil, errCombination("You cannot modify the entries of a prefix list and its size at the same time.")
	case changes > 0 && in.CurrentVersion == nil:
		return nil, errMissing("currentVersion")
	}
	if in.PrefixListName != "" {
		if err := checkListName(in.PrefixListName); err != nil {
			return nil, err
		}
	}
	if in.MaxEntries != nil {
		if err := checkListSize(*in.MaxEntries); err != nil {
			return nil, err
		}
	}
	var next resource.PrefixList
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		l, err := changeable(tx, info, in.PrefixListId)
		if err != nil {
			return err
		}
		next = *l
		next.State = "modify-complete"
		if in.PrefixListName != "" {
			next.Name = in.PrefixListName
		}
		if in.CurrentVersion != nil && *in.CurrentVersion != l.Current().Number {
			return errListVersion(l)
		}
		entries := l.Current().Entries
		if changes > 0 {
			if entries, err = changedEntries(l, in); err != nil {
				return err
			}
			next.Versions = addVersion(l.Versions, entries)
		}
		if in.MaxEntries != nil {
			next.MaxEntries = *in.MaxEntries
		}
		if len(entries) > next.MaxEntries {
			return errListFull(next.MaxEntries)
		}
		if err := roomFor(tx, &next); err != nil {
			return err
		}
		return store.PrefixLists.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	out := shapeList(nil, &next)
	out.State = "modify-in-progress"
	return &shape.ModifyManagedPrefixListResult{PrefixList: &out}, nil
}

func errListVersion(l *resource.PrefixList) error {
	return awserr.New("PrefixListVersionMismatch", "The prefix list %s has the version %d.", l.ID, l.Current().Number)
}

// changedEntries gives a list's entries after a request. An entry that is both removed and added is changed.
func changedEntries(l *resource.PrefixList, in *shape.ModifyManagedPrefixListRequest) ([]resource.PrefixEntry, error) {
	entries := slices.Clone(l.Current().Entries)
	for _, gone := range in.RemoveEntries {
		block := prefixOf(gone.Cidr).Masked().String()
		i := slices.IndexFunc(entries, func(e resource.PrefixEntry) bool { return e.CIDR == block })
		if i < 0 {
			return nil, awserr.New("InvalidParameterValue", "The CIDR (%s) is not in the prefix list %s.", gone.Cidr, l.ID)
		}
		entries = slices.Delete(entries, i, i+1)
	}
	add, err := entriesOf(in.AddEntries, l.IPv6)
	if err != nil {
		return nil, err
	}
	for _, e := range add {
		if i := slices.IndexFunc(entries, func(o resource.PrefixEntry) bool { return o.CIDR == e.CIDR }); i >= 0 {
			entries[i] = e
		} else {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

func addVersion(all []resource.PrefixListVersion, entries []resource.PrefixEntry) []resource.PrefixListVersion {
	out := append(slices.Clone(all), resource.PrefixListVersion{Number: all[len(all)-1].Number + 1, Entries: entries})
	return out[max(0, len(out)-maxVersions):]
}

// roomFor checks that the groups and route tables that name a list stay within their limits.
func roomFor(tx *store.Tx, next *resource.PrefixList) error {
	for g := range store.SecurityGroupsByList.By(tx, next.ID) {
		weigh := func(id string) int {
			if id == next.ID {
				return next.MaxEntries
			}
			return listWeight(tx, id)
		}
		for _, egress := range []bool{false, true} {
			if ruleWeight(g.Rules, egress, weigh) > maxRulesPerGroup {
				return awserr.New("ResourceLimitExceeded", "The security group %s has no room for the prefix list %s.", g.ID, next.ID)
			}
		}
	}
	return nil
}

// listWeight is how many rules a rule that names a prefix list counts for.
func listWeight(r store.Reader, id string) int {
	if l := store.PrefixLists.Get(r, id); l != nil {
		return l.MaxEntries
	}
	return 1
}

// ruleWeight counts a group's rules of one direction as AWS does.
func ruleWeight(rules []resource.Rule, egress bool, weigh func(string) int) (n int) {
	for i := range rules {
		switch r := &rules[i]; {
		case r.Egress != egress:
		case r.PrefixList != "":
			n += weigh(r.PrefixList)
		default:
			n++
		}
	}
	return n
}

// DeleteManagedPrefixList deletes a list that nothing names.
func (s *Service) DeleteManagedPrefixList(ctx context.Context, in *shape.DeleteManagedPrefixListRequest) (*shape.DeleteManagedPrefixListResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	var out shape.ManagedPrefixList
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		l, err := changeable(tx, info, in.PrefixListId)
		if err != nil {
			return err
		}
		if store.SecurityGroupsByList.One(tx, l.ID) != nil || store.RouteTablesByList.One(tx, l.ID) != nil {
			return awserr.New("DependencyViolation", "The prefix list '%s' is referenced by another resource and cannot be deleted.", l.ID)
		}
		out = shapeList(nil, l)
		store.PrefixLists.Delete(tx, l.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	out.State = "delete-in-progress"
	return &shape.DeleteManagedPrefixListResult{PrefixList: &out}, nil
}

var listFilters = &filter.Set[*resource.PrefixList]{
	Fields: map[string]func(*resource.PrefixList) []string{
		"owner-id":         func(l *resource.PrefixList) []string { return one(l.AccountID) },
		"prefix-list-id":   func(l *resource.PrefixList) []string { return one(l.ID) },
		"prefix-list-name": func(l *resource.PrefixList) []string { return one(l.Name) },
	},
	Tags: func(l *resource.PrefixList) map[string]string { return l.Tags },
}

// visibleLists gives the cloud's lists and the caller's that are asked for, in order of id.
func (s *Service) visibleLists(r store.Reader, info *call.Info, op string, ids []string, in []shape.Filter, most *int, token string, own bool) ([]*resource.PrefixList, string, error) {
	match, err := compile(listFilters, in)
	if err != nil {
		return nil, "", err
	}
	limit, start, err := s.page(info, op, most, token, 0)
	if err != nil {
		return nil, "", err
	}
	for _, id := range ids {
		if _, err := prefixList(r, info, id); err != nil {
			return nil, "", err
		}
	}
	var all []*resource.PrefixList
	for _, l := range awsLists(info.Region) {
		all = append(all, &l)
	}
	if own {
		all = slices.AppendSeq(all, store.PrefixListsByOwner.By(r, ownerKey(info)))
	}
	slices.SortFunc(all, func(a, b *resource.PrefixList) int { return strings.Compare(a.ID, b.ID) })
	out := slices.DeleteFunc(all, func(l *resource.PrefixList) bool {
		return l.ID < start || len(ids) > 0 && !slices.Contains(ids, l.ID) || match != nil && !match(l)
	})
	return cut(s, info, op, out, limit, func(l *resource.PrefixList) string { return l.ID })
}

// DescribeManagedPrefixLists lists the caller's lists and the cloud's own.
func (s *Service) DescribeManagedPrefixLists(ctx context.Context, in *shape.DescribeManagedPrefixListsRequest) (*shape.DescribeManagedPrefixListsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	all, next, err := s.visibleLists(r, info, "DescribeManagedPrefixLists", in.PrefixListIds, in.Filters, in.MaxResults, in.NextToken, true)
	if err != nil {
		return nil, err
	}
	return &shape.DescribeManagedPrefixListsResult{PrefixLists: showAll(r, all, shapeList), NextToken: next}, nil
}

// DescribePrefixLists lists the cloud's own lists.
func (s *Service) DescribePrefixLists(ctx context.Context, in *shape.DescribePrefixListsRequest) (*shape.DescribePrefixListsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	all, next, err := s.visibleLists(r, info, "DescribePrefixLists", in.PrefixListIds, in.Filters, in.MaxResults, in.NextToken, false)
	if err != nil {
		return nil, err
	}
	return &shape.DescribePrefixListsResult{NextToken: next, PrefixLists: showAll(r, all, func(_ store.Reader, l *resource.PrefixList) shape.PrefixList {
		out := shape.PrefixList{PrefixListId: l.ID, PrefixListName: l.Name}
		for _, e := range l.Current().Entries {
			out.Cidrs = append(out.Cidrs, e.CIDR)
		}
		return out
	})}, nil
}

// GetManagedPrefixListEntries gives the entries of a version of a list.
func (s *Service) GetManagedPrefixListEntries(ctx context.Context, in *shape.GetManagedPrefixListEntriesRequest) (*shape.GetManagedPrefixListEntriesResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.PrefixListId == "" {
		return nil, errMissing("prefixListId")
	}
	l, err := prefixList(r, info, in.PrefixListId)
	if err != nil {
		return nil, err
	}
	version := l.Current()
	if in.TargetVersion != nil {
		i := slices.IndexFunc(l.Versions, func(v resource.PrefixListVersion) bool { return v.Number == *in.TargetVersion })
		if i < 0 {
			return nil, errNoListVersion(l, *in.TargetVersion)
		}
		version = l.Versions[i]
	}
	op := "GetManagedPrefixListEntries " + l.ID
	limit, start, err := s.page(info, op, in.MaxResults, in.NextToken, 0)
	if err != nil {
		return nil, err
	}
	out := []shape.PrefixListEntry{}
	for _, e := range version.Entries {
		out = append(out, shape.PrefixListEntry{Cidr: e.CIDR, Description: e.Description})
	}
	slices.SortFunc(out, func(a, b shape.PrefixListEntry) int { return strings.Compare(a.Cidr, b.Cidr) })
	out = slices.DeleteFunc(out, func(e shape.PrefixListEntry) bool { return e.Cidr < start })
	list, next, err := cut(s, info, op, out, limit, func(e shape.PrefixListEntry) string { return e.Cidr })
	return &shape.GetManagedPrefixListEntriesResult{Entries: list, NextToken: next}, err
}

func errNoListVersion(l *resource.PrefixList, n int64) error {
	return awserr.New("InvalidPrefixListVersion.NotFound", "The prefix list %s has no version %d.", l.ID, n)
}

// RestoreManagedPrefixListVersion makes a new version with the entries of an old one.
func (s *Service) RestoreManagedPrefixListVersion(ctx context.Context, in *shape.RestoreManagedPrefixListVersionRequest) (*shape.RestoreManagedPrefixListVersionResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	var next resource.PrefixList
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		l, err := changeable(tx, info, in.PrefixListId)
		if err != nil {
			return err
		}
		if in.CurrentVersion != l.Current().Number {
			return errListVersion(l)
		}
		i := slices.IndexFunc(l.Versions, func(v resource.PrefixListVersion) bool { return v.Number == in.PreviousVersion })
		if i < 0 {
			return errNoListVersion(l, in.PreviousVersion)
		}
		if len(l.Versions[i].Entries) > l.MaxEntries {
			return errListFull(l.MaxEntries)
		}
		next = *l
		next.State, next.Versions = "restore-complete", addVersion(l.Versions, l.Versions[i].Entries)
		return store.PrefixLists.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	out := shapeList(nil, &next)
	out.State = "restore-in-progress"
	return &shape.RestoreManagedPrefixListVersionResult{PrefixList: &out}, nil
}

// GetManagedPrefixListAssociations lists what names a list of the caller's.
func (s *Service) GetManagedPrefixListAssociations(ctx context.Context, in *shape.GetManagedPrefixListAssociationsRequest) (*shape.GetManagedPrefixListAssociationsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	l, err := changeable(r, info, in.PrefixListId)
	if err != nil {
		return nil, err
	}
	op := "GetManagedPrefixListAssociations " + l.ID
	limit, start, err := s.page(info, op, in.MaxResults, in.NextToken, 0)
	if err != nil {
		return nil, err
	}
	out := []shape.PrefixListAssociation{}
	for t := range store.RouteTablesByList.By(r, l.ID) {
		out = append(out, shape.PrefixListAssociation{ResourceId: t.ID, ResourceOwner: t.AccountID})
	}
	for g := range store.SecurityGroupsByList.By(r, l.ID) {
		out = append(out, shape.PrefixListAssociation{ResourceId: g.ID, ResourceOwner: g.AccountID})
	}
	out = slices.DeleteFunc(out, func(a shape.PrefixListAssociation) bool { return a.ResourceId < start })
	list, next, err := cut(s, info, op, out, limit, func(a shape.PrefixListAssociation) string { return a.ResourceId })
	return &shape.GetManagedPrefixListAssociationsResult{PrefixListAssociations: list, NextToken: next}, err
}
