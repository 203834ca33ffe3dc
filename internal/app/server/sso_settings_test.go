package server_test

import (
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
)

// TestSettingsOverTheWire: what is set per identity provider decides what a
// sign-in gives, at the pages and at STS of the local authority alike.
func TestSettingsOverTheWire(t *testing.T) {
	t.Parallel()
	p := &post{installation: install(t), idp: forge.New(t, time.Now())}
	p.must(t, "sso", "add", "--name", "Corp", "--metadata", p.write(t, "idp.xml", string(p.idp.Metadata())), "--accounts", "111122223333",
		"--roles", analyst+","+closed, "--domains", "*")
	p.must(t, "authority", "apply", p.authority(t, p.idp.Metadata()))
	p.running = p.serve(t)
	set := func(flags ...string) {
		t.Helper()
		p.must(t, append([]string{"sso", "set", "Corp"}, flags...)...)
	}
	// until asks again while the server has not seen a setting yet.
	until := func(change func(*devidp.Answer), seen func(signedIn) bool) signedIn {
		t.Helper()
		var in signedIn
		soon(t, "the setting to hold", func() bool { in = p.take(t, change); return seen(in) })
		return in
	}
	isReady := func(in signedIn) bool { return in.roles[analyst].State == "ready" }
	named := values(analyst + "," + provider)

	t.Run("unified login", func(t *testing.T) {
		for _, to := range []string{"off", "on"} {
			if out := p.must(t, "sso", "switches", "--unified-login", to); !strings.Contains(out, "unified login") {
				t.Errorf("it says %q", out)
			}
			p.take(t, named).ready(t, analyst)
		}
	})

	t.Run("roles from groups", func(t *testing.T) {
		groups := func(names ...string) func(*devidp.Answer) {
			return func(a *devidp.Answer) {
				a.Attributes[0] = devidp.Attribute{Name: "groups", Values: names}
			}
		}
		if in := p.take(t, groups("aws-analyst")); len(in.roles) != 0 {
			t.Errorf("without a template: %v", in.roles)
		}
		set("--role-template", "group=aws-{name},account=111122223333,role={name},provider="+provider[strings.LastIndexByte(provider, '/')+1:])
		in := until(groups("aws-analyst", "aws-carnet-admin", "aws-analyst/../carnet-admin", "aws-*", "aws-analyst\ncarnet-admin", "xaws-analyst"), isReady)
		if len(in.roles) != 1 || !strings.Contains(in.notes, "carnet-admin, derived from group") {
			t.Errorf("roles %v, notes %q", in.roles, in.notes)
		}
		set("--role-template", "")
	})

	t.Run("a session name of another kind", func(t *testing.T) {
		other := func(a *devidp.Answer) {
			named(a)
			a.NameID, a.Attributes[1].Values = "alice@example.com", []string{"alice.staff"}
		}
		until(other, func(in signedIn) bool {
			return in.roles[analyst].Error != nil && strings.Contains(in.roles[analyst].Error.Message, "alice@example.com")
		})
		set("--map-session-name")
		in := until(other, isReady)
		if !strings.Contains(in.notes, "RoleSessionName alice.staff is not the signed-in user name") {
			t.Errorf("notes %q", in.notes)
		}
		set("--map-session-name=false")
	})

	t.Run("user name by an attribute", func(t *testing.T) {
		opaque := func(a *devidp.Answer) {
			named(a)
			a.NameID, a.Attributes[1].Values = "f3c1-opaque", []string{"olga"}
			a.Attributes = append(a.Attributes, devidp.Attribute{Name: "uid", Values: []string{"olga"}})
		}
		refused := func(in signedIn) bool {
			return in.roles[analyst].Error != nil && in.roles[analyst].Error.Code == "InvalidIdentityToken"
		}
		until(opaque, refused).failed(t, analyst, "InvalidIdentityToken", "is not the signed-in user name f3c1-opaque")
		set("--user-name-attribute", "uid")
		until(opaque, isReady)
	})
	p.stop()
	p.nothingLeaks(t)
}
