package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sys/unix"
)

// floor is what the machine allows: handlers that do only what cannot be left out.
type floor struct {
	dir  string
	db   *pebble.DB
	aead cipher.AEAD
}

// Blocks are sealed one by one; a run of them is read and written at once.
const (
	sealed    = 64 << 10
	plain     = sealed - 16
	runBlocks = 4
)

func newFloor(dir string) (http.Handler, error) {
	f := &floor{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if f.db, err = pebble.Open(filepath.Join(dir, "pebble"), &pebble.Options{Logger: quiet{}}); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return nil, err
	}
	if f.aead, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /zeros/{size}", zeros)
	for pattern, fn := range map[string]func(http.ResponseWriter, *http.Request) error{
		"PUT /pebble/{key}": f.commit, "GET /pebble/{key}": f.get, "PUT /file/{key}": f.put, "GET /file/{key}": f.read,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := fn(w, r); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	return mux, nil
}

// zeros answers as many bytes as the path says.
func zeros(w http.ResponseWriter, r *http.Request) {
	var n int
	if _, err := fmt.Sscan(r.PathValue("size"), &n); err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(n))
	for n > 0 {
		k, err := w.Write(nothing[:min(n, len(nothing))])
		if err != nil {
			return
		}
		n -= k
	}
}

var nothing = make([]byte, runBlocks*sealed) // read only

// commit stores a body in Pebble.
func (f *floor) commit(_ http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	return f.db.Set([]byte(r.PathValue("key")), body, pebble.Sync)
}

func (f *floor) get(w http.ResponseWriter, r *http.Request) error {
	body, closer, err := f.db.Get([]byte(r.PathValue("key")))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	_, err = w.Write(body)
	return errors.Join(err, closer.Close())
}

func nonce(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 4, 12), n) }

// put seals a body, computes its MD5, and writes and syncs a file, one after the other.
func (f *floor) put(w http.ResponseWriter, r *http.Request) error {
	file, err := os.Create(filepath.Join(f.dir, r.PathValue("key")))
	if err != nil {
		return err
	}
	defer file.Close()
	in, out, sum := make([]byte, runBlocks*plain), make([]byte, 0, runBlocks*sealed), md5.New()
	for block := uint64(0); ; {
		n, err := io.ReadFull(r.Body, in)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		sum.Write(in[:n])
		out = out[:0]
		for rest := in[:n]; len(rest) > 0; block++ {
			k := min(plain, len(rest))
			out = f.aead.Seal(out, nonce(block), rest[:k], nil)
			rest = rest[k:]
		}
		if _, err := file.Write(out); err != nil {
			return err
		}
		if n < len(in) {
			break
		}
	}
	w.Header().Set("ETag", fmt.Sprintf("%x", sum.Sum(nil)))
	return unix.Fdatasync(int(file.Fd()))
}

// read opens a sealed file and sends it.
func (f *floor) read(w http.ResponseWriter, r *http.Request) error {
	file, err := os.Open(filepath.Join(f.dir, r.PathValue("key")))
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Length", fmt.Sprint(info.Size()-(info.Size()+sealed-1)/sealed*(sealed-plain)))
	in, out := make([]byte, runBlocks*sealed), make([]byte, 0, runBlocks*plain)
	for block := uint64(0); ; {
		n, err := io.ReadFull(file, in)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		out = out[:0]
		for rest := in[:n]; len(rest) > 0; block++ {
			k := min(sealed, len(rest))
			if out, err = f.aead.Open(out, nonce(block), rest[:k], nil); err != nil {
				return err
			}
			rest = rest[k:]
		}
		if _, err := w.Write(out); err != nil || n < len(in) {
			return err
		}
	}
}
