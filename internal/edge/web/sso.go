package web

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/spkeys"
)

// ssoPage is *Single sign-on*: our side, the identity providers, and what holds
// for all of them.
type ssoPage struct {
	SAMLURL, MetadataURL string
	openIDPlaces
	Providers           []providerCard
	Keys                []keyRow
	Offers              []keyOffer
	Unified, RoleSync   bool
	Issuer, OtherIssuer string
	Trusts              []string // that rest on Issuer
	Done                string   // what was just done; empty: nothing
}

// providerCard is one identity provider in short.
type providerCard struct {
	federation.IdP
	State        federation.MetadataState
	Certificates []certificate
	Fetched      clock
	// Trouble is said of the certificates when not one holds for long.
	Trouble certificate
}

// certificate is a signing certificate as pages show it.
type certificate struct {
	Subject, SHA256 string
	Until           clock
	State           string // "ready", "expired" (soon) or "failed" (over), as badges have it
	Text            string
	New             bool // of metadata that waits
}

// keyRow is one of our own keys.
type keyRow struct {
	ID, Purpose, State, Text, SHA256 string
	Until                            clock
	Removable                        bool
}

// keyOffer is the next step of a change of keys.
type keyOffer struct{ Purpose, Act, Text string }

func (web *Web) sso(w http.ResponseWriter, r *http.Request) error {
	installation, err := web.Installation.Installation()
	if err != nil {
		return err
	}
	other := installation
	other.UnifiedLogin = !other.UnifiedLogin
	page := ssoPage{
		openIDPlaces: web.openIDPlaces(), SAMLURL: web.SAMLURL, MetadataURL: web.BaseURL.JoinPath("/saml/metadata").String(), Done: done(r),
		Unified: installation.UnifiedLogin, RoleSync: installation.RoleSync, Issuer: installation.Issuer(web.Issuers), OtherIssuer: other.Issuer(web.Issuers),
	}
	if web.Trusts != nil {
		page.Trusts = web.Trusts(page.Issuer)
	}
	for _, p := range web.Providers.List() {
		page.Providers = append(page.Providers, web.card(p))
	}
	page.Keys, page.Offers = web.keys()
	return web.show(w, r, http.StatusOK, "sso", frame{Title: "Single sign-on", Here: "sso", Page: page})
}

// done turns the word in an address into what was just done. A word that is
// none of ours says nothing: the address may be anybody's.
func done(r *http.Request) string { return doneWords[r.URL.Query().Get("done")] }

var doneWords = map[string]string{
	"added":       "The identity provider is entered. Try it with a test sign-in.",
	"saved":       "The settings are saved, and hold from now on.",
	"enabled":     "The identity provider is switched on: its people can sign in.",
	"disabled":    "The identity provider is switched off, and what its people held by it has ended.",
	"removed":     "The identity provider is removed, and what its people held by it has ended.",
	"refreshed":   "The metadata was fetched anew.",
	"accepted":    "The new metadata is in use.",
	"refused":     "The new metadata was thrown away. The one before stays in use.",
	"unified-on":  "Unified login is on.",
	"unified-off": "Unified login is off.",
	"role-on":     "Role sync is on: the next sign-in of each person replaces their mapped roles.",
	"role-off":    "Role sync is off: what it mapped stays, until somebody takes it away.",
	"key-add":     "The next key is published in our metadata. Bring it into use once your identity providers know it.",
	"key-promote": "The next key is in use now.",
	"key-remove":  "The key is removed.",

	"issuer-rotate":      "The next key is made. It is published first, and used once whoever trusts it had time to read it.",
	"issuer-drop":        "A new key signs, and what older keys signed is refused from now on.",
	"policy-removed":     "The federation policy is removed: tokens of that issuer prove nothing by it any more.",
	"delegation-revoked": "The delegation is revoked, and what was issued by it has ended wherever Carnet decides.",
	"credential-removed": "The credential is removed: it proves nothing any more.",
	"client-enable":      "The client is switched on.",
	"client-disable":     "The client is switched off, and what it held has ended.",
}

// card shows one identity provider. What is known of its metadata may be away
// for a moment, while the list is read again.
func (web *Web) card(p federation.IdP) providerCard {
	c := providerCard{IdP: p}
	state, err := web.Metadata.State(p.ID)
	if err != nil {
		return c
	}
	c.State, c.Certificates = state, web.certificates(state.Certificates)
	if !state.Fetched.IsZero() {
		c.Fetched = clock{state.Fetched, ago(web.Now().Sub(state.Fetched))}
	}
	for _, cert := range c.Certificates {
		if c.Trouble.Text == "" || rank(cert.State) < rank(c.Trouble.State) {
			c.Trouble = cert // one that holds for longer is enough
		}
	}
	return c
}

func rank(state string) int { return slices.Index([]string{"ready", "expired", "failed"}, state) }

func (web *Web) certificates(known []federation.Certificate) []certificate {
	var all []certificate
	for _, c := range known {
		rest := c.NotAfter.Sub(web.Now())
		out := certificate{Subject: c.Subject, SHA256: c.SHA256, Until: clock{c.NotAfter, left(rest)}, New: c.New, State: "ready", Text: "Certificate valid"}
		switch {
		case c.Expired:
			out.State, out.Text = "failed", "Certificate past its end"
		case web.Now().Before(c.NotBefore):
			out.State, out.Text = "failed", "Certificate not valid yet"
		case c.ExpiresSoon:
			out.State, out.Text = "expired", "Certificate ends in "+left(rest)
		}
		all = append(all, out)
	}
	return all
}

// keys lists our own keys and the next step for each purpose.
func (web *Web) keys() (rows []keyRow, offers []keyOffer) {
	next := map[spkeys.Purpose]bool{}
	for _, k := range web.Keys.List() {
		row := keyRow{ID: k.ID, Purpose: purposes[k.Purpose], State: string(k.State), SHA256: k.Fingerprint(), Removable: k.State != spkeys.Current}
		row.Until = clock{k.Certificate.NotAfter, left(k.Certificate.NotAfter.Sub(web.Now()))}
		switch k.State {
		case spkeys.Current:
			row.State, row.Text = "ready", "In use"
		case spkeys.Next:
			row.State, row.Text = "expired", "Next"
			next[k.Purpose] = true
		default:
			row.State, row.Text = "expired", "Retired"
		}
		rows = append(rows, row)
	}
	for _, p := range spkeys.Purposes() {
		if next[p] {
			offers = append(offers, keyOffer{string(p), "promote", "Use the next " + purposes[p] + " key"})
		} else {
			offers = append(offers, keyOffer{string(p), "add", "Make the next " + purposes[p] + " key"})
		}
	}
	return rows, offers
}

// purposes are the words for them.
var purposes = map[spkeys.Purpose]string{spkeys.Signing: "signing", spkeys.Encryption: "encryption"}

// changeKeys takes one step of a change of our keys.
func (web *Web) changeKeys(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	act, purpose := r.PostForm.Get("act"), spkeys.Purpose(r.PostForm.Get("purpose"))
	step := map[string]func(context.Context) error{
		"add":     func(ctx context.Context) error { _, err := web.Keys.Add(ctx, purpose); return err },
		"promote": func(ctx context.Context) error { _, err := web.Keys.Promote(ctx, purpose); return err },
		"remove":  func(ctx context.Context) error { return web.Keys.Remove(ctx, r.PostForm.Get("id")) },
	}[act]
	if step == nil || act != "remove" && !slices.Contains(spkeys.Purposes(), purpose) {
		return badForm()
	}
	if err := step(r.Context()); err != nil {
		return err
	}
	return seeOther(w, "/admin/sso?done=key-"+act)
}

func badForm() error {
	return fault.Coded(fault.Invalid, "request.form", "The form does not say what to do").WithMend("go back to the page and try again")
}

// setSwitches sets what holds for all identity providers.
func (web *Web) setSwitches(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	now, err := web.Installation.Installation()
	if err != nil {
		return err
	}
	// One button, one switch.
	for name, s := range map[string]*bool{"unified_login": &now.UnifiedLogin, "role_sync": &now.RoleSync} {
		on := r.PostForm.Get(name)
		if on == "" {
			continue
		}
		if on != "on" && on != "off" || len(r.PostForm) != 1 {
			return badForm()
		}
		*s = on == "on"
		if err := web.Installation.SetSwitches(r.Context(), now.Switches); err != nil {
			return err
		}
		done, _, _ := strings.Cut(name, "_")
		return seeOther(w, "/admin/sso?done="+done+"-"+on)
	}
	return badForm()
}

// ago says how long something is past, rounded down.
func ago(d time.Duration) string {
	if d < time.Minute {
		return "just now"
	}
	return left(d) + " ago"
}

// refusedForm reports whether err is to be shown above the form that caused
// it, rather than as a page of its own.
func refusedForm(err error) (*fault.Fault, bool) {
	f := fault.Of(err)
	return f, err != nil && httpd.Status(f.Kind) < 500
}
