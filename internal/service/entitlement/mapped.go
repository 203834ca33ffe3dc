package entitlement

import (
	"fmt"
	"slices"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
)

// AddMapped adds roles that are mapped to the person, by provisioning or by an
// administrator, behind those that the sign-in brought. They are held to the same list
// and accounts. The identity provider did not name them, so its assertion buys none:
// they are had by our own tokens, where their account takes them.
func (e *Entitlements) AddMapped(roles []arn.Role, sp *federation.Speaker, accounts Accounts) {
	next := 0
	for _, c := range e.Candidates {
		next = max(next, c.Index+1)
	}
	for _, r := range roles {
		if slices.ContainsFunc(e.Candidates, func(c Candidate) bool { return c.Role == r }) {
			continue
		}
		account, why := admitRole(r, sp, accounts)
		if why != "" {
			e.note("role %s, mapped to the person, was dropped: %s", r, why)
			continue
		}
		if len(e.Candidates) == saml.MaxRoles {
			e.note("more than %d roles together; the rest was left out", saml.MaxRoles)
			return
		}
		c := Candidate{Role: r, Account: account, Index: next, Mapped: true, Exchange: ByWebIdentity, Refusal: e.Basis.flawed()}
		if !account.WebIdentity {
			c.Refusal = fault.Coded(fault.Denied, "AccessDenied", fmt.Sprintf("role %s is mapped to the person, and account %s takes no ID token of Carnet", r, account.ID)).
				WithMend("an administrator can let the account take web identity (exchanges in carnet.yaml), or have the identity provider name the role")
		}
		next++
		e.Candidates = append(e.Candidates, c)
	}
}
