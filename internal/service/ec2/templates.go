package ec2

import (
	"context"
	"regexp"
	"slices"
	"strconv"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/userdata"
)

var templateName = regexp.MustCompile(`^[a-zA-Z0-9().\-/_]{3,128}$`)

// Limits of AWS on launch templates.
const (
	maxTemplates        = 5000
	maxTemplateVersions = 10000
)

func errNoTemplate(id, name string) error {
	if id != "" {
		return awserr.New("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID %s, does not exist.", id)
	}
	return awserr.New("InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with template name %s, does not exist.", name)
}

// findTemplate gives the caller's template by id or name, of which exactly one is given.
func findTemplate(r store.Reader, info *call.Info, id, name string) (*resource.LaunchTemplate, error) {
	switch {
	case id == "" && name == "":
		return nil, awserr.New("MissingParameter", "Either a launch template ID or a launch template name must be specified in the request.")
	case id != "" && name != "":
		return nil, errCombination("The request can have either a launch template ID or a launch template name, not both.")
	case id != "":
		return templates.find(r, info, id)
	}
	t := store.LaunchTemplatesByName.One(r, ownerKey(info)+"/"+name)
	if t == nil {
		return nil, errNoTemplate("", name)
	}
	return t, nil
}

// latestVersion gives the highest version that exists.
func latestVersion(r store.Reader, t *resource.LaunchTemplate) int64 {
	for n := t.Newest; n > 0; n-- {
		if store.LaunchTemplateVersions.Get(r, store.VersionKey(t.ID, n)) != nil {
			return n
		}
	}
	return t.Default
}

func shapeTemplate(r store.Reader, t *resource.LaunchTemplate) shape.LaunchTemplate {
	return shape.LaunchTemplate{
		LaunchTemplateId: t.ID, LaunchTemplateName: t.Name, CreateTime: t.CreatedAt, CreatedBy: t.CreatedBy, DefaultVersionNumber: t.Default,
		LatestVersionNumber: latestVersion(r, t), Tags: shapeTags(t.Tags),
	}
}

// CreateLaunchTemplate makes a template with its first version.
func (s *Service) CreateLaunchTemplate(ctx context.Context, in *shape.CreateLaunchTemplateRequest) (*shape.CreateLaunchTemplateResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.LaunchTemplateName == "":
		return nil, errMissing("LaunchTemplateName")
	case !templateName.MatchString(in.LaunchTemplateName):
		return nil, awserr.New("InvalidLaunchTemplateName.MalformedException", "Launch template names are 3 to 128 letters, digits and ( ) . / - _: '%s'.", in.LaunchTemplateName)
	}
	data, err := templateData(in.LaunchTemplateData, in.VersionDescription, in.ClientToken)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "launch-template")
	if err != nil {
		return nil, err
	}
	sum := digest(struct {
		Name, Description string
		Data              []byte
		Tags              resource.Tags
	}{in.LaunchTemplateName, in.VersionDescription, data, tags["launch-template"]})
	id := s.IDs.Resource("lt-")
	var made *resource.LaunchTemplate
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		made = nil
		count := 0
		for t := range store.LaunchTemplatesByOwner.By(tx, ownerKey(info)) {
			count++
			if in.ClientToken != "" && t.ClientToken == in.ClientToken {
				made = t
			}
		}
		if made != nil {
			if made.TokenDigest != sum {
				return awserr.New("IdempotentParameterMismatch", "The client token was used before with other parameters.")
			}
			return nil
		}
		if store.LaunchTemplatesByName.One(tx, ownerKey(info)+"/"+in.LaunchTemplateName) != nil {
			return awserr.New("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
		}
		if count >= maxTemplates {
			return awserr.New("LaunchTemplateLimitExceeded", "At most %d launch templates can be made.", maxTemplates)
		}
		made = &resource.LaunchTemplate{
			Owned: s.owned(info, tags["launch-template"]), ID: id, Name: in.LaunchTemplateName, CreatedBy: info.ARN, Default: 1, Newest: 1,
			ClientToken: in.ClientToken, TokenDigest: sum,
		}
		first := &resource.LaunchTemplateVersion{
			Owned: s.owned(info, nil), TemplateID: id, Number: 1, Description: in.VersionDescription, CreatedBy: info.ARN,
		}
		if err := userdata.SetData(s.Sealer, first, data); err != nil {
			return err
		}
		if err := store.LaunchTemplateVersions.Put(tx, first); err != nil {
			return err
		}
		return store.LaunchTemplates.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapeTemplate(s.Store.Snapshot(), made)
	return &shape.CreateLaunchTemplateResult{LaunchTemplate: &out}, nil
}

// ModifyLaunchTemplate chooses the default version.
func (s *Service) ModifyLaunchTemplate(ctx context.Context, in *shape.ModifyLaunchTemplateRequest) (*shape.ModifyLaunchTemplateResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.DefaultVersion == "" {
		return nil, errMissing("SetDefaultVersion")
	}
	var made *resource.LaunchTemplate
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		t, err := findTemplate(tx, info, in.LaunchTemplateId, in.LaunchTemplateName)
		if err != nil {
			return err
		}
		v, err := findVersion(tx, t, in.DefaultVersion)
		if err != nil {
			return err
		}
		next := *t
		next.Default = v.Number
		made = &next
		return store.LaunchTemplates.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	out := shapeTemplate(s.Store.Snapshot(), made)
	return &shape.ModifyLaunchTemplateResult{LaunchTemplate: &out}, nil
}

// DeleteLaunchTemplate deletes a template with all its versions.
func (s *Service) DeleteLaunchTemplate(ctx context.Context, in *shape.DeleteLaunchTemplateRequest) (*shape.DeleteLaunchTemplateResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	var out shape.LaunchTemplate
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		t, err := findTemplate(tx, info, in.LaunchTemplateId, in.LaunchTemplateName)
		if err != nil {
			return err
		}
		out = shapeTemplate(tx, t)
		deleteVersions(tx, t)
		store.LaunchTemplates.Delete(tx, t.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteLaunchTemplateResult{LaunchTemplate: &out}, nil
}

func deleteVersions(tx *store.Tx, t *resource.LaunchTemplate) {
	for _, v := range slices.Collect(store.LaunchTemplateVersionsByTemplate.By(tx, t.ID)) {
		store.LaunchTemplateVersions.Delete(tx, store.VersionKey(t.ID, v.Number))
	}
}

var templateFilters = &filter.Set[*resource.LaunchTemplate]{
	Fields: map[string]func(*resource.LaunchTemplate) []string{
		"create-time":          func(t *resource.LaunchTemplate) []string { return one(awsTime(t.CreatedAt)) },
		"launch-template-name": func(t *resource.LaunchTemplate) []string { return one(t.Name) },
	},
	Tags: func(t *resource.LaunchTemplate) map[string]string { return t.Tags },
}

// DescribeLaunchTemplates lists templates.
func (s *Service) DescribeLaunchTemplates(ctx context.Context, in *shape.DescribeLaunchTemplatesRequest) (*shape.DescribeLaunchTemplatesResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(templateFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	ids := slices.Clone(in.LaunchTemplateIds)
	for _, name := range in.LaunchTemplateNames {
		t, err := findTemplate(r, info, "", name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, t.ID)
	}
	list, next, err := list(s, r, info, templates, selection[resource.LaunchTemplate]{
		op: "DescribeLaunchTemplates", ids: ids, max: in.MaxResults, token: in.NextToken, match: match, least: 1,
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeLaunchTemplatesResult{LaunchTemplates: showAll(r, list, shapeTemplate), NextToken: next}, nil
}

// findVersion gives a template's version by number, "$Latest" or "$Default"; "" is the default.
func findVersion(r store.Reader, t *resource.LaunchTemplate, version string) (*resource.LaunchTemplateVersion, error) {
	var n int64
	switch version {
	case "", "$Default":
		n = t.Default
	case "$Latest":
		n = latestVersion(r, t)
	default:
		var err error
		if n, err = versionNumber(version); err != nil {
			return nil, err
		}
	}
	if v := store.LaunchTemplateVersions.Get(r, store.VersionKey(t.ID, n)); v != nil {
		return v, nil
	}
	return nil, errNoVersion(t, n)
}

func errNoVersion(t *resource.LaunchTemplate, n int64) error {
	return awserr.New("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version %d for the launch template with ID %s.", n, t.ID)
}

func versionNumber(version string) (int64, error) {
	n, err := strconv.ParseInt(version, 10, 32)
	if err != nil || n < 1 {
		return 0, awserr.New("InvalidLaunchTemplateVersion.Malformed", "The launch template version '%s' is not valid: give a number, $Latest or $Default.", version)
	}
	return n, nil
}
