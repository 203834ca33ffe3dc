// Package keyring seals what rests in the database and holds the keys of
// session tokens.
//
// It is envelope encryption: data keys lie in the database, wrapped under a
// key-encryption key that comes from a file and is never in the database, an
// export or a backup. Two rings rotate apart: "rest" seals stored secrets,
// "session-token" is what role keys are sealed with. Rotation publishes a key,
// waits until every live server has loaded it, then uses it; old keys go on
// opening. It must never use a key that another server may not know, never
// write anything when the key-encryption key is the wrong one, and never give
// a data key to anyone but the sealer of session tokens.
package keyring

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// The rings.
const (
	Rest         = "rest"
	SessionToken = "session-token"
)

func rings() []string { return []string{Rest, SessionToken} }

// ServerStale is how long a server that says nothing still counts as live: a
// rotation waits that long for it, and it must itself refuse to decide sooner
// (the revocation feed's bound is the same).
const ServerStale = 60 * time.Second

// WrappedKey is one data key as it is stored.
type WrappedKey struct {
	ID         string // 8 letters and digits
	Ring       string
	Generation int64 // 1 is the first of its ring
	KEK        string
	Wrapped    []byte
	Created    time.Time
	UsedFrom   time.Time // zero: published, not in use yet
}

// ServerView is what one server has loaded.
type ServerView struct {
	Server     string
	Generation int64 // sum over the rings of the newest generation that it knows
	Seen       time.Time
}

// State is all that the store holds.
type State struct {
	Keys    []WrappedKey
	Servers []ServerView
}

// Store keeps the ring.
type Store interface {
	Load(ctx context.Context) (State, error)
	// Add stores a key unless the ring has that generation already, and
	// reports whether it did.
	Add(ctx context.Context, k WrappedKey) (bool, error)
	// Use sets UsedFrom of a key where it is zero.
	Use(ctx context.Context, id string, at time.Time) error
	// Rewrap replaces KEK and Wrapped of all the keys in one transaction.
	Rewrap(ctx context.Context, keys []WrappedKey) error
	// Confirm stores what this server has loaded.
	Confirm(ctx context.Context, v ServerView) error
}

// Config of a ring.
type Config struct {
	Store Store
	KEKs  KEKs
	// Reread reads the key-encryption keys again when the ring was rewrapped
	// under one that this process doesn't have. Nil: it keeps to KEKs.
	Reread func() (KEKs, error)
	// Server is the id of this server process; empty for a command that soon
	// ends, for which no rotation waits.
	Server string
	Now    func() time.Time
	Logger *slog.Logger
}

// Keyring is the ring in memory. Safe for concurrent use; sealing and opening
// touch no database.
type Keyring struct {
	store  Store
	reread func() (KEKs, error)
	server string
	now    func() time.Time
	log    *slog.Logger
	keks   atomic.Pointer[KEKs]
	loaded atomic.Pointer[loaded]
}

type loaded struct {
	byID       map[string]dataKey
	current    map[string]dataKey // by ring
	generation int64
	state      State
}

type dataKey struct {
	id   string
	ring string
	key  [32]byte
}

// Open loads the ring and makes the first keys of a new installation. A
// key-encryption key that doesn't open what is stored is a fault Misconfigured
// ("keyring.kek"), and nothing is written.
func Open(ctx context.Context, c Config) (*Keyring, error) {
	k := &Keyring{store: c.Store, reread: c.Reread, server: c.Server, now: c.Now, log: c.Logger}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	k.keks.Store(&c.KEKs)
	if err := k.Reload(ctx); err != nil {
		return nil, err
	}
	for _, ring := range rings() {
		if _, ok := k.loaded.Load().current[ring]; ok {
			continue
		}
		// Another server may do the same now: the first generation is unique,
		// and the reload takes whichever key won.
		if err := k.add(ctx, ring, 1, k.now()); err != nil {
			return nil, err
		}
	}
	if err := k.Reload(ctx); err != nil {
		return nil, err
	}
	for _, ring := range rings() {
		if _, ok := k.loaded.Load().current[ring]; !ok {
			return nil, fault.New(fault.Internal, "the key ring has no key in use for "+ring)
		}
	}
	return k, k.confirm(ctx)
}

// Reload reads the ring again. Call it whenever the store changed.
func (k *Keyring) Reload(ctx context.Context) error {
	state, err := k.store.Load(ctx)
	if err != nil {
		return err
	}
	next, err := unwrapAll(state, *k.keks.Load())
	if k.reread != nil && errors.Is(err, fault.Coded(fault.Misconfigured, codeKEK, "")) {
		next, err = k.unwrapAnew(state, err)
	}
	if err != nil {
		return err
	}
	k.loaded.Store(next)
	return nil
}

// unwrapAnew tries the keys that the file has now. Where they don't fit either,
// the first error stands.
func (k *Keyring) unwrapAnew(state State, first error) (*loaded, error) {
	keks, err := k.reread()
	if err != nil {
		return nil, errors.Join(first, err)
	}
	next, err := unwrapAll(state, keks)
	if err != nil {
		return nil, first
	}
	k.keks.Store(&keks)
	k.log.Info("the key-encryption key was replaced", "key_encryption_key", keks[0].ID())
	return next, nil
}

// Check proves that keks open what the store holds, and writes nothing. Faults:
// Misconfigured "keyring.kek"; Conflict when the store holds no key yet.
func Check(ctx context.Context, store Store, keks KEKs) error {
	state, err := store.Load(ctx)
	if err != nil {
		return err
	}
	if len(state.Keys) == 0 {
		return fault.New(fault.Conflict, "the database holds nothing yet").WithMend("start the server once")
	}
	_, err = unwrapAll(state, keks)
	return err
}

func unwrapAll(state State, keks KEKs) (*loaded, error) {
	l := &loaded{byID: map[string]dataKey{}, current: map[string]dataKey{}, state: state}
	newest, used := map[string]int64{}, map[string]int64{}
	for _, w := range state.Keys {
		key, err := unwrap(w, keks)
		if err != nil {
			return nil, err
		}
		d := dataKey{id: w.ID, ring: w.Ring, key: key}
		l.byID[w.ID] = d
		newest[w.Ring] = max(newest[w.Ring], w.Generation)
		if !w.UsedFrom.IsZero() && w.Generation > used[w.Ring] {
			used[w.Ring], l.current[w.Ring] = w.Generation, d
		}
	}
	for _, g := range newest {
		l.generation += g
	}
	return l, nil
}

// Seal seals plain for a purpose, bound to aad (the id of the row, say). Only
// the same purpose and aad open it.
func (k *Keyring) Seal(purpose string, aad, plain []byte) ([]byte, error) {
	d := k.loaded.Load().current[Rest]
	return sealBox(d.id, d.key, purpose, aad, plain)
}

// Open opens what Seal made. Every failure has the same public text: it tells
// nothing about which part was wrong.
func (k *Keyring) Open(purpose string, aad, sealed []byte) ([]byte, error) {
	id, err := boxKeyID(sealed)
	if err == nil {
		d, ok := k.loaded.Load().byID[id]
		if !ok || d.ring != Rest {
			err = errBox
		} else {
			var plain []byte
			if plain, err = openBox(d.key, purpose, aad, sealed); err == nil {
				return plain, nil
			}
		}
	}
	return nil, fault.Wrap(err, fault.Invalid, "a sealed value can't be opened").WithCode("keyring.sealed")
}

// TokenKeys gives the keys of session tokens.
type TokenKeys struct{ ring *Keyring }

// SessionTokenKeys gives the ring that session tokens are sealed with, as
// protocol/sessiontoken wants it.
func (k *Keyring) SessionTokenKeys() TokenKeys { return TokenKeys{k} }

// Current gives the key that new tokens are sealed with.
func (t TokenKeys) Current() (id string, key [32]byte) {
	d := t.ring.loaded.Load().current[SessionToken]
	return d.id, d.key
}

// ByID gives a key that tokens in use may be sealed with.
func (t TokenKeys) ByID(id string) (key [32]byte, ok bool) {
	d, ok := t.ring.loaded.Load().byID[id]
	if !ok || d.ring != SessionToken {
		return [32]byte{}, false
	}
	return d.key, true
}

var idEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

func newKeyID() string {
	b := make([]byte, 5)
	rand.Read(b)
	return idEncoding.EncodeToString(b)
}

func (k *Keyring) add(ctx context.Context, ring string, generation int64, usedFrom time.Time) error {
	w := WrappedKey{ID: newKeyID(), Ring: ring, Generation: generation, Created: k.now(), UsedFrom: usedFrom}
	var key [32]byte
	rand.Read(key[:])
	w, err := wrap(w, key, (*k.keks.Load())[0])
	if err != nil {
		return err
	}
	_, err = k.store.Add(ctx, w)
	return err
}

// wrap seals a data key under a key-encryption key, bound to its place.
func wrap(w WrappedKey, key [32]byte, kek KEK) (WrappedKey, error) {
	w.KEK = kek.id
	wrappingKey, err := kek.wrapping()
	if err != nil {
		return w, err
	}
	w.Wrapped, err = sealBox(w.ID, wrappingKey, "data key", wrapAAD(w), key[:])
	return w, err
}

func unwrap(w WrappedKey, keks KEKs) (key [32]byte, err error) {
	kek, ok := keks.byID(w.KEK)
	if !ok {
		return key, wrongKEK("the database was sealed under "+w.KEK, keks)
	}
	wrappingKey, err := kek.wrapping()
	if err != nil {
		return key, err
	}
	plain, err := openBox(wrappingKey, "data key", wrapAAD(w), w.Wrapped)
	if err != nil || len(plain) != 32 {
		return key, fault.Wrap(errors.Join(err, errBox), fault.Misconfigured, "data key "+w.ID+" in the database is damaged").
			WithCode("keyring.damaged").WithMend("restore the last backup")
	}
	return [32]byte(plain), nil
}

func (k KEK) wrapping() (key [32]byte, err error) {
	b, err := hkdf.Key(sha256.New, k.key[:], nil, "carnet wrap v1", 32)
	copy(key[:], b)
	return key, err
}

func wrapAAD(w WrappedKey) []byte {
	return fmt.Appendf(nil, "%s\x00%d\x00%s", w.Ring, w.Generation, w.KEK)
}
