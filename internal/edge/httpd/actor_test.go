package httpd_test

import (
	"fmt"
	"net/http"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
)

// TestActorIsWhomTheRowAdmitted: only a proven caller stands in the context.
func TestActorIsWhomTheRowAdmitted(t *testing.T) {
	who := func(w http.ResponseWriter, r *http.Request) error {
		a := identity.ActorFrom(r.Context())
		_, err := fmt.Fprintf(w, "%s %s %s", a.LoginSession, a.Person, a.UserName)
		return err
	}
	site, _ := newSite(t, &sessions{}, "http://127.0.0.1:8480",
		httpd.Route{Method: "GET", Pattern: "/who/person", Access: httpd.Person, CLIToken: true, Rate: httpd.RateAPI, Errors: httpd.Problem, Handler: who},
		httpd.Route{Method: "GET", Pattern: "/who/public", Access: httpd.Public, Rate: httpd.RateAPI, Errors: httpd.Problem, Handler: who},
	)
	for _, c := range []struct{ path, header, value, want string }{
		{"/who/person", "Cookie", "carnet=person", "lgn_person psn_ada ada"},
		{"/who/person", "Authorization", "Bearer cli-person", "lgn_person psn_ada ada"},
		{"/who/public", "Cookie", "carnet=person", "  "},
	} {
		got := ask(site, "GET", c.path, "Host", "127.0.0.1:8480", c.header, c.value)
		if got.Code != http.StatusOK || got.Body.String() != c.want {
			t.Errorf("%s with %s: %d %q, want %q", c.path, c.header, got.Code, got.Body, c.want)
		}
	}
}

// TestRefusalKnowsItsCaller: the page of a refusal offers sign-out to whoever
// is signed in, and takes nobody for anybody without a proof.
func TestRefusalKnowsItsCaller(t *testing.T) {
	ran := false
	refuse := func(w http.ResponseWriter, r *http.Request, f *fault.Fault) {
		w.WriteHeader(httpd.Status(f.Kind))
		fmt.Fprintf(w, "%s %s", httpd.CallerOf(r).Session.ID, f.Code)
	}
	site, _ := newSite(t, &sessions{}, "http://127.0.0.1:8480",
		httpd.Route{Method: "GET", Pattern: "/administrators", Access: httpd.Administrator, Rate: httpd.RateAPI, Errors: refuse,
			Handler: func(http.ResponseWriter, *http.Request) error { ran = true; return nil }},
		httpd.Route{Method: "GET", Pattern: "/failing", Access: httpd.Person, Rate: httpd.RateAPI, Errors: refuse,
			Handler: func(http.ResponseWriter, *http.Request) error { return fault.Coded(fault.NotFound, "x.none", "none") }},
	)
	for _, c := range []struct{ path, cookie, want string }{
		{"/administrators", "carnet=person", "lgn_person login.not-administrator"},
		{"/failing", "carnet=person", "lgn_person x.none"},
		{"/administrators", "carnet=nobody", " login.unknown"},
		{"/failing", "", " login.required"},
	} {
		if got := ask(site, "GET", c.path, "Host", "127.0.0.1:8480", "Cookie", c.cookie); got.Body.String() != c.want {
			t.Errorf("%s with %q: %d %q, want %q", c.path, c.cookie, got.Code, got.Body, c.want)
		}
	}
	if ran {
		t.Error("a refused request reached its handler")
	}
}
