package ec2

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
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

// templateData checks launch parameters and gives them as they are kept.
func templateData(in *shape.RequestLaunchTemplateData, description, token string) ([]byte, error) {
	switch {
	case in == nil || reflect.ValueOf(*in).IsZero():
		return nil, errMissing("LaunchTemplateData")
	case len(description) > 255:
		return nil, awserr.New("InvalidParameterValue", "The version description has more than 255 characters.")
	case len(token) > 128:
		return nil, errValue(token, "clientToken")
	}
	if _, err := userData(in.UserData); err != nil {
		return nil, err
	}
	for _, t := range in.TagSpecifications {
		if _, err := checkTags(t.Tags); err != nil {
			return nil, err
		}
	}
	data, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode launch template data: %w", err)
	}
	return data, nil
}

// recast fills out from the members of in that have the same names: AWS repeats its structures under many.
func recast(in, out any) error {
	data, ok := in.(json.RawMessage)
	if !ok {
		var err error
		if data, err = json.Marshal(in); err != nil {
			return fmt.Errorf("recast %T: %w", in, err)
		}
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("recast %T: %w", out, err)
	}
	return nil
}

// overlay replaces those fields of dst that src gives; both point to the same type of struct.
func overlay(dst, src any) {
	d, v := reflect.ValueOf(dst).Elem(), reflect.ValueOf(src).Elem()
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			d.Field(i).Set(v.Field(i))
		}
	}
}

// templateData gives the parameters of a version, whole.
func (s *Service) templateData(v *resource.LaunchTemplateVersion) (json.RawMessage, error) {
	return userdata.Data(s.Sealer, v)
}

func (s *Service) shapeVersion(t *resource.LaunchTemplate, v *resource.LaunchTemplateVersion) (shape.LaunchTemplateVersion, error) {
	data := new(shape.ResponseLaunchTemplateData)
	text, err := s.templateData(v)
	if err != nil {
		return shape.LaunchTemplateVersion{}, err
	}
	if err := recast(text, data); err != nil {
		return shape.LaunchTemplateVersion{}, err
	}
	return shape.LaunchTemplateVersion{
		LaunchTemplateId: t.ID, LaunchTemplateName: t.Name, VersionNumber: v.Number, VersionDescription: v.Description, CreateTime: v.CreatedAt,
		CreatedBy: v.CreatedBy, DefaultVersion: v.Number == t.Default, LaunchTemplateData: data,
	}, nil
}

// CreateLaunchTemplateVersion adds a version: of its own, or a source version's with some parameters replaced.
func (s *Service) CreateLaunchTemplateVersion(ctx context.Context, in *shape.CreateLaunchTemplateVersionRequest) (*shape.CreateLaunchTemplateVersionResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	given := in.LaunchTemplateData
	if given == nil {
		return nil, errMissing("LaunchTemplateData")
	}
	sum := digest(struct {
		ID, Name, Source, Description string
		Data                          *shape.RequestLaunchTemplateData
	}{in.LaunchTemplateId, in.LaunchTemplateName, in.SourceVersion, in.VersionDescription, given})
	var template *resource.LaunchTemplate
	var made *resource.LaunchTemplateVersion
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		t, err := findTemplate(tx, info, in.LaunchTemplateId, in.LaunchTemplateName)
		if err != nil {
			return err
		}
		template = t
		count := 0
		for v := range store.LaunchTemplateVersionsByTemplate.By(tx, t.ID) {
			count++
			if in.ClientToken == "" || v.ClientToken != in.ClientToken {
				continue
			}
			if v.TokenDigest != sum {
				return awserr.New("IdempotentParameterMismatch", "The client token was used before with other parameters.")
			}
			made = v
			return nil
		}
		if count >= maxTemplateVersions {
			return awserr.New("LaunchTemplateVersionLimitExceeded", "A launch template has at most %d versions.", maxTemplateVersions)
		}
		whole := new(shape.RequestLaunchTemplateData)
		if in.SourceVersion != "" {
			source, err := findVersion(tx, t, in.SourceVersion)
			if err != nil {
				return err
			}
			text, err := s.templateData(source)
			if err != nil {
				return err
			}
			if err := recast(text, whole); err != nil {
				return err
			}
		}
		overlay(whole, given)
		data, err := templateData(whole, in.VersionDescription, in.ClientToken)
		if err != nil {
			return err
		}
		next := *t
		next.Newest++
		template = &next
		made = &resource.LaunchTemplateVersion{
			Owned: s.owned(info, nil), TemplateID: t.ID, Number: next.Newest, Description: in.VersionDescription, CreatedBy: info.ARN,
			ClientToken: in.ClientToken, TokenDigest: sum,
		}
		if err := userdata.SetData(s.Sealer, made, data); err != nil {
			return err
		}
		if err := store.LaunchTemplateVersions.Put(tx, made); err != nil {
			return err
		}
		return store.LaunchTemplates.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	out, err := s.shapeVersion(template, made)
	return &shape.CreateLaunchTemplateVersionResult{LaunchTemplateVersion: &out}, err
}

// DeleteLaunchTemplateVersions deletes versions, and says of each how it went.
func (s *Service) DeleteLaunchTemplateVersions(ctx context.Context, in *shape.DeleteLaunchTemplateVersionsRequest) (*shape.DeleteLaunchTemplateVersionsResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case len(in.Versions) == 0:
		return nil, errMissing("LaunchTemplateVersion")
	case len(in.Versions) > 200:
		return nil, awserr.New("InvalidParameterValue", "At most 200 versions can be deleted with one request.")
	}
	var numbers []int64
	for _, v := range in.Versions {
		n, err := versionNumber(v)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	var out *shape.DeleteLaunchTemplateVersionsResult
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		out = &shape.DeleteLaunchTemplateVersionsResult{
			SuccessfullyDeletedLaunchTemplateVersions:   []shape.DeleteLaunchTemplateVersionsResponseSuccessItem{},
			UnsuccessfullyDeletedLaunchTemplateVersions: []shape.DeleteLaunchTemplateVersionsResponseErrorItem{},
		}
		t, err := findTemplate(tx, info, in.LaunchTemplateId, in.LaunchTemplateName)
		if err != nil {
			return err
		}
		for _, n := range numbers {
			fail := func(code, message string) {
				out.UnsuccessfullyDeletedLaunchTemplateVersions = append(out.UnsuccessfullyDeletedLaunchTemplateVersions, shape.DeleteLaunchTemplateVersionsResponseErrorItem{
					LaunchTemplateId: t.ID, LaunchTemplateName: t.Name, VersionNumber: n, ResponseError: &shape.ResponseError{Code: code, Message: message},
				})
			}
			switch {
			case n == t.Default:
				fail("unexpectedError", "The default version of a launch template cannot be deleted.")
			case store.LaunchTemplateVersions.Get(tx, store.VersionKey(t.ID, n)) == nil:
				fail("launchTemplateVersionDoesNotExist", "The version does not exist.")
			default:
				store.LaunchTemplateVersions.Delete(tx, store.VersionKey(t.ID, n))
				out.SuccessfullyDeletedLaunchTemplateVersions = append(out.SuccessfullyDeletedLaunchTemplateVersions,
					shape.DeleteLaunchTemplateVersionsResponseSuccessItem{LaunchTemplateId: t.ID, LaunchTemplateName: t.Name, VersionNumber: n})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ofData is a filter on a version's parameters.
func ofData(value func(*shape.ResponseLaunchTemplateData) string) func(*shape.LaunchTemplateVersion) []string {
	return func(v *shape.LaunchTemplateVersion) []string { return one(value(v.LaunchTemplateData)) }
}

func ofTemplateIMDS(value func(*shape.LaunchTemplateInstanceMetadataOptions) string) func(*shape.LaunchTemplateVersion) []string {
	return func(v *shape.LaunchTemplateVersion) []string {
		if m := v.LaunchTemplateData.MetadataOptions; m != nil {
			return one(value(m))
		}
		return nil
	}
}

var versionFilters = &filter.Set[*shape.LaunchTemplateVersion]{
	Fields: map[string]func(*shape.LaunchTemplateVersion) []string{
		"create-time":        func(v *shape.LaunchTemplateVersion) []string { return one(awsTime(v.CreateTime)) },
		"ebs-optimized":      func(v *shape.LaunchTemplateVersion) []string { return yes(isTrue(v.LaunchTemplateData.EbsOptimized)) },
		"http-endpoint":      ofTemplateIMDS(func(m *shape.LaunchTemplateInstanceMetadataOptions) string { return m.HttpEndpoint }),
		"http-tokens":        ofTemplateIMDS(func(m *shape.LaunchTemplateInstanceMetadataOptions) string { return m.HttpTokens }),
		"image-id":           ofData(func(d *shape.ResponseLaunchTemplateData) string { return imageID(d.ImageId) }),
		"instance-type":      ofData(func(d *shape.ResponseLaunchTemplateData) string { return d.InstanceType }),
		"is-default-version": func(v *shape.LaunchTemplateVersion) []string { return yes(v.DefaultVersion) },
		"kernel-id":          ofData(func(d *shape.ResponseLaunchTemplateData) string { return imageID(d.KernelId) }),
		"ram-disk-id":        ofData(func(d *shape.ResponseLaunchTemplateData) string { return imageID(d.RamDiskId) }),
		"iam-instance-profile": func(v *shape.LaunchTemplateVersion) []string {
			if p := v.LaunchTemplateData.IamInstanceProfile; p != nil {
				return append(one(p.Arn), one(p.Name)...)
			}
			return nil
		},
	},
	Never: []string{"host-resource-group-arn", "http-protocol-ipv4", "license-configuration-arn", "network-card-index"},
}

// DescribeLaunchTemplateVersions lists versions, the newest first: of one template, or the latest or default
// ones of all.
func (s *Service) DescribeLaunchTemplateVersions(ctx context.Context, in *shape.DescribeLaunchTemplateVersionsRequest) (*shape.DescribeLaunchTemplateVersionsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(versionFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	limit, start, err := s.page(info, "DescribeLaunchTemplateVersions", in.MaxResults, in.NextToken, 1)
	if err != nil {
		return nil, err
	}
	if limit > 200 && in.MaxResults != nil {
		return nil, errValue(strconv.Itoa(limit), "maxResults")
	}
	wanted, err := wantedVersions(r, info, in)
	if err != nil {
		return nil, err
	}
	// A page begins at a key, and keys rise: newer versions come first by counting down.
	key := func(v shape.LaunchTemplateVersion) string {
		return store.VersionKey(v.LaunchTemplateId, 9_999_999_999-v.VersionNumber)
	}
	out := []shape.LaunchTemplateVersion{}
	for _, w := range wanted {
		v, err := s.shapeVersion(w.template, w.version)
		if err != nil {
			return nil, err
		}
		if key(v) >= start && (match == nil || match(&v)) {
			out = append(out, v)
		}
	}
	list, next, err := cut(s, info, "DescribeLaunchTemplateVersions", out, limit, key)
	return &shape.DescribeLaunchTemplateVersionsResult{LaunchTemplateVersions: list, NextToken: next}, err
}

type wantedVersion struct {
	template *resource.LaunchTemplate
	version  *resource.LaunchTemplateVersion
}

// wantedVersions gives what a DescribeLaunchTemplateVersions names, in order of template and falling number.
func wantedVersions(r store.Reader, info *call.Info, in *shape.DescribeLaunchTemplateVersionsRequest) ([]wantedVersion, error) {
	var out []wantedVersion
	if in.LaunchTemplateId == "" && in.LaunchTemplateName == "" {
		if len(in.Versions) == 0 || in.MinVersion != "" || in.MaxVersion != "" {
			return nil, awserr.New("MissingParameter", "Either a launch template ID or a launch template name, or the versions $Latest or $Default of all templates, must be specified in the request.")
		}
		for _, v := range in.Versions {
			if v != "$Latest" && v != "$Default" {
				return nil, errCombination("Without a launch template, the versions can only be $Latest and $Default.")
			}
		}
		for t := range store.LaunchTemplatesByOwner.By(r, ownerKey(info)) {
			for _, name := range in.Versions {
				v, err := findVersion(r, t, name)
				if err != nil {
					return nil, err
				}
				out = append(out, wantedVersion{t, v})
			}
		}
	} else {
		t, err := findTemplate(r, info, in.LaunchTemplateId, in.LaunchTemplateName)
		if err != nil {
			return nil, err
		}
		least, most := int64(1), t.Newest
		for _, bound := range []struct {
			text string
			to   *int64
		}{{in.MinVersion, &least}, {in.MaxVersion, &most}} {
			if bound.text == "" {
				continue
			}
			if len(in.Versions) > 0 {
				return nil, errCombination("Versions cannot be used together with a minimum or maximum version.")
			}
			if *bound.to, err = versionNumber(bound.text); err != nil {
				return nil, err
			}
		}
		for _, name := range in.Versions {
			v, err := findVersion(r, t, name)
			if err != nil {
				return nil, err
			}
			out = append(out, wantedVersion{t, v})
		}
		if len(in.Versions) == 0 {
			for v := range store.LaunchTemplateVersionsByTemplate.By(r, t.ID) {
				if v.Number >= least && v.Number <= most {
					out = append(out, wantedVersion{t, v})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b wantedVersion) int {
		if a.template.ID != b.template.ID {
			return slices.Compare([]byte(a.template.ID), []byte(b.template.ID))
		}
		return int(b.version.Number - a.version.Number)
	})
	return slices.Compact(out), nil
}
