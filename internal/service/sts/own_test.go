package sts_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/sts"
)

// own is an installation whose issuer is the one of these tests: one person, one
// service principal, and one delegation of the former that the latter runs.
type own struct {
	off  string // who is switched off
	away error
}

func (o *own) Issues(iss string) bool { return iss == issuer }

func (o *own) Standing(_ context.Context, s sts.OwnSubject) (sts.OwnSubject, error) {
	if s.Delegation == "dlg_1" {
		s.Person, s.ServicePrincipal = "psn_1", "spn_1"
	}
	for _, id := range []string{string(s.Person), string(s.ServicePrincipal), string(s.Delegation), string(s.Attachment)} {
		known := id == "" || id == "att_1" || id == "psn_1" || id == "spn_1" || id == "dlg_1"
		if !known || id != "" && id == o.off {
			return s, fault.New(fault.Denied, id+" does not act")
		}
	}
	if s.Attachment != "" {
		s.Ends = now.Add(20 * time.Minute)
	}
	return s, o.away
}

// newOwn is a world in which the provider that the role trusts is Carnet itself.
func newOwn(t testing.TB) *web {
	t.Helper()
	w := newWeb(t)
	w.own, w.revoked = &own{}, map[string]uint64{}
	w.state.Roles[1].Trust.Document = onlyWeb
	return w
}

var (
	ofPerson    = map[string]any{"sub": "user:psn_1", "sid": "lgn_1", "carnet_epoch": 40}
	ofPrincipal = map[string]any{"sub": "sp:spn_1", "carnet_epoch": 40}
	ofAttached  = map[string]any{"sub": "user:psn_1", "sid": "lgn_1", "carnet_epoch": 40, "carnet_attachment": "att_1", "carnet_node": "nod_1", "carnet_cluster": "cls_1", "carnet_process_owner": "1000(alice)"}
	ofJob       = map[string]any{"sub": "job:dlg_1", "carnet_epoch": 40}
)

// TestOwnTokensCarryWhoTheyAreOf: whoever stands behind a token of ours stands in
// the keys, and in the trail.
func TestOwnTokensCarryWhoTheyAreOf(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		claims map[string]any
		want   sts.OwnSubject
	}{
		"person":                 {ofPerson, sts.OwnSubject{Person: "psn_1", LoginSession: "lgn_1"}},
		"person by another's":    {map[string]any{"sub": "user:psn_1", "carnet_epoch": 40}, sts.OwnSubject{Person: "psn_1"}},
		"service principal":      {ofPrincipal, sts.OwnSubject{ServicePrincipal: "spn_1"}},
		"attached":               {ofAttached, sts.OwnSubject{Person: "psn_1", LoginSession: "lgn_1", OnNode: onNode}},
		"job":                    {ofJob, sts.OwnSubject{Person: "psn_1", ServicePrincipal: "spn_1", Delegation: "dlg_1"}},
		"seen by another server": {map[string]any{"sub": "sp:spn_1", "carnet_epoch": 4000}, sts.OwnSubject{ServicePrincipal: "spn_1"}},
	} {
		w := newOwn(t)
		out, err := w.service().AssumeRoleWithWebIdentity(t.Context(), w.request(t, tc.claims))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c := opened(t, out.Credentials.AccessKeyID, out.Credentials.SessionToken)
		if got := (sts.OwnSubject{Person: c.Person, LoginSession: c.LoginSession, ServicePrincipal: c.ServicePrincipal, Delegation: c.Delegation, OnNode: c.OnNode}); got != tc.want || c.Epoch != 42 {
			t.Errorf("%s: %+v at %d, want %+v", name, got, c.Epoch, tc.want)
		}
		if attached := c.Attachment != ""; attached != c.Expires.Equal(now.Add(20*time.Minute)) {
			t.Errorf("%s: ends at %s", name, c.Expires)
		}
		e := w.recorded[0]
		if e.Person != tc.want.Person || e.Attachment != tc.want.Attachment || e.Node != tc.want.Node || e.ProcessOwner != tc.want.Owner || e.LoginSession != tc.want.LoginSession ||
			e.Detail["service_principal"] != string(tc.want.ServicePrincipal) || e.Detail["delegation"] != string(tc.want.Delegation) {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// TestAttackRevokedOwnToken: a token of ours ends with whatever it rests on, also
// where the one who holds it has not used it yet.
func TestAttackRevokedOwnToken(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		claims  map[string]any
		revoked string
	}{
		{ofPerson, "person psn_1"},
		{ofPerson, "login-session lgn_1"},
		{ofPerson, "everything everything"},
		{ofPrincipal, "service-principal spn_1"},
		{ofJob, "delegation dlg_1"},
		{ofJob, "service-principal spn_1"},
		{ofJob, "person psn_1"},
		{ofAttached, "attachment att_1"},
		{ofAttached, "node nod_1"},
		{ofAttached, "cluster cls_1"},
	} {
		w := newOwn(t)
		w.revoked[tc.revoked] = 40
		_, err := w.service().AssumeRoleWithWebIdentity(t.Context(), w.request(t, tc.claims))
		if f := fault.Of(err); err == nil || f.Code != "AccessDenied" || f.Kind != fault.Revoked || strings.Contains(f.Public, "_1") || f.Mend == "" {
			t.Errorf("%v after %s: %v", tc.claims["sub"], tc.revoked, err)
		}
		if len(w.recorded) > 0 {
			t.Errorf("%v: a refusal stands in the trail as an exchange", tc.claims["sub"])
		}
		w.revoked[tc.revoked] = 39
		if _, err := w.service().AssumeRoleWithWebIdentity(t.Context(), w.request(t, tc.claims)); err != nil {
			t.Errorf("%v, made after %s: %v", tc.claims["sub"], tc.revoked, err)
		}
	}
}

// TestAttackOwnTokenOfNobody: what our issuer signs for others than those who act
// is no web identity, nor one without the epoch by which it could be taken back.
func TestAttackOwnTokenOfNobody(t *testing.T) {
	t.Parallel()
	with := func(claim string, v any) map[string]any {
		c := map[string]any{"sub": "user:psn_1", "sid": "lgn_1", "carnet_epoch": 40}
		c[claim] = v
		return c
	}
	for name, claims := range map[string]map[string]any{
		"no epoch":             with("carnet_epoch", issuertest.Absent),
		"epoch as text":        with("carnet_epoch", "40"),
		"epoch below zero":     with("carnet_epoch", -1),
		"epoch in halves":      with("carnet_epoch", 40.5),
		"epoch of nothing":     with("carnet_epoch", nil),
		"another kind":         with("sub", "group:grp_1"),
		"kind in capitals":     with("sub", "User:psn_1"),
		"no kind":              with("sub", "psn_1"),
		"Carnet itself":        with("sub", "carnet:revocation"),
		"itself as somebody":   with("sub", "carnet:psn_1"),
		"no id":                with("sub", "user:"),
		"a person as job":      with("sub", "job:psn_1"),
		"two kinds":            with("sub", "user:sp:spn_1"),
		"space":                with("sub", "user: psn_1"),
		"sid is no text":       with("sid", []string{"lgn_1"}),
		"sid is empty":         with("sid", ""),
		"sid is nothing":       with("sid", nil),
		"nobody of the id":     with("sub", "user:psn_2"),
		"unknown principal":    with("sub", "sp:spn_2"),
		"attached as a number": with("carnet_attachment", 1),
		"attached to nothing":  with("carnet_attachment", ""),
		"a list of nodes":      with("carnet_node", []string{"nod_1"}),
		"a cluster of null":    with("carnet_cluster", nil),
	} {
		w := newOwn(t)
		_, err := w.service().AssumeRoleWithWebIdentity(t.Context(), w.request(t, claims))
		if f := fault.Of(err); err == nil || f.Code != "AccessDenied" || f.Public != "Not authorized to perform sts:AssumeRoleWithWebIdentity" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOwnTokensOfWhoIsSwitchedOff: the flag holds even where no revocation came.
func TestOwnTokensOfWhoIsSwitchedOff(t *testing.T) {
	t.Parallel()
	for off, claims := range map[string]map[string]any{"psn_1": ofPerson, "spn_1": ofPrincipal, "dlg_1": ofJob} {
		w := newOwn(t)
		w.own = &own{off: off}
		if _, err := w.service().AssumeRoleWithWebIdentity(t.Context(), w.request(t, claims)); fault.Of(err) == nil || fault.Of(err).Code != "AccessDenied" {
			t.Errorf("%s: %v", off, err)
		}
	}
	w := newOwn(t)
	w.own = &own{off: "psn_1"}
	if _, err := w.service().AssumeRoleWithWebIdentity(t.Context(), w.request(t, ofJob)); err == nil {
		t.Error("a job goes on for a person who is switched off")
	}
	w.own = &own{away: fault.New(fault.Unavailable, "the database is away")}
	if _, err := w.service().AssumeRoleWithWebIdentity(t.Context(), w.request(t, ofPerson)); !errors.Is(err, fault.New(fault.Unavailable, "")) {
		t.Errorf("away: %v", err)
	}
	w = newOwn(t)
	w.epochErr = fault.New(fault.Unavailable, "the view is not confirmed")
	if _, err := w.service().AssumeRoleWithWebIdentity(t.Context(), w.request(t, ofPerson)); !errors.Is(err, fault.New(fault.Unavailable, "")) {
		t.Errorf("an old view says yes: %v", err)
	}
}

// TestAttackForeignIssuerNamesOurPerson: another issuer's token may say what ours
// say; its keys belong to nobody here.
func TestAttackForeignIssuerNamesOurPerson(t *testing.T) {
	t.Parallel()
	const foreign = "https://other.example"
	w := newOwn(t)
	w.sets[foreign] = keySet(t, w.key)
	w.state.OIDCProviders = append(w.state.OIDCProviders, iam.OIDCProviderRecord{Account: "111122223333", URL: foreign, ClientIDs: []string{"sts.amazonaws.com"}})
	w.state.Roles[1].Trust.Document = strings.ReplaceAll(onlyWeb, oidcARN, "arn:aws:iam::111122223333:oidc-provider/other.example")
	w.revoked["person psn_1"] = 40
	out, err := w.service().AssumeRoleWithWebIdentity(t.Context(), w.request(t, map[string]any{"iss": foreign, "sub": "user:psn_1", "sid": "lgn_1", "carnet_epoch": 40}))
	if err != nil {
		t.Fatal(err)
	}
	if c := opened(t, out.Credentials.AccessKeyID, out.Credentials.SessionToken); c.Person != "" || c.LoginSession != "" {
		t.Errorf("%+v", c)
	}
}

// TestAttackAccessTokenAsWebIdentity: what our issuer signs for our own API, or to
// tell of a logout, is no ID token, whatever else it says (RFC 9068, section 5).
func TestAttackAccessTokenAsWebIdentity(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{"at+jwt", "AT+JWT", "application/at+jwt", "logout+jwt", "token-exchange+jwt"} {
		w := newOwn(t)
		r := w.request(t, nil)
		r.Token = secret.New(w.key.Sign(t, map[string]any{"typ": typ}, webClaims(ofPerson)))
		if _, err := w.service().AssumeRoleWithWebIdentity(t.Context(), r); err == nil || fault.Of(err).Code != "InvalidIdentityToken" {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

// TestBrokerAndTokenAgree: a token that the broker brings is that of whom it asks
// for.
func TestBrokerAndTokenAgree(t *testing.T) {
	t.Parallel()
	for said, want := range map[sts.OwnSubject]bool{
		{}:                                       true,
		{Person: "psn_1", LoginSession: "lgn_1"}: true,
		{Person: "psn_2"}:                        false,
		{Person: "psn_1", LoginSession: "lgn_2"}: false,
	} {
		w := newOwn(t)
		r := w.request(t, ofPerson)
		r.Caller.OwnSubject = said
		if _, err := w.service().AssumeRoleWithWebIdentity(t.Context(), r); (err == nil) != want {
			t.Errorf("%+v: %v", said, err)
		}
	}
}
