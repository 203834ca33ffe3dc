package issuerapi_test

import (
	"net/url"
	"testing"
	"time"
)

// TestAttackFreshSignInAside: who sits down at another's browser is asked to sign in
// anew, and begins an ordinary sign-in aside, which the identity provider answers
// from memory. The login session is new, the proof is not.
func TestAttackFreshSignInAside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.register("app")
	for _, fresh := range [][]string{{"prompt", "login"}, {"max_age", "0"}, {"max_age", "30"}} {
		w.pass(time.Second)
		to, err := url.Parse(w.authorize(w.signIn("ann"), ask(c, fresh...)).param("return_to"))
		must(t, err)
		w.pass(time.Second)
		for what, proven := range map[string]time.Time{"proven an hour ago": w.clock().Add(-time.Hour), "proven at a time that was not told": {}} {
			ann := w.signInProven("ann", proven)
			if r := w.authorize(ann, to.Query()); r.location == nil || r.location.Path != "/sign-in" || r.param("code") != "" {
				t.Errorf("%v, %s: %v %s", fresh, what, r.location, r.body)
			}
		}
		if r := w.authorize(w.signInProven("ann", w.clock()), to.Query()); r.param("code") == "" {
			t.Errorf("%v, proven now: %v %s", fresh, r.location, r.body)
		}
	}
}
