package broker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/revocation"
)

// The bounds of renewals (design 4.5).
const (
	longestRenewal = time.Hour        // DurationSeconds of one
	tokenLife      = 5 * time.Minute  // of one token
	defaultCap     = 12 * time.Hour   // since the sign-in
	unheardCap     = 4 * time.Hour    // where nobody tells us that a person has to go
	leastKeys      = 15 * time.Minute // the least that STS grants
)

// codeDeadline: the time of renewals is over, as was said from the start.
const codeDeadline = "bridge.deadline"

// permission is leave to make one token for one role.
type permission struct {
	token    issuer.IDToken
	life     time.Duration // of the keys that it may be traded for
	deadline time.Time
}

// permit asks whether a token may be made for a role of a login session, at this
// moment. Every clause of design 4.5 that can be asked stands here, in its order,
// and each has its test (bridge_clauses_test.go). Faults whose kind means that
// something is away refuse nothing; all others do.
func (b *Broker) permit(ctx context.Context, id identity.LoginSessionID, o Outcome) (permission, error) {
	now := b.Now()
	account, err := b.open(o)
	if err != nil {
		return permission{}, err
	}
	// The epoch comes first: what is revoked while the rest is asked refuses the
	// token.
	epoch, err := b.Standing.Epoch()
	if err != nil {
		return permission{}, err
	}
	basis := o.Basis
	for _, what := range []struct{ kind, id string }{
		{revocation.LoginSession, string(id)}, {revocation.Person, string(basis.Person)}, {revocation.Role, o.Role.String()},
	} {
		refused, err := b.Standing.Refused(what.kind, what.id, basis.Epoch)
		if err != nil {
			return permission{}, err
		}
		if refused {
			return permission{}, fault.Coded(fault.Revoked, "bridge.revoked", "this sign-in was taken back").WithMend("sign in again")
		}
	}
	if err := b.Standing.Active(ctx, basis.Person); err != nil {
		return permission{}, err
	}
	speaker, err := b.Standing.Speaker(basis.Evidence.IdP)
	if err != nil {
		return permission{}, err
	}
	if err := basis.Evidence.Holds(speaker, b.Accounts); err != nil {
		return permission{}, err
	}
	if basis.Evidence.Mapped {
		err = b.stillMapped(ctx, basis.Person, basis.Evidence.IdP, basis.Evidence.Role)
	} else {
		err = b.heardLast(ctx, basis)
	}
	if err != nil {
		return permission{}, err
	}
	if err := required(basis.Evidence, account); err != nil {
		return permission{}, err
	}
	p := permission{deadline: basis.deadline(account, b.Standing.Recalled(speaker))}
	if p.life = min(longestRenewal, b.Durations[0], p.deadline.Sub(now)).Truncate(time.Second); p.life < b.least() {
		return permission{}, fault.Coded(fault.Expired, codeDeadline, "role "+o.Role.String()+" is renewed until "+clockText(p.deadline)+" at the latest").
			WithMend("sign in again")
	}
	if p.token, err = repeat(basis, account); err != nil {
		return permission{}, err
	}
	p.token.LoginSession, p.token.Epoch = id, epoch
	return p, nil
}

// open asks whether the account takes tokens of ours for a role: for one that was
// traded by SAML only where the risk of the bridge was accepted, and only when
// that exchange succeeded.
func (b *Broker) open(o Outcome) (entitlement.Account, error) {
	account, ok := b.Accounts[o.Role.Account]
	switch {
	case b.Tokens == nil, !ok, !account.WebIdentity:
		return account, closed("account " + o.Role.Account + " takes no ID token of Carnet")
	case o.Failure != nil, o.Basis == nil, o.Basis.Evidence.Role != o.Role:
		return account, closed("no sign-in has proven role " + o.Role.String() + " for that")
	case o.Basis.Exchange == entitlement.BySAML && !account.Bridge:
		return account, closed("account " + o.Role.Account + " renews no role that was traded by SAML")
	}
	return account, nil
}

func closed(why string) error {
	return fault.Coded(fault.Denied, "bridge.off", why).WithMend("sign in again when the keys have ended")
}

// heardLast refuses what the last word of the identity provider does not have: a
// later sign-in of the same person did not bring it any more. The word of this very
// sign-in has it; times are not compared, since two words may bear the same one.
func (b *Broker) heardLast(ctx context.Context, basis *Basis) error {
	word, err := b.word(ctx, basis.Person, basis.Evidence.IdP)
	if fault.KindOf(err) == fault.NotFound {
		return lastWord(basis.Evidence.Role)
	}
	if err != nil {
		return err
	}
	if _, ok := word.role(basis.Evidence.Role); !ok {
		return lastWord(basis.Evidence.Role)
	}
	return nil
}

// required holds the way in which the person signed in against what the account
// asks for.
func required(e entitlement.Evidence, account entitlement.Account) error {
	if len(account.AuthnContexts) == 0 || slices.Contains(account.AuthnContexts, e.AuthnContext) {
		return nil
	}
	return fault.Coded(fault.Denied, "bridge.authn-context", fmt.Sprintf("account %s asks for another way to sign in than %q", account.ID, e.AuthnContext)).
		WithMend("sign in as the account asks for it: an administrator knows bridge.authn_contexts")
}

// repeat says in a token what the sign-in said: the same session name goes beside
// it. The bridge repeats all or nothing, since keys with fewer tags may do more.
func repeat(basis *Basis, account entitlement.Account) (issuer.IDToken, error) {
	e := basis.Evidence
	t := issuer.IDToken{
		Subject: subject(basis.Person), Audience: issuer.AudienceAWS, Role: e.Role, Lifetime: tokenLife,
		AuthTime: e.AuthnTime, ACR: e.AuthnContext, SourceIdentity: e.SourceIdentity, TransitiveTagKeys: e.TransitiveTagKeys,
	}
	for _, tag := range e.Tags {
		t.Tags = append(t.Tags, issuer.Tag(tag))
	}
	if basis.Exchange == entitlement.BySAML {
		if !account.Tags && len(t.Tags) > 0 || !account.SourceIdentity && t.SourceIdentity != "" {
			return issuer.IDToken{}, closed("account " + account.ID + " takes no session tags or source identity by ID token, and the sign-in brought some")
		}
		return t, nil
	}
	if !account.Tags {
		t.Tags, t.TransitiveTagKeys = nil, nil
	}
	switch {
	case !account.SourceIdentity:
		t.SourceIdentity = ""
	case t.SourceIdentity == "":
		t.SourceIdentity = identity.SessionName(e.UserName)
	}
	return t, nil
}

// deadline is when a person is needed again: min(cap, end of the login session,
// SessionNotOnOrAfter).
func (basis *Basis) deadline(account entitlement.Account, recalled bool) time.Time {
	longest := account.Cap
	if longest <= 0 {
		longest = defaultCap
	}
	if !recalled {
		longest = min(longest, unheardCap)
	}
	end := basis.SignedIn.Add(longest)
	for _, bound := range []time.Time{basis.Ends, basis.Evidence.NotOnOrAfter} {
		if !bound.IsZero() && bound.Before(end) {
			end = bound
		}
	}
	return end.UTC().Truncate(time.Second)
}

// least is the shortest life of keys that is asked for.
func (b *Broker) least() time.Duration { return min(leastKeys, b.Durations[len(b.Durations)-1]) }

func clockText(t time.Time) string { return t.UTC().Format("15:04 UTC") }

// isAway tells what could not be asked from what was refused.
func isAway(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Limited, fault.Internal:
		return true
	}
	return false
}
