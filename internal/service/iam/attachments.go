package iam

import (
	"context"
	"slices"
	"strings"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// attach adds a managed policy to an entity. It is no error if it has it.
func (s *Service) attach(ctx context.Context, find find, name, arn string) error {
	account := call.From(ctx).AccountID
	return s.update(ctx, func(tx *store.Tx) error {
		return change(tx, find, account, name, func(h holder, p *resource.Permissions) error {
			if err := attachable(tx, account, arn); err != nil {
				return err
			}
			if slices.Contains(p.Attached, arn) {
				return nil
			}
			if len(p.Attached) >= maxAttached {
				return identity.OverQuota(h.quota, maxAttached)
			}
			p.Attached = append(p.Attached, arn)
			return nil
		})
	})
}

// detach takes a managed policy away.
func (s *Service) detach(ctx context.Context, find find, name, arn string) error {
	account := call.From(ctx).AccountID
	return s.update(ctx, func(tx *store.Tx) error {
		return change(tx, find, account, name, func(_ holder, p *resource.Permissions) error {
			i := slices.Index(p.Attached, arn)
			if i < 0 {
				return noEntity("Policy %s was not found.", arn)
			}
			p.Attached = slices.Delete(p.Attached, i, i+1)
			return nil
		})
	})
}

// attached gives a page of an entity's managed policies below a path, in order of name.
func (s *Service) attached(ctx context.Context, find find, name, prefix, after string, maxItems *int) (list []shape.AttachedPolicy, next string, err error) {
	p, err := newPage(after, maxItems)
	if err != nil {
		return nil, "", err
	}
	if err := checkPrefix(prefix); err != nil {
		return nil, "", err
	}
	h, err := find(s.store.Snapshot(), call.From(ctx).AccountID, name)
	if err != nil {
		return nil, "", err
	}
	var all []shape.AttachedPolicy
	for _, arn := range h.Attached {
		if path, short := pathOf(arn); strings.HasPrefix(path, prefix) {
			all = append(all, shape.AttachedPolicy{PolicyName: short, PolicyArn: arn})
		}
	}
	slices.SortFunc(all, func(a, b shape.AttachedPolicy) int { return strings.Compare(a.PolicyName, b.PolicyName) })
	list, next = cut(p, all, func(a shape.AttachedPolicy) string { return a.PolicyName })
	return list, next, nil
}

// bound sets an entity's permissions boundary, "" removes it.
func (s *Service) bound(ctx context.Context, find find, name, arn string) error {
	account := call.From(ctx).AccountID
	return s.update(ctx, func(tx *store.Tx) error {
		return change(tx, find, account, name, func(h holder, p *resource.Permissions) error {
			if arn == "" && p.Boundary == "" {
				return noEntity("There is no permissions boundary on %s %s.", h.noun, name)
			}
			if arn != "" {
				if err := attachable(tx, account, arn); err != nil {
					return err
				}
			}
			p.Boundary = arn
			return nil
		})
	})
}

func boundaryOut(arn string) *shape.AttachedPermissionsBoundary {
	if arn == "" {
		return nil
	}
	return &shape.AttachedPermissionsBoundary{PermissionsBoundaryType: "Policy", PermissionsBoundaryArn: arn}
}

// putInline writes an inline policy of an entity.
func (s *Service) putInline(ctx context.Context, find find, name, policyName, text string) error {
	if err := checkName("policyName", policyName, 128); err != nil {
		return err
	}
	account := call.From(ctx).AccountID
	return s.update(ctx, func(tx *store.Tx) error {
		return change(tx, find, account, name, func(h holder, p *resource.Permissions) error {
			if err := checkDocument(text, policy.Identity, h.inline); err != nil {
				return err
			}
			if p.Inline == nil {
				p.Inline = map[string]string{}
			}
			p.Inline[policyName] = text
			sum := 0
			for _, t := range p.Inline {
				sum += size(t)
			}
			if sum > h.inline {
				return identity.OverQuota("inline policies of a "+h.noun+", in characters", h.inline)
			}
			return nil
		})
	})
}

// getInline gives an inline policy's text, percent-encoded.
func (s *Service) getInline(ctx context.Context, find find, name, policyName string) (string, error) {
	h, err := find(s.store.Snapshot(), call.From(ctx).AccountID, name)
	if err != nil {
		return "", err
	}
	text, ok := h.Inline[policyName]
	if !ok {
		return "", noEntity("The %s policy with name %s cannot be found.", h.noun, policyName)
	}
	return escaped(text), nil
}

func (s *Service) deleteInline(ctx context.Context, find find, name, policyName string) error {
	account := call.From(ctx).AccountID
	return s.update(ctx, func(tx *store.Tx) error {
		return change(tx, find, account, name, func(h holder, p *resource.Permissions) error {
			if _, ok := p.Inline[policyName]; !ok {
				return noEntity("The %s policy with name %s cannot be found.", h.noun, policyName)
			}
			delete(p.Inline, policyName)
			return nil
		})
	})
}

// inlineNames gives a page of the names of an entity's inline policies.
func (s *Service) inlineNames(ctx context.Context, find find, name, after string, maxItems *int) (list []string, next string, err error) {
	p, err := newPage(after, maxItems)
	if err != nil {
		return nil, "", err
	}
	h, err := find(s.store.Snapshot(), call.From(ctx).AccountID, name)
	if err != nil {
		return nil, "", err
	}
	var all []string
	for n := range h.Inline {
		all = append(all, n)
	}
	slices.Sort(all)
	list, next = cut(p, all, func(n string) string { return n })
	return list, next, nil
}
