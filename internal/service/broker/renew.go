package broker

import (
	"context"
	"strconv"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/withdrawal"
)

const (
	// parallelRenewals bounds the renewals under way that nobody waits for.
	parallelRenewals = 16
	// every is how often the server looks for keys in use that are due.
	every = 5 * time.Second
	// The pauses between attempts: the first, and the most while STS is away,
	// after a refusal, and where a person waits for keys that there are not.
	firstPause, mostAway, mostRefused, mostWaited = 5 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Second
)

// mayRenew reports whether a role can be renewed at all, by what is in memory.
func (b *Broker) mayRenew(o Outcome) bool {
	if o.Basis == nil || o.Failure != nil || b.Tokens == nil {
		return false
	}
	account := b.Accounts[o.Role.Account]
	return account.WebIdentity && (account.Bridge || o.Basis.Exchange == entitlement.ByWebIdentity)
}

// Fresh gives the keys of a role as they are to be used now: those that are kept,
// renewed ones, or for a role that waits for its first use the first. o is the
// outcome as the login session knows it; the caller has seen to it that the
// session holds. While keys live they are given, whatever is away. Errors: faults
// that say why there are none.
func (b *Broker) Fresh(ctx context.Context, id identity.LoginSessionID, o Outcome) (Outcome, error) {
	if !b.mayRenew(o) {
		return o, nil
	}
	now, p := b.Now(), place{id, o.Role}
	h := b.memory.find(p)
	if h == nil {
		h = b.memory.hold(p, o, now)
	}
	h.fetched.Store(now.UnixNano())
	newest := h.newest.Load()
	if newest.Session.Credentials.Expiration.Before(o.Session.Credentials.Expiration) {
		h.take(o, now) // another server renewed it, and the login session was read anew
		newest = h.newest.Load()
	}
	if now.Before(newest.due) && !b.keyRevoked(newest) {
		return *newest, nil
	}
	return b.wait(ctx, h, now)
}

// keyRevoked reports whether these very keys were taken back: others take their place.
func (b *Broker) keyRevoked(o *Outcome) bool {
	id := o.Session.Credentials.AccessKeyID
	if id == "" || o.Basis == nil {
		return false
	}
	refused, err := b.Standing.Refused(revocation.AccessKey, id, o.Basis.Epoch)
	return err == nil && refused
}

// wait lets a fetch wait for an attempt: long where there are no keys, a moment
// where the old ones live.
func (b *Broker) wait(ctx context.Context, h *held, now time.Time) (Outcome, error) {
	patience := b.Patience
	if h.newest.Load().Session.Credentials.Live(now) {
		patience = b.Wait
	}
	if done := b.begin(ctx, h, now); done != nil {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	newest := *h.newest.Load()
	if newest.Session.Credentials.Live(b.Now()) {
		return newest, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return newest, h.err
	}
	return newest, fault.Coded(fault.Unavailable, "ServiceUnavailable", "no answer from STS for account "+h.role.Account+" yet").
		WithMend("try again in a moment")
}

// begin starts an attempt, or joins the one under way; nil before its time.
func (b *Broker) begin(ctx context.Context, h *held, now time.Time) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.flight != nil {
		return h.flight
	}
	if now.Before(h.next) {
		return nil
	}
	done := make(chan struct{})
	h.flight = done
	// Whoever began it may go away; others wait for it too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.Patience)
	b.flights.Go(func() {
		defer cancel()
		err := b.attempt(ctx, h)
		h.mu.Lock()
		h.settle(err, b.Now())
		h.flight = nil
		h.mu.Unlock()
		close(done)
	})
	return done
}

// attempt renews once: by what another server did meanwhile, else at STS.
func (b *Broker) attempt(ctx context.Context, h *held) error {
	o, row, err := b.reread(ctx, h.session, h.role)
	if err != nil {
		return err
	}
	now := b.Now()
	if keys := o.Session.Credentials; keys.AccessKeyID != h.newest.Load().Session.Credentials.AccessKeyID && now.Before(dueAt(&o, now)) {
		h.take(o, now)
		return nil
	}
	renewed, err := b.renew(ctx, h.session, o, row)
	if fault.KindOf(err) == fault.Conflict { // another server was faster
		if o, _, err = b.reread(ctx, h.session, h.role); err == nil {
			h.take(o, now)
		}
		return err
	}
	if err != nil {
		if !isAway(err) && fault.Of(err).Code != codeDeadline {
			b.refuse(ctx, h, o, err)
		}
		return err
	}
	h.take(renewed, now)
	return nil
}

// reread reads the row of a role: what other servers did, and that the login
// session has not ended.
func (b *Broker) reread(ctx context.Context, id identity.LoginSessionID, role arn.Role) (Outcome, Row, error) {
	row, err := b.Renewals.Row(ctx, id, role.String())
	if fault.KindOf(err) == fault.NotFound {
		return Outcome{}, row, fault.Coded(fault.Unauthenticated, "login.required", "you are not signed in, or your login session has ended").
			WithMend("sign in again")
	}
	if err != nil {
		return Outcome{}, row, err
	}
	o, err := b.outcome(id, row)
	if err != nil {
		return Outcome{}, row, fault.Wrap(err, fault.Internal, "the stored keys of a role can't be opened").WithMend("sign in again")
	}
	return o, row, nil
}

// renew asks STS once, stores the keys with their audit record, and gives them.
// What can't be recorded is not given.
func (b *Broker) renew(ctx context.Context, id identity.LoginSessionID, o Outcome, row Row) (Outcome, error) {
	p, err := b.permit(ctx, id, o)
	if err != nil {
		return Outcome{}, err
	}
	minted, err := b.Tokens.MintID(p.token)
	if err != nil {
		return Outcome{}, err
	}
	sessionName := o.Basis.Evidence.SessionName
	got, err := b.STS.AssumeRoleWithWebIdentity(ctx, WebCall{Role: o.Role, SessionName: sessionName, Token: minted.Token,
		Duration: p.life, LoginSession: id, Person: o.Basis.Person})
	if err != nil {
		return Outcome{}, explainWeb(fault.Of(err), o.Role, minted)
	}
	if err := b.accept(o.Role, sessionName, got); err != nil {
		return Outcome{}, err
	}
	if got.SourceIdentity != p.token.SourceIdentity {
		return Outcome{}, fault.Coded(fault.Unavailable, "InternalFailure", "STS answered with another source identity than the token has")
	}
	was := o.Session.Credentials.AccessKeyID
	o.Session = credential.RoleSession{Role: o.Role, SessionName: sessionName, AssumedRoleARN: got.AssumedRoleARN, Credentials: got.Credentials}
	o.Obtained, o.Trouble, o.Warning = b.Now(), Trouble{}, Warning{}
	o.Renewals++
	if o.Basis.Exchange == entitlement.BySAML {
		o.Served = ServedBridge
	}
	fresh, err := b.row(id, row.Ends, o)
	if err != nil {
		return Outcome{}, err
	}
	e := b.event("renewal", id, o)
	e.AccessKeyID = got.Credentials.AccessKeyID
	e.Detail["token"], e.Detail["issuer"] = minted.ID, minted.Issuer
	e.Detail["until"] = got.Credentials.Expiration.UTC().Format(time.RFC3339)
	e.Detail["deadline"] = p.deadline.Format(time.RFC3339)
	err = b.State.Atomic(ctx, func(ctx context.Context) error {
		if err := b.Renewals.Renew(ctx, id, fresh, was); err != nil {
			return err
		}
		if err := b.note(ctx, id, o.Basis.Person, o, minted, p.token.Epoch); err != nil {
			return err
		}
		return b.Trail.Record(ctx, e)
	})
	if err != nil {
		return Outcome{}, err
	}
	return o, nil
}

// event begins an audit record with the sign-in that a role rests on.
func (b *Broker) event(action string, id identity.LoginSessionID, o Outcome) event.Event {
	basis := o.Basis
	return event.Event{Action: action, Outcome: event.Done, Person: basis.Person, UserName: basis.Evidence.UserName, IdP: basis.Evidence.IdP,
		LoginSession: id, Account: o.Role.Account, Role: o.Role.String(), Target: basis.Evidence.SignIn,
		Detail: map[string]string{"exchange": string(basis.Exchange), "renewal": strconv.Itoa(o.Renewals)}}
}

// refuse keeps why a renewal was refused, for pages and for other servers, and
// records it once for each reason.
func (b *Broker) refuse(ctx context.Context, h *held, o Outcome, why error) {
	f := fault.Of(why)
	t := Trouble{Failure: Failure{Code: f.Code, Message: f.Public, Mend: f.Mend}, At: b.Now().UTC().Truncate(time.Millisecond)}
	if o.Basis == nil || o.Trouble.Failure == t.Failure {
		return
	}
	e := b.event("renewal", h.session, o)
	e.Outcome, e.Code = event.Denied, f.Code
	e.Detail["reason"] = f.Public
	err := b.State.Atomic(ctx, func(ctx context.Context) error {
		if err := b.Renewals.Refuse(ctx, h.session, h.role.String(), t); err != nil {
			return err
		}
		return b.Trail.Record(ctx, e)
	})
	if err != nil {
		b.Logger.Warn("a refused renewal can't be recorded", "login_session", h.session, "role", h.role.String(), "error", err)
	}
}

// IDToken makes a token for a role of a login session, for whoever trades it
// themselves, under the same clauses as a renewal. The caller has seen to it that
// the session holds; on is where on a node it was asked for. Errors: faults.
func (b *Broker) IDToken(ctx context.Context, id identity.LoginSessionID, role arn.Role, on identity.OnNode) (issuer.Minted, error) {
	if b.Tokens == nil {
		return issuer.Minted{}, closed("this server makes no ID tokens")
	}
	if a := b.Accounts[role.Account]; a.Deliver == "gateway" && !a.Local {
		// Whoever had the token would have the keys, which are to stay here.
		return issuer.Minted{}, fault.Coded(fault.Denied, "bridge.gateway", "the keys of account "+role.Account+" stay in the server: it is delivered by the gateway").
			WithMend("fetch a gateway key: carnet credentials")
	}
	o, _, err := b.reread(ctx, id, role)
	if err != nil {
		return issuer.Minted{}, err
	}
	p, err := b.permit(ctx, id, o)
	if err != nil {
		return issuer.Minted{}, err
	}
	p.token.OnNode = on
	minted, err := b.Tokens.MintID(p.token)
	if err != nil {
		return issuer.Minted{}, err
	}
	e := b.event("id-token", id, o)
	e.Node, e.Attachment, e.ProcessOwner = on.Node, on.Attachment, on.Owner
	e.Detail["token"], e.Detail["issuer"] = minted.ID, minted.Issuer
	err = b.State.Atomic(ctx, func(ctx context.Context) error {
		if b.Ledger != nil && !b.Accounts[role.Account].Local {
			k := withdrawal.Key{Role: role, Person: o.Basis.Person, LoginSession: id, Issuer: minted.Issuer, Subject: p.token.Subject, Issued: minted.Issued, Epoch: p.token.Epoch}
			if err := b.Ledger.Issued(ctx, minted.ID, withdrawal.IDToken(k, minted.Expires)); err != nil {
				return err
			}
		}
		return b.Trail.Record(ctx, e)
	})
	if err != nil {
		return issuer.Minted{}, err
	}
	return minted, nil
}

// Run renews the roles that are in use, before somebody has to wait for it, until
// ctx ends; then it waits for what is under way.
func (b *Broker) Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			b.flights.Wait()
			return
		case <-tick.C:
		}
		b.renewDue(ctx)
	}
}

// renewDue begins what is due. In use is what was fetched within the last life of
// keys; the rest is dropped once its keys have ended, and read again at need.
func (b *Broker) renewDue(ctx context.Context) {
	now := b.Now()
	for _, h := range b.memory.all() {
		o := h.newest.Load()
		idle := now.Sub(time.Unix(0, h.fetched.Load()))
		switch {
		case now.Before(o.due):
			continue
		case idle > longestRenewal || now.After(o.Basis.Ends):
			if !o.Session.Credentials.Live(now) {
				b.memory.drop(h.place)
			}
			continue
		}
		select {
		case b.slots <- struct{}{}:
		default:
			return // the next look comes soon
		}
		done := b.begin(ctx, h, now)
		if done == nil {
			<-b.slots
			continue
		}
		b.flights.Go(func() { <-done; <-b.slots })
	}
}
