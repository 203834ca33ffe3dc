//go:build interop

package servers

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/api/ssodoc"
)

// TestServersAreEqual runs three servers on one PostgreSQL.
func TestServersAreEqual(t *testing.T) {
	c := newCluster(t, 3, oneDatabase(t))
	a, b, d := c.members[0], c.members[1], c.members[2]
	a.start(t) // the first makes schema and key-encryption key
	b.start(t)
	link := d.start(t) // each start makes a set-up link that replaces the one before

	admin := a.setUp(t, link)
	t.Run("an identity provider entered at one", func(t *testing.T) {
		within(t, time.Second, "the others sign in by it", []*member{b, d}, func(m *member) bool { return m.offersSignIn(t) })
	})
	t.Run("a role changed from one host", func(t *testing.T) { c.roleChange(t) })
	t.Run("one assertion at all", func(t *testing.T) {
		for range 5 {
			c.replay(t)
		}
	})
	t.Run("sign-out at one", func(t *testing.T) { c.signOut(t) })
	t.Run("rotation while running", func(t *testing.T) { c.rotation(t) })
	t.Run("revocation from one host", func(t *testing.T) { c.revocation(t) })
	t.Run("one is killed", func(s *testing.T) { c.killed(s, t) })
	t.Run("a second identity provider entered at one", func(t *testing.T) { c.secondIdP(t, admin) })
}

func (m *member) offersSignIn(t *testing.T) bool {
	page, err := newBrowser(m).Open(t.Context(), m.base+"/sign-in")
	if err != nil {
		t.Error(err)
		return true
	}
	return page.Status == http.StatusOK
}

// roleChange takes a right away, and gives it back, by the authority file.
func (c *cluster) roleChange(t *testing.T) {
	a := c.members[0]
	apply := func(action string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(c.folder, "authority.yaml"), []byte(c.authority(action)), 0o600); err != nil {
			t.Fatal(err)
		}
		a.carnet(t, "authority", "apply", filepath.Join(c.folder, "authority.yaml"))
	}
	apply("s3:*")
	keys := func() api.Credentials {
		for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			bob := c.members[1].signIn(t, "bob@example.com")
			var out api.Credentials
			if status := bob.ask(t, c.members[1], http.MethodPost, "/api/v1/roles/credentials", api.CredentialsRequest{Role: "engineer"}, &out); status == http.StatusOK {
				t.Logf("a new role can be had %v after", time.Since(began).Round(time.Millisecond))
				return out
			}
			if time.Since(began) > time.Second {
				t.Fatal("the new role can't be had within a second")
			}
		}
	}()
	within(t, time.Second, "keys of one server at all gateways", c.members, func(m *member) bool { return m.get(t, keys) == allowed })
	apply("s3:PutObject")
	within(t, time.Second, "a right taken away", c.members, func(m *member) bool { return m.get(t, keys) == "AccessDenied" })
	apply("s3:*")
	within(t, time.Second, "a right given back", c.members, func(m *member) bool { return m.get(t, keys) == allowed })
}

// replay posts one assertion twenty times at once to all servers.
func (c *cluster) replay(t *testing.T) {
	t.Helper()
	b := newBrowser(c.members[0])
	fields := b.assertion(t, "alice@example.com")
	answers := make([]string, 20)
	var wg sync.WaitGroup
	for i := range answers {
		m := c.members[i%len(c.members)]
		wg.Go(func() { answers[i] = m.consume(t, fields) })
	}
	wg.Wait()
	count := map[string]int{}
	for _, a := range answers {
		count[a]++
	}
	if count["won"] != 1 || count["won"]+count["saml.replayed"] != len(answers) {
		t.Errorf("twenty posts of one assertion: %v, want one that wins and 19 saml.replayed", count)
	}
}

// consume posts an assertion until it is not merely told to come back, and
// gives "won" or the code of the refusal.
func (m *member) consume(t *testing.T, fields url.Values) string {
	client := &http.Client{Transport: m.transport(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for range 100 {
		resp, err := client.PostForm(m.base+"/saml/consume", fields)
		if err != nil {
			return err.Error()
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		switch {
		case err != nil:
			return err.Error()
		case resp.StatusCode == http.StatusSeeOther && strings.Contains(resp.Header.Get("Location"), "/sign-in/complete"):
			return "won"
		case resp.StatusCode == http.StatusTooManyRequests:
			time.Sleep(20 * time.Millisecond)
			continue
		}
		_, rest, _ := strings.Cut(string(body), "<code>")
		code, _, _ := strings.Cut(rest, "</code>")
		return code
	}
	return "limited for good"
}

// signOut ends a login session at one server: it is over at the others, and the
// keys that rest on it at their gateways.
func (c *cluster) signOut(t *testing.T) {
	alice := c.members[0].signIn(t, "alice@example.com")
	keys := alice.keys(t, c.members[0], "analyst")
	for _, m := range c.members {
		if got := m.get(t, keys); got != allowed {
			t.Fatalf("before the sign-out a gateway says %s", got)
		}
		if status := alice.ask(t, m, http.MethodGet, "/api/v1/session", nil, nil); status != http.StatusOK {
			t.Fatalf("before the sign-out a server says %d", status)
		}
	}
	kept := c.copyOf(t, alice) // the answer to the sign-out drops the cookie
	if status := alice.ask(t, c.members[0], http.MethodDelete, "/api/v1/session", nil, nil); status != http.StatusNoContent && status != http.StatusOK {
		t.Fatalf("the sign-out is answered with %d", status)
	}
	within(t, time.Second, "keys end at the other gateways", c.members[1:], func(m *member) bool { return m.get(t, keys) == "ExpiredToken" })
	for _, m := range c.members {
		if status := kept(m); status != http.StatusUnauthorized {
			t.Errorf("the old cookie is answered with %d", status)
		}
	}
}

// copyOf keeps a browser's cookies as a thief would, and gives what asks a
// server with them.
func (c *cluster) copyOf(t *testing.T, b *browser) func(*member) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+"/api/v1/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := b.Do(req) // adds the cookies to req
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	stolen := req.Header.Get("Cookie")
	return func(m *member) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+"/api/v1/session", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", stolen)
		resp, err := m.transport().RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
}

// rotation brings new keys and a new key-encryption key into use; whoever is
// signed in stays so, at every server, and their keys go on.
func (c *cluster) rotation(t *testing.T) {
	bob := c.members[1].signIn(t, "bob@example.com")
	keys := bob.keys(t, c.members[1], "engineer")
	still := func(what string) {
		t.Helper()
		for _, m := range c.members {
			if status := bob.ask(t, m, http.MethodGet, "/api/v1/session", nil, nil); status != http.StatusOK {
				t.Errorf("%s: bob is answered with %d\n%s", what, status, &m.log)
			}
			if got := m.get(t, keys); got != allowed {
				t.Errorf("%s: a gateway says %s to bob's keys", what, got)
			}
			if again := bob.keys(t, m, "engineer"); again.SessionToken != keys.SessionToken {
				t.Errorf("%s: bob's keys at another server are others", what)
			}
		}
		// Keys sealed by each server are taken by each.
		for _, from := range c.members {
			fresh := from.signIn(t, "alice@example.com").keys(t, from, "analyst")
			for _, m := range c.members {
				if got := m.get(t, fresh); got != allowed {
					t.Errorf("%s: a gateway says %s to keys of another server", what, got)
				}
			}
		}
	}
	began := time.Now()
	if out := c.members[0].carnet(t, "state", "rotate"); out != "New keys are in use: rest and session-token.\n" {
		t.Errorf("rotate says %q", out)
	}
	t.Logf("new keys in use at all servers after %v", time.Since(began).Round(time.Millisecond))
	still("after a rotation")

	kek := filepath.Join(c.folder, "keys", "kek")
	old, err := os.ReadFile(kek)
	if err != nil {
		t.Fatal(err)
	}
	c.members[0].carnet(t, "state", "new-key", filepath.Join(c.folder, "keys", "new"))
	fresh, err := os.ReadFile(filepath.Join(c.folder, "keys", "new"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kek, append(fresh, old...), 0o600); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	if out := c.members[0].carnet(t, "state", "rewrap"); !strings.Contains(out, "and every running server uses it.") {
		t.Errorf("rewrap says %q", out)
	}
	t.Logf("a new key-encryption key in use at all servers after %v", time.Since(began).Round(time.Millisecond))
	if err := os.WriteFile(kek, fresh, 0o600); err != nil {
		t.Fatal(err)
	}
	still("under a new key-encryption key")
}

// revocation takes a person out from one host.
func (c *cluster) revocation(t *testing.T) {
	alice := c.members[2].signIn(t, "alice@example.com")
	keys := alice.keys(t, c.members[2], "analyst")
	out := c.members[0].carnet(t, "people", "deactivate", "alice@example.com")
	if strings.Count(out, "has applied it") != len(c.members) {
		t.Errorf("deactivate says %q", out)
	}
	for _, m := range c.members {
		if got := m.get(t, keys); got != "ExpiredToken" {
			t.Errorf("a gateway that has applied it says %s", got)
		}
		if status := alice.ask(t, m, http.MethodGet, "/api/v1/session", nil, nil); status != http.StatusUnauthorized {
			t.Errorf("a server that has applied it says %d", status)
		}
	}
	b := newBrowser(c.members[1])
	if got := c.members[1].consume(t, b.assertion(t, "alice@example.com")); got != "directory.inactive" {
		t.Errorf("a sign-in of whoever is switched off: %s", got)
	}
	c.members[1].carnet(t, "people", "activate", "alice@example.com")
	c.members[0].signIn(t, "alice@example.com")
	if out := c.members[2].carnet(t, "audit", "verify"); !strings.Contains(out, "The trail is whole.") {
		t.Errorf("audit verify says %q", out)
	}
}

// secondIdP enters a second identity provider at one server: the others show
// the choice.
func (c *cluster) secondIdP(t *testing.T, admin *browser) {
	second := newPlace(t, c.base)
	in := ssodoc.NewIdentityProvider{Name: "Second", Metadata: string(second.metadata), Accounts: []string{account}, RolePatterns: []string{"*"},
		UserNameDomains: []string{"example.org"}, AllowAutoCreate: true}
	if status := admin.ask(t, c.members[2], http.MethodPost, "/api/v1/identity-providers", in, nil); status >= 300 {
		t.Fatalf("the second identity provider is answered with %d", status)
	}
	within(t, time.Second, "a second identity provider at all", c.members, func(m *member) bool {
		page, err := newBrowser(m).Open(t.Context(), m.base+"/sign-in")
		return err == nil && strings.Contains(page.Body, "Second")
	})
}

// killed kills one server with kill -9: the others know everybody, and it comes
// back, for the tests after this one too.
func (c *cluster) killed(t, all *testing.T) {
	bob := c.members[0].signIn(t, "bob@example.com")
	keys := bob.keys(t, c.members[0], "engineer")
	victim := c.members[0]
	if err := victim.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-victim.ended
	if out := c.members[1].carnet(t, "people", "list"); strings.Count(out, "@example.com") != 2 {
		t.Errorf("people after a kill:\n%s", out)
	}
	victim.start(all)
	for _, m := range c.members {
		if got := m.get(t, keys); got != allowed {
			t.Errorf("a gateway says %s to keys of the server that was killed", got)
		}
		if status := bob.ask(t, m, http.MethodGet, "/api/v1/session", nil, nil); status != http.StatusOK {
			t.Errorf("whoever signed in at the server that was killed is answered with %d", status)
		}
	}
}
