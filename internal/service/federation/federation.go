// Package federation keeps the identity providers that people sign in with,
// and what each of them may say.
//
// An identity provider speaks only for its list: accounts, role patterns and
// user-name domains (design 4.2). Whatever it asserts outside the list is
// dropped before it is shown or used. An empty list admits nothing; for role
// patterns and domains "*" is the one way to say "all", accounts are always
// named. Metadata is an administrator's word and is parsed before it is stored;
// one without a signing certificate is refused. Of an OpenID provider the issuer
// is that word, and all else is found by discovery there; its client secret is
// stored sealed. While the stored list can't be read nobody's word counts.
package federation

import (
	"time"

	"carnet.dev/carnet/internal/core/identity"
)

// IdP is one identity provider and the bounds of its word.
type IdP struct {
	ID   identity.IdPID
	Name string // shown to people; unique, letter case aside
	// Protocol is how people sign in by it; it never changes.
	Protocol Protocol
	// Metadata is the SAML metadata document as the administrator gave it; none
	// for an OpenID provider.
	Metadata []byte
	// EntityID is read from the metadata, and unique among SAML providers. That
	// of an OpenID provider is its issuer; there issuer and client id together
	// are unique.
	EntityID string
	Enabled  bool
	// Accounts are the AWS accounts (12 digits) whose roles it may assert.
	Accounts []string
	// RolePatterns bound the role ARNs it may assert: "*" stands for any run
	// of characters; a pattern covers the whole ARN.
	RolePatterns []string
	// UserNameDomains bound the user names it may assert, by the part after
	// the last "@". The one entry "*" means no restriction.
	UserNameDomains []string
	// AdministratorGroups name the groups whose members are administrators of
	// Carnet. Empty: this identity provider makes no administrators.
	AdministratorGroups []string
	// GroupsAttribute names the attribute that carries group names; empty
	// means "groups".
	GroupsAttribute string
	// AllowAutoCreate admits people who were never seen before.
	AllowAutoCreate bool
	// Settings say how we speak with it and read what it says. An OpenID
	// provider has role templates of them alone.
	Settings
	// OIDC says the same of an OpenID provider; zero for SAML.
	OIDC OIDCSettings
	// Kept is what is known of the metadata.
	Kept    Kept
	Created time.Time
	// Revision counts the changes: Update refuses an older one.
	Revision int64
}
