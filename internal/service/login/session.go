package login

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/revocation"
)

func notSignedIn() *fault.Fault {
	return fault.Coded(fault.Unauthenticated, "login.required", "you are not signed in, or your login session has ended").
		WithMend("sign in again")
}

// Complete opens a parked sign-in for the browser that began it. The handle is
// used up whatever the answer is; a wrong browser ends the parked sign-in.
// Errors: Unauthenticated "login.handle" or "login.browser".
func (s *Service) Complete(ctx context.Context, handle, preLogin secret.Text) (SignedIn, error) {
	in, _, err := s.claim(ctx, handle, preLogin, false)
	in.ReturnTo = returnPath(preLogin)
	return in, err
}

// claim opens a parked sign-in of one kind.
func (s *Service) claim(ctx context.Context, handle, cookieOf secret.Text, unsolicited bool) (SignedIn, Ticket, error) {
	var (
		cookie  = secret.Random(32)
		record  Record
		ticket  Ticket
		refusal error
		ended   bool
		since   = s.memory.generation()
	)
	err := s.State.Atomic(ctx, func(ctx context.Context) (err error) {
		record, ticket, err = s.Sessions.Claim(ctx, handle.Digest())
		if err != nil {
			return err
		}
		if refusal = s.checkTicket(ticket, cookieOf, unsolicited); refusal != nil {
			return s.discard(ctx, record.ID)
		}
		if err := s.Sessions.Open(ctx, record, cookie.Digest()); err != nil {
			return err
		}
		ended, err = s.endSurplus(ctx, record)
		return err
	})
	if ended {
		s.memory.clear()
	}
	if isNotFound(err) {
		refusal, err = staleHandle(), nil
	}
	if err == nil {
		err = refusal
	}
	if err != nil {
		return SignedIn{}, Ticket{}, err
	}
	session, err := s.load(ctx, ByCookie, cookie.Digest(), record, since)
	return SignedIn{Cookie: cookie, Session: session}, ticket, err
}

// endSurplus keeps within MostPerPerson by signing the oldest out: somebody who
// signs in again and again must not fill memory and disk.
func (s *Service) endSurplus(ctx context.Context, opened Record) (ended bool, err error) {
	surplus, err := s.Upkeep.Surplus(ctx, opened.Person.ID, opened.ID, MostPerPerson-1)
	if err != nil {
		return false, err
	}
	for _, id := range surplus {
		if err := s.discard(ctx, id); err != nil {
			return false, err
		}
		e := act("sign-out", Record{ID: id, Person: opened.Person})
		e.Detail = map[string]string{"cause": "too many login sessions of one person"}
		if err := s.Audit.Record(ctx, e); err != nil {
			return false, err
		}
	}
	return len(surplus) > 0, nil
}

func staleHandle() error {
	return fault.Coded(fault.Unauthenticated, "login.handle", "this sign-in was completed before, or waited for too long").
		WithMend("begin again at the sign-in page")
}

// checkTicket binds the parked sign-in to the browser that began it, or that
// brought it: else a stranger could sign a victim's browser in as himself.
func (s *Service) checkTicket(t Ticket, cookie secret.Text, unsolicited bool) error {
	pin := pinned(bound(cookie))
	switch {
	case !s.Now().Before(t.Expires) || t.Unsolicited != unsolicited:
		return staleHandle()
	case cookie.IsZero() || subtle.ConstantTimeCompare(pin[:], t.PreLogin[:]) != 1:
		return otherBrowser()
	}
	return nil
}

func otherBrowser() error {
	return fault.Coded(fault.Unauthenticated, "login.browser", "this sign-in was begun in another browser, or in another tab since then").
		WithMend("begin again at the sign-in page and finish in the same browser; cookies must be allowed for this site")
}

// Resume gives the login session of a cookie. Errors: Unauthenticated,
// Unavailable while this server can't say whether it was ended elsewhere.
func (s *Service) Resume(ctx context.Context, cookie secret.Text) (LoginSession, error) {
	return s.resume(ctx, ByCookie, cookie)
}

// ResumeID gives the login session that a token of ours names, once that token
// was proven. Errors as for Resume.
func (s *Service) ResumeID(ctx context.Context, id identity.LoginSessionID) (LoginSession, error) {
	return s.recall(ctx, byID, sha256.Sum256([]byte(id)), func() (Record, error) { return s.Named.ByID(ctx, id) })
}

func (s *Service) resume(ctx context.Context, by By, presented secret.Text) (LoginSession, error) {
	if presented.IsZero() {
		return LoginSession{}, notSignedIn()
	}
	digest := presented.Digest()
	return s.recall(ctx, by, digest, func() (Record, error) { return s.Sessions.Find(ctx, by, digest) })
}

// recall gives a login session from memory, else as it is read.
//
// While the database is away one that is in doubt counts as it was: that it ended
// would be in the revocation feed, which is asked in any case and refuses all once
// it is too old. Only the end of one command line's token is not there, so those
// are refused then.
func (s *Service) recall(ctx context.Context, by By, digest [32]byte, read func() (Record, error)) (LoginSession, error) {
	doubted, fresh := s.memory.find(by, digest)
	if fresh {
		return s.present(doubted)
	}
	since := s.memory.generation()
	record, err := read()
	if isNotFound(err) {
		s.memory.forget(by, digest)
		return LoginSession{}, notSignedIn()
	}
	var in LoginSession
	if err == nil {
		in, err = s.load(ctx, by, digest, record, since)
	}
	if doubted != nil && by != ByCLI && fault.KindOf(err) == fault.Unavailable {
		return s.present(doubted)
	}
	return in, err
}

// load reads the roles of a login session and keeps it in memory, unless one
// ended since the memory was asked.
func (s *Service) load(ctx context.Context, by By, digest [32]byte, record Record, since uint64) (LoginSession, error) {
	outcomes, err := s.Broker.Kept(ctx, record.ID)
	if err != nil {
		return LoginSession{}, err
	}
	live := &live{Record: record, outcomes: outcomes}
	s.memory.keep(by, digest, live, since)
	return s.present(live)
}

// present gives the login session as it stands now.
func (s *Service) present(l *live) (LoginSession, error) {
	if err := s.holds(l); err != nil {
		return LoginSession{}, err
	}
	return LoginSession{ID: l.ID, Person: l.Person, IdPName: l.IdPName, Administrator: l.Administrator,
		Started: l.Started, Expires: l.Expires, AuthTime: l.authTime(), AuthnContext: l.Federated.AuthnContext,
		Roles: s.roles(l, s.Now()), Notes: l.Notes, live: l}, nil
}

// authTime is the identity provider's word, and never later than our own. Where it
// said nothing it may have asked nobody: the time is not known then, and a fresh
// sign-in has to be asked for. A set-up link is proof by itself.
func (r Record) authTime() time.Time {
	at := r.Federated.AuthnInstant
	if r.Person.ID == "" || at.After(r.Started) {
		return r.Started
	}
	return at
}

// holds is nil while a login session is neither over nor revoked.
func (s *Service) holds(l *live) error {
	if !s.Now().Before(l.Expires) {
		return notSignedIn()
	}
	for _, what := range []struct{ kind, id string }{
		{revocation.LoginSession, string(l.ID)}, {revocation.Person, string(l.Person.ID)},
	} {
		refused, err := s.Feed.Refused(what.kind, what.id, l.Epoch)
		if err != nil {
			return err
		}
		if refused {
			return notSignedIn()
		}
	}
	return nil
}

// SignOut ends a login session with its command lines, here and at every
// server, and revokes the role keys that rest on it. Keys that AWS handed out
// live to their end. No error when it has ended already.
func (s *Service) SignOut(ctx context.Context, id identity.LoginSessionID) error {
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := s.discard(ctx, id); err != nil {
			return err
		}
		return s.Audit.Record(ctx, Event{Action: "sign-out", LoginSession: id})
	})
	s.memory.end(id)
	return err
}

// discard ends a login session and all that rests on it.
func (s *Service) discard(ctx context.Context, id identity.LoginSessionID) error {
	if err := s.Sessions.End(ctx, id); err != nil {
		return err
	}
	if err := s.Broker.Forget(ctx, id); err != nil {
		return err
	}
	return s.Feed.RevokeLoginSession(ctx, id)
}
