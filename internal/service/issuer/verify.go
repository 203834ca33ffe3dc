package issuer

import (
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// VerifyAccess proves an access token of ours: its type, issuer, audience and
// times. Whether it was revoked is the caller's to ask. Errors: faults
// Unauthenticated or Expired.
func (s *Service) VerifyAccess(token secret.Text) (*AccessToken, error) {
	parsed, err := oidc.Parse(token.Reveal())
	if err != nil {
		return nil, err
	}
	l, ours := s.LevelOf(parsed.ClaimedIssuer())
	if !ours {
		return nil, fault.Coded(fault.Unauthenticated, oidc.CheckIssuer, "the access token is not one of ours").WithMend("sign in again")
	}
	keys, _ := s.KeySet(s.URL(l))
	c, err := parsed.Verify(keys, oidc.Expect{
		Issuer: s.URL(l), Audiences: []string{s.APIAudience()}, Algorithms: Algorithms(), Types: []string{oidc.TypeAccessToken},
	}, s.Now())
	if err != nil {
		return nil, err
	}
	all := c.All()
	text := func(name string) string {
		v, _ := all[name].(string)
		return v
	}
	t := &AccessToken{
		Level: l, Subject: c.Subject, ClientID: text("client_id"), Scope: text("scope"), ACR: text("acr"), ID: c.ID,
		LoginSession: identity.LoginSessionID(text("sid")), Issued: c.IssuedAt, Expires: c.Expires, Lifetime: c.Expires.Sub(c.IssuedAt),
	}
	var known bool
	if t.Epoch, known = EpochOf(c); !known || t.ID == "" || t.ClientID == "" || c.Audiences[0] != s.APIAudience() || len(c.Audiences) != 1 {
		return nil, fault.Coded(fault.Unauthenticated, oidc.CheckClaims, "the access token lacks claims that ours have")
	}
	if at, there := number(all["auth_time"]); there {
		t.AuthTime = time.Unix(int64(at), 0).UTC()
	}
	return t, nil
}

// ProvenID is an ID token of ours that was proven.
type ProvenID struct {
	Subject      string
	LoginSession identity.LoginSessionID // empty: it names none
	Epoch        uint64
	ID           string
	Expires      time.Time
}

// VerifyID proves an ID token of ours that was made for one audience: its type, issuer,
// audience and times. Whether it was revoked is the caller's to ask. Errors: faults
// Unauthenticated or Expired.
func (s *Service) VerifyID(token secret.Text, audience string) (ProvenID, error) {
	parsed, err := oidc.Parse(token.Reveal())
	if err != nil {
		return ProvenID{}, err
	}
	l, ours := s.LevelOf(parsed.ClaimedIssuer())
	if !ours {
		return ProvenID{}, fault.Coded(fault.Unauthenticated, oidc.CheckIssuer, "the ID token is not one of ours")
	}
	keys, _ := s.KeySet(s.URL(l))
	c, err := parsed.Verify(keys, oidc.Expect{Issuer: s.URL(l), Audiences: []string{audience}, Algorithms: Algorithms()}, s.Now())
	if err != nil {
		return ProvenID{}, err
	}
	sid, _ := c.All()["sid"].(string)
	t := ProvenID{Subject: c.Subject, LoginSession: identity.LoginSessionID(sid), ID: c.ID, Expires: c.Expires}
	var known bool
	if t.Epoch, known = EpochOf(c); !known || t.ID == "" || len(c.Audiences) != 1 || c.Audiences[0] != audience {
		return ProvenID{}, fault.Coded(fault.Unauthenticated, oidc.CheckClaims, "the ID token lacks claims that ours have")
	}
	return t, nil
}

// EpochOf gives the revocation epoch at which a token of ours was made; false
// where it names none.
func EpochOf(c *oidc.Claims) (uint64, bool) { return number(c.All()[ClaimEpoch]) }

// number reads a whole number that is not negative. The verifier gives numbers
// as their text.
func number(v any) (uint64, bool) {
	n, ok := v.(interface{ String() string })
	if !ok {
		return 0, false
	}
	u, err := strconv.ParseUint(strings.TrimSpace(n.String()), 10, 63)
	return u, err == nil
}
