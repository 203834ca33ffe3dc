package login_test

import (
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/login"
)

// TestRoleOfWebIdentity: an account that takes Carnet's own tokens first is not
// asked at sign-in, and nothing is recorded of it; the role is shown as available
// and comes when it is fetched.
func TestRoleOfWebIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bridge(t)
	in := w.signIn(roles(analyst+","+idp1, pipeline+","+idp2))
	bridged, web := in.Session.Roles[0], in.Session.Roles[1]
	if bridged.Served != "bridge" || bridged.State != login.RoleReady || !bridged.Renewable || !bridged.NeededBy.Equal(in.Session.Started.Add(4*time.Hour)) {
		t.Errorf("by SAML: %+v", bridged)
	}
	if web.Served != "web-identity" || web.State != login.RoleAvailable || !web.Renewable || !web.Expiration.IsZero() || web.Error != nil {
		t.Errorf("by web identity: %+v", web)
	}
	exchanges := 0
	for _, a := range w.acts() {
		if a == "exchange" || a == "renewal" {
			exchanges++
		}
	}
	if len(w.sts.calls) != 1 || w.sts.web != 0 || exchanges != 1 {
		t.Errorf("%d calls by SAML, %d by web identity, %d recorded", len(w.sts.calls), w.sts.web, exchanges)
	}
	keys, err := w.Credentials(t.Context(), in.Session, pipeline)
	if err != nil || keys.SessionName != "alice" || !keys.Credentials.Live(w.clock()) || w.sts.web != 1 {
		t.Fatalf("first use: %+v, %v", keys, err)
	}
	again, err := w.Resume(t.Context(), in.Cookie)
	if err != nil || again.Roles[1].State != login.RoleReady || !again.Roles[1].Expiration.Equal(keys.Credentials.Expiration) {
		t.Errorf("after it: %+v, %v", again.Roles, err)
	}
	if acts := w.acts(); acts[len(acts)-1] != "renewal" {
		t.Errorf("recorded %v", acts)
	}

	// What a sign-out tells of keys that are out holds for renewed ones too.
	w.pass(50 * time.Minute)
	if keys, err = w.Credentials(t.Context(), again, analyst); err != nil || w.sts.web != 2 {
		t.Fatalf("renewed: %v", err)
	}
	left, err := w.Leave(t.Context(), again)
	if err != nil || !left.KeysUntil.Equal(keys.Credentials.Expiration) {
		t.Errorf("left %+v, %v; keys until %s", left, err, keys.Credentials.Expiration)
	}
	w.pass(0) // the feed is read
	if _, err = w.Credentials(t.Context(), again, analyst); err == nil {
		t.Error("keys after the sign-out")
	}
}

// TestRenewalRefused: why is said with the fetch, on the page and to the API.
func TestRenewalRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bridge(t)
	in := w.signIn(roles(analyst + "," + idp1))
	w.sts.refuse["analyst"] = fault.Coded(fault.Denied, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	w.pass(50 * time.Minute)
	if _, err := w.Credentials(t.Context(), in.Session, analyst); err != nil { // kept keys serve
		t.Error(err)
	}
	s, err := w.Resume(t.Context(), in.Cookie)
	must(t, err)
	if r := s.Roles[0]; r.State != login.RoleReady || r.Renewable || r.Warning.Message == "" || !r.NeededBy.Equal(r.Expiration) {
		t.Errorf("while the keys live: %+v", r)
	}
	w.pass(20 * time.Minute)
	_, err = w.Credentials(t.Context(), s, analyst)
	wantCode(t, err, "AccessDenied")
	if s, err = w.Resume(t.Context(), in.Cookie); err != nil || s.Roles[0].State != login.RoleFailed || s.Roles[0].Error.Code != "AccessDenied" || s.Roles[0].Error.Mend == "" {
		t.Errorf("after the end: %+v, %v", s.Roles, err)
	}
	// Another server, or this one after a restart, says the same.
	second := w.another(sql.Config{SQLite: w.file})
	if s, err = second.Resume(t.Context(), in.Cookie); err != nil || s.Roles[0].State == login.RoleReady {
		t.Errorf("another server: %+v, %v", s.Roles, err)
	}
}
