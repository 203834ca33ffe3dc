// Package entitlement turns a verified assertion into the roles that a person
// may try, and says what became of every value that is not among them.
//
// It decides by three lists: what the assertion says, what its identity
// provider may say (federation), and which accounts are configured. Nothing
// that fails one of them is ever traded. It must never add a role, widen a
// list or choose between two people: a session name that is not the signed-in
// person's refuses every exchange.
package entitlement

import (
	"fmt"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/ascii"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
)

// Account is a configured AWS account, as far as entitlements ask.
type Account struct {
	ID        string // 12 digits
	Name      string
	Partition string // aws, aws-cn, aws-us-gov
	// SAML reports whether the account accepts AssumeRoleWithSAML.
	SAML    bool
	Deliver string // direct or gateway
}

// Accounts are the configured accounts by number. An account that isn't in it
// gets nothing.
type Accounts map[string]Account

// Candidate is one entitlement: a role that the person may try to assume.
type Candidate struct {
	Role     arn.Role
	Provider arn.SAMLProvider
	Account  Account
	Index    int // place among the assertion's Role values, from 0
}

// Entitlements is what one assertion entitles to.
type Entitlements struct {
	// Candidates are in the order of the assertion, one per role.
	Candidates []Candidate
	// Malformed are the values that name no role and provider.
	Malformed []saml.Malformed
	// Notes say in plain words what was dropped or accepted with a remark.
	Notes []string
	// SessionName is the RoleSessionName that STS will use.
	SessionName string
	// Refusal, when set, says why no role may be traded at all. Its code is
	// the one that STS would have answered with.
	Refusal *fault.Fault
}

// Of reads the entitlements of a verified assertion. userName is the name
// under which its subject signed in.
func Of(a *saml.Assertion, sp *federation.Speaker, accounts Accounts, userName string) Entitlements {
	var e Entitlements
	e.SessionName, e.Refusal = sessionName(a, userName)
	pairs, malformed := saml.RolePairs(a)
	for _, m := range malformed {
		e.Malformed = append(e.Malformed, m)
		e.note("role value %d, %q, was skipped: %s", m.Index+1, m.Value, m.Reason)
	}
	seen := map[arn.Role]arn.SAMLProvider{}
	for _, p := range pairs {
		account, why := admit(p, sp, accounts)
		if why != "" {
			e.note("role %s was dropped: %s", p.Role, why)
			continue
		}
		if first, again := seen[p.Role]; again {
			if first != p.Provider {
				e.note("role %s is there twice; its first SAML provider, %s, is used", p.Role, first)
			}
			continue
		}
		seen[p.Role] = p.Provider
		if p.Swapped {
			e.note("the value of role %s has the SAML provider first; AWS documents the role first", p.Role)
		}
		if p.Spaced {
			e.note("the value of role %s has spaces around an ARN; AWS documents none", p.Role)
		}
		e.Candidates = append(e.Candidates, Candidate{Role: p.Role, Provider: p.Provider, Account: account, Index: p.Index})
	}
	return e
}

// admit holds a pair against the list of its identity provider and the
// configured accounts; why is empty when it may be tried.
func admit(p saml.RolePair, sp *federation.Speaker, accounts Accounts) (account Account, why string) {
	if bound := sp.MayAssertRole(p.Role); bound != "" {
		return Account{}, string(bound)
	}
	account, ok := accounts[p.Role.Account]
	switch {
	case !ok:
		return Account{}, "account " + p.Role.Account + " is not configured"
	case account.Partition != p.Role.Partition:
		return Account{}, "account " + p.Role.Account + " is configured in partition " + account.Partition
	case p.Provider.Account != p.Role.Account || p.Provider.Partition != p.Role.Partition:
		return Account{}, "SAML provider " + p.Provider.String() + " is of another account"
	case !account.SAML:
		return Account{}, "account " + p.Role.Account + " takes no SAML sign-in"
	}
	return account, ""
}

// OwnName reports whether a RoleSessionName is a person's own: their user name,
// letter case aside. Else one could act under another's name.
func OwnName(sessionName, userName string) bool {
	return ascii.Lower(sessionName) == ascii.Lower(userName)
}

// sessionName holds the rule that a RoleSessionName is the signed-in person's
// own (design 4.4): the trail at AWS carries it as the person's name.
func sessionName(a *saml.Assertion, userName string) (string, *fault.Fault) {
	values := a.Values(saml.AttrRoleSessionName)
	const mend = "an administrator has to set the attribute " + saml.AttrRoleSessionName +
		" at the identity provider to the name that people sign in with"
	switch {
	case len(values) == 0:
		return "", fault.Coded(fault.Denied, "InvalidIdentityToken", "RoleSessionName is required in AuthnResponse").WithMend(mend)
	case len(values) > 1:
		return "", fault.Coded(fault.Denied, "InvalidIdentityToken", "RoleSessionName has more than one value").WithMend(mend)
	case !identity.ValidSessionName(values[0]):
		return "", fault.Coded(fault.Denied, "InvalidIdentityToken",
			"RoleSessionName in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}").WithMend(mend)
	case !OwnName(values[0], userName):
		return "", fault.Coded(fault.Denied, "InvalidIdentityToken",
			fmt.Sprintf("RoleSessionName %s is not the signed-in user name %s", values[0], clip(userName))).WithMend(mend)
	}
	return values[0], nil
}

func (e *Entitlements) note(format string, args ...any) {
	const most = 200 // a person reads no more, and a row stays small
	switch {
	case len(e.Notes) < most:
		e.Notes = append(e.Notes, fmt.Sprintf(format, args...))
	case len(e.Notes) == most:
		e.Notes = append(e.Notes, "more remarks were left out")
	}
}

func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
