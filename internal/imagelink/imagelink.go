// Package imagelink makes and honours the links by which nodes fetch images: capabilities for one image
// and a short time, made by a zone and served by the cloud. A node needs no credentials for them, and can
// reach nothing else with them.
package imagelink

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Path is where the cloud serves links, below its API address.
const Path = "/_karri/images/"

// Life is how long a link is good for: the start of a download, not its end.
const Life = 5 * time.Minute

// Signer makes and checks links with a key that cloud and zones share.
type Signer struct {
	key []byte
	now func() time.Time
}

// NewSigner makes a Signer.
func NewSigner(key []byte, now func() time.Time) *Signer { return &Signer{key, now} }

func (s *Signer) mac(imageID, expires string) string {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte("image\x00" + imageID + "\x00" + expires))
	return hex.EncodeToString(m.Sum(nil))
}

// URL gives a link to the image at the cloud whose API is at base ("https://10.0.0.1:8773").
func (s *Signer) URL(base, imageID string) string {
	expires := strconv.FormatInt(s.now().Add(Life).Unix(), 10)
	return strings.TrimSuffix(base, "/") + Path + url.PathEscape(imageID) + "?" +
		url.Values{"expires": {expires}, "signature": {s.mac(imageID, expires)}}.Encode()
}

// check says whether a link is ours and still good.
func (s *Signer) check(imageID, expires, signature string) bool {
	until, err := strconv.ParseInt(expires, 10, 64)
	return err == nil && hmac.Equal([]byte(signature), []byte(s.mac(imageID, expires))) && s.now().Unix() <= until
}

// Handler serves links. open gives an image's bytes and their number.
func Handler(s *Signer, log *slog.Logger, open func(ctx context.Context, imageID string) (io.ReadCloser, int64, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(r.URL.Path, Path)
		q := r.URL.Query()
		if r.Method != http.MethodGet || !s.check(id, q.Get("expires"), q.Get("signature")) {
			http.Error(w, "this link is not valid", http.StatusForbidden)
			return
		}
		body, size, err := open(r.Context(), id)
		if err != nil {
			log.Error("cannot serve an image", "image", id, "error", err)
			http.Error(w, "the image cannot be read", http.StatusNotFound)
			return
		}
		defer body.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		if _, err := io.Copy(w, body); err != nil {
			log.Warn("an image was not sent to its end", "image", id, "error", err)
		}
	})
}
