package api_test

import (
	"testing"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/client"
)

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
