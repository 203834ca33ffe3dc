package access_test

import (
	"context"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
)

// TestAttackSlowBodyOutlivesRevocation: whoever has proven themselves and then
// keeps the server waiting for the body must not act with keys that ended
// meanwhile.
func TestAttackSlowBodyOutlivesRevocation(t *testing.T) {
	t.Parallel()
	ended := map[string]func(w *world){
		"person revoked":        func(w *world) { w.feed.revoked["person psn_1"] = 5 },
		"login session revoked": func(w *world) { w.feed.revoked["login-session lgn_1"] = 5 },
		"key revoked":           func(w *world) { w.feed.revoked["access-key "+keyID] = 5 },
		"attachment ended":      func(w *world) { w.feed.revoked["attachment att_1"] = 5 },
		"node removed":          func(w *world) { w.feed.revoked["node nod_1"] = 5 },
		"view lost":             func(w *world) { w.feed.away = true },
		"time over":             func(w *world) { w.now = now.Add(time.Hour) },
	}
	for name, end := range ended {
		w := people(t, nil)
		c := w.caller(t, access.RoleSession, func(c *sessiontoken.Claims) {
			c.OnNode = identity.OnNode{Attachment: "att_1", Node: "nod_1", Cluster: "cls_1"}
		})
		if !w.may(c, "s3:GetObject") || !w.Decide(context.Background(), c, oneCheck(get("sales", "x")), access.Environment{Now: now}).Allow {
			t.Fatal("not allowed to begin with")
		}
		end(w)
		if w.may(c, "s3:GetObject") || w.Decide(context.Background(), c, oneCheck(get("sales", "x")), access.Environment{Now: now}).Allow {
			t.Errorf("%s: still allowed", name)
		}
	}
	for name, change := range map[string]func(*iam.State){
		"switched off": func(s *iam.State) { s.AccessKeys[0].Active = false },
		"deleted":      func(s *iam.State) { s.AccessKeys = nil },
	} {
		w := people(t, nil)
		c := w.caller(t, access.User, nil)
		if !w.may(c, "s3:GetObject") {
			t.Fatal("not allowed to begin with")
		}
		w.authority = people(t, change).authority
		w.Access.Authority = w.authority
		if w.may(c, "s3:GetObject") {
			t.Errorf("a long-term key that was %s is still allowed", name)
		}
	}
}

// TestAttackKeysMadeBeforeStaticKeysWereForbidden: temporary keys that were made
// from long-term ones end with them when the setting is taken back.
func TestAttackKeysMadeBeforeStaticKeysWereForbidden(t *testing.T) {
	t.Parallel()
	w := people(t, nil)
	w.StaticKeys = false
	for _, kind := range []sessiontoken.Kind{sessiontoken.UserSession, sessiontoken.FederatedUser} {
		if _, _, err := w.Lookup(context.Background(), keyID, w.token(t, session(kind, nil))); code(err) != "InvalidAccessKeyId" {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
	if _, _, err := w.Lookup(context.Background(), staticID, secret.Text{}); code(err) != "InvalidAccessKeyId" {
		t.Errorf("the long-term key: %v", err)
	}
	if _, _, err := w.Lookup(context.Background(), keyID, w.token(t, nil)); err != nil {
		t.Errorf("a role session: %v", err)
	}
}
