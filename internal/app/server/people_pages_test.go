package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/app/visitor"
)

// TestPeoplePages: an administrator finds a person, sees where their roles come from,
// ends a sign-in of theirs, switches them off and on; a person ends their own sign-ins.
func TestPeoplePages(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	root, other := visitor.New(nil), visitor.New(nil)
	w.signIn(t, root, "root@example.com")
	w.signIn(t, other, "ann@example.com")
	w.must(t, "people", "map", "ann@example.com", analyst)
	shows := func(v *visitor.Visitor, path string, want ...string) *visitor.Page {
		t.Helper()
		p := open(t, v, w.base+path)
		for _, s := range want {
			if !strings.Contains(p.Body, s) {
				t.Errorf("%s lacks %q:\n%s", path, s, p.Body)
			}
		}
		return p
	}
	let := func(v *visitor.Visitor) bool {
		return ask(t, v, http.MethodGet, w.base+"/api/v1/session", "", &map[string]any{}) == http.StatusOK
	}

	list := shows(root, "/admin/people", "ann@example.com", "root@example.com", "Corp")
	_, rest, _ := strings.Cut(list.Body, `href="/admin/people/psn_`)
	id, _, _ := strings.Cut(rest, `"`) // ann is first
	ann := "/admin/people/psn_" + id
	after := shows(root, "/admin/people?"+url.Values{"after": {"ann@example.com\npsn_" + id}}.Encode(), "root@example.com", "From the beginning")
	if strings.Contains(after.Body, "ann@example.com") {
		t.Error("the next page begins with the last of the one before")
	}
	if p := shows(root, "/admin/people?q=ANN%40", "ann@example.com"); strings.Contains(p.Body, `root@example.com</strong>`) {
		t.Error("somebody else is found")
	}
	shows(root, "/admin/people?q=nobody", "holds <strong>nobody</strong>")
	p := shows(root, ann, "ann@example.com", analyst, "Asserted by Corp", "administrator", "lgn_", "End this sign-in", "None are out")
	if n := strings.Count(p.Body, "End this sign-in</button>"); n != 2 {
		t.Errorf("%d sign-ins", n)
	}
	p = submit(t, root, p, "kind", map[string]string{"act": "end"}) // the newest: the other browser's
	if !strings.Contains(p.Body, "It is ended") || !strings.Contains(p.Body, "The server has applied it") || let(other) || !let(w.ann) {
		t.Errorf("one sign-in was ended: %s", p.Body)
	}

	w.signIn(t, other, "ann@example.com")
	p = shows(w.ann, "/sign-ins", "This one", "Your sign-ins", "None are out")
	p = submit(t, w.ann, p, "id", nil) // the newest again
	if !strings.Contains(p.Body, "The sign-in is ended") || let(other) || !let(w.ann) {
		t.Errorf("one's own sign-in was ended: %s", p.Body)
	}
	if p := open(t, w.ann, w.base+ann); p.Status != http.StatusForbidden {
		t.Errorf("who is no administrator: %d", p.Status)
	}

	press := func(act, says string) {
		t.Helper()
		p := open(t, root, w.base+ann)
		to, err := url.Parse(w.base + ann)
		must(t, err)
		next, err := root.Submit(t.Context(), p, visitor.Form{Method: http.MethodPost, Action: to, Fields: url.Values{}}, map[string]string{"act": act, "sure": "yes"})
		must(t, err)
		if !strings.Contains(p.Body, `value="`+act+`"`) || !strings.Contains(next.Body, says) {
			t.Errorf("%s: %s", act, next.Body)
		}
	}
	press("revoke", "is taken back")
	if let(w.ann) {
		t.Error("everything was revoked, and a sign-in goes on")
	}
	w.signIn(t, w.ann, "ann@example.com")
	press("deactivate", "The person is switched off")
	if let(w.ann) {
		t.Error("switched off, and a sign-in goes on")
	}
	press("activate", "The person is switched on")
	w.signIn(t, w.ann, "ann@example.com")
	if !let(w.ann) {
		t.Error("switched on, and the sign-in does not count")
	}
}
