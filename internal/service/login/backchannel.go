package login

import (
	"context"
	"net/netip"
	"slices"
	"strconv"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/protocol/openid"
	"carnet.dev/carnet/internal/service/federation"
)

// BackChannelLogout does what an OpenID provider asks, server to server: it ends
// the login sessions that a logout token names, and no others (OpenID Connect
// Back-Channel Logout 1.0, section 2.7). Nobody to sign out is no error. Faults
// name the check that failed; then nothing has ended by it.
func (s *Service) BackChannelLogout(ctx context.Context, token secret.Text, source netip.Addr) (ended int, err error) {
	read, err := oidc.Parse(token.Reveal())
	if err != nil {
		return 0, err
	}
	issuer := read.ClaimedIssuer()
	speakers, err := s.IdPs.ByIssuer(issuer)
	if err != nil {
		return 0, err
	}
	if len(speakers) == 0 {
		return 0, fault.Coded(fault.Unauthenticated, oidc.CheckIssuer, "the logout token is from "+quoted(issuer)+", which nobody entered here").
			WithMend("an administrator enters the OpenID provider, whose issuer has to be just that")
	}
	claims, err := s.verifyLogout(ctx, read, issuer, speakers)
	if err != nil {
		return 0, err
	}
	out, err := openid.ReadLogout(claims, s.Now())
	if err != nil {
		return 0, err
	}
	speakers = slices.DeleteFunc(speakers, func(sp *federation.Speaker) bool { return !slices.Contains(claims.Audiences, sp.IdP.OIDC.ClientID) })
	return s.endTold(ctx, speakers, issuer, out, source)
}

// verifyLogout proves a logout token that is for one of our clients.
func (s *Service) verifyLogout(ctx context.Context, read *oidc.Token, issuer string, speakers []*federation.Speaker) (c *oidc.Claims, err error) {
	want := oidc.Expect{Issuer: issuer, AnyAudience: true, Types: openid.LogoutTypes(), NoSubject: true, Skew: openid.Skew}
	for _, sp := range speakers {
		want.Audiences = append(want.Audiences, sp.IdP.OIDC.ClientID)
	}
	for _, anew := range []bool{false, true} {
		keys, err := s.KeySets.Keys(ctx, issuer, anew)
		if err != nil {
			return nil, err
		}
		leave, err := s.place(ctx)
		if err != nil {
			return nil, err
		}
		c, err = read.Verify(keys, want, s.Now())
		leave()
		if err == nil || anew || fault.Of(err).Code != oidc.CheckKey {
			return c, err
		}
	}
	return c, err
}

// endTold ends what a logout token names, in one transaction with its one use
// and its record.
func (s *Service) endTold(ctx context.Context, speakers []*federation.Speaker, issuer string, out openid.LoggedOut, source netip.Addr) (ended int, err error) {
	err = s.State.Atomic(ctx, func(ctx context.Context) error {
		ended = 0
		won, err := s.Once.Consume(ctx, "oidc-logout", issuer+"\x00"+out.ID, out.Until)
		if err != nil {
			return err
		}
		if !won {
			return fault.Coded(fault.Denied, "oidc.replayed", "this logout token was used before")
		}
		for _, sp := range speakers {
			n, err := s.endOf(ctx, sp.IdP.ID, out, source)
			if err != nil {
				return err
			}
			ended += n
			err = s.Audit.Record(ctx, Event{Action: "back-channel-logout", Outcome: event.Done, IdP: sp.IdP.ID, Source: source.String(),
				Target: clip(out.ID), Detail: map[string]string{"ended": strconv.Itoa(n)}})
			if err != nil {
				return err
			}
		}
		return nil
	})
	s.memory.clear()
	return ended, err
}

// endOf ends the login sessions of one identity provider that a logout token
// names: those of the sid, else all of the subject.
func (s *Service) endOf(ctx context.Context, idp identity.IdPID, out openid.LoggedOut, source netip.Addr) (ended int, err error) {
	var sessions []Record
	if out.SID != "" {
		sessions, err = s.Named.OfSession(ctx, idp, out.SID)
	} else {
		sessions, err = s.Named.OfSubject(ctx, idp, out.Subject)
	}
	if err != nil {
		return 0, err
	}
	for _, l := range sessions {
		if out.Subject != "" && l.Federated.NameID != out.Subject {
			continue
		}
		if err := s.endBy(ctx, l, source); err != nil {
			return 0, err
		}
		ended++
	}
	return ended, nil
}

// hintPurpose seals ID tokens, which a provider wants back at a logout.
const hintPurpose = "login-oidc-hint"

// maxHint bounds a kept ID token: it has to fit into the address of a page.
const maxHint = 4 << 10

// sealHint gives the stored form of an ID token; none for one that is too long.
func (s *Service) sealHint(id identity.LoginSessionID, token secret.Text) ([]byte, error) {
	if token.IsZero() || len(token.Reveal()) > maxHint {
		return nil, nil
	}
	return s.Sealer.Seal(hintPurpose, []byte(id), []byte(token.Reveal()))
}

// hint gives the ID token of a login session; zero where none is kept.
func (s *Service) hint(ctx context.Context, id identity.LoginSessionID) secret.Text {
	sealed, err := s.Named.Hint(ctx, id)
	if err != nil || len(sealed) == 0 {
		return secret.Text{}
	}
	plain, err := s.Sealer.Open(hintPurpose, []byte(id), sealed)
	if err != nil {
		return secret.Text{}
	}
	return secret.New(string(plain))
}

// farewellOIDC leads to where an OpenID provider ends its own login session
// (RP-Initiated Logout 1.0). What the page says afterwards travels as state.
func (s *Service) farewellOIDC(ctx context.Context, sp *federation.Speaker, hint secret.Text, what SignedOut) (Errand, error) {
	p, err := s.OpenID.Provider(ctx, sp.IdP.OIDC.Issuer)
	if err != nil {
		return Errand{}, err
	}
	what.There = ThereEnded
	said, err := s.Say(what)
	if err != nil {
		return Errand{}, err
	}
	to, err := openid.Logout{ClientID: sp.IdP.OIDC.ClientID, Hint: hint, Return: s.SignedOutURL, State: said}.URL(p)
	return Errand{RedirectURL: to}, err
}
