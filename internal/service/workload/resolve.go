package workload

import (
	"context"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/issuer"
)

// Skew is the clock difference allowed to another issuer where a token is young.
// Where it ends there is none.
const Skew = time.Minute

// Foreign is a token of another issuer, as it was presented.
type Foreign struct {
	Token secret.Text
	// ServicePrincipal is who the caller says it is: only its policies are asked
	// then. Empty: whoever the policies prove, if that is exactly one.
	ServicePrincipal identity.ServicePrincipalID
}

// Proven is whom a foreign token proves.
type Proven struct {
	Principal
	Policy FederationPolicy
	Claims *oidc.Claims
}

// Detail says for the trail what the proof was.
func (p Proven) Detail() map[string]string {
	d := map[string]string{"policy": string(p.Policy.ID), "foreign_issuer": p.Claims.Issuer, "foreign_subject": p.Claims.Subject}
	if p.Claims.ID != "" {
		d["foreign_token"] = p.Claims.ID
	}
	return d
}

// Resolve says whom a foreign token proves. Faults: CodeGrant (Denied), whose text
// is fit for the caller: which policy nearly took the token, and why it did not,
// goes to the log; Unavailable where the keys can't be had.
func (s *Service) Resolve(ctx context.Context, f Foreign) (Proven, error) {
	j, err := s.judge(ctx, f)
	if err != nil {
		return Proven{}, err
	}
	var found []Verdict
	for _, v := range j.verdicts {
		if v.Refusal == nil {
			found = append(found, v)
		}
	}
	switch who := principals(found); {
	case len(who) == 1:
		if err := s.provenStanding(ctx, who[0], found[0]); err != nil {
			return Proven{}, err
		}
		return Proven{Principal: who[0], Policy: found[0].Policy, Claims: found[0].claims}, nil
	case len(who) > 1:
		s.tell(ctx, j, "several principals", nil)
		return Proven{}, refused("the token proves several principals here").
			WithMend("name the service principal that is meant as client_id")
	}
	nearest := j.nearest()
	s.tell(ctx, j, "no policy takes it", nearest)
	return Proven{}, j.public(nearest)
}

// principals gives the different ones that verdicts prove.
func principals(found []Verdict) (who []Principal) {
	for _, v := range found {
		if !slices.Contains(who, v.principal) {
			who = append(who, v.principal)
		}
	}
	return who
}

// provenStanding asks whether whom a token proves may still act, and records a
// refusal: it is one of a caller who was proven.
func (s *Service) provenStanding(ctx context.Context, p Principal, v Verdict) error {
	err := s.standing(ctx, p)
	if err == nil || fault.KindOf(err) == fault.Unavailable || fault.KindOf(err) == fault.Internal {
		return err
	}
	return s.denied(ctx, p, err, Proven{Principal: p, Policy: v.Policy, Claims: v.claims}.Detail())
}

// tell writes to the log what the caller is not told.
func (s *Service) tell(ctx context.Context, j *judgement, why string, nearest *Verdict) {
	args := []any{"why", why, "issuer", clip(j.token.ClaimedIssuer()), "policies", len(j.verdicts), "request", identity.RequestIDFrom(ctx)}
	if nearest != nil {
		args = append(args, "nearest", nearest.Policy.ID, "refusal", nearest.Refusal.Error())
	}
	s.Logger.WarnContext(ctx, "a token of another issuer was refused", args...)
}

// Verdict is what one policy says of a token.
type Verdict struct {
	Policy FederationPolicy
	// Refusal says why the policy does not take it, in words for an
	// administrator; nil: it does.
	Refusal *fault.Fault

	claims    *oidc.Claims
	principal Principal
	stage     stage
}

// Principal is whom the token proves by this policy; the zero value where Refusal
// is set.
func (v Verdict) Principal() Principal { return v.principal }

// stage is how far a token came with a policy. Below audience nothing of it is
// proven.
type stage int

const (
	stageKeys stage = iota
	stageSignature
	stageAudience
	stageSubject
	stagePerson
)

// judgement is what all policies say of one token.
type judgement struct {
	token    *oidc.Token
	verdicts []Verdict
}

// nearest gives the verdict that came furthest; nil where no policy has the issuer.
func (j *judgement) nearest() *Verdict {
	var best *Verdict
	for i := range j.verdicts {
		if v := &j.verdicts[i]; v.Refusal != nil && (best == nil || v.stage > best.stage) {
			best = v
		}
	}
	return best
}

// public says to the caller what it may know: of its own token whatever is wrong
// with it, of our policies nothing.
func (j *judgement) public(nearest *Verdict) error {
	const mend = "an administrator sees why in the server's log, or with: carnet federation-policy check --token-file FILE"
	if nearest == nil {
		return refused(fmt.Sprintf("no federation policy takes tokens of the issuer %q for this principal", clip(j.token.ClaimedIssuer()))).WithMend(mend)
	}
	switch nearest.stage {
	case stageKeys:
		if nearest.Refusal.Kind == fault.Unavailable {
			return fault.Coded(fault.Unavailable, "temporarily_unavailable", "the keys of the token's issuer can't be had at the moment").
				WithCause(nearest.Refusal).WithMend("try again; " + mend)
		}
		return refused("the token could not be verified: the keys of its issuer are of no use").WithCause(nearest.Refusal).WithMend(mend)
	case stageSignature:
		return refused("the token does not hold: " + nearest.Refusal.Public).WithCause(nearest.Refusal).WithMend(mend)
	case stageAudience:
		return refused(fmt.Sprintf("the token holds, but no federation policy takes its audience %q", nearest.claims.Audiences)).WithMend(mend)
	case stageSubject:
		return refused(fmt.Sprintf("the token holds, but no federation policy takes its subject %q", clip(nearest.claims.Subject))).WithMend(mend)
	}
	return refused("the token holds, but the person whom it names is not known here").WithMend(mend)
}

// Check says of every policy of the token's issuer whether it takes the token,
// and why not. The fault says that it is no token, or that no policy has its
// issuer.
func (s *Service) Check(ctx context.Context, f Foreign) ([]Verdict, error) {
	j, err := s.judge(ctx, f)
	if err != nil {
		return nil, err
	}
	if len(j.verdicts) == 0 {
		return nil, fault.New(fault.NotFound, fmt.Sprintf("no federation policy has the issuer %q, letter for letter", clip(j.token.ClaimedIssuer()))).
			WithMend("compare: carnet federation-policy list")
	}
	return j.verdicts, nil
}

// judge asks the policies of the issuer that the token claims, and no others. An
// issuer that stands in none is not asked for anything.
func (s *Service) judge(ctx context.Context, f Foreign) (*judgement, error) {
	token, err := oidc.Parse(f.Token.Reveal())
	if err != nil {
		return nil, refused("the token can't be read: " + fault.Of(err).Public)
	}
	j := &judgement{token: token}
	if _, ours := s.Issuer.LevelOf(token.ClaimedIssuer()); ours {
		return nil, refused("a token that this installation issued is not a proof here").
			WithMend("present an access token as subject_token_type urn:ietf:params:oauth:token-type:access_token, or a credential of the service principal")
	}
	var rules []*rule
	for _, r := range s.known.Load().byIssuer[token.ClaimedIssuer()] {
		if f.ServicePrincipal == "" || r.ServicePrincipal == f.ServicePrincipal {
			rules = append(rules, r)
		}
	}
	v := verifier{s: s, token: token, seen: map[keyPlace]outcome{}}
	for _, r := range rules {
		for _, a := range s.audiences(r.FederationPolicy) {
			if !slices.Contains(v.audiences, a) {
				v.audiences = append(v.audiences, a)
			}
		}
	}
	for _, r := range rules {
		verdict, err := s.ask(ctx, r, &v)
		if err != nil {
			return nil, err
		}
		j.verdicts = append(j.verdicts, verdict)
	}
	return j, nil
}

// ask lets one policy judge. Errors are those of our own parts.
func (s *Service) ask(ctx context.Context, r *rule, v *verifier) (Verdict, error) {
	out := Verdict{Policy: r.FederationPolicy}
	var refusal *fault.Fault
	if out.claims, out.stage, refusal = v.verify(ctx, r); refusal != nil {
		out.Refusal = refusal
		return out, nil
	}
	say := func(at stage, format string, args ...any) (Verdict, error) {
		out.stage, out.Refusal = at, refused(fmt.Sprintf(format, args...))
		return out, nil
	}
	wanted := s.audiences(r.FederationPolicy)
	if !slices.ContainsFunc(out.claims.Audiences, func(a string) bool { return slices.Contains(wanted, a) }) {
		return say(stageAudience, "none of the token's audiences %q is one of the policy's %q", out.claims.Audiences, wanted)
	}
	subject, ok := claim(out.claims, r.SubjectClaim)
	switch {
	case !ok:
		return say(stageSubject, "the claim %s is not a text with a value", r.SubjectClaim)
	case r.ServicePrincipal != "" && subject != r.Subject:
		return say(stageSubject, "the claim %s is %q: the policy wants %q", r.SubjectClaim, clip(subject), r.Subject)
	case r.ServicePrincipal != "":
		out.principal = Principal{ServicePrincipal: r.ServicePrincipal}
		return out, nil
	}
	person, err := s.Directory.BySubject(ctx, r.IdP, subject)
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return say(stagePerson, "identity provider %s knows nobody by the subject %q: people appear at their first sign-in", r.IdP, clip(subject))
	}
	out.principal = Principal{Person: person.ID, IdP: r.IdP}
	return out, err
}

// Audiences gives those that a policy takes.
func (s *Service) Audiences(p FederationPolicy) []string { return s.audiences(p) }

func (s *Service) audiences(p FederationPolicy) []string {
	if len(p.Audiences) > 0 {
		return p.Audiences
	}
	out := []string{s.Organisation}
	for _, l := range issuer.Levels() {
		out = append(out, s.Issuer.URL(l))
	}
	return slices.DeleteFunc(out, func(a string) bool { return a == "" })
}

// claim gives a claim that is one text with a value; a list of one is none.
func claim(c *oidc.Claims, name string) (string, bool) {
	text, ok := c.All()[name].(string)
	for _, r := range text {
		if r == utf8.RuneError {
			return "", false
		}
	}
	return text, ok && text != ""
}

// verifier proves one token, once for each place of keys.
type verifier struct {
	s         *Service
	token     *oidc.Token
	audiences []string // of all policies together
	seen      map[keyPlace]outcome
}

// keyPlace is where keys come from: an inline set, an address, or discovery.
type keyPlace struct {
	inline *oidc.KeySet
	at     string
}

type outcome struct {
	claims  *oidc.Claims
	stage   stage
	refusal *fault.Fault
}

// verify proves the token by the keys of a policy. Its audience is held to those of
// all policies together here, and to the policy's own by the caller.
func (v *verifier) verify(ctx context.Context, r *rule) (*oidc.Claims, stage, *fault.Fault) {
	place := keyPlace{r.keys, r.JWKSURL}
	o, done := v.seen[place]
	if !done {
		o.claims, o.stage, o.refusal = v.prove(ctx, r)
		v.seen[place] = o
	}
	return o.claims, o.stage, o.refusal
}

func (v *verifier) prove(ctx context.Context, r *rule) (*oidc.Claims, stage, *fault.Fault) {
	want := oidc.Expect{Issuer: r.Issuer, Audiences: v.audiences, AnyAudience: true, Algorithms: []string{oidc.RS256, oidc.ES256}, Skew: Skew}
	now := v.s.Now()
	keys, err := v.s.keys(ctx, r, false)
	if err != nil {
		return nil, stageKeys, fault.Of(err)
	}
	claims, err := v.token.Verify(keys, want, now)
	if err != nil && fault.Of(err).Code == oidc.CheckKey && r.keys == nil {
		again, bad := v.s.keys(ctx, r, true)
		if bad != nil {
			return nil, stageKeys, fault.Of(bad)
		}
		claims, err = v.token.Verify(again, want, now)
	}
	if err != nil {
		return nil, stageSignature, fault.Of(err)
	}
	if !now.Before(claims.Expires) {
		return nil, stageSignature, fault.Coded(fault.Expired, oidc.CheckExpired, "the token ended at "+claims.Expires.Format(time.RFC3339))
	}
	return claims, stageSignature, nil
}

func (s *Service) keys(ctx context.Context, r *rule, unknown bool) (*oidc.KeySet, error) {
	switch {
	case r.keys != nil:
		return r.keys, nil
	case r.JWKSURL != "":
		return s.KeySets.KeysAt(ctx, r.Issuer, r.JWKSURL, unknown)
	}
	return s.KeySets.Keys(ctx, r.Issuer, unknown)
}

// denied records that a principal who was proven did not get something, and
// gives the refusal.
func (s *Service) denied(ctx context.Context, p Principal, refusal error, detail map[string]string) error {
	f := fault.Of(refusal)
	e := event.Event{Action: "id-token", Outcome: event.Denied, Code: f.Code, Person: p.Person, Target: p.Subject(), Detail: detail}
	if err := s.State.Atomic(ctx, func(ctx context.Context) error { return s.Trail.Record(ctx, e) }); err != nil {
		return err
	}
	return refusal
}
