// Package tokenfile keeps a web identity token in a file, where AWS SDKs read
// it (AWS_WEB_IDENTITY_TOKEN_FILE).
//
// Whoever reads the file is the workload for some minutes, and whoever can put
// another file in its place chooses whom the workload becomes. So the folder
// must belong to this user (or root) with nobody else writing to it, the file
// has mode 0600, links are not followed, and it is replaced whole: a reader
// sees the old token or the new one. Keep renews it at half its life; when that
// fails, the old token stays. This package must never log a token.
package tokenfile

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"carnet.dev/carnet/internal/core/secret"
)

// Token is one token and how long it is good for.
type Token struct {
	Text    secret.Text
	Expires time.Time
}

// Place is an open folder in which the file is.
type Place struct {
	root *os.Root
	path string // of the file, absolute
}

// Open opens the place of a file. A missing last folder is made, for this user
// alone.
func Open(file string) (*Place, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	folder := filepath.Dir(path)
	if path == folder {
		return nil, fmt.Errorf("%s is a folder: name a file", path)
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	named, err := os.Lstat(folder)
	if err != nil {
		return nil, err
	}
	if !named.IsDir() {
		return nil, fmt.Errorf("%s is not a folder (links are not followed)", folder)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	p := &Place{root: root, path: path}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(named, opened) {
		err = fmt.Errorf("%s was exchanged while it was opened", folder)
	}
	if err == nil {
		err = checkFolder(folder, opened)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return p, nil
}

// Path is the file's absolute path.
func (p *Place) Path() string { return p.path }

// Close releases the folder.
func (p *Place) Close() error { return p.root.Close() }

// Write replaces the file. What lies there under its name must be a plain file
// of this user, or nothing.
func (p *Place) Write(token secret.Text) error {
	name := filepath.Base(p.path)
	switch there, err := p.root.Lstat(name); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !there.Mode().IsRegular():
		return fmt.Errorf("%s is not a plain file (links are not followed)", p.path)
	default:
		if err := checkFile(p.path, there); err != nil {
			return err
		}
	}
	temp := "." + name + "." + rand.Text()
	w, err := p.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = w.WriteString(token.Reveal()) // without a newline: some readers send what they read
	err = errors.Join(err, w.Sync(), w.Close())
	if err == nil {
		err = p.root.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, p.root.Remove(temp))
	}
	return nil
}

// The pace of Keep.
const (
	leastWait   = 5 * time.Second  // between two renewals that went well
	firstRetry  = 2 * time.Second  // doubled after each failure
	mostRetry   = 30 * time.Second // the longest pause between failures
	jitterParts = 10               // a pause is shortened by up to a tenth
)

// Keep says how a file is kept fresh.
type Keep struct {
	// Get gives a token that is good now.
	Get func(context.Context) (Token, error)
	// Written is told after each new token stands in the file.
	Written func(expires time.Time)
	// Failed is told of each failure; good says until when the old token is.
	Failed func(err error, good time.Time, again time.Duration)
	// Final reports whether a failure is a refusal: once the old token has
	// ended too, Keep ends with it. Other failures are tried again for ever.
	Final func(error) bool
}

// Run keeps the file fresh, from its first token on, until ctx ends, which is
// no error. The first token must be had.
func (k Keep) Run(ctx context.Context, p *Place) error {
	t, err := k.Get(ctx)
	if err != nil {
		return err
	}
	if err := p.Write(t.Text); err != nil {
		return err
	}
	k.Written(t.Expires)
	failures := 0
	wait := half(t.Expires)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(shorter(wait)):
		}
		next, err := k.Get(ctx)
		if err == nil {
			err = p.Write(next.Text)
		}
		if err == nil {
			t, failures, wait = next, 0, half(next.Expires)
			k.Written(t.Expires)
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if k.Final(err) && !time.Now().Before(t.Expires) {
			return err
		}
		wait = min(firstRetry<<min(failures, 10), mostRetry)
		failures++
		k.Failed(err, t.Expires, wait)
	}
}

// half gives half of what is left of a token.
func half(expires time.Time) time.Duration { return max(time.Until(expires)/2, leastWait) }

// shorter takes up to a tenth off, so that many workloads that began together
// don't come back together.
func shorter(d time.Duration) time.Duration {
	n, err := rand.Int(rand.Reader, big.NewInt(max(int64(d/jitterParts), 1)))
	if err != nil {
		return d
	}
	return d - time.Duration(n.Int64())
}
