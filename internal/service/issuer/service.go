package issuer

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// Defaults of Config.
const (
	DefaultEvery      = 90 * 24 * time.Hour
	DefaultPrepublish = 24 * time.Hour
	DefaultGrace      = 24 * time.Hour
)

// Service mints, from memory. Safe for concurrent use.
type Service struct {
	Config
	loading sync.Mutex // orders loads, so that an older one can't win
	rows    atomic.Pointer[held]
	seen    atomic.Pointer[view]
	live    live
	// discovery is the document of each level: it does not change.
	discovery map[Level]Document
}

// held is what was read last: immutable.
type held struct {
	keys []loaded // by level, algorithm, serial
	stop Stop
}

// loaded is a key with its secret; private is nil once that was destroyed.
type loaded struct {
	Row
	public  crypto.PublicKey
	private crypto.Signer
}

// Open loads the keys, makes the first ones of a new installation, and follows
// changes until ctx ends.
func Open(ctx context.Context, c Config) (*Service, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Unified == nil {
		c.Unified = func() bool { return true }
	}
	c.Signing = cmp.Or(c.Signing, oidc.RS256)
	c.Every, c.Prepublish, c.Grace = cmp.Or(c.Every, DefaultEvery), cmp.Or(c.Prepublish, DefaultPrepublish), cmp.Or(c.Grace, DefaultGrace)
	if !slices.Contains(Algorithms(), c.Signing) || c.BaseURL == "" || c.AccountID == "" {
		return nil, errors.New("issuer: want BaseURL, AccountID and a known signing algorithm")
	}
	s := &Service{Config: c}
	if err := s.describe(); err != nil {
		return nil, err
	}
	if err := s.Store.Watch(ctx, func() { s.follow(ctx) }); err != nil {
		return nil, err
	}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	for _, l := range Levels() {
		for _, a := range Algorithms() {
			if err := s.first(ctx, l, a); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// follow loads until one load succeeds. Meanwhile the known keys serve on, by
// their schedule.
func (s *Service) follow(ctx context.Context) {
	for {
		err := s.load(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.Logger.Error("the issuer's keys can't be read; the ones known before serve on", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

func (s *Service) load(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	rows, stop, err := s.Store.All(ctx)
	if err != nil {
		return err
	}
	known := map[string]loaded{}
	if h := s.rows.Load(); h != nil {
		for _, k := range h.keys {
			known[k.ID] = k
		}
	}
	h := &held{stop: stop}
	for _, r := range rows {
		k, there := known[r.ID]
		if !there || len(k.Sealed) != len(r.Sealed) {
			if k, err = s.open(r); err != nil {
				return fault.Wrap(err, fault.Internal, "the issuer's key "+r.ID+" can't be read")
			}
		}
		k.Row = r
		h.keys = append(h.keys, k)
	}
	slices.SortFunc(h.keys, func(a, b loaded) int {
		return cmp.Or(cmp.Compare(slices.Index(Levels(), a.Level), slices.Index(Levels(), b.Level)),
			cmp.Compare(slices.Index(Algorithms(), a.Algorithm), slices.Index(Algorithms(), b.Algorithm)), cmp.Compare(a.Serial, b.Serial))
	})
	s.rows.Store(h)
	return nil
}

// open reads a row, and holds its parts to each other.
func (s *Service) open(r Row) (loaded, error) {
	public, err := x509.ParsePKIXPublicKey(r.Public)
	if err != nil {
		return loaded{}, err
	}
	if id, err := oidc.Thumbprint(public); err != nil || id != r.ID {
		return loaded{}, errors.Join(err, errors.New("issuer: the key id is not the key's"))
	}
	k := loaded{Row: r, public: public}
	if len(r.Sealed) == 0 {
		return k, nil
	}
	plain, err := s.Sealer.Open(sealed, aad(r), r.Sealed)
	if err != nil {
		return loaded{}, err
	}
	private, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		return loaded{}, err
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return loaded{}, fmt.Errorf("issuer: %T does not sign", private)
	}
	k.private = signer
	if mine, ok := public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !mine.Equal(signer.Public()) {
		return loaded{}, errors.New("issuer: the private half belongs to another key")
	}
	return k, oidc.SigningKey{ID: r.ID, Algorithm: r.Algorithm, Private: signer}.Check()
}

// Keys lists our keys as they stand now: by level, algorithm and age.
func (s *Service) Keys() []Key {
	now := s.Now()
	var out []Key
	for _, k := range s.rows.Load().keys {
		r := k.Row
		r.Sealed = nil
		out = append(out, Key{Row: r, State: r.State(now), Public: k.public})
	}
	return out
}

// reload follows our own change before its caller is answered.
func (s *Service) reload(ctx context.Context) {
	if err := s.load(context.WithoutCancel(ctx)); err != nil {
		s.Logger.Warn("the issuer's keys could not be read after a change", "error", err)
	}
}
