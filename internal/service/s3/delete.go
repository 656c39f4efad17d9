package s3

import (
	"context"
	"errors"
	"sync"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
)

// DeleteObject deletes an object; that there is none is no error.
func (s *Service) DeleteObject(ctx context.Context, in *shape.DeleteObjectRequest) (*shape.DeleteObjectResult, error) {
	b, err := s.named(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err == nil {
		err = s.mayDelete(ctx, b, in.Key, in.VersionId)
	}
	if err == nil {
		err = s.charge(ctx, b)
	}
	if err == nil {
		err = checkKey(in.Key)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case !in.IfMatchLastModifiedTime.IsZero():
		return nil, notImplemented("x-amz-if-match-last-modified-time")
	case in.IfMatchSize != nil:
		return nil, notImplemented("x-amz-if-match-size")
	}
	if err := checkPayer(in.RequestPayer); err != nil {
		return nil, err
	}
	d := object.Delete{
		Key: in.Key, VersionID: in.VersionId, Versioning: versioning(b), Owner: s.canonical(s.store.Snapshot(), b.AccountID), Check: deleteCondition(in.IfMatch),
	}
	if d.Bypass, err = s.bypass(ctx, b, in.Key, in.BypassGovernanceRetention); err != nil {
		return nil, err
	}
	done, err := s.remove(ctx, b, d, "ObjectRemoved")
	if err != nil {
		return nil, deleteFault(err, in.Bucket, in.Key, in.VersionId)
	}
	out := &shape.DeleteObjectResult{DeleteMarker: done.Marker}
	if b.Versioning != "" || in.VersionId != "" {
		out.VersionId = done.VersionID
	}
	return out, nil
}

// remove deletes, and has those told who want to know.
func (s *Service) remove(ctx context.Context, b *resource.Bucket, d object.Delete, family string) (done object.Deleted, err error) {
	if d.Notes, err = s.removes(ctx, b, d, family); err != nil {
		return done, err
	}
	done, err = s.engine.Delete(ctx, b.Engine, d)
	if d.Notes != nil && err == nil {
		s.noted()
	}
	return done, err
}

// deleters is how many keys of one DeleteObjects are deleted at a time; the engine commits them together.
const deleters = 64

// DeleteObjects deletes many objects and answers for each.
func (s *Service) DeleteObjects(ctx context.Context, in *shape.DeleteObjectsRequest) (*shape.DeleteObjectsResult, error) {
	b, err := s.named(ctx, in.Bucket, in.ExpectedBucketOwner) // each key is asked for by itself
	if err != nil {
		return nil, err
	}
	if err := checkPayer(in.RequestPayer); err != nil {
		return nil, err
	}
	if err := s.charge(ctx, b); err != nil {
		return nil, err
	}
	if in.Delete == nil || len(in.Delete.Objects) == 0 || len(in.Delete.Objects) > maxDeletes {
		return nil, malformedXML()
	}
	objects := in.Delete.Objects
	done, failures := make([]object.Deleted, len(objects)), make([]error, len(objects))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(deleters, len(objects)) {
		wg.Go(func() {
			for i := range next {
				done[i], failures[i] = s.deleteOne(ctx, b, objects[i], in.BypassGovernanceRetention)
			}
		})
	}
	for i := range objects {
		next <- i
	}
	close(next)
	wg.Wait()

	out := &shape.DeleteObjectsResult{}
	quiet := in.Delete.Quiet != nil && *in.Delete.Quiet
	for i, o := range objects {
		if failures[i] != nil {
			e := awserr.From(failures[i])
			out.Errors = append(out.Errors, shape.Error{Key: o.Key, VersionId: o.VersionId, Code: e.Code, Message: e.Message})
		} else if !quiet {
			out.Deleted = append(out.Deleted, deleted(b, o, done[i]))
		}
	}
	return out, nil
}

func deleted(b *resource.Bucket, o shape.ObjectIdentifier, done object.Deleted) shape.DeletedObject {
	d := shape.DeletedObject{Key: o.Key, VersionId: o.VersionId}
	if done.Marker && (b.Versioning != "" || o.VersionId != "") {
		d.DeleteMarker, d.DeleteMarkerVersionId = true, done.VersionID
	}
	return d
}

func (s *Service) deleteOne(ctx context.Context, b *resource.Bucket, o shape.ObjectIdentifier, asked *bool) (object.Deleted, error) {
	if err := checkKey(o.Key); err != nil {
		return object.Deleted{}, err
	}
	if err := s.mayDelete(ctx, b, o.Key, o.VersionId); err != nil {
		return object.Deleted{}, err
	}
	bypass, err := s.bypass(ctx, b, o.Key, asked)
	if err != nil {
		return object.Deleted{}, err
	}
	if !o.LastModifiedTime.IsZero() || o.Size != nil { // directory buckets only
		return object.Deleted{}, awserr.New("NotImplemented", "A header you provided implies functionality that is not implemented").WithStatus(501)
	}
	done, err := s.remove(ctx, b, object.Delete{
		Key: o.Key, VersionID: o.VersionId, Versioning: versioning(b), Owner: s.canonical(s.store.Snapshot(), b.AccountID), Bypass: bypass, Check: deleteCondition(o.ETag),
	}, "ObjectRemoved")
	if errors.Is(err, object.ErrBadVersion) { // here, unlike elsewhere
		err = awserr.New("NoSuchVersion", "The specified version does not exist.").WithStatus(404)
	}
	return done, deleteFault(err, b.Name, o.Key, o.VersionId)
}

// deleteCondition is an If-Match of a deletion: "*" asks only that there is an object.
func deleteCondition(etag string) func(*object.Meta) error {
	if etag == "" {
		return nil
	}
	return func(m *object.Meta) error {
		switch {
		case m == nil:
			return object.ErrNotFound
		case etag != "*" && unquote(etag) != m.ETag:
			return preconditionFailed("If-Match")
		}
		return nil
	}
}

// deleteFault: that a version is not there is no error, but an id that is none is one.
func deleteFault(err error, bucket, key, version string) error {
	if errors.Is(err, object.ErrNoVersion) {
		return nil
	}
	return versionFault(err, bucket, key, version)
}
