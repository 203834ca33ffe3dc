package login_test

import (
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
)

// TestRequirementsStrippedFromTheRequest: whoever holds a browser can take
// RequestedAuthnContext and ForceAuthn out of a request. What is set here counts
// when the response comes, however it was asked for.
func TestRequirementsStrippedFromTheRequest(t *testing.T) {
	t.Parallel()
	const password, stronger = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport", "urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken"
	before := func(a *devidp.Answer) { a.IssueInstant = a.IssueInstant.Add(-2 * time.Minute) } // and so is its AuthnInstant
	unasked := func(a *devidp.Answer) { a.InResponseTo = "" }
	longAgo := func(a *devidp.Answer) { a.IssueInstant = a.IssueInstant.Add(-11*time.Minute - 30*time.Second) }
	for name, tt := range map[string]struct {
		set    federation.Settings
		change []func(*devidp.Answer)
		code   string
	}{
		"by the way that is required":    {federation.Settings{AuthnContexts: []string{stronger, password}}, nil, ""},
		"by a weaker way":                {federation.Settings{AuthnContexts: []string{stronger}}, nil, saml.CheckAuthnContext},
		"by a weaker way, unsolicited":   {federation.Settings{AuthnContexts: []string{stronger}, AllowUnsolicited: true}, []func(*devidp.Answer){unasked}, saml.CheckAuthnContext},
		"anew":                           {federation.Settings{ForceAuthn: true}, nil, ""},
		"before the request":             {federation.Settings{ForceAuthn: true}, []func(*devidp.Answer){before}, saml.CheckAuthnInstant},
		"before the request, not forced": {federation.Settings{}, []func(*devidp.Answer){before}, ""},
		"of late, unsolicited":           {federation.Settings{ForceAuthn: true, AllowUnsolicited: true}, []func(*devidp.Answer){unasked, before}, ""},
		"some time ago, unsolicited":     {federation.Settings{ForceAuthn: true, AllowUnsolicited: true}, []func(*devidp.Answer){unasked, longAgo}, saml.CheckAuthnInstant},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.idp
			p.Settings = tt.set
			var err error
			w.idp, err = w.fed.Update(t.Context(), p)
			must(t, err)
			v := w.begin("/")
			_, err = w.consume(v, w.respond(v, tt.change...))
			if tt.code == "" {
				must(t, err)
			} else {
				wantCode(t, err, tt.code)
			}
		})
	}
}
