package spkeys

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// Store keeps our keys. Each method is one transaction, or part of the one
// that ctx carries.
type Store interface {
	All(ctx context.Context) ([]Row, error)
	// Add stores a key; false when its purpose has one in that state, which
	// the states Next and Current have once only.
	Add(ctx context.Context, r Row) (bool, error)
	// Promote retires the current key of a purpose and makes the next one
	// current; false, and nothing changed, when there is no next one.
	Promote(ctx context.Context, p Purpose, at time.Time) (bool, error)
	// Remove deletes a key that is not current; false when there is none.
	Remove(ctx context.Context, id string) (bool, error)
	// Watch calls changed after every change by any server, until ctx ends.
	Watch(ctx context.Context, changed func()) error
}

// Sealer seals private keys, bound to their id.
type Sealer interface {
	Seal(purpose string, aad, plain []byte) ([]byte, error)
	Open(purpose string, aad, sealed []byte) ([]byte, error)
}

// Atomic makes one transaction of what fn does with its context. fn may run
// more than once.
type Atomic interface {
	Atomic(ctx context.Context, fn func(context.Context) error) error
}

// Trail records what was administered, in the transaction that ctx carries.
type Trail interface {
	Record(ctx context.Context, e event.Event) error
}

// Config is what a Service stands on.
type Config struct {
	Store  Store
	Sealer Sealer
	State  Atomic
	Trail  Trail
	Now    func() time.Time
	Logger *slog.Logger // nil discards
}

// most bounds the keys of one purpose: each retired one is tried on what can't
// be opened.
const most = 5

// Service gives our keys, from memory. Safe for concurrent use.
type Service struct {
	Config
	loading sync.Mutex // orders loads, so that an older one can't win
	current atomic.Pointer[[]loaded]
}

// Open loads the keys, makes the first ones of a new installation, and follows
// changes until ctx ends.
func Open(ctx context.Context, c Config) (*Service, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{Config: c}
	if err := s.Store.Watch(ctx, func() { s.follow(ctx) }); err != nil {
		return nil, err
	}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	for _, p := range Purposes() {
		if s.of(p, Current) != nil {
			continue
		}
		// Where another server was faster, its key counts.
		if _, err := s.add(ctx, p, Current); err != nil && fault.KindOf(err) != fault.Conflict {
			return nil, err
		}
		if err := s.load(ctx); err != nil {
			return nil, err
		}
		if s.of(p, Current) == nil {
			return nil, errors.New("spkeys: no current key of purpose " + string(p))
		}
	}
	return s, nil
}

// follow loads until one load succeeds. Meanwhile the known keys serve: an old
// one is no harm, it was published.
func (s *Service) follow(ctx context.Context) {
	for {
		err := s.load(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.Logger.Error("our SAML keys can't be read; the ones known before serve on", "error", err)
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
	rows, err := s.Store.All(ctx)
	if err != nil {
		return err
	}
	all := make([]loaded, 0, len(rows))
	for _, r := range rows {
		k, err := s.open(r)
		if err != nil {
			return fault.Wrap(err, fault.Internal, "the SAML key "+r.ID+" can't be read")
		}
		all = append(all, k)
	}
	order := []State{Current, Next, Retired}
	slices.SortStableFunc(all, func(a, b loaded) int {
		return cmp.Or(cmp.Compare(slices.Index(Purposes(), a.Purpose), slices.Index(Purposes(), b.Purpose)),
			cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State)), b.Created.Compare(a.Created))
	})
	s.current.Store(&all)
	return nil
}

func (s *Service) open(r Row) (loaded, error) {
	cert, err := x509.ParseCertificate(r.Certificate)
	if err != nil {
		return loaded{}, err
	}
	plain, err := s.Sealer.Open(sealed, []byte(r.ID), r.Sealed)
	if err != nil {
		return loaded{}, err
	}
	private, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		return loaded{}, err
	}
	key, ok := private.(*rsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return loaded{}, errors.New("spkeys: the key is not the certificate's")
	}
	return loaded{Key: Key{ID: r.ID, Purpose: r.Purpose, State: r.State, Certificate: cert, Created: r.Created, Changed: r.Changed}, private: key}, nil
}

func (s *Service) all() []loaded {
	if all := s.current.Load(); all != nil {
		return *all
	}
	return nil
}

// of gives the first key of a purpose in one of these states; nil without one.
func (s *Service) of(p Purpose, st State) *loaded {
	for i, k := range s.all() {
		if k.Purpose == p && k.State == st {
			return &s.all()[i]
		}
	}
	return nil
}

// List gives our keys: by purpose, then current, next, retired.
func (s *Service) List() []Key {
	var out []Key
	for _, k := range s.all() {
		out = append(out, k.Key)
	}
	return out
}

// Add makes and publishes the next key of a purpose. Errors: Conflict when
// there is one already, or too many retired ones.
func (s *Service) Add(ctx context.Context, p Purpose) (Key, error) {
	if !slices.Contains(Purposes(), p) {
		return Key{}, fault.New(fault.Invalid, "there is no such purpose of a key").WithMend("want signing or encryption")
	}
	n := 0
	for _, k := range s.all() {
		if k.Purpose == p {
			n++
		}
	}
	if n >= most {
		return Key{}, fault.New(fault.Conflict, "there are too many keys for "+string(p)).
			WithMend("remove retired ones that no identity provider uses any more")
	}
	k, err := s.add(ctx, p, Next)
	if err != nil {
		return Key{}, err
	}
	s.reload(ctx)
	return k, nil
}

func (s *Service) add(ctx context.Context, p Purpose, st State) (Key, error) {
	r, err := s.create(p, st)
	if err != nil {
		return Key{}, err
	}
	k, err := s.open(r)
	if err != nil {
		return Key{}, err
	}
	return k.Key, s.recorded(ctx, "saml-key.add", k.Key, func(ctx context.Context) error {
		stored, err := s.Store.Add(ctx, r)
		if err == nil && !stored {
			return fault.New(fault.Conflict, "there is a "+string(st)+" key for "+string(p)+" already").
				WithMend("bring it into use, or remove it, first")
		}
		return err
	})
}

// Promote brings the next key of a purpose into use and retires the one
// before. Errors: Conflict when there is no next key.
func (s *Service) Promote(ctx context.Context, p Purpose) (Key, error) {
	next := s.of(p, Next)
	if next == nil {
		return Key{}, fault.New(fault.Conflict, "there is no next key for "+string(p)).
			WithMend("make one first, and give identity providers time to read it")
	}
	k := next.Key
	k.State, k.Changed = Current, s.Now().UTC().Truncate(time.Millisecond)
	err := s.recorded(ctx, "saml-key.promote", k, func(ctx context.Context) error {
		done, err := s.Store.Promote(ctx, p, k.Changed)
		if err == nil && !done {
			return fault.New(fault.Conflict, "the next key for "+string(p)+" is gone").WithMend("look at the list of keys")
		}
		return err
	})
	if err != nil {
		return Key{}, err
	}
	s.reload(ctx)
	return k, nil
}

// Remove deletes a next or retired key: what is encrypted for it can't be
// opened any more. Errors: NotFound; Conflict for a current one.
func (s *Service) Remove(ctx context.Context, id string) error {
	k, err := s.find(id)
	if err != nil {
		return err
	}
	if k.State == Current {
		return fault.New(fault.Conflict, "the key "+id+" is in use").WithMend("bring another one into use first: add, then promote")
	}
	err = s.recorded(ctx, "saml-key.remove", k.Key, func(ctx context.Context) error {
		gone, err := s.Store.Remove(ctx, id)
		if err == nil && !gone {
			return noKey(id)
		}
		return err
	})
	if err == nil {
		s.reload(ctx)
	}
	return err
}

// Export gives the private key of an encryption key as PEM (PKCS #8), for a
// SAML provider at AWS that shall read encrypted assertions too. It is recorded.
// Errors: NotFound; Denied for a signing key, which nobody else may hold.
func (s *Service) Export(ctx context.Context, id string) (secret.Text, error) {
	k, err := s.find(id)
	if err != nil {
		return secret.Text{}, err
	}
	if k.Purpose != Encryption {
		return secret.Text{}, fault.New(fault.Denied, "a signing key is not given out: whoever holds it can sign in our name").
			WithMend("only an encryption key can be exported")
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return secret.Text{}, err
	}
	err = s.recorded(ctx, "saml-key.export", k.Key, func(context.Context) error { return nil })
	return secret.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))), err
}

func (s *Service) find(id string) (loaded, error) {
	for _, k := range s.all() {
		if k.ID == id {
			return k, nil
		}
	}
	return loaded{}, noKey(id)
}

func noKey(id string) error {
	return fault.New(fault.NotFound, "there is no SAML key "+id).WithMend("look at the list of keys")
}

// recorded makes a change and its record one transaction.
func (s *Service) recorded(ctx context.Context, action string, k Key, change func(context.Context) error) error {
	return s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := change(ctx); err != nil {
			return err
		}
		return s.Trail.Record(ctx, event.Event{Action: action, Outcome: event.Done, Target: k.ID,
			Detail: map[string]string{"purpose": string(k.Purpose), "state": string(k.State), "certificate": fingerprint(k.Certificate)}})
	})
}

func (s *Service) reload(ctx context.Context) {
	if err := s.load(context.WithoutCancel(ctx)); err != nil {
		s.Logger.Warn("our SAML keys could not be read after a change", "error", err)
	}
}
