package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Replication between buckets of this cloud. A write to a bucket with rules leaves a note in its commit; the outbox copies
// the version, as the configuration's role, and notes the outcome with the version.

const (
	copyQueue   = "copy:"        // queue of a bucket and a destination
	replicaMark = "X-Replica-Of" // header of a replica, not shown: which version it is of
)

// copied reads the name of a queue of replicas: the engine's name of the bucket, and the destination.
func copied(queue string) (engine, to string, ok bool) {
	of, ok := strings.CutPrefix(queue, copyQueue)
	engine, to, _ = strings.Cut(of, " ")
	return engine, to, ok
}

// copyNote asks for the replication of a version, or of a delete marker.
type copyNote struct {
	Bucket, Engine, Key, Version string
	Marker                       bool
	To                           string // ARN
	Time                         time.Time
}

// replication gives the rules of a bucket that are about an object, by destination: of several for one the one of the
// highest priority.
func (s *Service) replication(r store.Reader, b *resource.Bucket, key string, tags map[string]string, marker bool) (role string, to map[string]*shape.ReplicationRule, err error) {
	c, err := config[shape.ReplicationConfiguration](s, r, b, resource.PartReplication)
	if c == nil || err != nil {
		return "", nil, err
	}
	for i := range c.Rules {
		rule := &c.Rules[i]
		f, err := replicationFilter(rule)
		if err != nil {
			return "", nil, err
		}
		d := rule.DeleteMarkerReplication
		if rule.Status != "Enabled" || marker && rule.Filter != nil && (d == nil || d.Status != "Enabled") || !f.matches(key, 0, tags) {
			continue
		}
		if to == nil {
			to = map[string]*shape.ReplicationRule{}
		}
		if have := to[rule.Destination.Bucket]; have == nil || priority(have) < priority(rule) {
			to[rule.Destination.Bucket] = rule
		}
	}
	return c.Role, to, nil
}

// replicates says what a version that is to be written is to replication: a "REPLICA", which goes nowhere else, or
// "PENDING" for some destinations.
func (s *Service) replicates(ctx context.Context, b *resource.Bucket, key string, tags map[string]string) (string, []string, error) {
	if call.From(ctx).Replica {
		return "REPLICA", nil, s.may(ctx, b, key, "ReplicateObject", nil)
	}
	_, to, err := s.replication(s.store.Snapshot(), b, key, tags, false)
	if to == nil || err != nil {
		return "", nil, err
	}
	return "PENDING", slices.Sorted(maps.Keys(to)), nil
}

// copyNotes makes the notes that have a version replicated: one for each destination, in a queue of its own.
func (s *Service) copyNotes(b *resource.Bucket, m object.Meta, to []string) (notes []object.Note) {
	for _, arn := range to {
		body, err := json.Marshal(copyNote{b.Name, b.Engine, m.Key, m.VersionID, m.Marker, arn, s.now().UTC()})
		if err != nil {
			s.log.Error("s3: write a note", "err", err)
			return nil
		}
		notes = append(notes, object.Note{Queue: copyQueue + b.Engine + " " + destination(arn), Body: body})
	}
	return notes
}

// errCannot says that a replication has failed for good.
var errCannot = errors.New("cannot be replicated")

// replicate carries a copyNote out.
func (s *Service) replicate(ctx context.Context, text []byte) error {
	var n copyNote
	if err := json.Unmarshal(text, &n); err != nil {
		return fmt.Errorf("read a note: %w", err)
	}
	snap := s.store.Snapshot()
	b := s.visible(snap, n.Bucket)
	if b == nil || b.Engine != n.Engine {
		return nil
	}
	var o object.Object
	var tags map[string]string
	if !n.Marker {
		var err error
		o, err = s.engine.Get(ctx, b.Engine, n.Key, n.Version)
		switch {
		case errors.Is(err, object.ErrNotFound) || errors.Is(err, object.ErrNoVersion) || errors.Is(err, object.ErrNoBucket): // gone meanwhile
			return nil
		case err != nil:
			return err
		}
		defer o.Close()
		tags = o.Meta().Tags
	}
	role, to, err := s.replication(snap, b, n.Key, tags, n.Marker)
	if err != nil {
		return err
	}
	if to[n.To] == nil { // not any more
		return nil
	}
	err = s.replicateTo(ctx, b, o, n, role)
	if err != nil && !lost(err) {
		return err
	}
	if err != nil {
		s.log.Warn("s3: replication failed", "bucket", b.Name, "key", n.Key, "to", n.To, "err", err)
	}
	return s.replicated(ctx, n, err == nil)
}

// replicated keeps with a version what has become of its replication to one destination. It is COMPLETED once all are.
func (s *Service) replicated(ctx context.Context, n copyNote, done bool) error {
	if n.Marker {
		return nil
	}
	_, err := s.engine.Change(ctx, n.Engine, n.Key, n.Version, func(_ object.Meta, a *object.Attributes) error {
		a.Awaits = slices.DeleteFunc(a.Awaits, func(to string) bool { return to == n.To })
		switch {
		case !done:
			a.Replication = "FAILED"
		case len(a.Awaits) == 0 && a.Replication == "PENDING":
			a.Replication = "COMPLETED"
		}
		return nil
	})
	if errors.Is(err, object.ErrNotFound) || errors.Is(err, object.ErrNoVersion) || errors.Is(err, object.ErrNoBucket) {
		return nil
	}
	return err
}

// replicateTo copies a version into one bucket, as the role.
func (s *Service) replicateTo(ctx context.Context, b *resource.Bucket, o object.Object, n copyNote, roleARN string) error {
	snap := s.store.Snapshot()
	role := s.replicationRole(snap, roleARN, b)
	if role == nil {
		return errCannot
	}
	ctx, err := s.asRole(ctx, snap, role)
	if err != nil {
		return err
	}
	name := destination(n.To)
	if bucket, target, ok := elsewhere(name); ok {
		// Nobody here owns what is there: the account's own role has to allow it, by the name that rules use.
		there := &resource.Bucket{Name: name, AccountID: b.AccountID}
		return s.replicateAway(ctx, b, o, n, bucket, target, func(acts ...action) error {
			if !n.Marker {
				if err := s.may(ctx, b, n.Key, "GetObjectVersionForReplication", nil); err != nil {
					return err
				}
			}
			for _, act := range acts {
				if err := s.decide(ctx, authz.Question{Action: s.action(act), Resource: bucketARN(name) + "/" + n.Key, Owner: there.AccountID, Keys: s.keysFor(ctx, there, n.Key, act, nil, nil)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	to := s.visible(snap, name)
	if to == nil || to.Versioning != enabled {
		return errCannot
	}
	if n.Marker {
		if err := s.may(ctx, to, n.Key, "ReplicateDelete", nil); err != nil {
			return err
		}
		_, err := s.engine.Head(ctx, to.Engine, n.Key, "")
		if errors.Is(err, object.ErrNotFound) { // nothing, or marked already
			return nil
		}
		if err != nil {
			return err
		}
		_, err = s.remove(ctx, to, object.Delete{Key: n.Key, Versioning: object.Enabled, Owner: s.canonical(snap, to.AccountID)}, "ObjectRemoved")
		return err
	}
	m := o.Meta()
	if m.Encryption == object.ByCustomer {
		return errCannot
	}
	if err := s.may(ctx, b, n.Key, "GetObjectVersionForReplication", nil); err != nil {
		return err
	}
	acts := []action{"ReplicateObject"}
	if len(m.Tags) > 0 {
		acts = append(acts, "ReplicateTags")
	}
	for _, act := range acts {
		if err := s.may(ctx, to, n.Key, act, nil); err != nil {
			return err
		}
	}
	mark := n.Engine + " " + n.Version
	if have, err := s.engine.Head(ctx, to.Engine, n.Key, ""); err == nil && have.Headers[replicaMark] == mark { // done before a kill
		return nil
	}
	p := object.Put{Key: n.Key, Versioning: object.Enabled, Owner: s.canonical(snap, to.AccountID), Headers: maps.Clone(m.Headers)}
	if p.Headers == nil {
		p.Headers = map[string]string{}
	}
	p.Headers[replicaMark] = mark
	p.Attributes.Tags, p.Attributes.Replication = m.Tags, "REPLICA"
	if to.Lock != nil {
		p.Attributes.Lock = m.Lock
	}
	if p.Notes, err = s.writes(ctx, to, n.Key, "ObjectCreated:Put"); err != nil {
		return err
	}
	if p.Room, err = s.room(ctx, to, n.Key); err != nil {
		return err
	}
	algorithm, err := copyAlgorithm("", m.ChecksumAlgorithm)
	if err != nil {
		return err
	}
	err = reading(o, span{length: m.Size}, algorithm, &p, func() error {
		_, err := s.engine.Put(ctx, to.Engine, p)
		return err
	})
	s.noted()
	return err
}

// asRole gives a context in which S3 acts with a role, if the role's trust policy lets it.
func (s *Service) asRole(ctx context.Context, r store.Reader, role *resource.IAMRole) (context.Context, error) {
	if roles, ok := s.authz.(RoleTrust); ok {
		trust, err := roles.Trust(role)
		if err != nil {
			return nil, err
		}
		err = s.authz.Decide(call.With(ctx, &call.Info{Service: "s3", Time: s.now()}), authz.Question{
			Action: policy.MakeAction("sts:AssumeRole"), Resource: role.ARN(), Owner: role.AccountID, Policy: trust, Trust: true,
			As: &policy.Principal{Kind: policy.Service, ARN: replicationService, ID: replicationService},
			Keys: func(k policy.Key) (policy.Value, bool) {
				return policy.String(role.AccountID), k.Name == "aws:sourceaccount"
			},
		})
		if err != nil {
			return nil, fmt.Errorf("%w: the role does not trust %s: %w", errCannot, replicationService, err)
		}
	}
	now := s.now()
	session := &call.Session{
		Kind: call.RoleSession, AccountID: role.AccountID, PrincipalID: role.ID, Name: "s3-replication", IssuedAt: now, ExpiresAt: now.Add(recheck),
		RoleARN: role.ARN(), RoleName: role.Name,
	}
	return call.With(ctx, &call.Info{Service: "s3", Operation: "ReplicateObject", Time: now, Caller: call.Caller{
		AccountID: role.AccountID, UserID: role.ID + ":" + session.Name, ARN: call.AssumedRoleARN(role.AccountID, role.Name, session.Name), Session: session,
		CanonicalID: s.canonical(r, role.AccountID),
	}}), nil
}
