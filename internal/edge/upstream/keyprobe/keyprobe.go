// Package keyprobe finds out by trying whether a store keeps keys apart: the
// key that was decided must be the key that is stored.
//
// A policy decides on the text of a key. A store that answers one key with
// another's object (p//q for p/q, A for a) lets that decision be walked around,
// so what an administrator states of a store is proven before it is served.
// The probe writes only below its own random prefix and takes it away again.
// It also breaks one upload off, of which nothing may be visible.
// It must never call a store proven when a question went unanswered.
package keyprobe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
)

// Upstream sends a request to the store.
type Upstream interface {
	Do(ctx context.Context, out *s3.Outgoing) (*http.Response, error)
}

// pair is a key that is written and another that must stay missing.
type pair struct{ written, other, alias string }

// always lists what no store may fold, whatever it states.
func always() []pair {
	return []pair{
		{"Case", "case", "letter case"},
		{"nfc-\u00e9", "nfc-e\u0301", "Unicode normalisation (NFC and NFD)"},
		{"dot.", "dot", "a trailing dot"},
		{"space ", "space", "a trailing space"},
		{`back\slash`, "back/slash", "backslash and slash"},
		{"leaf", "leaf/", "a trailing slash"},
		{"percent%2Fq", "percent/q", "a percent encoding within the name"},
		{"plus+", "plus ", "plus and space"},
	}
}

// literal lists what only a store with literal keys keeps apart.
func literal() []pair {
	return []pair{
		{"twice//q", "twice/q", "an empty segment"},
		{"/front", "front", "a leading slash"},
	}
}

// Prove holds a store to how it is said to treat keys, in a bucket that
// exists. The fault names every alias that it found.
func Prove(ctx context.Context, up Upstream, bucket string, keys s3.Keys) (err error) {
	pairs := always()
	if keys == s3.Literal {
		pairs = append(pairs, literal()...)
	}
	p := probe{up: up, bucket: bucket, prefix: ".carnet-probe-" + rand.Text()}
	var aliases []string
	for i, q := range pairs {
		folds, err := p.folds(ctx, fmt.Sprintf("/%d/", i), q)
		if err != nil {
			return err
		}
		if folds {
			aliases = append(aliases, q.alias)
		}
	}
	if len(aliases) == 0 {
		return p.halves(ctx)
	}
	f := fault.Coded(fault.Misconfigured, "upstream.alias", "this store takes different keys for one: "+strings.Join(aliases, ", "))
	if keys == s3.Literal {
		return f.WithMend("say keys: filesystem for it, if only empty segments and leading slashes are named; else it can't be used")
	}
	return f.WithMend("put the store on a file system that keeps names apart byte for byte")
}

type probe struct {
	up     Upstream
	bucket string
	prefix string
}

// folds writes one key and asks for the other.
func (p probe) folds(ctx context.Context, place string, q pair) (folds bool, err error) {
	written, other := p.prefix+place+q.written, p.prefix+place+q.other
	if status, err := p.do(ctx, http.MethodPut, written); err != nil || status != http.StatusOK {
		if status >= 400 && status < 500 {
			return false, nil // the store refuses the key by itself: nothing to fold
		}
		return false, unanswered(err, status)
	}
	status, err := p.do(ctx, http.MethodHead, other)
	if err == nil && status != http.StatusNotFound && status != http.StatusOK {
		err = unanswered(nil, status)
	}
	if gone, dropErr := p.do(ctx, http.MethodDelete, written); dropErr != nil || gone >= 400 {
		err = errors.Join(err, unanswered(dropErr, gone))
	}
	return status == http.StatusOK, err
}

// halves breaks an upload off and holds the store to show nothing of it.
func (p probe) halves(ctx context.Context) error {
	key := p.prefix + "/half"
	out := &s3.Outgoing{Method: http.MethodPut, Bucket: p.bucket, Key: key, Body: io.MultiReader(strings.NewReader("half"), breaking{}), Length: 8}
	if resp, err := p.up.Do(ctx, out); err == nil {
		resp.Body.Close() // it answered before it had it all: what it did is asked next
	}
	status, err := p.do(ctx, http.MethodHead, key)
	switch {
	case err == nil && status == http.StatusNotFound:
		return nil
	case err != nil || status != http.StatusOK:
		return unanswered(err, status)
	}
	gone, err := p.do(ctx, http.MethodDelete, key)
	if err != nil || gone >= 400 {
		return unanswered(err, gone)
	}
	return fault.Coded(fault.Misconfigured, "upstream.halves", "this store keeps an upload that broke off as if it were whole").
		WithMend("use a newer release of the store: it has to hold content to its length and to the end of its chunks")
}

var errBroken = errors.New("the probe broke its upload off")

type breaking struct{}

func (breaking) Read([]byte) (int, error) { return 0, errBroken }

func (p probe) do(ctx context.Context, method, key string) (int, error) {
	out := &s3.Outgoing{Method: method, Bucket: p.bucket, Key: key}
	if method == http.MethodPut {
		out.Body, out.Length = strings.NewReader("probe"), 5
	}
	resp, err := p.up.Do(ctx, out)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, err
}

func unanswered(err error, status int) error {
	return fault.Wrap(err, fault.Unavailable, fmt.Sprintf("the probe of how the store treats keys got no clear answer (status %d)", status)).
		WithMend("look at the store, then start again")
}
