package s3

import (
	"context"
	"sync"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
)

// DeleteObject deletes an object; that there is none is no error.
func (s *Service) DeleteObject(ctx context.Context, in *shape.DeleteObjectRequest) (*shape.DeleteObjectResult, error) {
	b, err := s.object(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, actDeleteObject)
	if err != nil {
		return nil, err
	}
	switch {
	case in.IfMatch != "":
		return nil, notImplemented("If-Match")
	case !in.IfMatchLastModifiedTime.IsZero():
		return nil, notImplemented("x-amz-if-match-last-modified-time")
	case in.IfMatchSize != nil:
		return nil, notImplemented("x-amz-if-match-size")
	}
	if err := checkVersion(in.VersionId); err != nil {
		return nil, err
	}
	if err := checkBypass(in.BypassGovernanceRetention); err != nil {
		return nil, err
	}
	if err := checkPayer(in.RequestPayer); err != nil {
		return nil, err
	}
	if _, err := s.engine.Delete(ctx, b.Engine, object.Delete{Key: in.Key}); err != nil {
		return nil, fault(err, in.Bucket, in.Key, "")
	}
	return &shape.DeleteObjectResult{}, nil
}

// deleters is how many keys of one DeleteObjects are deleted at a time; the engine commits them together.
const deleters = 64

// DeleteObjects deletes many objects and answers for each.
func (s *Service) DeleteObjects(ctx context.Context, in *shape.DeleteObjectsRequest) (*shape.DeleteObjectsResult, error) {
	b, err := s.named(ctx, in.Bucket, in.ExpectedBucketOwner) // each key is asked for by itself
	if err != nil {
		return nil, err
	}
	if err := checkBypass(in.BypassGovernanceRetention); err != nil {
		return nil, err
	}
	if err := checkPayer(in.RequestPayer); err != nil {
		return nil, err
	}
	if in.Delete == nil || len(in.Delete.Objects) == 0 || len(in.Delete.Objects) > maxDeletes {
		return nil, malformedXML()
	}
	objects := in.Delete.Objects
	failures := make([]error, len(objects))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(deleters, len(objects)) {
		wg.Go(func() {
			for i := range next {
				failures[i] = s.deleteOne(ctx, b, objects[i])
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
			out.Deleted = append(out.Deleted, shape.DeletedObject{Key: o.Key, VersionId: o.VersionId})
		}
	}
	return out, nil
}

func (s *Service) deleteOne(ctx context.Context, b *resource.Bucket, o shape.ObjectIdentifier) error {
	if err := checkKey(o.Key); err != nil {
		return err
	}
	if err := s.may(ctx, b, o.Key, actDeleteObject, nil); err != nil {
		return err
	}
	if o.VersionId != "" && o.VersionId != "null" {
		return awserr.New("NoSuchVersion", "The specified version does not exist.").WithStatus(404)
	}
	if o.ETag != "" || !o.LastModifiedTime.IsZero() || o.Size != nil {
		return awserr.New("NotImplemented", "Conditional deletes are not implemented").WithStatus(501)
	}
	_, err := s.engine.Delete(ctx, b.Engine, object.Delete{Key: o.Key})
	return fault(err, b.Name, o.Key, "")
}
