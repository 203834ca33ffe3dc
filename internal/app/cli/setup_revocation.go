package cli

import (
	"context"
	"fmt"
	"strings"

	"carnet.dev/carnet/internal/service/generate"
)

// setUpRevocation prints the role by which Carnet denies keys that were taken back.
func (r *run) setUpRevocation(ctx context.Context, f setupFlags) error {
	if f.useSAML || f.useOIDC || f.useMeta || f.trust != "" || f.grant != "" || len(f.buckets) > 0 {
		return usage("--revocation makes a role of its own: leave --saml, --oidc, --meta, --bucket and the checks out")
	}
	if err := r.readOIDC(ctx, &f); err != nil {
		return err
	}
	made, err := generate.Revocation{Partition: f.aws.Partition, Accounts: f.aws.Accounts, Role: f.aws.Role, Roles: f.denyOn, Trusted: f.aws.Trusted, OIDC: f.oidc}.Generate()
	if err != nil {
		return err
	}
	type account struct {
		ID          string   `json:"id"`
		Role        string   `json:"role"`
		OIDC        string   `json:"oidc_provider"`
		Trust       string   `json:"trust_policy"`
		Permissions string   `json:"permissions_policy"`
		Commands    []string `json:"commands"`
	}
	var all []account
	var b strings.Builder
	for _, w := range made.Warnings {
		fmt.Fprintf(&b, "# warning: %s\n", w)
	}
	for _, a := range made.Accounts {
		all = append(all, account{a.ID, a.Role, a.OIDC, a.Trust, a.Permissions, a.Commands})
		fmt.Fprintf(&b, "# Account %s: run these with keys of this account.\n%s\n", a.ID, strings.Join(a.Commands, "\n"))
		fmt.Fprintf(&b, "# Then, under this account in carnet.yaml, and restart:\n#   revocation_role: %s\n", a.Role)
	}
	return r.say(struct {
		Issuer   string    `json:"issuer"`
		Warnings []string  `json:"warnings"`
		Accounts []account `json:"accounts"`
	}{f.oidc.Issuer, present(made.Warnings), all}, strings.TrimSuffix(b.String(), "\n"))
}
