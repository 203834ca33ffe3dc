package issuer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// Place is where discovery and key sets are published for those who can't reach
// this server. Names are slash paths below the public URL.
type Place interface {
	// Read gives a document; a fault NotFound where there is none.
	Read(ctx context.Context, name string) ([]byte, error)
	// Write puts a document in place as a whole.
	Write(ctx context.Context, name string, body []byte) error
}

// file is one published document.
type file struct {
	level Level
	name  string
	body  []byte
	keys  bool // a key set, not discovery
}

// files lists what is published, key sets first: whoever reads discovery finds
// the keys.
func (s *Service) files() []file {
	var sets, discoveries []file
	for _, l := range Levels() {
		at := strings.TrimPrefix(s.path("", l), "/")
		if l == Account && s.AccountURL != "" { // its own host, the same place
			at = "oidc/accounts/" + s.AccountID
		}
		sets = append(sets, file{l, at + "/jwks.json", s.JWKS(l).Body, true})
		for _, known := range oidc.WellKnown() {
			discoveries = append(discoveries, file{l, at + known, s.Discovery(l).Body, false})
		}
	}
	return append(sets, discoveries...)
}

// Publish writes what the world reads of both issuers, and then lets keys be
// used that waited for it. It reads first: a key that is not ours, or discovery
// that leads to other keys, stops minting on all servers, and nothing is
// written, until it is called with replace. It gives the names it wrote.
// Faults: Unavailable (CodeHalted), and those of the place.
func (s *Service) Publish(ctx context.Context, to Place, replace bool) ([]string, error) {
	// What other servers added is ours.
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	if stop := s.rows.Load().stop; !stop.At.IsZero() && !replace {
		return nil, halted(stop)
	}
	all := s.files()
	stale := make([]bool, len(all))
	for i, f := range all {
		there, err := to.Read(ctx, f.name)
		switch {
		case fault.KindOf(err) == fault.NotFound && err != nil:
			stale[i] = true
			continue
		case err != nil:
			return nil, fault.Wrap(err, fault.KindOf(err), "cannot read "+f.name+" back from where keys are published")
		case bytes.Equal(there, f.body):
			continue
		}
		stale[i] = true
		if why, keyID := s.foreign(f, there); why != "" && !replace {
			return nil, s.halt(ctx, Stop{At: s.now(), Reason: f.name + ": " + why, KeyID: keyID})
		}
	}
	var wrote []string
	for i, f := range all {
		if !stale[i] {
			continue
		}
		if err := to.Write(ctx, f.name, f.body); err != nil {
			return wrote, fault.Wrap(err, fault.KindOf(err), "cannot write "+f.name+" to where keys are published")
		}
		wrote = append(wrote, f.name)
	}
	if replace {
		if err := s.resume(ctx); err != nil {
			return wrote, err
		}
	}
	return wrote, s.Placed(ctx, placed(all))
}

// placed lists the keys of the sets that were written.
func placed(all []file) []string {
	var ids []string
	for _, f := range all {
		if !f.keys {
			continue
		}
		// What we have written we can read.
		if set, err := oidc.ParseKeySet(f.body); err == nil {
			for _, k := range set.Published() {
				ids = append(ids, k.ID)
			}
		}
	}
	return ids
}

// foreign says why a document that stands where ours does can't be ours of
// before, and which key shows it; empty where it can. What our strict readers
// don't read may mean anything to a relying party.
func (s *Service) foreign(f file, there []byte) (why, keyID string) {
	if !f.keys {
		name, keys, err := oidc.ReadMetadata(there)
		switch {
		case err != nil:
			return fault.Of(err).Public, ""
		case name != s.URL(f.level) || keys != s.URL(f.level)+"/jwks.json":
			return fmt.Sprintf("it is the discovery document of issuer %q with its keys at %q", clip(name), clip(keys)), ""
		}
		return "", ""
	}
	set, err := oidc.ParseKeySet(there)
	if err != nil {
		return fault.Of(err).Public, ""
	}
	for _, k := range set.Published() {
		switch st, ours := s.ours(f.level, k.Thumbprint); {
		case ours && st == Gone:
			s.Logger.Warn("a key that is gone stood where the issuer's keys are published, and was taken until now", "key", k.Thumbprint)
		case !ours:
			return "it holds a key that is not ours", clip(k.ID)
		}
	}
	return more(there), ""
}

// more says what stands in a key set beside what we write. Other readers may take
// a key from it that we don't see: from a certificate (x5c, x5u) beside the
// numbers of ours, or in another alphabet's idea of its name.
func more(there []byte) string {
	var set map[string]json.RawMessage
	var keys []map[string]json.RawMessage
	if err := json.Unmarshal(there, &set); err != nil || json.Unmarshal(set["keys"], &keys) != nil {
		return "it is not the document of a key set"
	}
	if len(set) != 1 {
		return "it holds more than the keys"
	}
	for _, key := range keys {
		for name := range key {
			if !slices.Contains([]string{"kty", "use", "alg", "kid", "n", "e", "crv", "x", "y"}, name) {
				return fmt.Sprintf("a key of ours has the member %q there, which we don't write", clip(name))
			}
		}
	}
	return ""
}

// ours reports whether a public key was ever one of this issuer's, and its
// state.
func (s *Service) ours(l Level, thumbprint string) (State, bool) {
	for _, k := range s.rows.Load().keys {
		if k.ID == thumbprint && k.Level == l {
			return k.State(s.Now()), true
		}
	}
	return "", false
}

// halt stops minting on all servers, and gives the fault that says so.
func (s *Service) halt(ctx context.Context, stop Stop) error {
	s.Logger.Error("CRITICAL: a document that is not ours stands where the issuer's keys are published; minting stops. "+
		"Whoever wrote it can sign as this issuer until it is replaced: carnet issuer publish --replace",
		"where", stop.Reason, "key", stop.KeyID)
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		if changed, err := s.Store.SetStop(ctx, stop); err != nil || !changed {
			return err
		}
		return s.Trail.Record(ctx, event.Event{Action: "issuer.halt", Outcome: event.Done, Code: CodeHalted, Target: stop.KeyID,
			Detail: map[string]string{"reason": stop.Reason}})
	})
	s.reload(ctx)
	return errors.Join(halted(stop), err)
}

func (s *Service) resume(ctx context.Context) error {
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		if changed, err := s.Store.SetStop(ctx, Stop{}); err != nil || !changed {
			return err
		}
		return s.Trail.Record(ctx, event.Event{Action: "issuer.resume", Outcome: event.Done})
	})
	s.reload(ctx)
	return err
}

// Halted gives the fault with which minting stopped; nil while it goes on.
func (s *Service) Halted() error {
	if stop := s.rows.Load().stop; !stop.At.IsZero() {
		return halted(stop)
	}
	return nil
}

// KeepPublished publishes at once, after every change, and each minute, until
// ctx ends.
func (s *Service) KeepPublished(ctx context.Context, to Place) {
	var last []string // tags of what was published
	var at time.Time
	failing := false
	tick := time.NewTicker(min(time.Second, max(s.Prepublish/8, 50*time.Millisecond)))
	defer tick.Stop()
	for {
		if tags := s.tags(); at.IsZero() || !equal(tags, last) || s.Now().Sub(at) >= time.Minute {
			_, err := s.Publish(ctx, to, false)
			switch {
			case err == nil:
				last, failing = s.tags(), false
			case ctx.Err() == nil && !failing && fault.Of(err).Code != CodeHalted: // a halt was said
				failing = true
				s.Logger.Error("the issuer's keys can't be published: new ones are not used until they are", "error", err)
			}
			at = s.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Service) tags() []string {
	var all []string
	for _, l := range Levels() {
		all = append(all, s.JWKS(l).ETag)
	}
	return all
}

func equal(a, b []string) bool { return strings.Join(a, " ") == strings.Join(b, " ") }

// clip bounds what is repeated of outside input.
func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
