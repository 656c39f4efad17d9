package imagestore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// tries is how often a download that breaks off is taken up again.
const tries = 5

// Download gives a file in dir that has the image's bytes: one that was downloaded before, or a new one. What an earlier
// download left is continued. progress is told the bytes that are there.
func (s *Source) Download(ctx context.Context, i Image, dir string, progress func(bytes int64)) (string, error) {
	ref, err := url.Parse(i.URL)
	if err != nil {
		return "", fmt.Errorf("%s: its URL: %w", i.Name, err)
	}
	at := s.at.ResolveReference(ref)
	if at.Scheme == "file" && s.at.Scheme != "file" || at.Scheme != "file" && at.Scheme != "http" && at.Scheme != "https" {
		return "", fmt.Errorf("%s: a catalogue from the network cannot name %s", i.Name, at)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, i.SHA256) // names are digests: a file is whole, and what its name says
	if sum, n, err := digest(path); err == nil && n == i.Size && sum == i.SHA256 {
		return path, nil
	}
	part := path + ".part"
	for try := 1; ; try++ {
		err = s.fetch(ctx, at, i, part, progress)
		var bad *wrong
		if err == nil || errors.As(err, &bad) || ctx.Err() != nil || try == tries {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(try) * 200 * time.Millisecond):
		}
	}
	if err != nil {
		return "", fmt.Errorf("download %s: %w", i.Name, err)
	}
	return path, os.Rename(part, path)
}

// wrong says that what was downloaded is not what the catalogue says: another try does not help.
type wrong struct{ reason string }

func (e *wrong) Error() string { return e.reason }

// fetch brings the file part to its end, and checks it. A file that is wrong is removed.
func (s *Source) fetch(ctx context.Context, at *url.URL, i Image, part string, progress func(int64)) error {
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	have, err := io.Copy(sum, f)
	if err != nil {
		return err
	}
	if have < i.Size {
		if have, err = s.rest(ctx, at, i, f, sum, have, progress); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); have != i.Size || got != i.SHA256 {
		os.Remove(part)
		return &wrong{fmt.Sprintf("the file has %d bytes and the SHA-256 %s, the catalogue says %d and %s: it was changed, or the catalogue is old", have, got, i.Size, i.SHA256)}
	}
	return f.Sync()
}

func (s *Source) rest(ctx context.Context, at *url.URL, i Image, f *os.File, sum hash.Hash, have int64, progress func(int64)) (int64, error) {
	body, from, err := s.open(ctx, at, have)
	if err != nil {
		return have, err
	}
	defer body.Close()
	if from != have { // from its beginning after all
		sum.Reset()
		if err := f.Truncate(0); err != nil {
			return have, err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return have, err
		}
		have = 0
	}
	buf := make([]byte, 1<<20)
	r := io.LimitReader(body, i.Size-have+1) // one more, so that a longer one is seen
	for {
		n, err := r.Read(buf)
		if _, werr := f.Write(buf[:n]); werr != nil {
			return have, werr
		}
		sum.Write(buf[:n])
		have += int64(n)
		progress(have)
		switch {
		case errors.Is(err, io.EOF) && have < i.Size:
			return have, io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return have, nil
		case err != nil:
			return have, err
		}
	}
}

// digest gives a file's SHA-256 and size.
func digest(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)), n, err
}
