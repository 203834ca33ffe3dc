package entitlement

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
)

// Evidence is what one role of one sign-in rests on: what the identity provider
// said, kept so that it can be asked again whether that still counts. It holds no
// secret; the assertion itself is not kept. The names in JSON are stored.
type Evidence struct {
	Role arn.Role `json:"-"`
	// Group is the group that a template derived the role from; empty where the
	// identity provider named the role itself.
	Group string `json:"group,omitempty"`
	// Mapped: the role is mapped to the person, and no word of the identity provider.
	Mapped bool `json:"mapped,omitempty"`

	IdP      identity.IdPID `json:"idp"`
	Protocol string         `json:"protocol"` // "saml" or "oidc"
	UserName string         `json:"user_name"`
	// SignIn names what was said, for the trail: the assertion's id, or the jti or
	// sid of an ID token.
	SignIn string    `json:"sign_in"`
	Issued time.Time `json:"issued"` // IssueInstant, iat
	// NotOnOrAfter is SessionNotOnOrAfter; zero: the identity provider set no bound.
	NotOnOrAfter time.Time `json:"not_on_or_after,omitzero"`
	AuthnTime    time.Time `json:"authn_time,omitzero"`
	AuthnContext string    `json:"authn_context,omitempty"` // class reference, acr

	SessionName       string   `json:"session_name"`
	SourceIdentity    string   `json:"source_identity,omitempty"`
	Tags              []Tag    `json:"tags,omitempty"`
	TransitiveTagKeys []string `json:"transitive_tag_keys,omitempty"`

	// Flaw says what in it no token of ours may repeat; empty: nothing.
	Flaw string `json:"flaw,omitempty"`
}

// Tag is a session tag.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Evidence gives what one candidate rests on.
func (e Entitlements) Evidence(c Candidate) Evidence {
	out := e.Basis
	out.Role, out.Group, out.Mapped = c.Role, c.Group, c.Mapped
	return out
}

// basis reads what all roles of a verified assertion rest on.
func basis(a *saml.Assertion, sp *federation.Speaker, userName string) Evidence {
	e := Evidence{IdP: sp.IdP.ID, Protocol: "saml", UserName: userName, SignIn: a.ID, Issued: a.IssueInstant, NotOnOrAfter: a.SessionNotOnOrAfter,
		AuthnTime: a.AuthnInstant, AuthnContext: a.AuthnContext, TransitiveTagKeys: a.Values(saml.AttrTransitiveTagKeys)}
	if values := a.Values(saml.AttrSourceIdentity); len(values) == 1 {
		e.SourceIdentity = values[0]
	} else if len(values) > 1 {
		e.Flaw = "SourceIdentity has more than one value"
	}
	seen := map[string]bool{}
	for _, attribute := range a.Attributes {
		key, ok := strings.CutPrefix(attribute.Name, saml.AttrPrincipalTagPrefix)
		if !ok {
			continue
		}
		if len(attribute.Values) != 1 || seen[strings.ToLower(key)] {
			e.Flaw = "session tag " + clip(key) + " does not have exactly one value"
			continue
		}
		seen[strings.ToLower(key)] = true
		e.Tags = append(e.Tags, Tag{Key: key, Value: attribute.Values[0]})
	}
	return e
}

// flawed refuses what STS would refuse too.
func (e Evidence) flawed() *fault.Fault {
	if e.Flaw == "" {
		return nil
	}
	return fault.Coded(fault.Denied, "InvalidIdentityToken", e.Flaw).
		WithMend("an administrator has to mend the attributes that the identity provider sends")
}

// Holds asks again whether the identity provider may say what it said: the
// person's name and the role are on its list, a template still derives the role,
// the account is configured, the session name is the person's own, and the
// person signed in as is asked for now. sp is the provider as it stands now.
// Faults: Denied, naming what changed.
func (e Evidence) Holds(sp *federation.Speaker, accounts Accounts) error {
	if f := e.flawed(); f != nil {
		return f
	}
	account, configured := accounts[e.Role.Account]
	user, role := sp.MayAssertUser(e.UserName), sp.MayAssertRole(e.Role)
	contexts := sp.IdP.AuthnContexts
	if sp.IdP.Protocol == federation.OIDC {
		contexts = sp.IdP.OIDC.ACRValues
	}
	switch {
	case sp.IdP.ID != e.IdP:
		return gone("the sign-in was by another identity provider")
	case user != "":
		return gone(string(user))
	case role != "":
		return gone(string(role))
	case !configured:
		return gone("account " + e.Role.Account + " is not configured any more")
	case account.Partition != e.Role.Partition:
		return gone("account " + e.Role.Account + " is configured in partition " + account.Partition)
	case e.Group != "" && !e.derived(sp, account):
		return gone(fmt.Sprintf("no role template derives role %s from group %q any more", e.Role, clip(e.Group)))
	case !sp.IdP.MapSessionName && !OwnName(e.SessionName, e.UserName) && e.SessionName != identity.SessionName(e.UserName):
		return gone("RoleSessionName " + clip(e.SessionName) + " is not the signed-in user name")
	case len(contexts) > 0 && !slices.Contains(contexts, e.AuthnContext):
		return gone("identity provider " + sp.IdP.Name + " has to sign people in by another way now")
	}
	return nil
}

// derived reports whether the templates of now give the role for its group.
func (e Evidence) derived(sp *federation.Speaker, account Account) bool {
	all, _ := sp.Derive([]string{e.Group}, func(id string) (string, bool) { return account.Partition, id == account.ID })
	return slices.ContainsFunc(all, func(d federation.Derived) bool { return d.Pair.Role == e.Role })
}

func gone(why string) error {
	return fault.Coded(fault.Denied, "entitlement.ended", why).
		WithMend("sign in again; if you should have the role, ask an administrator")
}
