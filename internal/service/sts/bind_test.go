package sts_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/sts"
)

var onNode = identity.OnNode{Attachment: "att_1", Node: "nod_1", Cluster: "cls_1", Owner: "1000(alice)"}

// jobClaims are those of a role session of meta, with a limit of every kind.
func jobClaims() sessiontoken.Claims {
	return sessiontoken.Claims{
		Role: arn.Role{Partition: "aws", Account: here, Path: "/", Name: "meta"}, RoleID: "AROAMETA", SessionName: "job", Chained: true, SecretKey: secret.New("s"),
		IssuedAt: now.Add(-time.Minute), Expires: now.Add(time.Hour), Epoch: 40, Person: "psn_1", LoginSession: "lgn_1", Delegation: "dlg_1", ServicePrincipal: "spn_1",
		SourceIdentity: "alice", Tags: []sessiontoken.Tag{{Key: "team", Value: "blue"}}, TransitiveTagKeys: []string{"team"}, Provider: "arn:aws:iam::" + here + ":saml-provider/p",
		Subject: "alice", SubjectType: "persistent", NameQualifier: "nq", SessionPolicy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`,
	}
}

// sealed are the keys of claims.
func sealed(t testing.TB, c sessiontoken.Claims) credential.Temporary {
	t.Helper()
	token, err := sessiontoken.Seal(ring{}, metaKey, c)
	if err != nil {
		t.Fatal(err)
	}
	return credential.Temporary{AccessKeyID: metaKey, SecretAccessKey: c.SecretKey, SessionToken: token, Expiration: c.Expires}
}

// TestBind: keys for a node are the same role session, with an end, and a place, of
// their own; nothing of what limits it is lost.
func TestBind(t *testing.T) {
	t.Parallel()
	w := newSigners(t)
	for _, tc := range []struct{ ends, want time.Time }{
		{time.Time{}, now.Add(time.Hour)}, {now.Add(2 * time.Hour), now.Add(time.Hour)}, {now.Add(20*time.Minute + time.Millisecond), now.Add(20 * time.Minute)},
	} {
		w.recorded = nil
		old := jobClaims()
		keys, err := w.service().Bind(t.Context(), sealed(t, old), onNode, tc.ends)
		if err != nil {
			t.Fatal(err)
		}
		got := opened(t, keys.AccessKeyID, keys.SessionToken)
		if keys.AccessKeyID == metaKey || keys.SecretAccessKey.Equal(old.SecretKey) || !keys.SecretAccessKey.Equal(got.SecretKey) || !keys.Expiration.Equal(got.Expires) {
			t.Errorf("%+v", keys)
		}
		want := old
		want.OnNode, want.Expires, want.Epoch, want.SecretKey = onNode, tc.want, 42, got.SecretKey
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b secret.Text) bool { return a.Equal(b) })); diff != "" {
			t.Errorf("to end at %s:\n%s", tc.ends, diff)
		}
		e := w.recorded[0]
		if len(w.recorded) != 1 || e.Action != "sts.Bind" || e.AccessKeyID != keys.AccessKeyID || e.Detail["caller_access_key_id"] != metaKey || e.Person != "psn_1" ||
			e.Node != "nod_1" || e.Attachment != "att_1" || e.Cluster != "cls_1" || e.ProcessOwner != "1000(alice)" {
			t.Errorf("%+v", e)
		}
		// What it is bound to, it is bound to again, and to nothing else.
		if _, err := w.service().Bind(t.Context(), keys, onNode, time.Time{}); err != nil {
			t.Error(err)
		}
		other := onNode
		other.Attachment = "att_2"
		if _, err := w.service().Bind(t.Context(), keys, other, time.Time{}); fault.KindOf(err) != fault.Denied {
			t.Errorf("bound to another attachment: %v", err)
		}
	}
}

// TestAttackBind: nobody has keys for a node by what is not theirs, not live, or no
// role session.
func TestAttackBind(t *testing.T) {
	t.Parallel()
	good := sealed(t, jobClaims())
	for name, tc := range map[string]struct {
		keys   credential.Temporary
		change func(w *signers)
		on     identity.OnNode
		ends   time.Time
		kind   fault.Kind
	}{
		"another secret": {keys: credential.Temporary{AccessKeyID: metaKey, SecretAccessKey: secret.New("x"), SessionToken: good.SessionToken}, on: onNode, kind: fault.Denied},
		"no secret":      {keys: credential.Temporary{AccessKeyID: metaKey, SessionToken: good.SessionToken}, on: onNode, kind: fault.Denied},
		"another id":     {keys: credential.Temporary{AccessKeyID: "ASIA3333333333333333", SecretAccessKey: good.SecretAccessKey, SessionToken: good.SessionToken}, on: onNode, kind: fault.Unauthenticated},
		"a user's keys":  {keys: sealed(t, func() (c sessiontoken.Claims) { ofUser(sessiontoken.UserSession)(&c); return c }()), on: onNode, kind: fault.Denied},
		"a federated user's": {keys: sealed(t, func() (c sessiontoken.Claims) {
			ofUser(sessiontoken.FederatedUser)(&c)
			c.FederatedName = "v"
			return c
		}()), on: onNode, kind: fault.Denied},
		"long-term keys": {keys: credential.Temporary{AccessKeyID: bobKey, SecretAccessKey: secret.New("long")}, on: onNode, kind: fault.Denied},
		"ended":          {keys: good, on: onNode, change: func(w *signers) { w.now = now.Add(time.Hour) }, kind: fault.Expired},
		"revoked":        {keys: good, on: onNode, change: func(w *signers) { w.revoked = map[string]uint64{"person psn_1": 40} }, kind: fault.Revoked},
		"the role is gone": {keys: good, on: onNode, change: func(w *signers) {
			w.state.Roles = w.state.Roles[1:]
		}, kind: fault.Unauthenticated},
		"nowhere":                 {keys: good, kind: fault.Internal},
		"what is over":            {keys: good, on: onNode, ends: now, kind: fault.Expired},
		"what ends in no seconds": {keys: good, on: onNode, ends: now.Add(time.Millisecond), kind: fault.Expired},
	} {
		w := newSigners(t)
		if tc.change != nil {
			tc.change(w)
		}
		got, err := w.service().Bind(t.Context(), tc.keys, tc.on, tc.ends)
		if fault.KindOf(err) != tc.kind || err == nil || got.AccessKeyID != "" || len(w.recorded) != 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	// What is revoked while it is bound doesn't leave newer keys behind.
	w, feed := newSigners(t), &late{}
	w.may = access.New(access.Config{Authority: w, Keys: ring{}, Revocations: feed, Region: "us-east-1", Now: func() time.Time { return w.now }})
	s := sts.New(sts.Config{IAM: w, Keys: ring{}, Revocations: feed, Access: w.may, Trail: w, Now: func() time.Time { return w.now }})
	if _, err := s.Bind(t.Context(), good, onNode, time.Time{}); fault.KindOf(err) != fault.Revoked {
		t.Errorf("revoked meanwhile: %v", err)
	}
}

// TestAttackChainFromANode: what keys of a node assume is bound as they are, and ends no
// later.
func TestAttackChainFromANode(t *testing.T) {
	t.Parallel()
	w := newSigners(t)
	caller := w.session(t, func(c *sessiontoken.Claims) { c.OnNode, c.Expires = onNode, now.Add(20*time.Minute) })
	out, err := w.service().AssumeRole(t.Context(), roleRequest(dataARN, caller))
	if err != nil {
		t.Fatal(err)
	}
	c := opened(t, out.Credentials.AccessKeyID, out.Credentials.SessionToken)
	if c.OnNode != onNode || !c.Expires.Equal(now.Add(20*time.Minute)) {
		t.Errorf("%+v to %s", c.OnNode, c.Expires)
	}
	if e := w.recorded[0]; e.Attachment != "att_1" || e.Node != "nod_1" {
		t.Errorf("%+v", e)
	}
}
