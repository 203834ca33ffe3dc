package workload_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/workload"
)

const (
	claimRoles  = "https://aws.amazon.com/roles"
	claimTags   = "https://aws.amazon.com/tags"
	claimSource = "https://aws.amazon.com/source_identity"
)

// TestTokenOfServicePrincipal: for AWS one role and five minutes, for another
// audience no role.
func TestTokenOfServicePrincipal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who := workload.Principal{ServicePrincipal: w.sp.ID}
	m, err := w.ask(who, workload.Ask{Audience: issuer.AudienceAWS, Role: pipeline, Detail: map[string]string{"grant": "client_credentials"}})
	w.must(err)
	c := w.read(m, issuer.AudienceAWS)
	roles, _ := c.All()[claimRoles].(string)
	if c.Subject != "sp:"+string(w.sp.ID) || roles != pipeline || c.Expires.Sub(c.IssuedAt) != issuer.ForAWS || c.All()[claimSource] != nil || c.All()[claimTags] != nil {
		t.Errorf("%v", c.All())
	}
	if epoch, ok := issuer.EpochOf(c); !ok || epoch == 0 {
		t.Error("the token carries no epoch")
	}
	e := w.trail.last()
	if e.Action != "id-token" || e.Outcome != "done" || e.Role != pipeline || e.Account != "111122223333" || e.Target != c.Subject ||
		e.Detail["token"] != c.ID || e.Detail["grant"] != "client_credentials" || e.Detail["audience"] != issuer.AudienceAWS {
		t.Errorf("%+v", e)
	}
	m, err = w.ask(who, workload.Ask{Audience: listed})
	w.must(err)
	if c := w.read(m, listed); c.All()[claimRoles] != nil || c.Expires.Sub(c.IssuedAt) != issuer.Standard {
		t.Errorf("%v", c.All())
	}
}

// TestTokenRefusals: what nobody gets, each with its record where the caller was
// proven.
func TestTokenRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who := workload.Principal{ServicePrincipal: w.sp.ID}
	for name, c := range map[string]struct {
		who  workload.Principal
		ask  workload.Ask
		code string
	}{
		"no role":                      {who, workload.Ask{Audience: issuer.AudienceAWS}, workload.CodeParam},
		"no ARN":                       {who, workload.Ask{Audience: issuer.AudienceAWS, Role: "pipeline"}, workload.CodeParam},
		"a pattern":                    {who, workload.Ask{Audience: issuer.AudienceAWS, Role: "arn:aws:iam::111122223333:role/*"}, workload.CodeParam},
		"two roles":                    {who, workload.Ask{Audience: issuer.AudienceAWS, Role: pipeline + ";" + analyst}, workload.CodeTarget},
		"a role that it doesn't hold":  {who, workload.Ask{Audience: issuer.AudienceAWS, Role: analyst}, workload.CodeTarget},
		"an account that takes SAML":   {who, workload.Ask{Audience: issuer.AudienceAWS, Role: samlOnly}, workload.CodeTarget},
		"another partition":            {who, workload.Ask{Audience: issuer.AudienceAWS, Role: "arn:aws-cn:iam::111122223333:role/pipeline"}, workload.CodeTarget},
		"an audience that none listed": {who, workload.Ask{Audience: "https://evil.example"}, workload.CodeTarget},
		"no audience":                  {who, workload.Ask{}, workload.CodeTarget},
		"our own API":                  {who, workload.Ask{Audience: base + "/api"}, workload.CodeTarget},
		"a role for another audience":  {who, workload.Ask{Audience: listed, Role: pipeline}, workload.CodeParam},
		"nobody":                       {workload.Principal{}, workload.Ask{Audience: listed}, workload.CodeGrant},
		"nobody, for AWS":              {workload.Principal{}, workload.Ask{Audience: issuer.AudienceAWS, Role: pipeline}, workload.CodeGrant},
		"one that is gone":             {workload.Principal{ServicePrincipal: "spn_none"}, workload.Ask{Audience: listed}, workload.CodeGrant},
		"a proof that has ended":       {who, workload.Ask{Audience: listed, NotAfter: w.Now()}, workload.CodeGrant},
	} {
		w.trail.events = nil
		m, err := w.ask(c.who, c.ask)
		if code(err) != c.code || !m.Token.IsZero() {
			t.Errorf("%s: %v", name, err)
		}
		if e := w.trail.last(); fault.KindOf(err) == fault.Denied && c.code != "" && fault.Of(err).Mend != "" && e.Outcome == "done" {
			t.Errorf("%s: recorded as %+v", name, e)
		}
	}
	// The ARN of one role may look like those of two.
	w.must(w.dir.MapRole(t.Context(), string(w.sp.ID), role(pipeline+";"+analyst), directory.FromAdmin, ""))
	if m, err := w.ask(who, workload.Ask{Audience: issuer.AudienceAWS, Role: pipeline + ";" + analyst}); fault.KindOf(err) != fault.Invalid || !m.Token.IsZero() {
		t.Errorf("a role whose path holds another role: %v", err)
	}
	w.trail.broken = true
	if m, err := w.ask(who, workload.Ask{Audience: listed}); err == nil || !m.Token.IsZero() {
		t.Error("a token without a record")
	}
}

// TestTokenNeverOutlivesItsProof: not by a second.
func TestTokenNeverOutlivesItsProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who := workload.Principal{ServicePrincipal: w.sp.ID}
	for _, left := range []time.Duration{time.Second, 90 * time.Second, 5 * time.Minute, time.Hour, 24 * time.Hour} {
		for audience, most := range map[string]time.Duration{issuer.AudienceAWS: issuer.ForAWS, listed: issuer.Standard} {
			w.pass(700 * time.Millisecond)
			a := workload.Ask{Audience: audience, NotAfter: w.Now().Add(left)}
			if audience == issuer.AudienceAWS {
				a.Role = pipeline
			}
			m, err := w.ask(who, a)
			if err != nil || m.Expires.After(a.NotAfter) || m.Expires.Sub(m.Issued) > most {
				t.Errorf("%s, %s left: ends %s, proof %s, %v", audience, left, m.Expires, a.NotAfter, err)
			}
		}
	}
}

// TestTokenOfAPerson: by a policy a person has what an administrator stored, and
// nothing that a sign-in brought.
func TestTokenOfAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who := workload.Principal{Person: w.alice.ID, IdP: okta}
	a := workload.Ask{Audience: issuer.AudienceAWS, Role: analyst}
	_, err := w.dir.SyncRoles(t.Context(), directory.Sync{Person: w.alice.ID, IdP: okta, Subject: "subject-of-alice", Issued: w.Now(), Roles: []arn.Role{role(analyst)},
		Within: func(arn.Role) bool { return true }, Origin: directory.FromSAML})
	w.must(err)
	if _, err := w.ask(who, a); code(err) != workload.CodeTarget {
		t.Errorf("a role of a sign-in: %v", err)
	}
	w.must(w.dir.MapRole(t.Context(), string(w.alice.ID), role(analyst), directory.FromAdmin, ""))
	m, err := w.ask(who, a)
	w.must(err)
	if c := w.read(m, issuer.AudienceAWS); c.Subject != "user:"+string(w.alice.ID) || c.All()["sid"] != nil {
		t.Errorf("%v", c.All())
	}
	w.idps[okta].IdP.RolePatterns = []string{"arn:aws:iam::111122223333:role/other"}
	if _, err := w.ask(who, a); code(err) != workload.CodeTarget {
		t.Errorf("beyond the identity provider's list: %v", err)
	}
}

// TestDelegation: made in a login session, used by its service principal for its
// one role, under the person's name.
func TestDelegation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.delegation()
	if e := w.trail.last(); e.Action != "delegation.add" || e.LoginSession != "lgn_alice" || e.Detail["label"] != "nightly report" {
		t.Errorf("%+v", e)
	}
	who := workload.Principal{ServicePrincipal: w.sp.ID, Delegation: d.ID}
	for _, asked := range []string{"", analyst} {
		m, err := w.ask(who, workload.Ask{Audience: issuer.AudienceAWS, Role: asked})
		w.must(err)
		c := w.read(m, issuer.AudienceAWS)
		tags := map[string]any{"principal_tags": map[string]any{workload.TagPerson: []any{"alice@example.com"}, workload.TagDelegation: []any{string(d.ID)}}}
		if c.Subject != "job:"+string(d.ID) || c.All()[claimRoles] != analyst || c.All()[claimSource] != "alice@example.com" || !cmp.Equal(c.All()[claimTags], any(tags)) {
			t.Errorf("%v", c.All())
		}
	}
	if e := w.trail.last(); e.Person != w.alice.ID || e.UserName != "alice@example.com" || e.Target != "job:"+string(d.ID) ||
		e.Detail["service_principal"] != string(w.sp.ID) || e.Detail["sign_in"] != "lgn_alice" {
		t.Errorf("%+v", e)
	}
	for name, a := range map[string]workload.Ask{
		"another role":     {Audience: issuer.AudienceAWS, Role: pipeline},
		"another audience": {Audience: listed},
	} {
		if _, err := w.ask(who, a); code(err) != workload.CodeTarget {
			t.Errorf("%s: %v", name, err)
		}
	}
	all, err := w.List(t.Context(), workload.Of{Person: w.alice.ID})
	if diff := cmp.Diff([]workload.Delegation{d}, all); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

// TestDelegationWithoutNames: an account that sends neither gets neither.
func TestDelegationWithoutNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.Accounts["111122223333"]
	a.Tags, a.SourceIdentity = false, false
	w.Accounts["111122223333"] = a
	m, err := w.ask(workload.Principal{ServicePrincipal: w.sp.ID, Delegation: w.delegation().ID}, workload.Ask{Audience: issuer.AudienceAWS})
	w.must(err)
	if c := w.read(m, issuer.AudienceAWS); c.All()[claimSource] != nil || c.All()[claimTags] != nil {
		t.Errorf("%v", c.All())
	}
}

// TestAttackDelegations: one test per clause of design 4.6: each thing that a
// delegation rests on, taken away, ends it at the next use.
func TestAttackDelegations(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		away func(w *world, d *workload.Delegation, who *workload.Principal)
		back func(w *world) // nil: it does not come back
	}{
		"revoked by the person": {func(w *world, d *workload.Delegation, _ *workload.Principal) {
			w.must(w.EndOwn(w.t.Context(), w.session(), d.ID))
		}, nil},
		"revoked by an administrator": {func(w *world, d *workload.Delegation, _ *workload.Principal) {
			if done, err := w.Mark(w.t.Context(), d.ID); err != nil || !done {
				w.t.Error(done, err)
			}
		}, nil},
		"revoked in the feed alone": {func(w *world, d *workload.Delegation, _ *workload.Principal) {
			_, err := w.feed.Revoke(w.t.Context(), revocation.Delegation, string(d.ID))
			w.must(err)
		}, nil},
		"its person was revoked": {func(w *world, _ *workload.Delegation, _ *workload.Principal) {
			w.must(w.feed.RevokePeople(w.t.Context(), []identity.PersonID{w.alice.ID}))
		}, nil},
		"everything was revoked": {func(w *world, _ *workload.Delegation, _ *workload.Principal) {
			_, err := w.feed.Revoke(w.t.Context(), revocation.Everything, revocation.Everything)
			w.must(err)
		}, nil},
		"ended with the others": {func(w *world, _ *workload.Delegation, _ *workload.Principal) {
			w.must(w.EndAll(w.t.Context(), workload.Of{Person: w.alice.ID}))
		}, nil},
		"over": {func(w *world, d *workload.Delegation, _ *workload.Principal) { w.pass(d.Expires.Sub(w.Now())) }, nil},
		"person switched off": {func(w *world, _ *workload.Delegation, _ *workload.Principal) {
			w.must(w.dir.SetActive(w.t.Context(), w.alice.ID, false))
		}, func(w *world) { w.must(w.dir.SetActive(w.t.Context(), w.alice.ID, true)) }},
		"person deleted": {func(w *world, _ *workload.Delegation, _ *workload.Principal) {
			w.must(w.dir.People.Delete(w.t.Context(), w.alice.ID))
		}, nil},
		"entitlement removed": {func(w *world, _ *workload.Delegation, _ *workload.Principal) {
			w.last.roles[w.alice.ID] = []string{pipeline}
		},
			func(w *world) { w.last.roles[w.alice.ID] = []string{analyst} }},
		"identity provider off": {func(w *world, _ *workload.Delegation, _ *workload.Principal) { delete(w.idps, okta) }, nil},
		"role not on its list any more": {func(w *world, _ *workload.Delegation, _ *workload.Principal) {
			w.idps[okta].IdP.Accounts = []string{"444455556666"}
		}, func(w *world) { w.idps[okta].IdP.Accounts = []string{"111122223333"} }},
		"person's domain not on its list any more": {func(w *world, _ *workload.Delegation, _ *workload.Principal) {
			w.idps[okta].IdP.UserNameDomains = nil
		}, nil},
		"service principal switched off": {func(w *world, _ *workload.Delegation, _ *workload.Principal) {
			w.must(w.dir.SetServicePrincipalActive(w.t.Context(), w.sp.ID, false))
		}, func(w *world) { w.must(w.dir.SetServicePrincipalActive(w.t.Context(), w.sp.ID, true)) }},
		"account takes no web identity any more": {func(w *world, _ *workload.Delegation, _ *workload.Principal) {
			a := w.Accounts["111122223333"]
			a.WebIdentity = false
			w.Accounts["111122223333"] = a
		}, nil},
		"another service principal uses it": {func(w *world, _ *workload.Delegation, who *workload.Principal) {
			other, err := w.dir.NewServicePrincipal(w.t.Context(), "other", "")
			w.must(err)
			who.ServicePrincipal = other.ID
		}, nil},
		"nobody uses it":     {func(_ *world, _ *workload.Delegation, who *workload.Principal) { who.ServicePrincipal = "" }, nil},
		"a made-up one":      {func(_ *world, _ *workload.Delegation, who *workload.Principal) { who.Delegation = "dlg_none" }, nil},
		"nobody to be asked": {func(w *world, _ *workload.Delegation, _ *workload.Principal) { w.Entitled = nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			d := w.delegation()
			who := workload.Principal{ServicePrincipal: w.sp.ID, Delegation: d.ID}
			a := workload.Ask{Audience: issuer.AudienceAWS}
			m, err := w.ask(who, a)
			w.must(err)
			was := who
			c.away(w, &d, &who)
			w.pass(2 * time.Second)
			if m, err := w.ask(who, a); fault.KindOf(err) != fault.Denied || !slices.Contains([]string{workload.CodeGrant, workload.CodeTarget}, code(err)) || !m.Token.IsZero() {
				t.Errorf("used: %v", err)
			}
			if e := w.trail.last(); e.Action != "id-token" || e.Outcome != "denied" || e.Target != who.Subject() {
				t.Errorf("recorded as %+v", e)
			}
			if c.back != nil {
				c.back(w)
				if _, err := w.ask(was, a); err != nil {
					t.Errorf("given back: %v", err)
				}
			}
			_ = m
		})
	}
}

// TestRevokedPersonsDelegationsStayRevoked: the feed forgets after eight days; a
// delegation, which lives longer, does not come back then.
func TestRevokedPersonsDelegationsStayRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.delegation()
	w.must(w.feed.RevokePeople(t.Context(), []identity.PersonID{w.alice.ID}))
	w.pass(2 * time.Second)
	w.must(w.Tend(t.Context()))
	for range 10 {
		w.pass(24 * time.Hour)
	}
	if refused, err := w.feed.Refused(revocation.Person, string(w.alice.ID), d.Epoch); err != nil || refused {
		t.Fatalf("the feed still knows: %v, %v", refused, err)
	}
	if _, err := w.ask(workload.Principal{ServicePrincipal: w.sp.ID, Delegation: d.ID}, workload.Ask{Audience: issuer.AudienceAWS}); code(err) != workload.CodeGrant {
		t.Errorf("%v", err)
	}
	for range 120 {
		w.pass(24 * time.Hour)
	}
	w.must(w.Tend(t.Context()))
	if all, err := w.List(t.Context(), workload.Of{}); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// TestWhoMayDelegate: the person, in their own login session, a role that they
// hold there.
func TestWhoMayDelegate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.last.roles[w.alice.ID] = []string{analyst, samlOnly}
	failed := held(pipeline)
	failed.State = login.RoleFailed
	second := held(samlOnly)
	l := w.session(held(analyst), failed, second)
	good := workload.NewDelegation{Role: analyst, ServicePrincipal: string(w.sp.ID), Label: "x"}
	for name, c := range map[string]struct {
		session login.LoginSession
		change  func(*workload.NewDelegation)
		code    string
	}{
		"as it should be":           {l, func(*workload.NewDelegation) {}, ""},
		"by account and name":       {w.session(held(analyst)), func(n *workload.NewDelegation) { n.Role = "analytics/analyst" }, ""},
		"a set-up link":             {login.LoginSession{ID: "lgn_x", Roles: l.Roles}, func(*workload.NewDelegation) {}, "delegation.nobody"},
		"a name of two roles":       {l, func(n *workload.NewDelegation) { n.Role = "analyst" }, "role.ambiguous"},
		"a role that was refused":   {l, func(n *workload.NewDelegation) { n.Role = pipeline }, "role.failed"},
		"a role of somebody else":   {l, func(n *workload.NewDelegation) { n.Role = "arn:aws:iam::111122223333:role/admin" }, "role.unheld"},
		"no role":                   {l, func(n *workload.NewDelegation) { n.Role = "" }, "role.choose"},
		"without roles":             {w.session(), func(*workload.NewDelegation) {}, "role.none"},
		"an account for SAML alone": {l, func(n *workload.NewDelegation) { n.Role = samlOnly }, workload.CodeTarget},
		"to nobody":                 {l, func(n *workload.NewDelegation) { n.ServicePrincipal = "" }, "delegation.service-principal"},
		"to somebody unknown":       {l, func(n *workload.NewDelegation) { n.ServicePrincipal = "spn_none" }, "delegation.service-principal"},
		"without a label":           {l, func(n *workload.NewDelegation) { n.Label = "" }, "delegation.label"},
		"a label with an escape":    {l, func(n *workload.NewDelegation) { n.Label = "a\x1b[31m" }, "delegation.label"},
		"for two years":             {l, func(n *workload.NewDelegation) { n.Lifetime = 2 * workload.LongestDelegation }, "delegation.lifetime"},
		"backwards":                 {l, func(n *workload.NewDelegation) { n.Lifetime = -time.Hour }, "delegation.lifetime"},
	} {
		n := good
		c.change(&n)
		if d, err := w.Delegate(t.Context(), c.session, n); code(err) != c.code || err == nil && d.Expires.Sub(w.Now()) > workload.DefaultDelegation {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	all, err := w.List(t.Context(), workload.Of{Person: w.alice.ID})
	w.must(err)
	for _, id := range []identity.PersonID{"psn_bob", ""} {
		other := w.session()
		other.Person.ID = id
		if err := w.EndOwn(t.Context(), other, all[0].ID); fault.KindOf(err) != fault.NotFound {
			t.Errorf("ended by %q: %v", id, err)
		}
		if seen, err := w.Own(t.Context(), other); err != nil || len(seen) != 0 {
			t.Errorf("seen by %q: %v, %v", id, seen, err)
		}
	}
	if seen, err := w.Own(t.Context(), l); err != nil || len(seen) != len(all) || seen[0].MachineName != "nightly" {
		t.Errorf("%+v, %v", seen, err)
	}
	for len(all) < workload.MostDelegations {
		_, err := w.Delegate(t.Context(), l, good)
		w.must(err)
		all = append(all, workload.Delegation{})
	}
	if _, err := w.Delegate(t.Context(), l, good); code(err) != "delegation.most" {
		t.Errorf("one too many: %v", err)
	}
	if err := w.End(t.Context(), "dlg_none"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an administrator ended nothing: %v", err)
	}
	if err := w.End(t.Context(), all[0].ID); err != nil {
		t.Errorf("ended by an administrator: %v", err)
	}
	if d, err := w.Delegation(t.Context(), all[0].ID); err != nil || d.Revoked.IsZero() {
		t.Errorf("it stands: %+v, %v", d, err)
	}
	if _, err := w.Delegate(t.Context(), l, good); err != nil {
		t.Errorf("in the place of one that ended: %v", err)
	}
}
