package object

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Routes is an Engine that leads to others: each bucket's name says which one keeps it.
type Routes struct {
	Home   Engine
	Others map[string]Engine // by their names
}

var _ Engine = Routes{}

// routeMark comes between a bucket's name and that of its engine.
const routeMark = "@"

// Route gives the name of a bucket that an engine of Others keeps; Home with "".
func Route(bucket, engine string) string {
	if engine == "" {
		return bucket
	}
	return bucket + routeMark + engine
}

func (r Routes) of(bucket string) (Engine, error) {
	_, name, other := strings.Cut(bucket, routeMark)
	if !other {
		return r.Home, nil
	}
	if e := r.Others[name]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("%w: there is no object store %q in the configuration", ErrOffline, name)
}

// Names gives the engines that buckets may be made in, besides Home.
func (r Routes) Names() []string { return slices.Sorted(maps.Keys(r.Others)) }

func (r Routes) all() []Engine {
	all := []Engine{r.Home}
	for _, name := range r.Names() {
		all = append(all, r.Others[name])
	}
	return all
}

func routed[T any](r Routes, bucket string, fn func(Engine) (T, error)) (out T, err error) {
	e, err := r.of(bucket)
	if err != nil {
		return out, err
	}
	return fn(e)
}

func (r Routes) Put(ctx context.Context, bucket string, p Put) (Meta, error) {
	return routed(r, bucket, func(e Engine) (Meta, error) { return e.Put(ctx, bucket, p) })
}

func (r Routes) Get(ctx context.Context, bucket, key, version string) (Object, error) {
	return routed(r, bucket, func(e Engine) (Object, error) { return e.Get(ctx, bucket, key, version) })
}

func (r Routes) Head(ctx context.Context, bucket, key, version string) (Meta, error) {
	return routed(r, bucket, func(e Engine) (Meta, error) { return e.Head(ctx, bucket, key, version) })
}

func (r Routes) Delete(ctx context.Context, bucket string, d Delete) (Deleted, error) {
	return routed(r, bucket, func(e Engine) (Deleted, error) { return e.Delete(ctx, bucket, d) })
}

func (r Routes) Change(ctx context.Context, bucket, key, version string, fn func(Meta, *Attributes) error) (Meta, error) {
	return routed(r, bucket, func(e Engine) (Meta, error) { return e.Change(ctx, bucket, key, version, fn) })
}

func (r Routes) List(ctx context.Context, bucket string, o ListOptions) (Listing, error) {
	return routed(r, bucket, func(e Engine) (Listing, error) { return e.List(ctx, bucket, o) })
}

func (r Routes) ListVersions(ctx context.Context, bucket string, o VersionOptions) (Versions, error) {
	return routed(r, bucket, func(e Engine) (Versions, error) { return e.ListVersions(ctx, bucket, o) })
}

func (r Routes) Empty(ctx context.Context, bucket string) error {
	e, err := r.of(bucket)
	if err != nil {
		return err
	}
	return e.Empty(ctx, bucket)
}

func (r Routes) Drop(ctx context.Context, bucket string) error {
	e, err := r.of(bucket)
	if err != nil {
		return err
	}
	return e.Drop(ctx, bucket)
}

func (r Routes) CreateUpload(ctx context.Context, bucket string, u Upload) (string, error) {
	return routed(r, bucket, func(e Engine) (string, error) { return e.CreateUpload(ctx, bucket, u) })
}

func (r Routes) GetUpload(ctx context.Context, bucket, key, id string) (Upload, error) {
	return routed(r, bucket, func(e Engine) (Upload, error) { return e.GetUpload(ctx, bucket, key, id) })
}

func (r Routes) PutPart(ctx context.Context, bucket, key, id string, number int, p Put) (Part, error) {
	return routed(r, bucket, func(e Engine) (Part, error) { return e.PutPart(ctx, bucket, key, id, number, p) })
}

func (r Routes) ListParts(ctx context.Context, bucket, key, id string, after, limit int) ([]Part, bool, error) {
	e, err := r.of(bucket)
	if err != nil {
		return nil, false, err
	}
	return e.ListParts(ctx, bucket, key, id, after, limit)
}

func (r Routes) ListUploads(ctx context.Context, bucket, prefix, afterKey, afterID string, limit int) ([]Upload, bool, error) {
	e, err := r.of(bucket)
	if err != nil {
		return nil, false, err
	}
	return e.ListUploads(ctx, bucket, prefix, afterKey, afterID, limit)
}

func (r Routes) Complete(ctx context.Context, bucket, key, id string, parts []Part, p Put) (Meta, error) {
	return routed(r, bucket, func(e Engine) (Meta, error) { return e.Complete(ctx, bucket, key, id, parts, p) })
}

func (r Routes) Abort(ctx context.Context, bucket, key, id string) error {
	e, err := r.of(bucket)
	if err != nil {
		return err
	}
	return e.Abort(ctx, bucket, key, id)
}

// engineShift is where an engine's number is put into a note's: engines use fewer bits, and nobody keeps these numbers.
const engineShift = 56

// Notes gives those of all engines.
func (r Routes) Notes(ctx context.Context, queue string, limit int) (out []Note, err error) {
	for i, e := range r.all() {
		notes, err := e.Notes(ctx, queue, limit-len(out))
		if err != nil {
			return nil, err
		}
		for _, n := range notes {
			if n.ID>>engineShift != 0 || i >= 1<<(64-engineShift) {
				return nil, fmt.Errorf("note %x of engine %d: its number is too large", n.ID, i)
			}
			n.ID |= uint64(i) << engineShift
			out = append(out, n)
		}
	}
	return out, nil
}

// NoteQueues gives those of all engines.
func (r Routes) NoteQueues(ctx context.Context) (out []string, err error) {
	for _, e := range r.all() {
		queues, err := e.NoteQueues(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, queues...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// NoteCount gives the sum of all engines.
func (r Routes) NoteCount(ctx context.Context, queue string) (sum int, err error) {
	for _, e := range r.all() {
		n, err := e.NoteCount(ctx, queue)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// DropNotes drops each in its engine.
func (r Routes) DropNotes(ctx context.Context, queue string, ids ...uint64) error {
	for i, e := range r.all() {
		var here []uint64
		for _, id := range ids {
			if id>>engineShift == uint64(i) {
				here = append(here, id&(1<<engineShift-1))
			}
		}
		if len(here) == 0 {
			continue
		}
		if err := e.DropNotes(ctx, queue, here...); err != nil {
			return err
		}
	}
	return nil
}

// Tally asks the bucket's engine.
func (r Routes) Tally(ctx context.Context, bucket string) (Tally, error) {
	return routed(r, bucket, func(e Engine) (Tally, error) { return e.Tally(ctx, bucket) })
}

// Usage is Home's: the others know no limit.
func (r Routes) Usage(ctx context.Context) (total, free int64, err error) { return r.Home.Usage(ctx) }

// Close closes all.
func (r Routes) Close() error {
	var errs []error
	for _, e := range r.all() {
		errs = append(errs, e.Close())
	}
	return errors.Join(errs...)
}
