package issuerapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/oauth"
)

// TestClientsThatMayBe: what a client is and what it may do fit together.
func TestClientsThatMayBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sp, err := w.dir.NewServicePrincipal(t.Context(), "nightly", "")
	must(t, err)
	many := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("https://app.example.com/%d", i))
		}
		return all
	}
	for what, change := range map[string]func(*oauth.Client){
		"no name":                           func(c *oauth.Client) { c.Name = "" },
		"a name of spaces":                  func(c *oauth.Client) { c.Name = " x" },
		"a long name":                       func(c *oauth.Client) { c.Name = strings.Repeat("x", 129) },
		"a name of two lines":               func(c *oauth.Client) { c.Name = "x\ny" },
		"a name that is an id":              func(c *oauth.Client) { c.Name = "oac_x" },
		"a name that is a principal's id":   func(c *oauth.Client) { c.Name = "spn_x" },
		"a name that turns the text around": func(c *oauth.Client) { c.Name = "a\u202eb" },
		"an owner of control characters":    func(c *oauth.Client) { c.Owner = "x\x1b[1m" },
		"no redirect URI":                   func(c *oauth.Client) { c.RedirectURIs = nil },
		"a wrong redirect URI":              func(c *oauth.Client) { c.RedirectURIs = []string{callback, "http://evil.example/"} },
		"two of one redirect URI":           func(c *oauth.Client) { c.RedirectURIs = []string{callback, callback} },
		"21 redirect URIs":                  func(c *oauth.Client) { c.RedirectURIs = many(21) },
		"an unknown grant":                  func(c *oauth.Client) { c.Grants = []string{"password"} },
		"an unknown scope":                  func(c *oauth.Client) { c.Scopes = []string{"sql"} },
		"an unknown algorithm":              func(c *oauth.Client) { c.IDTokenAlg = "none" },
		"public and acting by itself": func(c *oauth.Client) {
			c.Public, c.Grants, c.ServicePrincipal = true, []string{oauth.GrantClient}, sp.ID
		},
		"public and a resource server":      func(c *oauth.Client) { c.Public, c.ResourceServer = true, true },
		"acting by itself as nobody":        func(c *oauth.Client) { c.Grants = []string{oauth.GrantClient} },
		"acting as a principal that is not": func(c *oauth.Client) { c.Grants, c.ServicePrincipal = []string{oauth.GrantClient}, "spn_unknown" },
		"audiences that are empty":          func(c *oauth.Client) { c.Audiences = []string{""} },
	} {
		c := oauth.Client{Name: "app", RedirectURIs: []string{callback}}
		change(&c)
		if _, err := w.Add(t.Context(), c); err == nil || fault.KindOf(err) == fault.Internal {
			t.Errorf("%s: %v", what, err)
		}
	}
	if all := w.List(); len(all) != 0 {
		t.Errorf("stored in spite of a refusal: %v", all)
	}
	c := w.register("App", func(c *oauth.Client) { c.Scopes, c.RedirectURIs = nil, many(20) })
	if !slices.Equal(c.Grants, []string{oauth.GrantCode, oauth.GrantRefresh}) || slices.Contains(c.Scopes, oauth.ScopeAPI) || !slices.Contains(c.Scopes, oauth.ScopeOpenID) {
		t.Errorf("left out: %+v", c.Client)
	}
	if _, err := w.Add(t.Context(), oauth.Client{Name: "APP", RedirectURIs: []string{callback}}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a name that is taken: %v", err)
	}
	for _, text := range []string{"app", "APP", c.ID} {
		if got, err := w.Find(text); err != nil || got.ID != c.ID {
			t.Errorf("%s: %v", text, err)
		}
	}
	// What makes a client another one can't be changed.
	got, err := w.Update(t.Context(), c.ID, func(c *oauth.Client) {
		c.ID, c.Public, c.Enabled, c.RedirectURIs = "oac_other", true, false, []string{callback}
	})
	if err != nil || got.ID != c.ID || got.Public || !got.Enabled || !slices.Equal(got.RedirectURIs, []string{callback}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := w.Update(t.Context(), "oac_unknown", func(*oauth.Client) {}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no such client: %v", err)
	}
	if w := (oauth.Client{Public: true, Trusted: true, RedirectURIs: []string{"http://127.0.0.1/cb"}}).Warnings(); len(w) != 1 {
		t.Errorf("a trusted client that anything can pass for: %v", w)
	}
	must(t, w.Remove(t.Context(), c.ID))
	for what, err := range map[string]error{"removed twice": w.Remove(t.Context(), c.ID), "enabled": second2(w.SetEnabled(t.Context(), c.ID, true))} {
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
	want := []string{"client.add", "client-credential.add", "client.change", "client.remove"}
	if acts := w.acts(); !slices.Equal(acts[len(acts)-len(want):], want) {
		t.Errorf("the trail tells %v", acts)
	}
}

func second2[A any](_ A, err error) error { return err }
