package ec2

import (
	"slices"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/store"
)

// selection is what Describe calls share: ids, or pages of everything, and a test.
type selection[T any] struct {
	op    string // operation, for the token
	ids   []string
	max   *int // MaxResults
	token string
	match filter.Match[*T]
	// least is the smallest MaxResults allowed, 5 unless set.
	least int
}

// list gives what is selected of the caller's resources, in order of id, and the token of the next page.
func list[T any](s *Service, r store.Reader, info *call.Info, k *kind[T], sel selection[T]) ([]*T, string, error) {
	limit, start, err := s.page(info, sel.op, sel.max, sel.token, sel.least)
	if err != nil {
		return nil, "", err
	}
	out := []*T{}
	if len(sel.ids) > 0 {
		ids := slices.Clone(sel.ids)
		slices.Sort(ids)
		for _, id := range slices.Compact(ids) {
			v, err := k.find(r, info, id)
			if err != nil {
				return nil, "", err
			}
			if id >= start && (sel.match == nil || sel.match(v)) {
				out = append(out, v)
			}
		}
		return cut(s, info, sel.op, out, limit, k.id)
	}
	for v := range k.owner.From(r, ownerKey(info), start) {
		if sel.match != nil && !sel.match(v) {
			continue
		}
		if out = append(out, v); len(out) > limit {
			break
		}
	}
	return cut(s, info, sel.op, out, limit, k.id)
}

// unlimited is the page size when the caller gave none: AWS answers everything then.
const unlimited = int(^uint(0)>>1) - 1

// page checks MaxResults and NextToken; start is the first key of the page.
func (s *Service) page(info *call.Info, op string, maxResults *int, token string, least int) (limit int, start string, err error) {
	limit = unlimited
	if least == 0 {
		least = 5
	}
	if maxResults != nil {
		limit = *maxResults
		if limit < least {
			return 0, "", awserr.New("InvalidParameterValue", "Value ( %d ) for parameter maxResults is invalid. Expecting a value greater than %d.", limit, least-1)
		}
		limit = min(limit, 1000)
	}
	start, err = s.Tokens.Open(token, info.AccountID, info.Region, op)
	return limit, start, err
}

// cut shortens a list that is longer than a page and makes the token that goes on with its first element
// left out. The list must be in order of key.
func cut[T any](s *Service, info *call.Info, op string, list []T, limit int, key func(T) string) ([]T, string, error) {
	if len(list) <= limit {
		return list, "", nil
	}
	return list[:limit], s.Tokens.Make(key(list[limit]), info.AccountID, info.Region, op), nil
}

// compile turns a request's filters into a test. Image ids of old kinds are accepted in them.
func compile[T any](set *filter.Set[T], in []shape.Filter) (filter.Match[T], error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make([]filter.Filter, len(in))
	for i, f := range in {
		out[i] = filter.Filter{Name: f.Name, Values: f.Values}
		switch f.Name {
		case "image-id", "kernel-id", "ramdisk-id":
			values := make([]string, len(f.Values))
			for j, v := range f.Values {
				values[j] = imageID(v)
			}
			out[i].Values = values
		}
	}
	return set.Compile(out)
}

// on makes a test of records of a test of views of records.
func on[T, V any](match filter.Match[V], view func(*T) V) filter.Match[*T] {
	if match == nil {
		return nil
	}
	return func(v *T) bool { return match(view(v)) }
}

// one is a single value for a filter's field, none when it is empty.
func one(v string) []string {
	if v == "" {
		return nil
	}
	return []string{v}
}

func yes(b bool) []string {
	if b {
		return []string{"true"}
	}
	return []string{"false"}
}

func constant[T any](v string) func(T) []string {
	out := []string{v}
	return func(T) []string { return out }
}
