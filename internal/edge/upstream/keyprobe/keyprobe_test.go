package keyprobe_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/upstream/keyprobe"
	"carnet.dev/carnet/internal/protocol/s3"
)

// shelf is a store that folds keys as fold says.
type shelf struct {
	fold  func(string) string
	kept  map[string]bool
	fails bool
	// halves says that it keeps uploads that broke off.
	halves bool
}

func (s *shelf) Do(_ context.Context, out *s3.Outgoing) (*http.Response, error) {
	if s.fails {
		return nil, errors.New("gone")
	}
	w := httptest.NewRecorder()
	key := s.fold(out.Key)
	switch out.Method {
	case http.MethodPut:
		if _, err := io.Copy(io.Discard, out.Body); err != nil && !s.halves {
			return nil, err
		}
		s.kept[key] = true
	case http.MethodDelete:
		delete(s.kept, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		if !s.kept[key] {
			w.WriteHeader(http.StatusNotFound)
		}
	}
	return w.Result(), nil
}

func TestProve(t *testing.T) {
	same := func(k string) string { return k }
	clean := func(k string) string { return strings.ReplaceAll(k, "//", "/") }
	lax := func(k string) string { return strings.TrimPrefix(path.Clean("/"+k), "/") }
	twice := func(k string) string {
		if decoded, err := url.QueryUnescape(k); err == nil {
			return decoded
		}
		return k
	}
	for _, c := range []struct {
		name  string
		fold  func(string) string
		keys  s3.Keys
		alias string
	}{
		{"literal store", same, s3.Literal, ""},
		{"disk said to be a disk", clean, s3.Filesystem, ""},
		{"disk said to be literal", clean, s3.Literal, "an empty segment"},
		{"disk that drops the last slash", lax, s3.Filesystem, "a trailing slash"},
		{"proxy that decodes twice", twice, s3.Literal, "a percent encoding within the name, plus and space"},
		{"case-folding disk", strings.ToLower, s3.Filesystem, "letter case"},
		{"disk that drops trailing dots", func(k string) string { return strings.TrimRight(k, ".") }, s3.Filesystem, "a trailing dot"},
		{"Windows disk", func(k string) string { return strings.ReplaceAll(k, `\`, "/") }, s3.Filesystem, "backslash and slash"},
	} {
		store := &shelf{fold: c.fold, kept: map[string]bool{}}
		err := keyprobe.Prove(context.Background(), store, "b", c.keys)
		if (c.alias == "") != (err == nil) || err != nil && !strings.Contains(fault.Of(err).Public, c.alias) {
			t.Errorf("%s: got %v, want alias %q", c.name, err, c.alias)
		}
		if len(store.kept) != 0 {
			t.Errorf("%s: the probe left %v", c.name, store.kept)
		}
	}
}

// TestHalvesAreNotKept: a store that takes an upload that broke off for a whole
// one is not used.
func TestHalvesAreNotKept(t *testing.T) {
	store := &shelf{fold: func(k string) string { return k }, kept: map[string]bool{}, halves: true}
	if err := keyprobe.Prove(context.Background(), store, "b", s3.Literal); fault.Of(err).Code != "upstream.halves" {
		t.Errorf("got %v", err)
	}
	if len(store.kept) != 0 {
		t.Errorf("the probe left %v", store.kept)
	}
}

func TestNoAnswerIsNoProof(t *testing.T) {
	err := keyprobe.Prove(context.Background(), &shelf{fails: true}, "b", s3.Filesystem)
	if err == nil {
		t.Error("a store that doesn't answer was proven")
	}
}
