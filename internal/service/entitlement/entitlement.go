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
	"time"

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
	SAML bool
	// Local: Carnet's own authority keeps the account. It takes derived roles
	// too; AWS takes only what stands in the assertion.
	Local bool
	// Decrypts: the STS of the account can read assertions that are encrypted
	// for us.
	Decrypts bool
	Deliver  string // direct or gateway
	// WebIdentity: the account accepts AssumeRoleWithWebIdentity with ID tokens
	// of our own issuer; WebIdentityFirst: rather than AssumeRoleWithSAML.
	WebIdentity, WebIdentityFirst bool
	// AssumeRole: Carnet's own AWS identity takes the account's roles for jobs and JDBC
	// connections; AssumeRoleFirst: rather than web identity, where both would do.
	AssumeRole, AssumeRoleFirst bool
	// Bridge: roles that were traded by SAML may be renewed by web identity.
	Bridge bool
	// Cap is the longest time since the sign-in for which tokens are made; 0
	// means 12 hours.
	Cap time.Duration
	// AuthnContexts are class references of which the sign-in must have had
	// one; empty: any will do.
	AuthnContexts []string
	// Tags and SourceIdentity say whether our tokens may carry them.
	Tags, SourceIdentity bool
}

// Accounts are the configured accounts by number. An account that isn't in it
// gets nothing.
type Accounts map[string]Account

// Candidate is one entitlement: a role that the person may try to assume.
type Candidate struct {
	Role     arn.Role
	Provider arn.SAMLProvider
	Account  Account
	// Index is the place among the assertion's Role values, from 0; derived
	// roles come behind them.
	Index int
	// Derived: a role template made it of the group Group; it stands nowhere
	// in the assertion.
	Derived bool
	Group   string
	// Mapped: the sign-in did not bring it; it is mapped to the person.
	Mapped bool
	// Exchange serves the role: the first of the account's that the sign-in can
	// use.
	Exchange Exchange
	// Refusal, when set, says why no exchange of the account can serve this
	// role: no call is made. It is shown and kept. The code is the one that STS
	// would have answered with.
	Refusal *fault.Fault
}

// Exchange is a way to trade a sign-in for the keys of a role.
type Exchange string

// The exchanges.
const (
	BySAML        Exchange = "saml"         // the identity provider's assertion, by AssumeRoleWithSAML
	ByWebIdentity Exchange = "web-identity" // an ID token of our own, by AssumeRoleWithWebIdentity
)

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
	// Basis is what every candidate rests on; Of gives it for one.
	Basis Evidence
	// Refusal, when set, says why no role may be traded at all. Its code is
	// the one that STS would have answered with.
	Refusal *fault.Fault
}

// Of reads the entitlements of a verified assertion: the roles that it names,
// and those that the templates of its identity provider derive from groups.
// userName is the name under which its subject signed in.
func Of(a *saml.Assertion, sp *federation.Speaker, accounts Accounts, userName string) Entitlements {
	var e Entitlements
	e.SessionName, e.Refusal = e.sessionName(a, sp, userName)
	e.Basis = basis(a, sp, userName)
	pairs, malformed := saml.RolePairs(a)
	for _, m := range malformed {
		e.Malformed = append(e.Malformed, m)
		e.note("role value %d, %q, was skipped: %s", m.Index+1, m.Value, m.Reason)
	}
	held := map[arn.Role]arn.SAMLProvider{}
	for _, p := range pairs {
		if c, ok := e.candidate(p, "", sp, accounts, held); ok {
			if p.Swapped {
				e.note("the value of role %s has the SAML provider first; AWS documents the role first", p.Role)
			}
			if p.Spaced {
				e.note("the value of role %s has spaces around an ARN; AWS documents none", p.Role)
			}
			e.Candidates = append(e.Candidates, c)
		}
	}
	e.derive(a, sp, accounts, held)
	missing := e.Refusal
	if len(a.Values(saml.AttrRoleSessionName)) > 0 {
		missing = nil
	}
	for i := range e.Candidates {
		c := &e.Candidates[i]
		c.Exchange, c.Refusal = e.choose(*c, a, missing)
		if missing != nil && c.Exchange == ByWebIdentity {
			e.SessionName, e.Refusal = identity.SessionName(userName), nil
		}
	}
	e.Basis.SessionName = e.SessionName
	return e
}

// choose gives the first exchange of the account that can serve a candidate.
// missing is set where the assertion lacks a session name: STS needs it, our own
// tokens don't. What is wrong in an assertion is wrong for both.
func (e *Entitlements) choose(c Candidate, a *saml.Assertion, missing *fault.Fault) (Exchange, *fault.Fault) {
	no := refusal(c, a)
	if no == nil {
		no = missing
	}
	if account := c.Account; account.WebIdentity && (account.WebIdentityFirst || !account.SAML || no != nil) {
		return ByWebIdentity, e.Basis.flawed()
	}
	return BySAML, no
}

// derive adds what the templates derive, behind the Role values.
func (e *Entitlements) derive(a *saml.Assertion, sp *federation.Speaker, accounts Accounts, held map[arn.Role]arn.SAMLProvider) {
	derived, notes := Derived(a, sp, accounts)
	for _, n := range notes {
		e.note("%s", n)
	}
	next := len(a.Values(saml.AttrRole))
	for _, d := range derived {
		c, ok := e.candidate(d.Pair, d.Group, sp, accounts, held)
		if !ok {
			continue
		}
		if len(e.Candidates) == saml.MaxRoles {
			e.note("more than %d roles together; the rest was left out", saml.MaxRoles)
			return
		}
		c.Index, c.Derived, c.Group = next, true, d.Group
		next++
		e.Candidates = append(e.Candidates, c)
	}
}

// Derived gives the pairs that role templates derive from an assertion, not yet
// held against anything.
func Derived(a *saml.Assertion, sp *federation.Speaker, accounts Accounts) ([]federation.Derived, []string) {
	if len(sp.IdP.RoleTemplates) == 0 {
		return nil, nil
	}
	return sp.Derive(sp.Groups(a), func(id string) (string, bool) {
		account, ok := accounts[id]
		return account.Partition, ok
	})
}

// DerivedPairs gives those derived pairs that the local authority may take for
// its own accounts: within the list of the identity provider.
func DerivedPairs(a *saml.Assertion, sp *federation.Speaker, accounts Accounts) []saml.RolePair {
	derived, _ := Derived(a, sp, accounts)
	var out []saml.RolePair
	for _, d := range derived {
		if account, why := admit(d.Pair, sp, accounts); why == "" && account.Local && account.SAML {
			out = append(out, d.Pair)
		}
	}
	return out
}

// candidate holds one pair against list and accounts; false when it doesn't
// count, or the role is held already.
func (e *Entitlements) candidate(p saml.RolePair, group string, sp *federation.Speaker, accounts Accounts, held map[arn.Role]arn.SAMLProvider) (Candidate, bool) {
	from := ""
	if group != "" {
		from = fmt.Sprintf(", derived from group %q,", clip(group))
	}
	account, why := admit(p, sp, accounts)
	if why != "" {
		e.note("role %s%s was dropped: %s", p.Role, from, why)
		return Candidate{}, false
	}
	if first, again := held[p.Role]; again {
		if first != p.Provider {
			e.note("role %s%s is there twice; its first SAML provider, %s, is used", p.Role, from, first)
		}
		return Candidate{}, false
	}
	held[p.Role] = p.Provider
	return Candidate{Role: p.Role, Provider: p.Provider, Account: account, Index: p.Index}, true
}

// refusal says why a role can't be traded by SAML, whatever STS would say.
func refusal(c Candidate, a *saml.Assertion) *fault.Fault {
	switch {
	case c.Derived && !c.Account.Local:
		return fault.Coded(fault.Denied, "AccessDenied", fmt.Sprintf(
			"role %s is derived from group %q; AWS takes only roles that stand in the assertion", c.Role, clip(c.Group))).
			WithMend("an administrator has to send the role in the attribute " + saml.AttrRole + " at the identity provider")
	case a.Encrypted && !c.Account.Decrypts && !c.Account.Local:
		return fault.Coded(fault.Denied, "InvalidIdentityToken", "the assertion is encrypted for Carnet, and the SAML provider of account "+
			c.Account.ID+" at AWS does not hold the key that opens it").
			WithMend("an administrator has to upload the decryption key to the SAML provider at AWS and set saml_decryption: true for the account, or switch encryption off")
	}
	return nil
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
	case !account.SAML && !account.WebIdentity:
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
func (e *Entitlements) sessionName(a *saml.Assertion, sp *federation.Speaker, userName string) (string, *fault.Fault) {
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
	case !OwnName(values[0], userName) && sp.IdP.MapSessionName:
		e.note("RoleSessionName %s is not the signed-in user name %s; the identity provider's settings allow that", values[0], clip(userName))
	case !OwnName(values[0], userName):
		return "", fault.Coded(fault.Denied, "InvalidIdentityToken",
			fmt.Sprintf("RoleSessionName %s is not the signed-in user name %s", values[0], clip(userName))).
			WithMend(mend + ", or to allow another name in the settings of the identity provider")
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
