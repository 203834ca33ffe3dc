package oauth

import (
	"context"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/oidc"
)

const (
	// assertionLifetime is how far ahead the end of a client's assertion may lie.
	assertionLifetime = 5 * time.Minute
	assertionSkew     = 30 * time.Second
	maxAssertion      = 8 << 10
	// onceAssertion keeps the one-use ids of assertions apart from others.
	onceAssertion = "client-assertion"
	usedEvery     = time.Hour
)

// Authenticate proves a client: a registered one, or a service principal by
// itself. endpoint is the address that was asked, for the audience of an
// assertion. Whatever is wrong with the proof is one refusal, invalid_client: a
// stranger learns nothing of who exists.
func (s *Service) Authenticate(ctx context.Context, p Presented, endpoint string) (Client, error) {
	switch p.Method {
	case MethodNone:
		if c, ok := byToken(p); ok {
			return c, nil
		}
		c, ok := s.live(p.ID)
		if !ok || !c.Public {
			return Client{}, unproven("no such public client is enabled")
		}
		return c, nil
	case MethodBasic, MethodPost:
		return s.bySecret(ctx, p)
	case MethodPrivateKey:
		return s.byAssertion(ctx, p, endpoint)
	}
	return Client{}, refuse(InvalidRequest, "the request says in no known way which client it is of")
}

// byToken is who proves themselves by the token that they exchange, and not as a
// client: a service principal, or nobody that is named. All such a client may do
// is present that token; ServicePrincipal stays empty, since nothing is proven.
func byToken(p Presented) (Client, bool) {
	if p.Grant != GrantExchange && p.Grant != GrantJWT || p.ID != "" && !strings.HasPrefix(p.ID, "spn_") {
		return Client{}, false
	}
	return Client{ID: p.ID, Name: "a workload", Public: true, Grants: []string{GrantExchange, GrantJWT}, Scopes: []string{ScopeAPI}, Enabled: true}, true
}

func unproven(cause string) *fault.Fault {
	return refuse(InvalidClient, "the client is unknown or switched off, or its proof does not hold").
		WithMend("check client_id, and the secret or key; an administrator lists clients with: carnet client list").
		WithCause(fault.New(fault.Unauthenticated, cause))
}

// bySecret finds the secret by its digest: it has 256 random bits.
func (s *Service) bySecret(ctx context.Context, p Presented) (Client, error) {
	if len(p.Secret.Reveal()) > maxSecret || p.Secret.IsZero() {
		return Client{}, unproven("no secret of ours")
	}
	digest, now := p.Secret.Digest(), s.Now()
	for _, k := range s.known.Load().creds[p.ID] {
		if k.Kind == SecretCredential && k.Digest == digest {
			if !k.counts(now) {
				return Client{}, unproven("the secret " + string(k.ID) + " has expired")
			}
			return s.withCredential(ctx, p.ID, k)
		}
	}
	return Client{}, unproven("no secret of client " + quoted(p.ID) + " is the one that was presented")
}

func (k Kept) counts(now time.Time) bool { return k.Expires.IsZero() || now.Before(k.Expires) }

// byAssertion is private_key_jwt (RFC 7523 section 3, OpenID Connect Core section
// 9): a JWT of the client about itself, for us alone, for a moment, once.
func (s *Service) byAssertion(ctx context.Context, p Presented, endpoint string) (Client, error) {
	if len(p.Assertion) > maxAssertion {
		return Client{}, unproven("the assertion is too long")
	}
	t, err := oidc.Parse(p.Assertion)
	if err != nil {
		return Client{}, unproven("the assertion can't be read").WithCause(err)
	}
	id := t.ClaimedIssuer() // unproven: it says whose keys to ask
	if p.ID != "" && p.ID != id {
		return Client{}, unproven("client_id and the assertion's iss are two")
	}
	audiences := []string{s.Issuer.URL(p.Level), s.TokenEndpoint(p.Level), endpoint}
	leave, err := s.place(ctx)
	if err != nil {
		return Client{}, err
	}
	k, claims, err := s.keyOf(t, id, audiences)
	leave()
	if err != nil {
		return Client{}, err
	}
	if err := s.holdAssertion(ctx, id, claims, audiences); err != nil {
		return Client{}, err
	}
	return s.withCredential(ctx, id, k)
}

// place waits a moment for one of the places for signature work: strangers make us
// do it.
func (s *Service) place(ctx context.Context) (leave func(), err error) {
	wait, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	select {
	case s.proving <- struct{}{}:
		return func() { <-s.proving }, nil
	case <-wait.Done():
		return nil, fault.Coded(fault.Limited, "client.busy", "too many clients prove themselves by a key at this moment").WithMend("try again in a few seconds")
	}
}

// keyOf proves the assertion by one of the client's keys.
func (s *Service) keyOf(t *oidc.Token, id string, audiences []string) (known, *oidc.Claims, error) {
	var last error
	for _, k := range s.known.Load().creds[id] {
		if k.keys == nil || !k.counts(s.Now()) {
			continue
		}
		claims, err := t.Verify(k.keys, oidc.Expect{Issuer: id, Audiences: audiences, Algorithms: assertionAlgorithms(),
			Types: []string{"jwt", "client-authentication+jwt"}, Skew: assertionSkew}, s.Now())
		if err == nil {
			return k, claims, nil
		}
		last = err
	}
	if last == nil {
		return known{}, nil, unproven("client " + quoted(id) + " has no key")
	}
	return known{}, nil, unproven("no key proves the assertion").WithCause(last)
}

func assertionAlgorithms() []string { return []string{oidc.RS256, oidc.ES256} }

// holdAssertion holds a proven assertion to one subject, one audience, a short
// life and one use.
func (s *Service) holdAssertion(ctx context.Context, id string, c *oidc.Claims, audiences []string) error {
	foreign := slices.ContainsFunc(c.Audiences, func(a string) bool { return !slices.Contains(audiences, a) })
	switch {
	case c.Subject != id:
		return unproven("the assertion's iss and sub are two")
	case foreign:
		return unproven("the assertion is for somebody else too")
	case c.ID == "" || len(c.ID) > maxSecret:
		return unproven("the assertion has no jti")
	case c.Expires.After(s.Now().Add(assertionLifetime + assertionSkew)):
		return unproven("the assertion lives longer than five minutes")
	}
	won, err := s.Once.Consume(ctx, onceAssertion, id+"\x00"+c.ID, c.Expires.Add(assertionSkew))
	if err == nil && !won {
		err = unproven("the assertion was used before")
	}
	return err
}

// withCredential gives the client of a proven credential, and notes its use.
func (s *Service) withCredential(ctx context.Context, id string, k known) (Client, error) {
	c, err := s.clientOf(ctx, id)
	if err != nil {
		return Client{}, err
	}
	s.noteUse(ctx, k)
	return c, nil
}

// clientOf gives a confidential client that is enabled, or a service principal as
// the client that it is by itself.
func (s *Service) clientOf(ctx context.Context, id string) (Client, error) {
	if !strings.HasPrefix(id, "spn_") {
		c, ok := s.live(id)
		if !ok || c.Public {
			return Client{}, unproven("the client is switched off, or has no proof")
		}
		return c, nil
	}
	p, err := s.Principals.ServicePrincipal(ctx, identity.ServicePrincipalID(id))
	switch {
	case isNotFound(err):
		return Client{}, unproven("there is no such service principal")
	case err != nil:
		return Client{}, err
	case !p.Active:
		return Client{}, unproven("the service principal is switched off")
	}
	return Client{ID: id, Name: p.Name, ServicePrincipal: p.ID, Grants: []string{GrantClient, GrantExchange, GrantJWT}, Scopes: []string{ScopeAPI},
		Enabled: true, Created: p.Created}, nil
}

// noteUse notes the use of a credential, at most once in an hour. That it fails
// is no reason to refuse.
func (s *Service) noteUse(ctx context.Context, k known) {
	now := s.Now().UTC()
	if now.Sub(k.LastUsed) < usedEvery {
		return
	}
	if last, ok := s.used.Load(k.ID); ok && now.Sub(last.(time.Time)) < usedEvery {
		return
	}
	s.used.Store(k.ID, now)
	if err := s.Credentials.Used(ctx, k.ID, now); err != nil {
		s.Logger.Warn("the use of a credential could not be noted", "credential", k.ID, "error", err)
	}
}
