package issuer

import (
	"time"

	"carnet.dev/carnet/internal/protocol/oidc"
)

// view is what the keys come to at a time: a function of the rows that were read
// and of that time, good until the next state changes. Immutable.
type view struct {
	of          *held
	from, until time.Time
	faces       map[Level]face
}

// face is one issuer.
type face struct {
	keys *oidc.KeySet
	jwks Document
	sign map[string]*signer // by algorithm; absent where there is no key in use
}

// signer is the key in use.
type signer struct {
	oidc.SigningKey
	gone time.Time // zero: not planned
}

// far is later than any state that is planned.
const far = 24 * time.Hour

// current gives the view of now.
func (s *Service) current() *view {
	now, h := s.Now(), s.rows.Load()
	v := s.seen.Load()
	if v == nil || v.of != h || now.Before(v.from) || !now.Before(v.until) {
		v = s.look(h, now)
		s.seen.Store(v)
	}
	return v
}

func (s *Service) look(h *held, now time.Time) *view {
	v := &view{of: h, from: now, until: now.Add(far), faces: map[Level]face{}}
	for _, l := range Levels() {
		f := face{sign: map[string]*signer{}}
		var public []oidc.PublicKey
		for _, k := range h.keys {
			if k.Level != l {
				continue
			}
			if t, planned := k.next(now); planned && t.Before(v.until) {
				v.until = t
			}
			switch k.State(now) {
			case Waiting, Gone:
				continue
			case Used:
				if k.private != nil { // the newest wins: keys stand by age
					f.sign[k.Algorithm] = &signer{oidc.SigningKey{ID: k.ID, Algorithm: k.Algorithm, Private: k.private}, k.GoneAfter}
				}
			}
			public = append(public, oidc.PublicKey{ID: k.ID, Algorithm: k.Algorithm, Key: k.public})
		}
		f.publish(public, s)
		v.faces[l] = f
	}
	return v
}

// publish writes the key set. Rows were held to their form when they were read,
// so it can't fail but by a fault of ours; then nothing is published, and
// nothing signed.
func (f *face) publish(public []oidc.PublicKey, s *Service) {
	body, err := oidc.WriteKeySet(public)
	if err == nil {
		f.keys, err = oidc.ParseKeySet(body)
	}
	if err != nil {
		s.Logger.Error("the issuer's key set can't be written: nothing is signed", "error", err)
		body, f.sign = []byte(`{"keys":[]}`), nil
		f.keys, _ = oidc.ParseKeySet(body)
	}
	f.jwks = document(body, s.maxAge())
}
