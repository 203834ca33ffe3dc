package oauth

import (
	"context"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// mostIssued bounds the access tokens that one grant has out at a time.
const mostIssued = 200

// verdict says what a refresh token is.
type verdict int

const (
	fresh  verdict = iota // it counts
	reused                // it was used before: somebody has a copy
)

// judge says what a refresh token is among those of its grant. One that was used
// counts again for a moment, while nothing that it gave was used itself: then the
// answer may have been lost. One that the grant doesn't know was used long ago.
func judge(tokens []Issued, digest [32]byte, now time.Time) (Issued, verdict) {
	for _, t := range tokens {
		if t.Refresh != digest || t.Refresh == [32]byte{} {
			continue
		}
		if t.Rotated.IsZero() {
			return t, fresh
		}
		if now.Sub(t.Rotated) > ReuseGrace {
			return t, reused
		}
		for _, child := range tokens {
			if child.Parent == t.AccessID && !child.Rotated.IsZero() {
				return t, reused
			}
		}
		return t, fresh
	}
	return Issued{}, reused
}

// refresh is the refresh token grant (RFC 6749 section 6), with rotation and the
// detection of reuse (RFC 9700 section 4.14).
func (s *Service) refresh(ctx context.Context, r TokenRequest) (TokenResponse, error) {
	if !r.Form.Has("refresh_token") {
		return TokenResponse{}, refuse(InvalidRequest, "the request has no refresh_token")
	}
	presented := secret.New(r.Form["refresh_token"])
	g, tokens, handle, err := s.grantOf(ctx, presented)
	if err != nil {
		return TokenResponse{}, err
	}
	if g.Client != r.Client.ID || g.Level != r.Level {
		return TokenResponse{}, staleRefresh()
	}
	if _, v := judge(tokens, presented.Digest(), s.Now()); v == reused {
		return TokenResponse{}, s.rotate(ctx, r, handle, presented, Issued{})
	}
	if len(tokens) >= mostIssued {
		return TokenResponse{}, fault.Coded(fault.Limited, "token.often", "this grant was refreshed too often within an hour").WithMend("keep the access token until it expires")
	}
	i, err := s.again(ctx, g, r)
	if err != nil {
		return TokenResponse{}, err
	}
	answer, next, err := s.mint(ctx, i, handle)
	if err != nil {
		return TokenResponse{}, err
	}
	next.Given = g.ID
	if err := s.rotate(ctx, r, handle, presented, next); err != nil {
		return TokenResponse{}, err
	}
	return answer, nil
}

// again works out what a grant gives now: never more than it gave, than the
// client may still have, or than was asked for this time.
func (s *Service) again(ctx context.Context, g Given, r TokenRequest) (issuance, error) {
	o, err := s.owner(ctx, g.LoginSession)
	if err != nil {
		return issuance{}, err
	}
	if o.Person != g.Person {
		return issuance{}, ended()
	}
	had := scopesOf(g.Scope)
	scope := slices.DeleteFunc(slices.Clone(had), func(name string) bool { return !slices.Contains(r.Client.Scopes, name) })
	if asked := r.Form["scope"]; asked != "" {
		narrow := Scopes{}
		for _, name := range strings.Fields(asked) {
			if !had.Has(name) {
				return issuance{}, refuse(InvalidScope, "the scope goes beyond what was approved")
			}
		}
		for _, name := range scope {
			if scopesOf(asked).Has(name) || name == ScopeOffline {
				narrow = append(narrow, name)
			}
		}
		scope = narrow
	}
	if !scope.Has(ScopeOffline) {
		return issuance{}, refuse(InvalidGrant, "the client may not refresh any more")
	}
	return issuance{Level: g.Level, Client: r.Client, Owner: o, Scope: scope}, nil
}

// rotate uses a refresh token up and stores what it gave, or ends its grant where
// it was used before; in one transaction, so that of two at once each is judged
// after the other.
func (s *Service) rotate(ctx context.Context, r TokenRequest, handle, presented secret.Text, next Issued) error {
	var refusal error
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		refusal = nil
		g, tokens, err := s.Grants.Grant(ctx, ByHandle, handle.Digest())
		if isNotFound(err) {
			refusal = staleRefresh()
			return nil
		}
		if err != nil {
			return err
		}
		now := s.Now().UTC()
		used, v := judge(tokens, presented.Digest(), now)
		if v == reused || next.AccessID == "" { // judged so before, whatever a clock that was set says now
			refusal = staleRefresh()
			return s.end(ctx, r, g, tokens, "refresh-token.reused")
		}
		next.Parent = used.AccessID
		if err := s.Grants.Rotate(ctx, used.AccessID, now, next); err != nil {
			return err
		}
		e := s.told("token.refresh", issuance{Client: r.Client, Owner: Owner{Person: g.Person, LoginSession: g.LoginSession}, Scope: scopesOf(g.Scope)}, g.ID)
		return s.Trail.Record(ctx, e)
	})
	if err == nil {
		err = refusal
	}
	return err
}

// grantOf finds the grant of a refresh token by its handle, which all refresh
// tokens of the grant have in common.
func (s *Service) grantOf(ctx context.Context, token secret.Text) (Given, []Issued, secret.Text, error) {
	rest, ok := strings.CutPrefix(token.Reveal(), refreshPrefix)
	handle, _, there := strings.Cut(rest, ".")
	if !ok || !there || len(rest) > maxSecret {
		return Given{}, nil, secret.Text{}, staleRefresh()
	}
	h := secret.New(handle)
	g, tokens, err := s.Grants.Grant(ctx, ByHandle, h.Digest())
	if isNotFound(err) {
		err = staleRefresh()
	}
	return g, tokens, h, err
}

func staleRefresh() *fault.Fault {
	return refuse(InvalidGrant, "the refresh token was used before, was revoked, has ended with its login session, or is another client's").
		WithMend("begin again with an authorization request")
}
