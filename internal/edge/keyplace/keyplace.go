// Package keyplace is where the issuers' documents are published for those who
// can't reach this server: a folder that a web server reads, or a bucket of a
// store.
//
// It writes what it is given under the name it is given, as a whole, and reads
// it back. It must never follow a link out of its folder.
package keyplace

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
)

// most bounds what is read back, in bytes.
const most = 1 << 20

// keep is how long caches between this place and the world may keep a document:
// shorter than any time for which a key is published before its use.
const keep = "public, max-age=300"

// Folder is a folder of this machine. It is made where it is missing.
type Folder struct{ Path string }

// Read gives a document; a fault NotFound where there is none.
func (f Folder) Read(_ context.Context, name string) ([]byte, error) {
	root, err := os.OpenRoot(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing(name)
	}
	if err != nil {
		return nil, f.trouble(err)
	}
	defer root.Close() //nolint:errcheck // only read
	file, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing(name)
	}
	if err != nil {
		return nil, f.trouble(err)
	}
	defer file.Close() //nolint:errcheck // only read
	return bounded(file, name)
}

// Write puts a document in place by a rename, so that nobody reads half of it,
// and readable by all: it is for the world.
func (f Folder) Write(_ context.Context, name string, body []byte) error {
	if err := os.MkdirAll(f.Path, 0o755); err != nil {
		return f.trouble(err)
	}
	root, err := os.OpenRoot(f.Path)
	if err != nil {
		return f.trouble(err)
	}
	defer root.Close() //nolint:errcheck // what was written is closed on its own
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return f.trouble(err)
	}
	random := make([]byte, 8)
	rand.Read(random)
	beside := path.Dir(name) + "/.carnet-" + hex.EncodeToString(random)
	file, err := root.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return f.trouble(err)
	}
	_, err = file.Write(body)
	// The mask of this process is no reason for the world not to read it.
	if err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close()); err == nil {
		err = root.Rename(beside, name)
	}
	if err != nil {
		return f.trouble(errors.Join(err, root.Remove(beside)))
	}
	return nil
}

func (f Folder) trouble(err error) error {
	return fault.Wrap(err, fault.Unavailable, "the folder "+f.Path+" can't be used").WithMend("check oidc.publish.folder: this server's user has to read and write it")
}

func missing(name string) error { return fault.New(fault.NotFound, "there is no "+name) }

func bounded(from io.Reader, name string) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(from, most+1))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, name+" can't be read to its end")
	}
	if len(body) > most {
		return body[:most], nil // whatever it is, it is not ours
	}
	return body, nil
}

// Store is an S3 store.
type Store interface {
	Do(ctx context.Context, out *s3.Outgoing) (*http.Response, error)
}

// Bucket is a bucket of a store, or what lies in it under a prefix.
type Bucket struct {
	Store  Store
	Name   string
	Prefix string // without slashes at its ends; may be empty
}

// Read gives a document; a fault NotFound where there is none.
func (b Bucket) Read(ctx context.Context, name string) ([]byte, error) {
	resp, err := b.Store.Do(ctx, &s3.Outgoing{Method: http.MethodGet, Bucket: b.Name, Key: b.key(name)})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	body, err := bounded(resp.Body, name)
	if err != nil || resp.StatusCode == http.StatusOK {
		return body, err
	}
	said, _ := s3.ReadError(body)
	if resp.StatusCode == http.StatusNotFound && said.Code != "NoSuchBucket" {
		return nil, missing(name)
	}
	return nil, b.trouble(resp.StatusCode, said)
}

// Write puts a document in place; stores show an object as a whole or not.
func (b Bucket) Write(ctx context.Context, name string, body []byte) error {
	resp, err := b.Store.Do(ctx, &s3.Outgoing{
		Method: http.MethodPut, Bucket: b.Name, Key: b.key(name), Body: bytes.NewReader(body), Length: int64(len(body)),
		Header: map[string][]string{"Content-Type": {"application/json"}, "Cache-Control": {keep}},
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	answer, err := bounded(resp.Body, name)
	if err != nil || resp.StatusCode < 300 {
		return err
	}
	said, _ := s3.ReadError(answer)
	return b.trouble(resp.StatusCode, said)
}

func (b Bucket) key(name string) string { return strings.TrimPrefix(b.Prefix+"/"+name, "/") }

func (b Bucket) trouble(status int, said s3.Error) error {
	return fault.New(fault.Unavailable, fmt.Sprintf("the store answers %d %s for bucket %s: %s", status, said.Code, b.Name, said.Message)).
		WithMend("check oidc.publish: the bucket has to be there, and the upstream's keys have to read and write it")
}
