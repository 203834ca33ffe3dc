package entitlement

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/protocol/openid"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
)

// maxClaimBytes bounds all values of a roles claim together.
const maxClaimBytes = 256 << 10

// OfOIDC reads the entitlements of an ID token: the roles that the claim of its
// identity provider names, and those that its templates derive from groups. A
// value is the ARN of a role, or a role and its SAML provider joined by a comma,
// as SAML has it; the provider is not used. userName is the name under which its
// subject signed in. Candidates have no SAML provider: they are served by web
// identity alone.
func OfOIDC(c openid.Claims, sp *federation.Speaker, accounts Accounts, userName string) Entitlements {
	e := Entitlements{SessionName: identity.SessionName(userName), Basis: basisOIDC(c, sp, userName)}
	e.Basis.SessionName = e.SessionName
	values, ok := sp.RolesIn(c)
	if !ok {
		e.note("the claim %s is no text and no list of texts; it names no role", clip(sp.IdP.OIDC.RolesClaim))
	}
	held, total := map[arn.Role]bool{}, 0
	for i, v := range values {
		if total += len(v); i >= saml.MaxRoles || total > maxClaimBytes {
			e.note("there are more than %d roles, or their names take more than 256 KiB; the rest was left out", saml.MaxRoles)
			break
		}
		if !strings.Contains(v, "arn:") {
			e.note("role value %d, %q, is no role of AWS and was skipped", i+1, clip(v))
			continue // applications have roles of their own in the same claim
		}
		role, err := roleIn(v)
		if err != nil {
			e.Malformed = append(e.Malformed, saml.Malformed{Value: clip(v), Reason: err.Error(), Index: i})
			e.note("role value %d, %q, was skipped: %s", i+1, clip(v), err)
			continue
		}
		e.claimed(Candidate{Role: role, Index: i}, sp, accounts, held)
	}
	e.deriveOIDC(c, len(values), sp, accounts, held)
	return e
}

// deriveOIDC adds what the templates derive, behind the values of the claim.
func (e *Entitlements) deriveOIDC(c openid.Claims, next int, sp *federation.Speaker, accounts Accounts, held map[arn.Role]bool) {
	if len(sp.IdP.RoleTemplates) == 0 {
		return
	}
	derived, notes := sp.Derive(sp.GroupsIn(c), func(id string) (string, bool) {
		account, ok := accounts[id]
		return account.Partition, ok
	})
	for _, n := range notes {
		e.note("%s", n)
	}
	for i, d := range derived {
		if len(e.Candidates) == saml.MaxRoles {
			e.note("more than %d roles together; the rest was left out", saml.MaxRoles)
			return
		}
		e.claimed(Candidate{Role: d.Pair.Role, Index: next + i, Derived: true, Group: d.Group}, sp, accounts, held)
	}
}

// claimed holds one role against list and accounts, and adds it once.
func (e *Entitlements) claimed(c Candidate, sp *federation.Speaker, accounts Accounts, held map[arn.Role]bool) {
	from := ""
	if c.Derived {
		from = fmt.Sprintf(", derived from group %q,", clip(c.Group))
	}
	account, why := admitRole(c.Role, sp, accounts)
	if why != "" {
		e.note("role %s%s was dropped: %s", c.Role, from, why)
		return
	}
	if held[c.Role] {
		return
	}
	held[c.Role], c.Account, c.Exchange = true, account, ByWebIdentity
	c.Refusal = e.Basis.flawed()
	if !account.WebIdentity {
		c.Refusal = unserved(c)
	}
	e.Candidates = append(e.Candidates, c)
}

// unserved says why a role can't be had by signing in with an OpenID provider.
func unserved(c Candidate) *fault.Fault {
	return fault.Coded(fault.Denied, "AccessDenied", fmt.Sprintf(
		"role %s can't be had by this sign-in: account %s takes SAML alone, and the sign-in was by OpenID Connect", c.Role, c.Account.ID)).
		WithMend("an administrator can let the account take web identity (exchanges in carnet.yaml), or sign in by a SAML identity provider")
}

// The claims that AWS reads in an ID token (IAM User Guide, "Passing session tags
// in AWS STS"): a provider may send them to us too.
const (
	claimTags           = "https://aws.amazon.com/tags"
	claimSourceIdentity = "https://aws.amazon.com/source_identity"
)

// basisOIDC reads what all roles of an ID token rest on.
func basisOIDC(c openid.Claims, sp *federation.Speaker, userName string) Evidence {
	e := Evidence{IdP: sp.IdP.ID, Protocol: "oidc", UserName: userName, SignIn: c.Text("jti"), Issued: c.Time("iat"),
		AuthnTime: c.Time("auth_time"), AuthnContext: c.Text("acr"), SourceIdentity: c.Text(claimSourceIdentity)}
	if e.SignIn == "" {
		e.SignIn = c.Text("sid")
	}
	if e.SourceIdentity == "" && c[claimSourceIdentity] != nil {
		e.Flaw = "the claim " + claimSourceIdentity + " is no text"
	}
	e.readTags(c)
	return e
}

// readTags takes session tags in either of their two shapes. What does not count
// is a flaw, and never left out: keys with fewer tags may do more.
func (e *Evidence) readTags(c openid.Claims) {
	principal, transitive, nested := map[string]any{}, any(nil), c[claimTags] != nil
	if nested {
		tags, object := c[claimTags].(map[string]any)
		values, ok := tags["principal_tags"].(map[string]any)
		if !object || !ok && tags["principal_tags"] != nil {
			e.Flaw = "the claim " + claimTags + " is not in the form of session tags"
		}
		maps.Copy(principal, values)
		transitive = tags["transitive_tag_keys"]
	}
	for name, value := range c {
		key, tag := strings.CutPrefix(name, claimTags+"/principal_tags/")
		switch {
		case !tag && name != claimTags+"/transitive_tag_keys":
			continue
		case nested:
			e.Flaw = "the session tags stand in two shapes"
		case tag:
			principal[key] = value
		default:
			transitive = value
		}
	}
	for _, key := range slices.Sorted(maps.Keys(principal)) {
		values, ok := oidc.Texts(principal[key])
		if !ok || len(values) != 1 || slices.ContainsFunc(e.Tags, func(t Tag) bool { return strings.EqualFold(t.Key, key) }) {
			e.Flaw = "session tag " + clip(key) + " does not have exactly one value"
			continue
		}
		e.Tags = append(e.Tags, Tag{Key: key, Value: values[0]})
	}
	if transitive == nil {
		return
	}
	var ok bool
	if e.TransitiveTagKeys, ok = oidc.Texts(transitive); !ok {
		e.Flaw = "the transitive tag keys are no list of texts"
	}
}

// admitRole holds a role against the list of its identity provider and the
// configured accounts; why is empty when it may be tried.
func admitRole(r arn.Role, sp *federation.Speaker, accounts Accounts) (account Account, why string) {
	if bound := sp.MayAssertRole(r); bound != "" {
		return Account{}, string(bound)
	}
	account, ok := accounts[r.Account]
	switch {
	case !ok:
		return Account{}, "account " + r.Account + " is not configured"
	case account.Partition != r.Partition:
		return Account{}, "account " + r.Account + " is configured in partition " + account.Partition
	}
	return account, ""
}

// roleIn reads one value of the claim. Role names may hold commas themselves, so
// a pair is known by its second ARN.
func roleIn(value string) (arn.Role, error) {
	role := strings.TrimSpace(value)
	if second := strings.LastIndex(role, "arn:"); second > 0 {
		left, ok := strings.CutSuffix(strings.TrimSpace(role[:second]), ",")
		right := role[second:]
		if !ok {
			return arn.Role{}, fmt.Errorf("want the ARN of a role, or a role and a SAML provider joined by one comma")
		}
		if left = strings.TrimSpace(left); strings.Contains(left, ":saml-provider/") && !strings.Contains(left, ":role/") {
			left, right = right, left
		}
		if _, err := arn.ParseSAMLProvider(right); err != nil {
			return arn.Role{}, fmt.Errorf("SAML provider: %w", err)
		}
		role = left
	}
	return arn.ParseRole(role)
}
