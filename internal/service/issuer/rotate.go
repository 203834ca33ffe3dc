package issuer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
	"strconv"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/oidc"
)

const (
	// bits is the length of an RSA modulus.
	bits = 2048
	// sealed is the purpose under which private keys are sealed.
	sealed = "issuer-key"
)

// aad binds a private key to what it may sign.
func aad(r Row) []byte { return []byte(string(r.Level) + " " + r.Algorithm + " " + r.ID) }

// create makes a key. Its times are those when it is there, since making one may take
// long: nobody can keep it before.
func (s *Service) create(l Level, algorithm string, serial int) (Row, error) {
	var private crypto.Signer
	var err error
	if algorithm == oidc.RS256 {
		private, err = rsa.GenerateKey(rand.Reader, bits)
	} else {
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return Row{}, err
	}
	now := s.now()
	r := Row{Level: l, Algorithm: algorithm, Serial: serial, Created: now, PublishedFrom: now}
	if r.ID, err = oidc.Thumbprint(private.Public()); err != nil {
		return Row{}, err
	}
	if r.Public, err = x509.MarshalPKIXPublicKey(private.Public()); err != nil {
		return Row{}, err
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return Row{}, err
	}
	r.Sealed, err = s.Sealer.Seal(sealed, aad(r), plain)
	return r, err
}

// of gives the keys of a level and algorithm that are not gone, by age, and the
// highest serial of all.
func (s *Service) of(l Level, algorithm string, now time.Time) (all []Row, last int) {
	for _, k := range s.rows.Load().keys {
		if k.Level != l || k.Algorithm != algorithm {
			continue
		}
		last = k.Serial
		if k.State(now) != Gone {
			all = append(all, k.Row)
		}
	}
	return all, last
}

// first makes a key where there is none.
func (s *Service) first(ctx context.Context, l Level, algorithm string) error {
	now := s.now()
	all, last := s.of(l, algorithm, now)
	if len(all) > 0 {
		return nil
	}
	r, err := s.create(l, algorithm, last+1)
	if err != nil {
		return err
	}
	if !s.Elsewhere {
		r.UsedFrom = r.PublishedFrom
	}
	// Where another server was faster, its key counts.
	if _, err := s.change(ctx, "issuer-key.add", Change{Level: l, Algorithm: algorithm, Last: last, Add: &r}, r); err != nil {
		return err
	}
	if err := s.load(ctx); err != nil {
		return err
	}
	if all, _ := s.of(l, algorithm, s.now()); len(all) == 0 {
		return errors.New("issuer: no " + algorithm + " key for the " + string(l) + " issuer")
	}
	return nil
}

// now is the time as it is stored.
func (s *Service) now() time.Time { return s.Now().UTC().Truncate(time.Millisecond) }

// Rotation says how a key is replaced. The zero value is the way of every day:
// the new key is published first, the old one taken for a while after.
type Rotation struct {
	// Now uses the new key at once. Whoever keeps an older key set refuses its
	// tokens until they read it anew.
	Now bool
	// Drop takes nothing any more that older keys signed, and implies Now: for
	// a key that leaked.
	Drop bool
}

// Rotate replaces the key of an issuer and algorithm, or brings one that is
// published already into use Now. Errors: Invalid; Conflict when a key is
// waiting, and when another server was faster.
func (s *Service) Rotate(ctx context.Context, l Level, algorithm string, how Rotation) (Key, error) {
	if !slices.Contains(Levels(), l) || !slices.Contains(Algorithms(), algorithm) {
		return Key{}, fault.New(fault.Invalid, "there is no such key of the issuer").WithMend("want workspace or account, and RS256 or ES256")
	}
	how.Now = how.Now || how.Drop
	now := s.now()
	all, last := s.of(l, algorithm, now)
	c := Change{Level: l, Algorithm: algorithm, Last: last}
	var next Row
	if n := len(all); n > 0 && (all[n-1].State(now) == Published || all[n-1].State(now) == Waiting) {
		next = all[n-1]
		if err := s.mayHurry(next, how); err != nil {
			return Key{}, err
		}
		next.UsedFrom = now
		c.Schedules = append([]Schedule{next.schedule()}, s.retire(all[:n-1], now, how.Drop)...)
	} else {
		r, err := s.create(l, algorithm, last+1)
		if err != nil {
			return Key{}, err
		}
		now = r.PublishedFrom
		switch {
		case s.Elsewhere: // decided when it stands there
			if how.Drop {
				c.Schedules = s.retire(all, now, true)
			}
		case how.Now:
			r.UsedFrom = now
			c.Schedules = s.retire(all, now, how.Drop)
		default:
			r.UsedFrom = now.Add(s.Prepublish)
			c.Schedules = s.retire(all, r.UsedFrom, false)
		}
		next, c.Add = r, &r
	}
	if done, err := s.change(ctx, "issuer-key.rotate", c, next); err != nil {
		return Key{}, err
	} else if !done {
		s.reload(ctx)
		return Key{}, fault.New(fault.Conflict, "the keys of the issuer were changed meanwhile").WithMend("look at the list of keys")
	}
	s.reload(ctx)
	next.Sealed = nil
	public, err := x509.ParsePKIXPublicKey(next.Public)
	return Key{Row: next, State: next.State(s.now()), Public: public}, err
}

// mayHurry reports whether a key that waits may be used at once.
func (s *Service) mayHurry(next Row, how Rotation) error {
	switch {
	case s.Elsewhere && next.UsedFrom.IsZero():
		return fault.New(fault.Conflict, "the key "+next.ID+" does not stand yet where keys are published").WithMend("run: carnet issuer publish")
	case !how.Now:
		return fault.New(fault.Conflict, "the key "+next.ID+" is published already, and used from "+next.UsedFrom.Format(time.RFC3339)).
			WithMend("wait until then, or use it now: carnet issuer keys rotate --now")
	}
	return nil
}

func (r Row) schedule() Schedule {
	return Schedule{ID: r.ID, UsedFrom: r.UsedFrom, RetiredFrom: r.RetiredFrom, GoneAfter: r.GoneAfter}
}

// retire plans the end of older keys: at a time, or with drop at once and
// without grace.
func (s *Service) retire(all []Row, at time.Time, drop bool) []Schedule {
	var out []Schedule
	for _, r := range all {
		if r.RetiredFrom.IsZero() || r.RetiredFrom.After(at) {
			r.RetiredFrom = at
			r.GoneAfter = at.Add(s.Grace)
		}
		if drop {
			r.GoneAfter = at
		}
		out = append(out, r.schedule())
	}
	return out
}

// Placed says that keys stand where the world reads them. Those that wait for
// it are used after the time of pre-publication, or at once where there is no
// other.
func (s *Service) Placed(ctx context.Context, ids []string) error {
	now := s.now()
	for _, l := range Levels() {
		for _, a := range Algorithms() {
			all, last := s.of(l, a, now)
			n := len(all) - 1
			if n < 0 || !all[n].UsedFrom.IsZero() || !slices.Contains(ids, all[n].ID) {
				continue
			}
			next := all[n]
			next.UsedFrom = now
			if slices.ContainsFunc(all, func(r Row) bool { return r.State(now) == Used }) {
				next.UsedFrom = now.Add(s.Prepublish)
			}
			c := Change{Level: l, Algorithm: a, Last: last, Schedules: append([]Schedule{next.schedule()}, s.retire(all[:n], next.UsedFrom, false)...)}
			if _, err := s.change(ctx, "issuer-key.placed", c, next); err != nil {
				return err
			}
			s.reload(ctx)
		}
	}
	return nil
}

// change makes a change and its record one transaction.
func (s *Service) change(ctx context.Context, action string, c Change, k Row) (done bool, err error) {
	err = s.State.Atomic(ctx, func(ctx context.Context) error {
		if done, err = s.Store.Change(ctx, c); err != nil || !done {
			return err
		}
		return s.Trail.Record(ctx, event.Event{Action: action, Outcome: event.Done, Target: k.ID, Detail: map[string]string{
			"level": string(k.Level), "algorithm": k.Algorithm, "serial": strconv.Itoa(k.Serial), "used_from": stamp(k.UsedFrom),
		}})
	})
	return done, err
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "when it is published"
	}
	return t.Format(time.RFC3339)
}

// Run rotates keys that were used for long enough and destroys those that are
// gone, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(max(min(time.Minute, s.Prepublish/8, s.Every/8), 50*time.Millisecond))
	defer tick.Stop()
	for {
		if err := s.keepUp(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Error("the issuer's keys can't be kept up", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// keepUp does what is due. Each step is done by one server only.
func (s *Service) keepUp(ctx context.Context) error {
	now := s.now()
	var errs []error
	for _, l := range Levels() {
		for _, a := range Algorithms() {
			all, last := s.of(l, a, now)
			if n := len(all); n > 0 {
				errs = append(errs, s.keepUpOne(ctx, all[n-1], now))
			}
			errs = append(errs, s.destroy(ctx, l, a, last, now))
		}
	}
	return errors.Join(errs...)
}

func (s *Service) keepUpOne(ctx context.Context, newest Row, now time.Time) error {
	switch {
	case newest.UsedFrom.IsZero() && !s.Elsewhere: // the publisher was switched off
		return s.Placed(ctx, []string{newest.ID})
	case newest.UsedFrom.IsZero() || now.Before(newest.UsedFrom.Add(s.Every-s.Prepublish)):
		return nil
	}
	_, err := s.Rotate(ctx, newest.Level, newest.Algorithm, Rotation{})
	if fault.KindOf(err) == fault.Conflict {
		return nil // another server was faster
	}
	return err
}

// destroy drops the private halves of keys that are gone. Their public halves
// stay, so that they are known as ours wherever they turn up.
func (s *Service) destroy(ctx context.Context, l Level, algorithm string, last int, now time.Time) error {
	c := Change{Level: l, Algorithm: algorithm, Last: last}
	var one Row
	for _, k := range s.rows.Load().keys {
		if k.Level == l && k.Algorithm == algorithm && k.State(now) == Gone && len(k.Sealed) > 0 {
			one = k.Row
			sch := one.schedule()
			sch.Destroy = true
			c.Schedules = append(c.Schedules, sch)
		}
	}
	if len(c.Schedules) == 0 {
		return nil
	}
	_, err := s.change(ctx, "issuer-key.destroy", c, one)
	s.reload(ctx)
	return err
}
