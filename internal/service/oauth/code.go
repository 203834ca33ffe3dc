package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/revocation"
)

// maxSecret bounds codes, tokens and secrets that are looked at.
const maxSecret = 256

// redeem is the authorization code grant (RFC 6749 section 4.1.3). A code is used
// up whatever comes of it; one that comes twice ends what it gave.
func (s *Service) redeem(ctx context.Context, r TokenRequest) (TokenResponse, error) {
	for _, name := range []string{"code", "redirect_uri", "code_verifier"} {
		if !r.Form.Has(name) {
			return TokenResponse{}, refuse(InvalidRequest, "the request has no "+name)
		}
	}
	text := r.Form["code"]
	if len(text) > maxSecret {
		return TokenResponse{}, staleCode()
	}
	digest := secret.New(text).Digest()
	c, err := s.Codes.Code(ctx, digest)
	if isNotFound(err) {
		return TokenResponse{}, s.replayed(ctx, r, digest)
	}
	if err != nil {
		return TokenResponse{}, err
	}
	i, err := s.isFor(ctx, c, r)
	if err != nil {
		return TokenResponse{}, s.burn(ctx, digest, err)
	}
	return s.issue(ctx, i, func(ctx context.Context) (refusal, err error) {
		won, err := s.Codes.ClaimCode(ctx, digest)
		if err == nil && !won { // somebody was faster, this very moment
			return staleCode(), s.endReplayed(ctx, r, digest)
		}
		return nil, err
	})
}

// isFor holds a code to who redeems it, and how.
func (s *Service) isFor(ctx context.Context, c Code, r TokenRequest) (issuance, error) {
	switch {
	case c.Client != r.Client.ID || c.Level != r.Level || c.RedirectURI != r.Form["redirect_uri"]:
		return issuance{}, staleCode()
	case !s.Now().Before(c.Expires) || !proves(r.Form["code_verifier"], c.Challenge):
		return issuance{}, staleCode()
	}
	o, err := s.owner(ctx, c.LoginSession)
	return issuance{Level: c.Level, Client: r.Client, Owner: o, Scope: scopesOf(c.Scope), Nonce: c.Nonce, Code: c.Digest}, err
}

// burn uses a code up for nothing.
func (s *Service) burn(ctx context.Context, digest [32]byte, refusal error) error {
	if k := fault.KindOf(refusal); k == fault.Unavailable || k == fault.Internal {
		return refusal // our own failure: the code still counts
	}
	if _, err := s.Codes.ClaimCode(ctx, digest); err != nil {
		return err
	}
	return refusal
}

// replayed answers a code that is not there: where it was redeemed before, all
// that came of it ends (RFC 6749 section 4.1.2).
func (s *Service) replayed(ctx context.Context, r TokenRequest, digest [32]byte) error {
	err := s.State.Atomic(ctx, func(ctx context.Context) error { return s.endReplayed(ctx, r, digest) })
	if err != nil {
		return err
	}
	return staleCode()
}

func (s *Service) endReplayed(ctx context.Context, r TokenRequest, digest [32]byte) error {
	g, tokens, err := s.Grants.Grant(ctx, ByCode, digest)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.end(ctx, r, g, tokens, "code.replayed")
}

// end takes back all that an approval gave: access tokens at once, refresh tokens
// with their rows. In the transaction that ctx carries, with its record.
func (s *Service) end(ctx context.Context, r TokenRequest, g Given, tokens []Issued, why string) error {
	for _, t := range tokens {
		if !s.Now().Before(t.Ends) {
			continue
		}
		if _, err := s.Feed.Revoke(ctx, revocation.AccessToken, t.AccessID); err != nil {
			return err
		}
	}
	if err := s.Grants.RemoveGrant(ctx, g.ID); err != nil {
		return err
	}
	e := event.Event{Action: "token.revoke", Outcome: event.Done, Code: why, Person: g.Person, LoginSession: g.LoginSession, Target: g.Client,
		Detail: map[string]string{"grant": g.ID, "by": r.Client.ID}}
	if r.Source.IsValid() {
		e.Source = r.Source.String()
	}
	return s.Trail.Record(ctx, e)
}

func staleCode() *fault.Fault {
	return refuse(InvalidGrant, "the code was used before, is older than a minute, or was made for another request").
		WithMend("begin again with an authorization request")
}

// proves holds a verifier against its challenge (RFC 7636 section 4.6).
func proves(verifier, challenge string) bool {
	if len(verifier) < 43 || len(verifier) > 128 {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}
