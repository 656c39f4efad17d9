package iam

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// services are those of the cloud, by the namespace of their actions.
var services = map[string]string{
	"cloudtrail": "AWS CloudTrail", "ec2": "Amazon EC2", "iam": "AWS Identity and Access Management", "organizations": "AWS Organizations",
	"s3": "Amazon S3", "sts": "AWS Security Token Service",
}

const (
	jobLife = 24 * time.Hour
	maxJobs = 1000 // of an account at a time
)

// subject is a user, group, role or policy by ARN: who has what it gives, and by which policies.
type subject struct {
	who     []shape.EntityInfo
	granted []granting
}

// granting is one policy of a subject.
type granting struct {
	shape.PolicyGrantingServiceAccess
	text string
}

// findSubject gives what the account has under an ARN.
func (s *Service) findSubject(r store.Reader, account, arn string) (*subject, error) {
	if n := len(arn); n < 20 || n > 2048 {
		return nil, invalid("1 validation error detected: Value at 'arn' failed to satisfy constraint: Member must have length between 20 and 2048")
	}
	out := &subject{}
	missing := noEntity("ARN %s not found.", arn)
	if strings.HasPrefix(arn, "arn:aws:iam::aws:policy/") || strings.HasPrefix(arn, "arn:aws:iam::"+account+":policy/") {
		p, err := s.findPolicy(r, account, arn)
		if err != nil {
			return nil, missing
		}
		for _, u := range entitiesOf(r, account, arn) {
			switch {
			case u.bound:
			case u.noun == "Group":
				out.members(r, u.id)
			case u.noun == "Role":
				out.role(store.RolesByID.One(r, u.id))
			default:
				out.user(store.UsersByID.One(r, u.id))
			}
		}
		out.granted = []granting{{managedGrant(p), p.Text()}}
		out.sort()
		return out, nil
	}
	owner, name := authz.SplitARN(arn)
	if owner != account {
		return nil, missing
	}
	key := store.UserKey(account, name)
	if u := store.Users.Get(r, key); u != nil && u.ARN() == arn {
		out.user(u)
		s.grants(r, out, &u.Permissions, account, shape.PolicyOwnerEntityTypeUser, u.Name)
		for _, id := range u.Groups {
			if g := store.GroupsByID.One(r, id); g != nil {
				s.grants(r, out, &g.Permissions, account, shape.PolicyOwnerEntityTypeGroup, g.Name)
			}
		}
		return out, nil
	}
	if g := store.Groups.Get(r, key); g != nil && g.ARN() == arn {
		out.members(r, g.ID)
		s.grants(r, out, &g.Permissions, account, shape.PolicyOwnerEntityTypeGroup, g.Name)
		out.sort()
		return out, nil
	}
	if role := store.Roles.Get(r, key); role != nil && role.ARN() == arn {
		out.role(role)
		s.grants(r, out, &role.Permissions, account, shape.PolicyOwnerEntityTypeRole, role.Name)
		return out, nil
	}
	return nil, missing
}

func (o *subject) user(u *resource.User) {
	o.who = append(o.who, shape.EntityInfo{Arn: u.ARN(), Name: u.Name, Type: shape.PolicyOwnerEntityTypeUser, Id: u.ID, Path: u.Path})
}

func (o *subject) role(r *resource.IAMRole) {
	o.who = append(o.who, shape.EntityInfo{Arn: r.ARN(), Name: r.Name, Type: shape.PolicyOwnerEntityTypeRole, Id: r.ID, Path: r.Path})
}

func (o *subject) members(r store.Reader, group string) {
	for u := range store.UsersByGroup.By(r, group) {
		o.user(u)
	}
}

// sort puts who is meant in order of ARN, each once.
func (o *subject) sort() {
	slices.SortFunc(o.who, func(a, b shape.EntityInfo) int { return strings.Compare(a.Arn, b.Arn) })
	o.who = slices.Compact(o.who)
}

// grants adds the policies of a user, group or role.
func (s *Service) grants(r store.Reader, to *subject, p *resource.Permissions, account, kind, name string) {
	for _, arn := range p.Attached {
		if m, err := s.findPolicy(r, account, arn); err == nil {
			to.granted = append(to.granted, granting{managedGrant(m), m.Text()})
		}
	}
	for _, inline := range slices.Sorted(maps.Keys(p.Inline)) {
		to.granted = append(to.granted, granting{shape.PolicyGrantingServiceAccess{
			PolicyName: inline, PolicyType: shape.PolicyTypeInline, EntityType: kind, EntityName: name,
		}, p.Inline[inline]})
	}
}

// managedGrant describes a managed policy, which names nobody.
func managedGrant(p *resource.Policy) shape.PolicyGrantingServiceAccess {
	return shape.PolicyGrantingServiceAccess{PolicyName: p.Name, PolicyType: shape.PolicyTypeManaged, PolicyArn: p.ARN()}
}

// gives says whether one of the policies allows anything in a service.
func (o *subject) gives(service string) bool {
	return slices.ContainsFunc(o.granted, func(g granting) bool { return grantsService(g.text, service) })
}

func grantsService(text, service string) bool {
	p, err := policy.Parse(text, policy.Identity)
	return err == nil && p.Grants(service)
}

// GenerateServiceLastAccessedDetails asks which services who has what an ARN names has used, and when last.
func (s *Service) GenerateServiceLastAccessedDetails(ctx context.Context, in *shape.GenerateServiceLastAccessedDetailsRequest) (*shape.GenerateServiceLastAccessedDetailsResult, error) {
	switch in.Granularity {
	case "", shape.AccessAdvisorUsageGranularityTypeServiceLevel:
	case shape.AccessAdvisorUsageGranularityTypeActionLevel:
		return nil, awserr.New("InvalidInput", "This cloud notes the last use of services, not of actions: the granularity must be SERVICE_LEVEL.")
	default:
		return nil, invalid("1 validation error detected: Value '%.64s' at 'granularity' failed to satisfy constraint: Member must satisfy enum value set: [SERVICE_LEVEL, ACTION_LEVEL]", in.Granularity)
	}
	job := &resource.AccessJob{AccountID: call.From(ctx).AccountID, ID: s.identity.NewUUID(), ARN: in.Arn, CreatedAt: s.identity.Now()}
	err := s.update(ctx, func(tx *store.Tx) error {
		if _, err := s.findSubject(tx, job.AccountID, in.Arn); err != nil {
			return err
		}
		if lapsed(tx, store.AccessJobs, job.AccountID, func(j *resource.AccessJob) (string, time.Time) { return j.ID, j.CreatedAt }, job.CreatedAt) >= maxJobs {
			return identity.OverQuota("ServiceLastAccessedJobs", maxJobs)
		}
		return store.AccessJobs.Put(tx, job)
	})
	if err != nil {
		return nil, err
	}
	return &shape.GenerateServiceLastAccessedDetailsResult{JobId: job.ID}, nil
}

// lapsed deletes an account's tasks that nobody will ask about any more, and counts the others.
func lapsed[T any](tx *store.Tx, t *store.Table[T], account string, about func(*T) (string, time.Time), now time.Time) (left int) {
	var old []string
	for rec := range t.From(tx, account+"/") {
		id, at := about(rec)
		key := store.UserKey(account, id)
		if t.Get(tx, key) != rec {
			break // another account's
		}
		if now.Sub(at) > jobLife {
			old = append(old, key)
		} else {
			left++
		}
	}
	for _, key := range old {
		t.Delete(tx, key)
	}
	return left
}

// accessJob gives a job of the account with what its ARN names now.
func (s *Service) accessJob(ctx context.Context, id string) (*resource.AccessJob, *subject, error) {
	r, account := s.store.Snapshot(), call.From(ctx).AccountID
	if len(id) != 36 {
		return nil, nil, invalid("1 validation error detected: Value at 'jobId' failed to satisfy constraint: Member must have length 36")
	}
	job := store.AccessJobs.Get(r, store.UserKey(account, id))
	if job == nil || s.identity.Now().Sub(job.CreatedAt) > jobLife {
		return nil, nil, noEntity("Job %s not found.", id)
	}
	of, err := s.findSubject(r, account, job.ARN)
	return job, of, err
}

// GetServiceLastAccessedDetails answers a job: the services that the policies allow, with who used each last.
func (s *Service) GetServiceLastAccessedDetails(ctx context.Context, in *shape.GetServiceLastAccessedDetailsRequest) (*shape.GetServiceLastAccessedDetailsResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	job, of, err := s.accessJob(ctx, in.JobId)
	if err != nil {
		return nil, err
	}
	all := []shape.ServiceLastAccessed{}
	for _, namespace := range slices.Sorted(maps.Keys(services)) {
		if !of.gives(namespace) {
			continue
		}
		v := shape.ServiceLastAccessed{ServiceName: services[namespace], ServiceNamespace: namespace}
		for _, who := range of.who {
			use, ok := s.identity.LastUsedBy(who.Id, namespace)
			if !ok {
				continue
			}
			if v.TotalAuthenticatedEntities++; use.Time.After(v.LastAuthenticated) {
				v.LastAuthenticated, v.LastAuthenticatedEntity, v.LastAuthenticatedRegion = use.Time, who.Arn, use.Region
			}
		}
		all = append(all, v)
	}
	out := &shape.GetServiceLastAccessedDetailsResult{
		JobStatus: shape.JobStatusTypeCompleted, JobType: shape.AccessAdvisorUsageGranularityTypeServiceLevel, JobCreationDate: job.CreatedAt, JobCompletionDate: job.CreatedAt,
	}
	out.ServicesLastAccessed, out.Marker = cut(p, all, func(v shape.ServiceLastAccessed) string { return v.ServiceNamespace })
	out.IsTruncated = out.Marker != ""
	return out, nil
}

// GetServiceLastAccessedDetailsWithEntities answers a job for one service: everyone who could use it.
func (s *Service) GetServiceLastAccessedDetailsWithEntities(ctx context.Context, in *shape.GetServiceLastAccessedDetailsWithEntitiesRequest) (*shape.GetServiceLastAccessedDetailsWithEntitiesResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	job, of, err := s.accessJob(ctx, in.JobId)
	if err != nil {
		return nil, err
	}
	if !of.gives(in.ServiceNamespace) {
		return nil, awserr.New("InvalidInput", "The service %.64s is not among those of the job.", in.ServiceNamespace)
	}
	var all []shape.EntityDetails
	for _, who := range of.who {
		d := shape.EntityDetails{EntityInfo: &who}
		if use, ok := s.identity.LastUsedBy(who.Id, in.ServiceNamespace); ok {
			d.LastAuthenticated = use.Time
		}
		all = append(all, d)
	}
	out := &shape.GetServiceLastAccessedDetailsWithEntitiesResult{JobStatus: shape.JobStatusTypeCompleted, JobCreationDate: job.CreatedAt, JobCompletionDate: job.CreatedAt}
	out.EntityDetailsList, out.Marker = cut(p, all, func(d shape.EntityDetails) string { return d.EntityInfo.Arn })
	out.IsTruncated = out.Marker != ""
	return out, nil
}

// ListPoliciesGrantingServiceAccess lists the policies of a user, group or role that allow anything in some services.
func (s *Service) ListPoliciesGrantingServiceAccess(ctx context.Context, in *shape.ListPoliciesGrantingServiceAccessRequest) (*shape.ListPoliciesGrantingServiceAccessResult, error) {
	p, err := newPage(in.Marker, nil)
	if err != nil {
		return nil, err
	}
	if n := len(in.ServiceNamespaces); n < 1 || n > 200 {
		return nil, invalid("1 validation error detected: Value at 'serviceNamespaces' failed to satisfy constraint: Member must have length between 1 and 200")
	}
	of, err := s.findSubject(s.store.Snapshot(), call.From(ctx).AccountID, in.Arn)
	if err != nil {
		return nil, err
	}
	if strings.Contains(in.Arn, ":policy/") {
		return nil, awserr.New("InvalidInput", "The ARN must be that of a user, group or role.")
	}
	var all []shape.ListPoliciesGrantingServiceAccessEntry
	for _, namespace := range slices.Compact(slices.Sorted(slices.Values(in.ServiceNamespaces))) {
		if _, known := services[namespace]; !known {
			return nil, awserr.New("InvalidInput", "The service namespace %.64s is not valid.", namespace)
		}
		e := shape.ListPoliciesGrantingServiceAccessEntry{ServiceNamespace: namespace, Policies: []shape.PolicyGrantingServiceAccess{}}
		for _, g := range of.granted {
			if grantsService(g.text, namespace) {
				e.Policies = append(e.Policies, g.PolicyGrantingServiceAccess)
			}
		}
		all = append(all, e)
	}
	out := &shape.ListPoliciesGrantingServiceAccessResult{}
	out.PoliciesGrantingServiceAccess, out.Marker = cut(p, all, func(e shape.ListPoliciesGrantingServiceAccessEntry) string { return e.ServiceNamespace })
	out.IsTruncated = out.Marker != ""
	return out, nil
}
