package web_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/web"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/oauth"
	"carnet.dev/carnet/internal/service/workload"
)

// machinery stands for issuers, clients, machines, policies and delegations. It
// keeps what pages rely on: an id ends one thing, and only its owner's.
type machinery struct {
	mu          sync.Mutex
	url         string
	halted      error
	away        error // of the database
	rotated     []string
	keys        []issuer.Key
	clients     []oauth.Client
	credentials []oauth.Credential
	machines    []directory.ServicePrincipal
	policies    []workload.FederationPolicy
	delegations []workload.Delegation
}

var (
	_ web.Issuers     = (*issuer.Service)(nil)
	_ web.Clients     = (*oauth.Service)(nil)
	_ web.Machines    = directory.ServicePrincipals(nil)
	_ web.Policies    = (*workload.Service)(nil)
	_ web.Delegations = (*workload.Service)(nil)
)

func (m *machinery) URL(l issuer.Level) string {
	if l == issuer.Account {
		return m.url + "/oidc/accounts/6b1f7b0e-8a53-4c5c-9d0a-1f2e3d4c5b6a"
	}
	return m.url + "/oidc"
}

func (m *machinery) Registered() issuer.Level { return issuer.Workspace }
func (m *machinery) Keys() []issuer.Key       { return m.keys }
func (m *machinery) Halted() error            { return m.halted }

func (m *machinery) Rotate(_ context.Context, l issuer.Level, algorithm string, how issuer.Rotation) (issuer.Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Contains(issuer.Levels(), l) || !slices.Contains(issuer.Algorithms(), algorithm) {
		return issuer.Key{}, fault.New(fault.Invalid, "there is no such key of the issuer")
	}
	word := string(l) + " " + algorithm
	if how.Drop {
		word += " drop"
	}
	m.rotated = append(m.rotated, word)
	return issuer.Key{}, nil
}

func (m *machinery) List() []oauth.Client { return m.clients }

func (m *machinery) CredentialsOf(client string) (all []oauth.Credential) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.credentials {
		if k.Client == client {
			all = append(all, k)
		}
	}
	return all
}

func (m *machinery) SetEnabled(_ context.Context, id string, on bool) (oauth.Client, error) {
	for i := range m.clients {
		if m.clients[i].ID == id {
			m.clients[i].Enabled = on
			return m.clients[i], nil
		}
	}
	return oauth.Client{}, fault.New(fault.NotFound, "there is no client")
}

func (m *machinery) AddSecret(_ context.Context, client, owner string, life time.Duration) (secret.Text, oauth.Credential, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if owner == "" {
		return secret.Text{}, oauth.Credential{}, fault.New(fault.Invalid, "a credential has an owner").WithMend("say who answers for it")
	}
	k := oauth.Credential{ID: "crd_new", Client: client, Kind: oauth.SecretCredential, Owner: owner, Created: time.Now(), Expires: time.Now().Add(life)}
	m.credentials = append(m.credentials, k)
	return secret.New("carnet_s_only-once"), k, nil
}

func (m *machinery) RemoveCredential(_ context.Context, client string, id identity.CredentialID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.credentials)
	m.credentials = slices.DeleteFunc(m.credentials, func(k oauth.Credential) bool { return k.ID == id && k.Client == client })
	if len(m.credentials) == n {
		return fault.New(fault.NotFound, "there is no such credential")
	}
	return nil
}

func (m *machinery) ServicePrincipals(context.Context) ([]directory.ServicePrincipal, error) {
	return m.machines, m.away
}

// policies and delegations of the machinery; both have a List or Remove.
type (
	policies    struct{ *machinery }
	delegations struct{ *machinery }
)

func (p policies) All() []workload.FederationPolicy { return p.policies }

func (p policies) Remove(_ context.Context, id identity.FederationPolicyID) error {
	n := len(p.policies)
	p.policies = slices.DeleteFunc(p.policies, func(f workload.FederationPolicy) bool { return f.ID == id })
	if len(p.policies) == n {
		return fault.New(fault.NotFound, "there is no such federation policy")
	}
	p.machinery.policies = p.policies
	return nil
}

func (d delegations) ListNamed(_ context.Context, of workload.Of) (all []workload.Listed, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range d.delegations {
		if of.Person == "" || of.Person == x.Person {
			all = append(all, d.listed(x))
		}
	}
	return all, d.away
}

func (d delegations) listed(x workload.Delegation) workload.Listed {
	out := workload.Listed{Delegation: x, State: workload.Active, MachineName: "etl", ClusterName: string(x.Cluster)}
	if x.Cluster != "" {
		out.MachineName = ""
	}
	switch {
	case !x.Revoked.IsZero():
		out.State = workload.Revoked
	case x.Stands(time.Now()) != nil:
		out.State = workload.Ended
	}
	return out
}

func (d delegations) Delegate(_ context.Context, s login.LoginSession, n workload.NewDelegation) (workload.Listed, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	held, err := s.Role(n.Role)
	if err != nil {
		return workload.Listed{}, err
	}
	if n.ServicePrincipal != "etl" && n.Cluster != "notebooks" {
		return workload.Listed{}, fault.Coded(fault.NotFound, "delegation.service-principal", "no service principal is called \""+n.ServicePrincipal+"\"").WithMend("ask an administrator for its id (spn_…)")
	}
	x := workload.Delegation{ID: "dlg_new", Person: s.Person.ID, Role: held.Role, ServicePrincipal: identity.ServicePrincipalID(n.ServicePrincipal), Cluster: identity.ClusterID(n.Cluster), Label: n.Label, Created: time.Now(),
		Expires: time.Now().Add(n.Lifetime), Evidence: workload.Evidence{UserName: s.Person.UserName}}
	d.machinery.delegations = append(d.machinery.delegations, x)
	return d.listed(x), nil
}

func (d delegations) EndOwn(_ context.Context, s login.LoginSession, id identity.DelegationID) error {
	return d.end(id, func(x workload.Delegation) bool { return x.Person == s.Person.ID })
}

func (d delegations) End(_ context.Context, id identity.DelegationID) error {
	return d.end(id, func(workload.Delegation) bool { return true })
}

func (d delegations) end(id identity.DelegationID, may func(workload.Delegation) bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.machinery.delegations {
		if x := &d.machinery.delegations[i]; x.ID == id && may(*x) {
			x.Revoked = time.Now()
			return nil
		}
	}
	return fault.Coded(fault.NotFound, "delegation.unknown", "there is no such delegation")
}

// filled is machinery with something of everything.
func filled() *machinery {
	now := time.Now()
	key := func(id, algorithm string, l issuer.Level, st issuer.State) issuer.Key {
		return issuer.Key{State: st, Row: issuer.Row{ID: id, Level: l, Algorithm: algorithm, PublishedFrom: now.Add(-time.Hour), UsedFrom: now.Add(23 * time.Hour),
			RetiredFrom: now.Add(48 * time.Hour), GoneAfter: now.Add(72 * time.Hour)}}
	}
	m := &machinery{
		keys: []issuer.Key{
			key("q1wEu3n0ZkQxq7o2yVtYb8cJ5hG4fD6sA9pL0mKj1nI", "RS256", issuer.Workspace, issuer.Retired),
			key("w2Rk8n0ZkQxq7o2yVtYb8cJ5hG4fD6sA9pL0mKj1nIo", "RS256", issuer.Workspace, issuer.Used),
			key("e3Tt5n0ZkQxq7o2yVtYb8cJ5hG4fD6sA9pL0mKj1nIo", "RS256", issuer.Workspace, issuer.Published),
			key("r4Yi9n0ZkQxq7o2yVtYb8cJ5hG4fD6sA9pL0mKj1nIo", "ES256", issuer.Workspace, issuer.Used),
			key("gone-n0ZkQxq7o2yVtYb8cJ5hG4fD6sA9pL0mKj1nIo", "ES256", issuer.Workspace, issuer.Gone),
			key("t5Uo0n0ZkQxq7o2yVtYb8cJ5hG4fD6sA9pL0mKj1nIo", "RS256", issuer.Account, issuer.Used),
		},
		clients: []oauth.Client{
			{ID: "oac_dashboard", Name: "Dashboard <internal>", Owner: "data platform", RedirectURIs: []string{"https://dashboard.example.com/oauth2/callback/with/a/rather/long/path"},
				Grants: []string{oauth.GrantCode, oauth.GrantRefresh, oauth.GrantDevice}, Scopes: oauth.ScopeNames(), Audiences: []string{"https://lake.example.com"}, Trusted: true, ResourceServer: true, Enabled: true},
			{ID: "oac_cli", Name: "Data CLI", Public: true, Trusted: true, RedirectURIs: []string{"http://127.0.0.1/callback"}, Grants: []string{oauth.GrantCode, oauth.GrantDevice}, Scopes: []string{oauth.ScopeOpenID}, Enabled: false},
		},
		credentials: []oauth.Credential{
			{ID: "crd_old", Client: "oac_dashboard", Kind: oauth.SecretCredential, Owner: "alice@example.com", Created: now.Add(-9000 * time.Hour), Expires: now.Add(-time.Hour), LastUsed: now.Add(-50 * time.Hour)},
			{ID: "crd_soon", Client: "oac_dashboard", Kind: oauth.SecretCredential, Owner: "alice@example.com", Created: now, Expires: now.Add(9*24*time.Hour + time.Hour), LastUsed: now.Add(-2 * time.Hour)},
			{ID: "crd_key", Client: "spn_etl", Kind: oauth.KeyCredential, Owner: "data platform", Created: now},
		},
		machines: []directory.ServicePrincipal{{ID: "spn_etl", Name: "etl", Active: true}, {ID: "spn_ci", Name: "continuous-integration", Active: false}},
		policies: []workload.FederationPolicy{
			{ID: "fpl_gh", Name: "GitHub deploys", Issuer: "https://token.actions.githubusercontent.com", Audiences: []string{"https://carnet.example.com/oidc"}, Subject: "repo:example/warehouse-of-the-data-platform:environment:production", SubjectClaim: "sub", ServicePrincipal: "spn_ci"},
			{ID: "fpl_people", Name: "People of the other Carnet", Issuer: "https://carnet.other.example.com/oidc/accounts/0b1f7b0e-8a53-4c5c-9d0a-1f2e3d4c5b6a", SubjectClaim: "oid", IdP: "idp_dev", JWKSURL: "https://carnet.other.example.com/keys.json"},
			{ID: "fpl_k8s", Name: "Cluster", Issuer: "https://kubernetes.default.svc", Subject: "system:serviceaccount:data:etl", SubjectClaim: "sub", ServicePrincipal: "spn_etl", JWKS: []byte("{}")},
		},
	}
	give := func(id, label string, person identity.PersonID, expires time.Duration) workload.Delegation {
		return workload.Delegation{ID: identity.DelegationID(id), Person: person, Role: role("111122223333", "analyst"), ServicePrincipal: "spn_etl", Label: label,
			Created: now.Add(-time.Hour), Expires: now.Add(expires), Evidence: workload.Evidence{UserName: "alice@example.com"}}
	}
	over, revoked := give("dlg_over", "last year's report", "psn_x", -time.Hour), give("dlg_revoked", "a mistake", "psn_x", time.Hour)
	revoked.Revoked = now
	m.delegations = []workload.Delegation{over, revoked, give("dlg_mine", "nightly report", "psn_x", 20*24*time.Hour+time.Minute), give("dlg_soon", "backfill <2026>", "psn_x", 30*time.Hour), give("dlg_other", "somebody else's", "psn_y", 99*24*time.Hour)}
	return m
}

// filledOIDC is what the configuration says in these tests.
func filledOIDC() web.OIDC {
	return web.OIDC{Published: "the bucket keys of upstream world", Audiences: []string{"https://lake.example.com"},
		WebIdentity: []web.Account{{ID: "111122223333", Name: "analytics"}, {ID: "444455556666", Name: "engineering"}},
		Bridges:     []web.Bridge{{Account: web.Account{ID: "111122223333", Name: "analytics"}, Cap: 12 * time.Hour, AuthnContexts: []string{"urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken"}}}}
}

func fill(w *world) { w.machinery, w.oidc = filled(), filledOIDC() }

func TestOIDCFederationShowsEverything(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, fill)
	p := b.get(w.base + "/admin/oidc")
	contains(t, p, "OIDC federation", "<pre><code>"+w.base+"/oidc</code></pre>", "Registered at AWS", "Not for AWS", "/oidc/accounts/6b1f7b0e-8a53-4c5c-9d0a-1f2e3d4c5b6a",
		"IAM at AWS does not take this URL", "Signs", "Published", "it is used from", "Retired", "taken until", "w2Rk8n0ZkQxq7o2yVtYb8cJ5hG4fD6sA9pL0mKj1nIo",
		"the bucket keys of upstream world", "What stands there is ours", "sts.amazonaws.com, https://lake.example.com",
		"whoever holds Carnet&#39;s issuer key can then act as anyone", "12 h after the sign-in", "TimeSyncToken",
		"Dashboard &lt;internal&gt;", "Secret: Expired", "Secret: Ends in 9 days", "Public: it has no secret", "data platform",
		"etl", "continuous-integration", "1 credential", "1 federation policy",
		"GitHub deploys", "repo:example/warehouse", "People of <strong>Dev IdP</strong>", "<code>oid</code>", "from https://carnet.other.example.com/keys.json", "given with the policy", "found by discovery",
		"nightly report", "works as <strong>alice@example.com</strong>", "backfill &lt;2026&gt;", "Ends soon", "somebody else&#39;s", "Revoked", "Over")
	if strings.Contains(p.body, "/.well-known/") {
		t.Error("the page offers the discovery URL to copy")
	}
	if strings.Contains(p.body, "gone-n0Zk") {
		t.Error("a key that is gone is shown")
	}
}

func TestOIDCFederationWithNothing(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	contains(t, b.get(w.base+"/admin/oidc"), "None yet", "carnet client add", "Off for every account", "None stands", "read from this server", "only Carnet’s own")
	w.machinery.away = fault.New(fault.Unavailable, "the database doesn't answer")
	w.machinery.halted = fault.Coded(fault.Unavailable, issuer.CodeHalted, "a key that is not ours stands where the issuer's keys are published").WithMend("find out who wrote it")
	contains(t, b.get(w.base+"/admin/oidc"), "No tokens are made.", "A key that is not ours", "Find out who wrote it", "Service principals: the database", "Delegations: the database")
	contains(t, b.get(w.base+"/"), "Your delegations can’t be shown now", "The database doesn&#39;t answer")
}

func TestOIDCFederationIsForAdministrators(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fill)
	b := newBrowser(t)
	b.signIn(w, "/")
	if p := b.get(w.base + "/"); strings.Contains(p.body, "OIDC federation") {
		t.Error("a person sees the administrators' page in the navigation")
	}
	for _, path := range []string{"/admin/oidc", "/admin/oidc/clients/oac_dashboard"} {
		if p := b.get(w.base + path); p.status != 403 || strings.Contains(p.body, "Dashboard") {
			t.Errorf("GET %s: status %d", path, p.status)
		}
	}
	for _, path := range []string{"/admin/oidc/keys", "/admin/oidc/policies", "/admin/oidc/delegations", "/admin/oidc/clients/oac_dashboard"} {
		form := url.Values{"id": {"dlg_other"}, "act": {"rotate"}, "level": {"workspace"}, "algorithm": {"RS256"}}
		if p := b.post(w.base+path, form); p.status != 403 {
			t.Errorf("POST %s: status %d", path, p.status)
		}
	}
}

func TestKeysAreRotatedOnThePage(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, fill)
	for _, step := range []struct {
		form   url.Values
		status int
		to     string
	}{
		{url.Values{"act": {"rotate"}, "level": {"workspace"}, "algorithm": {"RS256"}}, 303, "/admin/oidc?done=issuer-rotate"},
		{url.Values{"act": {"drop"}, "level": {"account"}, "algorithm": {"ES256"}}, 400, ""},
		{url.Values{"act": {"drop"}, "level": {"account"}, "algorithm": {"ES256"}, "sure": {"yes"}}, 303, "/admin/oidc?done=issuer-drop"},
		{url.Values{"act": {"rotate"}, "level": {"moon"}, "algorithm": {"RS256"}}, 400, ""},
		{url.Values{"level": {"workspace"}, "algorithm": {"RS256"}}, 400, ""},
	} {
		if p := b.post(w.base+"/admin/oidc/keys", step.form); p.status != step.status || p.to() != step.to {
			t.Errorf("%v: status %d to %q", step.form, p.status, p.to())
		}
	}
	if got := strings.Join(w.machinery.rotated, ", "); got != "workspace RS256, account ES256 drop" {
		t.Errorf("rotated %s", got)
	}
	if p := b.post(w.base+"/admin/oidc/keys", url.Values{"act": {"rotate"}, "level": {"workspace"}, "algorithm": {"RS256"}}, "Sec-Fetch-Site", "cross-site"); p.status != 403 {
		t.Errorf("cross-site: status %d", p.status)
	}
	contains(t, b.get(w.base+"/admin/oidc?done=issuer-drop"), "refused from now on")
}

func TestAClientsSecretIsShownOnce(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, fill)
	page := w.base + "/admin/oidc/clients/oac_dashboard"
	contains(t, b.get(page), "Dashboard &lt;internal&gt;", "Confidential client", "https://dashboard.example.com/oauth2", "urn:ietf:params:oauth:grant-type:device_code", "Expired", "Ends in 9 days",
		"last used 2 days ago", "an administrator said yes for everybody")
	p := b.post(page, url.Values{"act": {"secret"}, "owner": {" "}, "days": {"90"}})
	contains(t, p, "A credential has an owner", "Say who answers for it")
	if p.status != 400 {
		t.Errorf("without an owner: status %d", p.status)
	}
	p = b.post(page, url.Values{"act": {"secret"}, "owner": {"bob@example.com"}, "days": {"90"}})
	contains(t, p, "The secret, this once", "carnet_s_only-once", "bob@example.com")
	if p.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the secret may be kept: %q", p.header.Get("Cache-Control"))
	}
	if p = b.get(page); strings.Contains(p.body, "carnet_s_only-once") {
		t.Error("the secret is shown twice")
	}
	w.mu.Lock()
	if strings.Contains(w.log.String(), "carnet_s_") {
		t.Error("the secret is in the log")
	}
	w.mu.Unlock()
	for _, form := range []url.Values{{"act": {"secret"}, "owner": {"x"}, "days": {"9999"}}, {"act": {"secret"}, "owner": {"x"}}, {}} {
		if p = b.post(page, form); p.status != 400 {
			t.Errorf("%v: status %d", form, p.status)
		}
	}
	if p = b.post(page, url.Values{"act": {"remove"}, "credential": {"crd_new"}}); p.to() != "/admin/oidc/clients/oac_dashboard?done=credential-removed" {
		t.Errorf("remove: status %d", p.status)
	}
	if p = b.post(page, url.Values{"act": {"remove"}, "credential": {"crd_key"}}); p.status != 404 {
		t.Errorf("another's credential: status %d", p.status)
	}
}

func TestAClientIsSwitched(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, fill)
	for _, act := range []string{"disable", "enable"} {
		p := b.post(w.base+"/admin/oidc/clients/oac_dashboard", url.Values{"act": {act}})
		if p.to() != "/admin/oidc/clients/oac_dashboard?done=client-"+act || w.machinery.clients[0].Enabled != (act == "enable") {
			t.Errorf("%s: to %q", act, p.to())
		}
	}
	contains(t, b.get(w.base+"/admin/oidc/clients/oac_cli"), "Public client", "where a secret could not be kept", "Any program on a person&#39;s machine can pass for this one")
	contains(t, b.get(w.base+"/admin/oidc/clients/spn_etl"), "Service principal", "Key", "without an end", "Make a secret")
	contains(t, b.get(w.base+"/admin/oidc/clients/spn_ci"), "A federation policy may prove it instead")
	for _, id := range []string{"oac_none", "spn_none", "x"} {
		if p := b.get(w.base + "/admin/oidc/clients/" + id); p.status != 404 {
			t.Errorf("%s: status %d", id, p.status)
		}
	}
	if p := b.post(w.base+"/admin/oidc/clients/spn_etl", url.Values{"act": {"disable"}}); p.status != 400 {
		t.Errorf("a service principal as a client: status %d", p.status)
	}
}

func TestPoliciesAndDelegationsEndOnThePage(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, fill)
	if p := b.post(w.base+"/admin/oidc/policies", url.Values{"id": {"fpl_gh"}}); p.to() != "/admin/oidc?done=policy-removed" || len(w.machinery.policies) != 2 {
		t.Errorf("policy: to %q", p.to())
	}
	if p := b.post(w.base+"/admin/oidc/policies", url.Values{"id": {"fpl_gh"}}); p.status != 404 {
		t.Errorf("again: status %d", p.status)
	}
	if p := b.post(w.base+"/admin/oidc/delegations", url.Values{"id": {"dlg_other"}}); p.to() != "/admin/oidc?done=delegation-revoked" || w.machinery.delegations[4].Revoked.IsZero() {
		t.Errorf("delegation: to %q", p.to())
	}
	contains(t, b.get(w.base+"/admin/oidc?done=delegation-revoked"), "has ended wherever Carnet decides")
}

func TestDelegationsOfMine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fill)
	b := newBrowser(t)
	b.signIn(w, "/")
	p := b.get(w.base + "/")
	contains(t, p, "While you are away", "nightly report", "<strong>etl</strong> may work as you in <code>analyst</code>", "20 days", "Ends soon", "a mistake", "Let it work as me")
	if strings.Contains(p.body, "somebody else") {
		t.Error("another person's delegation is shown")
	}
	arn := "arn:aws:iam::111122223333:role/analyst"
	form := url.Values{"label": {"<job> 7"}, "service_principal": {"nobody"}, "role": {arn}, "days": {"7"}}
	p = b.post(w.base+"/delegations", form)
	contains(t, p, "No service principal is called", "Ask an administrator for its id", `value="&lt;job&gt; 7"`, `value="nobody"`, `<option value="7" selected>`, "<details open>")
	if p.status != 404 {
		t.Errorf("refused with status %d", p.status)
	}
	form.Set("service_principal", "etl")
	if p = b.post(w.base+"/delegations", form); p.to() != "/?done=delegated#delegations" {
		t.Errorf("made: status %d to %q", p.status, p.to())
	}
	contains(t, b.get(w.base+"/?done=delegated"), "It may work as you now", "dlg_new")
	if p = b.get(w.base + "/?done=removed"); strings.Contains(p.body, "identity provider is removed") {
		t.Error("a link says that something was done elsewhere")
	}
	form.Set("cluster", "notebooks")
	if p = b.post(w.base+"/delegations", form); p.status != 400 || !strings.Contains(p.body, "Fill in one of the two") {
		t.Errorf("to both: status %d", p.status)
	}
	form.Del("service_principal")
	b.post(w.base+"/delegations", form)
	contains(t, b.get(w.base+"/"), "On cluster <strong>notebooks</strong> you may be attached while you are away, in <code>analyst</code>")
	form.Set("days", "400")
	if p = b.post(w.base+"/delegations", form); p.status != 400 {
		t.Errorf("too long: status %d", p.status)
	}
	if p = b.post(w.base+"/delegations/revoke", url.Values{"id": {"dlg_other"}}); p.status != 404 || !w.machinery.delegations[4].Revoked.IsZero() {
		t.Errorf("somebody else's: status %d", p.status)
	}
	if p = b.post(w.base+"/delegations/revoke", url.Values{"id": {"dlg_mine"}}); p.to() != "/?done=undelegated#delegations" {
		t.Errorf("revoked: status %d to %q", p.status, p.to())
	}
	for _, path := range []string{"/delegations", "/delegations/revoke"} {
		if p = b.post(w.base+path, form, "Sec-Fetch-Site", "cross-site"); p.status != 403 {
			t.Errorf("%s from another site: status %d", path, p.status)
		}
	}
}

// TestASetupLinkRevokesNobodysDelegation: whoever has no id has no delegations.
func TestASetupLinkRevokesNobodysDelegation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fill)
	b := newBrowser(t)
	b.post(w.base+"/setup", url.Values{"code": {"once"}})
	if p := b.post(w.base+"/delegations/revoke", url.Values{"id": {"dlg_mine"}}); p.status != 404 || !w.machinery.delegations[2].Revoked.IsZero() {
		t.Errorf("status %d", p.status)
	}
	if p := b.get(w.base + "/"); strings.Contains(p.body, "While you are away") {
		t.Error("nobody is offered delegations")
	}
}

func TestMyAccessSaysHowEachRoleIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.person = "erin" })
	b := newBrowser(t)
	b.signIn(w, "/")
	contains(t, b.get(w.base+"/"), "by SAML, traded when you signed in; nothing renews it but a sign-in", "<dt>You are needed</dt>", `<span class="badge expired">Soon</span> in 19 min`,
		"renewed by Carnet’s own token from then on", "in 11 h 59 min", "Ready when used", "traded when it is used and renewed by itself",
		"These keys end at 10:00 UTC", "carnet exec --role nightly")
}
