package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/workload"
)

// oidcPage is *OIDC federation*: our issuers and all that stands on them.
type oidcPage struct {
	OIDC
	Issuers []issuerCard
	Halted  *fault.Fault
	// Waiting: a key is not used before it was published elsewhere.
	Waiting     bool
	Risk        string
	Clients     []clientRow
	Machines    []machineRow
	Policies    []policyRow
	Delegations []delegation
	Ended       []delegation
	Away        []string // parts that can't be shown now, and why
	Done        string
}

// Longest is Cap in words.
func (b Bridge) Longest() string { return strings.TrimSuffix(left(b.Cap), " 0 min") }

// issuerCard is one of our issuers.
type issuerCard struct {
	Level, Name, URL string
	Registered       bool
	NotForAWS        string // why IAM at AWS does not take it; empty: it does
	Keys             []issuerKey
	Algorithms       []string
}

// issuerKey is one key and what becomes of it.
type issuerKey struct {
	ID, Algorithm, State, Text, Then string
}

// clientRow is a registered client in short.
type clientRow struct {
	ID, Name, Owner, Kind string
	Enabled               bool
	Credentials           []credentialRow
}

// machineRow is a service principal.
type machineRow struct {
	ID, Name    string
	Active      bool
	Credentials []credentialRow
	Policies    int
}

// policyRow is a federation policy.
type policyRow struct {
	ID, Name, Issuer, Subject, Claim, Whom, Keys string
	Audiences                                    []string
	People                                       bool
}

func (web *Web) oidc(w http.ResponseWriter, r *http.Request) error {
	page := oidcPage{OIDC: web.OIDC, Risk: broker.Risk, Done: done(r)}
	for _, l := range issuer.Levels() {
		page.Issuers = append(page.Issuers, web.issuerCard(l))
	}
	slices.SortStableFunc(page.Issuers, func(a, b issuerCard) int { return rankOf(b.Registered) - rankOf(a.Registered) })
	page.Waiting = slices.ContainsFunc(web.OwnIssuers.Keys(), func(k issuer.Key) bool {
		return k.State == issuer.Waiting || k.State == issuer.Published && k.UsedFrom.IsZero()
	})
	if err := web.OwnIssuers.Halted(); err != nil {
		page.Halted = fault.Of(err)
	}
	away := func(what string, err error) {
		if err != nil {
			page.Away = append(page.Away, what+": "+fault.Of(err).Public)
		}
	}
	machines, err := web.Machines.ServicePrincipals(r.Context())
	away("service principals", err)
	names := map[identity.ServicePrincipalID]string{}
	for _, m := range machines {
		names[m.ID] = m.Name
	}
	page.Clients, page.Policies = web.clientRows(), web.policyRows(names)
	page.Machines = web.machineRows(machines)
	page.Delegations, page.Ended, err = web.delegations(r.Context(), workload.Of{})
	away("delegations", err)
	return web.show(w, r, http.StatusOK, "oidc", frame{Title: "OIDC federation", Here: "oidc", Page: page})
}

func rankOf(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (web *Web) issuerCard(l issuer.Level) issuerCard {
	c := issuerCard{Level: string(l), Name: levels[l], URL: web.OwnIssuers.URL(l), Registered: web.OwnIssuers.Registered() == l, Algorithms: issuer.Algorithms()}
	c.NotForAWS = issuer.NotForAWS(c.URL)
	for _, k := range web.OwnIssuers.Keys() {
		if k.Level == l && k.State != issuer.Gone {
			c.Keys = append(c.Keys, web.issuerKey(k))
		}
	}
	return c
}

var levels = map[issuer.Level]string{issuer.Workspace: "Workspace", issuer.Account: "Account level"}

func (web *Web) issuerKey(k issuer.Key) issuerKey {
	out := issuerKey{ID: k.ID, Algorithm: k.Algorithm}
	day := func(t time.Time) string { return clock{At: t}.Text() }
	switch k.State {
	case issuer.Waiting:
		out.State, out.Text, out.Then = "off", "Waits", "it is published next"
	case issuer.Published:
		out.State, out.Text, out.Then = "expired", "Published", "it is used once it stands where keys are published"
		if !k.UsedFrom.IsZero() {
			out.Then = "it is used from " + day(k.UsedFrom)
		}
	case issuer.Used:
		out.State, out.Text, out.Then = "ready", "Signs", "a new key replaces it when its time is over"
		if !k.RetiredFrom.IsZero() {
			out.Then = "it signs until " + day(k.RetiredFrom)
		}
	default:
		out.State, out.Text = "off", "Retired"
		if !k.GoneAfter.IsZero() {
			out.Then = "what it signed is taken until " + day(k.GoneAfter)
		}
	}
	return out
}

func (web *Web) clientRows() (rows []clientRow) {
	for _, c := range web.Clients.List() {
		rows = append(rows, clientRow{ID: c.ID, Name: c.Name, Owner: c.Owner, Kind: kindOf(c.Public), Enabled: c.Enabled, Credentials: web.credentials(c.ID)})
	}
	return rows
}

func kindOf(public bool) string {
	if public {
		return "Public: it has no secret"
	}
	return "Confidential: it proves itself"
}

func (web *Web) machineRows(all []directory.ServicePrincipal) (rows []machineRow) {
	policies := map[identity.ServicePrincipalID]int{}
	for _, p := range web.Policies.All() {
		policies[p.ServicePrincipal]++
	}
	for _, m := range all {
		rows = append(rows, machineRow{ID: string(m.ID), Name: m.Name, Active: m.Active, Credentials: web.credentials(string(m.ID)), Policies: policies[m.ID]})
	}
	return rows
}

func (web *Web) policyRows(names map[identity.ServicePrincipalID]string) (rows []policyRow) {
	for _, p := range web.Policies.All() {
		row := policyRow{ID: string(p.ID), Name: p.Name, Issuer: p.Issuer, Audiences: p.Audiences, Subject: p.Subject, Claim: p.SubjectClaim, People: p.ServicePrincipal == ""}
		if row.People {
			row.Whom = string(p.IdP)
			for _, idp := range web.Providers.List() {
				if idp.ID == p.IdP {
					row.Whom = idp.Name
				}
			}
		} else {
			row.Whom = cmp.Or(names[p.ServicePrincipal], string(p.ServicePrincipal))
		}
		switch {
		case p.JWKSURL != "":
			row.Keys = "from " + p.JWKSURL
		case len(p.JWKS) > 0:
			row.Keys = "given with the policy"
		default:
			row.Keys = "found by discovery"
		}
		rows = append(rows, row)
	}
	return rows
}

// rotateKey replaces a key of an issuer.
func (web *Web) rotateKey(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	leaked := r.PostForm.Get("act") == "drop"
	if leaked && r.PostForm.Get("sure") == "" {
		return fault.Coded(fault.Invalid, "request.form", "Dropping a key wants the box ticked: tokens that it signed are refused at once").WithMend("go back and tick it")
	}
	if !leaked && r.PostForm.Get("act") != "rotate" {
		return badForm()
	}
	_, err := web.OwnIssuers.Rotate(r.Context(), issuer.Level(r.PostForm.Get("level")), r.PostForm.Get("algorithm"), issuer.Rotation{Now: leaked, Drop: leaked})
	if err != nil {
		return err
	}
	return seeOther(w, "/admin/oidc?done=issuer-"+r.PostForm.Get("act"))
}

// removePolicy takes a federation policy out.
func (web *Web) removePolicy(w http.ResponseWriter, r *http.Request) error {
	return web.endOne(w, r, "policy-removed", func(ctx context.Context, id string) error {
		return web.Policies.Remove(ctx, identity.FederationPolicyID(id))
	})
}

// revokeDelegation revokes anybody's, by an administrator's word.
func (web *Web) revokeDelegation(w http.ResponseWriter, r *http.Request) error {
	return web.endOne(w, r, "delegation-revoked", func(ctx context.Context, id string) error {
		return web.Delegations.End(ctx, identity.DelegationID(id))
	})
}

func (web *Web) endOne(w http.ResponseWriter, r *http.Request, done string, end func(ctx context.Context, id string) error) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	if err := end(r.Context(), r.PostForm.Get("id")); err != nil {
		return err
	}
	return seeOther(w, "/admin/oidc?"+url.Values{"done": {done}}.Encode())
}

// Spoken is the list of audiences in words.
func (o OIDC) Spoken() string {
	return strings.Join(append([]string{issuer.AudienceAWS}, o.Audiences...), ", ")
}
