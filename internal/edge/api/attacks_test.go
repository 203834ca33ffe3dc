package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/login"
)

// programs are bob's access tokens: "a.b.bob".
type programs struct{ w *world }

func (p programs) ResumeAccess(ctx context.Context, t secret.Text) (login.LoginSession, error) {
	return p.w.Resume(ctx, secret.New(strings.TrimPrefix(t.Reveal(), "a.b.")))
}

// TestAttackProgramDelegatesItself: a program that a person let act for them ends
// with their sign-in. It can't give itself a year by a delegation.
func TestAttackProgramDelegatesItself(t *testing.T) {
	t.Parallel()
	_, base, _ := serve(t)
	form := `{"role":"analyst","service_principal":"nightly","label":"for me","lifetime_seconds":31536000}`
	status, _, body := call(t, http.MethodPost, base+"/api/v1/delegations", form, "Authorization", "Bearer a.b.bob")
	if status != http.StatusForbidden || !strings.Contains(string(body), httpd.CodeThemselves) {
		t.Errorf("%d %s", status, body)
	}
	status, _, body = call(t, http.MethodGet, base+"/api/v1/delegations", "", "Authorization", "Bearer a.b.bob")
	if status != http.StatusOK || strings.Contains(string(body), "for me") {
		t.Errorf("the list: %d %s", status, body)
	}
	if status, _, body = call(t, http.MethodPost, base+"/api/v1/delegations", form, "Authorization", "Bearer cli-bob"); status != http.StatusCreated {
		t.Errorf("bob himself: %d %s", status, body)
	}
}

// TestAttackAudiencePastTheClient: a client has ID tokens made by exchange, for
// the audiences that it was given. The person's own way is no way round that.
func TestAttackAudiencePastTheClient(t *testing.T) {
	t.Parallel()
	_, base, _ := serve(t)
	form := `{"audience":"sts.amazonaws.com","role":"analyst"}`
	status, _, body := call(t, http.MethodPost, base+"/api/v1/id-tokens", form, "Authorization", "Bearer a.b.bob")
	if status != http.StatusForbidden || strings.Contains(string(body), "token of psn_bob") || !strings.Contains(string(body), "RFC 8693") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, body = call(t, http.MethodPost, base+"/api/v1/id-tokens", form, "Authorization", "Bearer cli-bob"); status != http.StatusOK {
		t.Errorf("bob himself: %d %s", status, body)
	}
}
