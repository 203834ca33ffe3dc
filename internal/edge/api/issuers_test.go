package api_test

import (
	"context"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/client"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
)

// idTokens mints for bob, who holds the role analyst.
type idTokens struct{ base string }

func (i idTokens) ForPerson(_ context.Context, s login.LoginSession, audience, role string) (issuer.Minted, error) {
	if role != "analyst" {
		return issuer.Minted{}, fault.Coded(fault.NotFound, "role.unheld", "you don't hold it")
	}
	return issuer.Minted{Token: secret.New("token of " + string(s.Person.ID) + " for " + audience), Issuer: i.base + "/oidc", Expires: start.Add(5 * time.Minute)}, nil
}

func TestIDToken(t *testing.T) {
	t.Parallel()
	_, base, _ := serve(t)
	c, err := client.New(base, secret.New("cli-bob"), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.IDToken(t.Context(), "sts.amazonaws.com", "analyst")
	if err != nil || got.Token.Reveal() != "token of psn_bob for sts.amazonaws.com" || got.Issuer != base+"/oidc" || !got.Expires.Equal(start.Add(5*time.Minute).Truncate(time.Second)) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.IDToken(t.Context(), "sts.amazonaws.com", "root"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a role that is not held: %v", err)
	}
	if _, err := c.IDToken(t.Context(), "", "analyst"); fault.Of(err).Code != "id-token.audience" {
		t.Errorf("no audience: %v", err)
	}
}

// TestStrangersLearnIssuersAndPlaces: what a workload needs before it has
// anything, and which accounts are configured is not among it.
func TestStrangersLearnIssuersAndPlaces(t *testing.T) {
	t.Parallel()
	_, base, _ := serve(t)
	c, err := client.New(base, secret.Text{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	issuers, err := c.Issuers(t.Context())
	if err != nil || len(issuers) != 2 || !issuers[0].Registered || issuers[1].Registered || issuers[1].Issuer != base+"/oidc/accounts/1" {
		t.Errorf("%+v, %v", issuers, err)
	}
	for account, local := range map[string]bool{"111122223333": true, cloud.Account: false, "999999999999": false, "x": false} {
		p, err := c.AccountPlace(t.Context(), account)
		if err != nil || p.Local != local || (p.Endpoints.STS != "") != local || (p.Region != "") != local {
			t.Errorf("%s: %+v, %v", account, p, err)
		}
	}
}
