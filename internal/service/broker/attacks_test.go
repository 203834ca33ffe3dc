package broker_test

import (
	"context"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/broker"
)

// overtaken is a Standing in which a login session is revoked, and something else
// after it, while a renewal is being decided.
type overtaken struct{ *bridge }

func (o overtaken) Active(ctx context.Context, id identity.PersonID) error {
	o.revoked["login-session lgn_1"] = o.epoch
	o.epoch += 2
	return o.bridge.Active(ctx, id)
}

// TestAttackRevokedWhileTheTokenIsMade: a login session that is revoked between
// the question and the token gives no token that outlives the revocation. The token
// carries the epoch from before the questions, so that STS refuses it.
func TestAttackRevokedWhileTheTokenIsMade(t *testing.T) {
	t.Parallel()
	w := newBridge(t)
	w.Broker = broker.New(broker.Config{STS: w, Store: w.store, Sealer: w.ring, Now: w.clock, Patience: 5 * time.Second,
		Bridge: broker.Bridge{Tokens: w, Accounts: w.accounts, Standing: overtaken{w}, Renewals: w.store, State: w.db, Trail: w}})
	o := w.analyst()
	w.pass(50 * time.Minute)
	if _, err := w.IDToken(t.Context(), "lgn_1", o.Role, identity.OnNode{}); err != nil {
		return // refused outright is as good
	}
	if refused, err := w.Refused("login-session", "lgn_1", w.minted[0].Epoch); err != nil || !refused {
		t.Errorf("a token at epoch %d, the revocation at %d: %v", w.minted[0].Epoch, w.revoked["login-session lgn_1"], err)
	}
}

// TestAttackTwoWordsOfOneSecond: iat counts whole seconds. Of two sign-ins in the
// same one the later counts, so a role that it did not bring is not renewed.
func TestAttackTwoWordsOfOneSecond(t *testing.T) {
	t.Parallel()
	w := newBridge(t)
	o := w.analyst()
	w.signIn("lgn_2", w.assertion(pair(ours, "reader")))
	w.refuses(o, "bridge.word")
}

// TestAttackTokenOfADeliveredAccount: where a role's own keys stay in the server,
// nobody gets the token that buys them; the server itself goes on renewing.
func TestAttackTokenOfADeliveredAccount(t *testing.T) {
	t.Parallel()
	w := newBridge(t)
	w.config(ours, func(a *account) { a.Deliver, a.Local = "gateway", false })
	o := w.analyst()
	_, err := w.IDToken(t.Context(), "lgn_1", o.Role, identity.OnNode{})
	wantFault(t, err, "bridge.gateway")
	w.renews(o)
	w.config(ours, func(a *account) { a.Local = true }) // its keys are good at the gateway alone
	if _, err := w.IDToken(t.Context(), "lgn_1", o.Role, identity.OnNode{}); err != nil {
		t.Error(err)
	}
	held, err := w.Heard(t.Context(), "psn_ann", "idp_a", []arn.Role{o.Role, bridged(t, ours, "nobody")})
	if err != nil || len(held) != 1 || held[0] != o.Role {
		t.Errorf("held are %v, %v", held, err)
	}
	w.signIn("lgn_2", w.assertion(pair(ours, "reader")))
	if held, err := w.Heard(t.Context(), "psn_ann", "idp_a", []arn.Role{o.Role}); err != nil || len(held) != 0 {
		t.Errorf("after a sign-in without the role held are %v, %v", held, err)
	}
}
