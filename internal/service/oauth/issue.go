package oauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
)

// mostGrants bounds what clients hold of one login session: one more ends the
// oldest.
const mostGrants = 100

// issuance is what a client is to be given for a person.
type issuance struct {
	Level  issuer.Level
	Client Client
	Owner  Owner
	Scope  Scopes
	Nonce  string
	Code   [32]byte // digest of the code that it is for; zero: none
}

// issue gives a client its first tokens for a person: by a code, or by what the
// grant's own use proves, in the one transaction that stores them. use may
// refuse; what it did then stands, and nothing is issued.
func (s *Service) issue(ctx context.Context, i issuance, use func(context.Context) (refusal, err error)) (TokenResponse, error) {
	now := s.Now().UTC()
	g := Given{ID: rand.Text(), Code: i.Code, Level: i.Level, Client: i.Client.ID,
		LoginSession: i.Owner.LoginSession, Person: i.Owner.Person, Scope: i.Scope.String(), Created: now, Ends: i.Owner.Ends}
	handle := secret.Random(16)
	g.Handle = handle.Digest()
	answer, first, err := s.mint(ctx, i, handle)
	if err != nil {
		return TokenResponse{}, err
	}
	first.Given = g.ID
	e := s.told("token.issue", i, g.ID)
	var refusal error
	err = s.State.Atomic(ctx, func(ctx context.Context) (err error) {
		if refusal, err = use(ctx); err != nil || refusal != nil {
			return err
		}
		if err := s.Grants.PutGrant(ctx, g, first, mostGrants); err != nil {
			return err
		}
		return s.Trail.Record(ctx, e)
	})
	switch {
	case isNotFound(err):
		return TokenResponse{}, ended()
	case err != nil:
		return TokenResponse{}, err
	case refusal != nil:
		return TokenResponse{}, refusal
	}
	return answer, nil
}

// told is the record of something that a client got.
func (s *Service) told(action string, i issuance, grant string) event.Event {
	return event.Event{Action: action, Outcome: event.Done, Person: i.Owner.Person, UserName: i.Owner.UserName, LoginSession: i.Owner.LoginSession,
		Target: i.Client.ID, Detail: map[string]string{"client": i.Client.Name, "grant": grant, "scope": i.Scope.String()}}
}

// mint signs what an issuance asks for. Nothing is stored, so nothing counts
// before the caller has stored what it gives.
func (s *Service) mint(ctx context.Context, i issuance, handle secret.Text) (TokenResponse, Issued, error) {
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return TokenResponse{}, Issued{}, err
	}
	life := min(AccessLifetime, i.Owner.Ends.Sub(s.Now()))
	if life < time.Second {
		return TokenResponse{}, Issued{}, ended()
	}
	access, err := s.Issuer.MintAccess(issuer.AccessToken{Level: i.Level, Subject: i.Owner.Subject(), ClientID: i.Client.ID, Scope: i.Scope.String(),
		LoginSession: i.Owner.LoginSession, Epoch: epoch, AuthTime: i.Owner.AuthTime, ACR: i.Owner.ACR, Lifetime: life})
	if err != nil {
		return TokenResponse{}, Issued{}, err
	}
	out := TokenResponse{AccessToken: access.Token, TokenType: "Bearer", Scope: i.Scope.String(), ExpiresIn: access.Expires.Sub(access.Issued)}
	row := Issued{AccessID: access.ID, Issued: s.Now().UTC(), Ends: access.Expires}
	if i.Scope.Has(ScopeOffline) {
		out.RefreshToken = secret.New(refreshPrefix + handle.Reveal() + "." + secret.Random(32).Reveal())
		row.Refresh = out.RefreshToken.Digest()
	}
	if !i.Scope.Has(ScopeOpenID) {
		return out, row, nil
	}
	profile, err := s.profile(ctx, i.Owner, i.Scope)
	if err != nil {
		return TokenResponse{}, Issued{}, err
	}
	id, err := s.Issuer.MintID(issuer.IDToken{Level: i.Level, Subject: i.Owner.Subject(), Audience: i.Client.ID, Client: true, AuthorizedParty: i.Client.ID,
		LoginSession: i.Owner.LoginSession, Epoch: epoch, AuthTime: i.Owner.AuthTime, ACR: i.Owner.ACR, Nonce: i.Nonce,
		AccessTokenHash: halfHash(access.Token), Profile: profile, Algorithm: i.Client.IDTokenAlg, Lifetime: life})
	out.IDToken = id.Token
	return out, row, err
}

// halfHash is at_hash (OpenID Connect Core section 3.1.3.6), for RS256 and ES256.
func halfHash(token secret.Text) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// profile gives the claims that scopes open (OpenID Connect Core section 5.4).
func (s *Service) profile(ctx context.Context, o Owner, scope Scopes) (map[string]string, error) {
	claims := map[string]string{}
	if scope.Has(ScopeProfile) {
		claims["name"], claims["preferred_username"] = o.DisplayName, o.UserName
	}
	if scope.Has(ScopeEmail) {
		p, err := s.People.Person(ctx, o.Person)
		if err != nil {
			return nil, err
		}
		claims["email"] = p.Mail
	}
	return claims, nil
}

// owner gives the person of a login session that stands.
func (s *Service) owner(ctx context.Context, id identity.LoginSessionID) (Owner, error) {
	session, err := s.Logins.ResumeID(ctx, id)
	if err != nil {
		if k := fault.KindOf(err); k == fault.Unauthenticated || k == fault.Expired || k == fault.Revoked {
			return Owner{}, ended().WithCause(err)
		}
		return Owner{}, err
	}
	return ownerOf(session)
}

// ownerOf gives the person of a login session. The bearer of a set-up link is
// nobody, so nothing is issued in their name.
func ownerOf(l login.LoginSession) (Owner, error) {
	if l.Person.ID == "" {
		return Owner{}, refuse(AccessDenied, "a login session by a set-up link is nobody's: programs get nothing in its name").
			WithMend("sign in at an identity provider")
	}
	return Owner{Person: l.Person.ID, LoginSession: l.ID, UserName: l.Person.UserName, DisplayName: l.Person.DisplayName,
		AuthTime: l.AuthTime, Ends: l.Expires, ACR: l.AuthnContext}, nil
}

func ended() *fault.Fault {
	return refuse(InvalidGrant, "the login session that this rests on has ended").WithMend("sign in again")
}
