package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/s3client"
)

// files are objects in the endpoint's bucket.
type files struct {
	client *client
	mu     sync.Mutex
	torn   map[uint64][]string // uploads that have been found, by file
}

var _ disk.Files = (*files)(nil)

func (f *files) key(id uint64) string { return f.client.cfg.Prefix + fmt.Sprintf("%016x", id) }

func (f *files) id(key string) (uint64, bool) {
	text, ours := strings.CutPrefix(key, f.client.cfg.Prefix)
	id, err := strconv.ParseUint(text, 16, 64)
	return id, ours && err == nil && f.key(id) == key
}

func (f *files) Read(ctx context.Context, id uint64, offset, length int64) (io.ReadCloser, error) {
	if length == 0 {
		return io.NopCloser(strings.NewReader("")), nil
	}
	span := fmt.Sprintf("bytes=%d-", offset)
	if length > 0 {
		span += strconv.FormatInt(offset+length-1, 10)
	}
	ctx, g := s3client.NewGuard(ctx, stallTime)
	a, err := f.client.repeat(ctx, http.MethodGet, f.key(id), nil, http.Header{"Range": {span}}, nil)
	if err != nil {
		g.End()
		return nil, err
	}
	if a.StatusCode != http.StatusPartialContent && offset > 0 {
		g.End()
		return nil, errors.Join(fmt.Errorf("%w: the object store knows no ranges", object.ErrOffline), a.Body.Close())
	}
	if length > 0 {
		a.Body = &limited{io.LimitReader(a.Body, length), a.Body}
	}
	return &download{a.Body, g}, nil
}

type limited struct {
	io.Reader
	io.Closer
}

type download struct {
	io.ReadCloser
	guard *s3client.Guard
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	d.guard.Moved()
	return n, err
}

func (d *download) Close() error {
	d.guard.End()
	return d.ReadCloser.Close()
}

func (f *files) Remove(ctx context.Context, id uint64) error {
	f.mu.Lock()
	torn := f.torn[id]
	delete(f.torn, id)
	f.mu.Unlock()
	for _, upload := range torn {
		if err := f.abort(ctx, id, upload); err != nil {
			return err
		}
	}
	_, err := f.client.call(ctx, http.MethodDelete, f.key(id), nil, nil, nil, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (f *files) abort(ctx context.Context, id uint64, upload string) error {
	_, err := f.client.call(ctx, http.MethodDelete, f.key(id), url.Values{"uploadId": {upload}}, nil, nil, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Each finds objects, and uploads that have not ended.
func (f *files) Each(ctx context.Context, fn func(id uint64) error) error {
	if err := f.eachUpload(ctx, fn); err != nil {
		return err
	}
	query := url.Values{"list-type": {"2"}, "prefix": {f.client.cfg.Prefix}}
	for {
		var page objectPage
		if _, err := f.client.list(ctx, query, &page); err != nil {
			return err
		}
		for _, o := range page.Contents {
			if id, ours := f.id(o.Key); ours {
				if err := fn(id); err != nil {
					return err
				}
			}
		}
		if !page.Truncated || page.Next == "" {
			return nil
		}
		query.Set("continuation-token", page.Next)
	}
}

func (f *files) eachUpload(ctx context.Context, fn func(id uint64) error) error {
	query := url.Values{"uploads": {""}, "prefix": {f.client.cfg.Prefix}}
	for {
		var page uploadPage
		if _, err := f.client.list(ctx, query, &page); err != nil {
			return err
		}
		for _, u := range page.Uploads {
			id, ours := f.id(u.Key)
			if !ours {
				continue
			}
			f.mu.Lock()
			f.torn[id] = append(f.torn[id], u.ID)
			f.mu.Unlock()
			err := fn(id)
			f.mu.Lock()
			delete(f.torn, id) // one that is not removed is under way
			f.mu.Unlock()
			if err != nil {
				return err
			}
		}
		if !page.Truncated || page.NextKey == "" {
			return nil
		}
		query.Set("key-marker", page.NextKey)
		query.Set("upload-id-marker", page.NextID)
	}
}

// Usage: nobody says how much fits.
func (f *files) Usage(context.Context) (total, free int64, err error) {
	return math.MaxInt64, math.MaxInt64, nil
}

func (f *files) Close() error {
	f.client.HTTP.CloseIdleConnections()
	return nil
}
