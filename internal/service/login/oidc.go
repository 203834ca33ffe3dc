package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/netip"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/protocol/openid"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/federation"
)

// OpenID speaks with OpenID providers.
type OpenID interface {
	// Provider gives what an issuer publishes about itself.
	Provider(ctx context.Context, issuer string) (*openid.Provider, error)
	// Redeem trades a code at the token endpoint.
	Redeem(ctx context.Context, p *openid.Provider, r openid.CodeRequest) (openid.Tokens, error)
	// UserInfo gives the claims of a subject that the ID token may lack.
	UserInfo(ctx context.Context, p *openid.Provider, access secret.Text, subject string) (openid.Claims, error)
}

// KeySets gives the keys that OpenID providers sign with. With unknown set the
// caller met a key id that is not in the last set.
type KeySets interface {
	Keys(ctx context.Context, issuer string, unknown bool) (*oidc.KeySet, error)
}

// The checks of a sign-in by OpenID Connect that come before those of the ID
// token, and behind them.
const (
	CheckAnswerIssuer = "oidc.answer-issuer" // the answer is of the provider that was asked
	CheckAnswer       = "oidc.answer"        // the provider reports no error
	CheckCode         = "oidc.code"          // the code was traded for an ID token
	CheckUserInfo     = "oidc.userinfo"      // userinfo tells of the same person
	CheckSubject      = "oidc.subject"       // the ID token names a person
)

// beginOIDC makes the authorization request. Its state is the sealed request of
// ours, with the seed of the PKCE verifier and of the nonce inside.
func (s *Service) beginOIDC(ctx context.Context, started *Started, ask request, sp *federation.Speaker) error {
	p, err := s.OpenID.Provider(ctx, sp.IdP.OIDC.Issuer)
	if err != nil {
		return err
	}
	var made seed
	rand.Read(made[:])
	state, err := s.sealState(ask, made)
	if err != nil {
		return err
	}
	o := sp.IdP.OIDC.WithDefaults()
	r := openid.Request{ClientID: o.ClientID, RedirectURI: s.OIDCURL, State: state, Nonce: made.nonce(), Verifier: made.verifier().Reveal(),
		Scopes: o.Scopes, ACRValues: o.ACRValues, MaxAge: o.MaxAge}
	if ask.Purpose == toSignInAnew {
		r.MaxAge = new(int)
	}
	started.RedirectURL, err = r.URL(p)
	return err
}

// seed is random; verifier and nonce are made of it, so that neither tells the
// other.
type seed [32]byte

func (d seed) verifier() secret.Text { return secret.New(d.made("verifier")) }
func (d seed) nonce() string         { return d.made("nonce") }

func (d seed) made(of string) string {
	sum := sha256.Sum256(append([]byte("carnet openid "+of+"\x00"), d[:]...))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

const statePurpose = "login-oidc-state"

// sealState gives the state parameter of an authorization request: no row is
// stored, and nobody else reads or makes one.
func (s *Service) sealState(r request, d seed) (string, error) {
	plain, err := r.plain()
	if err != nil {
		return "", err
	}
	box, err := s.Sealer.Seal(statePurpose, []byte(s.OIDCURL), append(plain, d[:]...))
	return base64.RawURLEncoding.EncodeToString(box), err
}

// openState gives the request that an answer is to, while it may still be
// answered.
func (s *Service) openState(state string, now time.Time) (r request, d seed, err error) {
	foreign := fault.Coded(fault.Unauthenticated, "oidc.state", "the answer is to another sign-in, not one that Carnet began").
		WithMend("begin again at the sign-in page")
	box, err := base64.RawURLEncoding.Strict().DecodeString(state)
	if err != nil {
		return request{}, seed{}, foreign.WithCause(err)
	}
	plain, err := s.Sealer.Open(statePurpose, []byte(s.OIDCURL), box)
	if err != nil || len(plain) != requestLength+len(d) {
		return request{}, seed{}, foreign.WithCause(err)
	}
	r, d = readRequest(plain), seed(plain[requestLength:])
	if r.late(now) {
		return r, d, fault.Coded(fault.Expired, "oidc.request-expired", "the sign-in took longer than 10 minutes").
			WithMend("begin again at the sign-in page")
	}
	return r, d, nil
}

// ConsumeCode takes the answer that an OpenID provider had a browser bring to our
// redirect URI: only the browser that began may bring it. The code is traded, the
// ID token held to what was asked for, and the rest is as for Consume.
func (s *Service) ConsumeCode(ctx context.Context, a openid.Answer, preLogin secret.Text, source netip.Addr) (_ Consumed, err error) {
	p := &posted{now: s.Now(), source: source}
	defer func() { s.refused(ctx, p, err) }()
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return Consumed{}, err
	}
	var made seed
	if p.began, made, err = s.openState(a.State, p.now); err != nil {
		return Consumed{}, err
	}
	if here := bound(preLogin); preLogin.IsZero() || subtle.ConstantTimeCompare(here[:], p.began.Browser[:]) != 1 {
		return Consumed{}, otherBrowser()
	}
	find := s.IdPs.Speaker
	if p.began.Purpose == toTest {
		find = s.IdPs.Trial
	}
	if p.sp, err = find(p.began.IdP); err != nil {
		return Consumed{}, err
	}
	if p.sp.IdP.Protocol != federation.OIDC {
		return Consumed{}, fault.Coded(fault.Unauthenticated, "oidc.state", "the answer is to a sign-in by another protocol")
	}
	said, err := s.identify(ctx, p, a, made)
	if p.began.Purpose == toTest {
		if err != nil {
			p.refusal = fault.Of(err)
		}
		return s.parkTest(ctx, p, s.reportOIDC(p, said))
	}
	if err != nil {
		return Consumed{}, err
	}
	who, err := said.subject(p.sp)
	if err != nil {
		return Consumed{}, err
	}
	record := Record{Person: who.person(), Administrator: p.sp.MakesAdministrator(p.sp.GroupsIn(said.claims)),
		Expires: p.now.Add(s.Lifetime).UTC().Truncate(time.Second), Epoch: epoch, Federated: said.federated()}
	p.token = said.token
	return s.settle(ctx, p, who, record, broker.Request{
		Entitlements: entitlement.OfOIDC(said.claims, p.sp, s.Accounts, who.UserName), IssueInstant: said.id.IssuedAt}, "")
}

// identified is what an OpenID provider said of a person, proven.
type identified struct {
	id     *oidc.Claims  // of the ID token alone
	claims openid.Claims // with those of userinfo
	token  secret.Text
}

// identify trades the code and proves the ID token. What was checked goes into p,
// for a test sign-in.
func (s *Service) identify(ctx context.Context, p *posted, a openid.Answer, made seed) (said identified, err error) {
	o := p.sp.IdP.OIDC.WithDefaults()
	provider, err := s.OpenID.Provider(ctx, o.Issuer)
	if err != nil {
		return said, err
	}
	if err := p.checked(CheckAnswerIssuer, a.Issuer, ofProvider(a, provider)); err != nil {
		return said, err
	}
	if err := p.checked(CheckAnswer, "", refusedThere(a, p.sp)); err != nil {
		return said, err
	}
	tokens, err := s.OpenID.Redeem(ctx, provider, openid.CodeRequest{ClientID: o.ClientID, ClientSecret: o.ClientSecret,
		InBody: o.ClientAuth == federation.ClientAuthPost, Code: a.Code, Verifier: made.verifier(), RedirectURI: s.OIDCURL})
	if err := p.checked(CheckCode, "", err); err != nil {
		return said, err
	}
	want := openid.Expect{Issuer: o.Issuer, ClientID: o.ClientID, Nonce: made.nonce(), Access: tokens.Access, ACRValues: o.ACRValues}
	if age, ok := o.MaxAgeTime(); ok {
		want.Since = p.began.Began.Add(-age)
	}
	if p.began.Purpose == toSignInAnew {
		want.Since = p.began.Began
	}
	id, checks, err := s.verifyID(ctx, tokens.ID, want, p.now)
	for _, c := range checks {
		p.checks = append(p.checks, Check(c))
	}
	if err != nil {
		return said, err
	}
	said = identified{id: id, claims: id.All(), token: tokens.ID}
	used := sha256.Sum256(made[:]) // the state's text has more than one form
	p.proof = proof{kind: "oidc-state", id: string(used[:]), name: said.name(), until: p.began.Began.Add(PreLoginLifetime + openid.Skew)}
	if said.claims, err = s.more(ctx, p, provider, tokens.Access, said); err != nil {
		return said, err
	}
	return said, nil
}

// checked adds one of our own checks to those of a test sign-in.
func (p *posted) checked(code, found string, err error) error {
	c := Check{Code: code, OK: err == nil, Detail: found}
	if err != nil {
		c.Detail = fault.Of(err).Public
	}
	p.checks = append(p.checks, c)
	return err
}

// ofProvider holds iss of the answer to the provider that was asked (RFC 9207):
// else an answer of one could be taken for another's, and its code be sent there.
func ofProvider(a openid.Answer, p *openid.Provider) error {
	switch {
	case a.Issuer == "" && !p.IssInAnswer, a.Issuer == p.Issuer:
		return nil
	case a.Issuer == "":
		return fault.Coded(fault.Unauthenticated, CheckAnswerIssuer, "the answer does not say which identity provider it is from (iss), though this one always does").
			WithMend("begin again at the sign-in page")
	}
	return fault.Coded(fault.Unauthenticated, CheckAnswerIssuer, "the answer is from another identity provider than the one that was asked (iss "+quoted(a.Issuer)+")").
		WithMend("begin again at the sign-in page")
}

// refusedThere tells in plain words why the provider signed nobody in (RFC 6749,
// section 4.1.2.1; OpenID Connect Core 1.0, section 3.1.2.6).
func refusedThere(a openid.Answer, sp *federation.Speaker) error {
	if a.Error == "" {
		return nil
	}
	why, mend := "did not sign you in", "begin again at the sign-in page; if it fails again, tell an administrator what it says here"
	kind := fault.Denied
	switch a.Error {
	case "access_denied":
		why, mend = "refused the sign-in, or it was cancelled there", "begin again at the sign-in page; if you should be let in, ask whoever administers the identity provider"
	case "temporarily_unavailable", "server_error":
		why, mend, kind = "can't sign anybody in at this moment", "try again in a moment", fault.Unavailable
	case "invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope":
		why, mend, kind = "does not take our request", "an administrator has to look at client, redirect address and scopes, here and at the identity provider", fault.Misconfigured
	case "unmet_authentication_requirements":
		why = "can't sign you in by the way that is asked for (acr)"
	}
	said := "identity provider " + sp.IdP.Name + " " + why + ": " + openid.Say(a.Error)
	if d := openid.Say(a.Description); d != "" {
		said += " (" + d + ")"
	}
	return fault.Coded(kind, CheckAnswer, said).WithMend(mend)
}

// verifyID proves an ID token; where the provider has changed its keys they are
// looked at anew, once.
func (s *Service) verifyID(ctx context.Context, token secret.Text, want openid.Expect, now time.Time) (c *oidc.Claims, checks []openid.Check, err error) {
	for _, anew := range []bool{false, true} {
		keys, err := s.KeySets.Keys(ctx, want.Issuer, anew)
		if err != nil {
			return nil, nil, err
		}
		leave, err := s.place(ctx)
		if err != nil {
			return nil, nil, err
		}
		c, checks, err = openid.VerifyID(token, keys, want, now)
		leave()
		if err == nil || anew || fault.Of(err).Code != oidc.CheckKey {
			return c, checks, err
		}
	}
	return c, checks, err
}

// more asks the userinfo endpoint where the ID token lacks what a sign-in needs.
func (s *Service) more(ctx context.Context, p *posted, provider *openid.Provider, access secret.Text, said identified) (openid.Claims, error) {
	lacks := slices.ContainsFunc(p.sp.Wants(), func(claim string) bool { return said.claims.Value(claim) == nil })
	if !lacks || access.IsZero() || provider.UserInfo == "" {
		return said.claims, nil
	}
	more, err := s.OpenID.UserInfo(ctx, provider, access, said.id.Subject)
	if err := p.checked(CheckUserInfo, "asked, since the ID token lacks a claim", err); err != nil {
		return said.claims, err
	}
	return said.claims.With(more), nil
}

// name is what the trail calls the ID token.
func (i identified) name() string {
	if i.id.ID != "" {
		return i.id.ID
	}
	return i.claims.Text("sid")
}

// subject reads who signed in, and holds the user name against the identity
// provider's list.
func (i identified) subject(sp *federation.Speaker) (Subject, error) {
	if !presentable(i.id.Subject, 255) {
		return Subject{}, fault.Coded(fault.Misconfigured, CheckSubject, "the subject (sub) of the ID token is not printable text")
	}
	name, err := sp.UserNameIn(i.claims)
	if err == nil {
		err = listed(name, sp)
	}
	if err != nil {
		return Subject{}, err
	}
	return Subject{IdP: sp.IdP.ID, NameID: i.id.Subject, UserName: name, DisplayName: sp.DisplayNameIn(i.claims), Mail: sp.MailIn(i.claims)}, nil
}

// federated is what logout will speak of.
func (i identified) federated() Federated {
	f := Federated{NameID: i.id.Subject, SessionIndex: i.sid(), AuthnContext: clip(i.claims.Text("acr"))}
	if at, ok := oidc.Whole(i.id.All()["auth_time"]); ok {
		f.AuthnInstant = time.Unix(int64(at), 0).UTC()
	}
	return f
}

// sid is the provider's name of its own login session; empty where it has none.
func (i identified) sid() string {
	if sid := openid.Claims(i.id.All()).Text("sid"); len(sid) <= openid.MaxSID {
		return sid
	}
	return ""
}
