// Package ssodoc holds the documents of the HTTP API on single sign-on, for the
// server that writes them and the client that reads them.
//
// It is words only: no rule is applied here. Lists are never null in an answer.
package ssodoc

import "time"

// IdentityProviders is the list of identity providers, by name.
type IdentityProviders struct {
	Providers []IdentityProvider `json:"identity_providers"`
}

// IdentityProvider is one identity provider, the bounds of its word, and how
// we speak with it.
type IdentityProvider struct {
	ID                  string   `json:"id"`
	Name                string   `json:"name"`
	Protocol            string   `json:"protocol"`  // saml, oidc
	EntityID            string   `json:"entity_id"` // the issuer of an OpenID provider
	Enabled             bool     `json:"enabled"`
	Accounts            []string `json:"accounts"`
	RolePatterns        []string `json:"role_patterns"`
	UserNameDomains     []string `json:"user_name_domains"`
	AdministratorGroups []string `json:"administrator_groups"`
	GroupsAttribute     string   `json:"groups_attribute"`
	AllowAutoCreate     bool     `json:"allow_auto_create"`
	Settings            Settings `json:"settings"`
	// OIDC is set for an OpenID provider; of settings it has role templates alone.
	OIDC     *OpenIDProvider `json:"oidc"`
	Metadata Metadata        `json:"metadata"`
	// Warnings say what of it is weaker than need be.
	Warnings []string  `json:"warnings"`
	Created  time.Time `json:"created"`
	// Revision counts the changes; a change may name the one it is made to.
	Revision int `json:"revision"`
}

// Settings are those of service/federation.Settings; an empty choice is the
// default.
type Settings struct {
	RequestBinding       string         `json:"request_binding"`
	SignRequests         bool           `json:"sign_requests"`
	ForceAuthn           bool           `json:"force_authn"`
	AuthnContexts        []string       `json:"authn_contexts"`
	AllowUnsolicited     bool           `json:"allow_unsolicited"`
	Signed               string         `json:"signed"`
	Encryption           string         `json:"encryption"`
	AllowCBC             bool           `json:"allow_cbc"`
	AllowSHA1            bool           `json:"allow_sha1"`
	CertificateDates     string         `json:"certificate_dates"`
	MapSessionName       bool           `json:"map_session_name"`
	UserNameAttribute    string         `json:"user_name_attribute"`
	DisplayNameAttribute string         `json:"display_name_attribute"`
	MailAttribute        string         `json:"mail_attribute"`
	RoleTemplates        []RoleTemplate `json:"role_templates"`
	MetadataURL          string         `json:"metadata_url"`
	MetadataPin          []string       `json:"metadata_pin"`
}

// RoleTemplate derives a role from the name of a group.
type RoleTemplate struct {
	Group    string `json:"group"`
	Account  string `json:"account"`
	Role     string `json:"role"`
	Provider string `json:"provider"`
}

// Metadata is what is known of an identity provider's metadata.
type Metadata struct {
	SignOnURL    string        `json:"sign_on_url"`
	LogoutURL    string        `json:"logout_url"` // empty: no single logout
	Fetched      time.Time     `json:"fetched"`
	Tried        *time.Time    `json:"tried"` // nil: never refreshed
	Error        string        `json:"error"`
	ValidUntil   *time.Time    `json:"valid_until"`
	ExpiresSoon  bool          `json:"expires_soon"`
	Certificates []Certificate `json:"certificates"`
	Remarks      []string      `json:"remarks"`
	// Pending waits for an administrator; nil: nothing does.
	Pending *PendingMetadata `json:"pending"`
}

// PendingMetadata is refreshed metadata that is not used yet.
type PendingMetadata struct {
	Since        time.Time     `json:"since"`
	Why          string        `json:"why"`
	EntityID     string        `json:"entity_id"`
	SignOnURL    string        `json:"sign_on_url"`
	Certificates []Certificate `json:"certificates"`
}

// Certificate is one signing certificate.
type Certificate struct {
	Subject     string    `json:"subject"`
	SHA256      string    `json:"sha256"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	ExpiresSoon bool      `json:"expires_soon"`
	Expired     bool      `json:"expired"`
	New         bool      `json:"new"`
}

// MetadataFields are entered by hand where there is no metadata.
type MetadataFields struct {
	SignOnURL    string `json:"sign_on_url"`
	EntityID     string `json:"entity_id"`
	Certificates string `json:"certificates"` // PEM, or one as bare base64
	LogoutURL    string `json:"logout_url,omitempty"`
}

// NewIdentityProvider is what an administrator enters. Metadata comes as the
// document, as fields, or from settings.metadata_url. An OpenID provider has oidc
// instead.
type NewIdentityProvider struct {
	Name                string          `json:"name"`
	Metadata            string          `json:"metadata,omitempty"` // SAML 2.0 metadata, XML
	MetadataFields      *MetadataFields `json:"metadata_fields,omitempty"`
	Enabled             *bool           `json:"enabled,omitempty"` // nil: it is
	Accounts            []string        `json:"accounts"`
	RolePatterns        []string        `json:"role_patterns"`
	UserNameDomains     []string        `json:"user_name_domains"`
	AdministratorGroups []string        `json:"administrator_groups,omitempty"`
	GroupsAttribute     string          `json:"groups_attribute,omitempty"`
	AllowAutoCreate     bool            `json:"allow_auto_create,omitempty"`
	Settings            *Settings       `json:"settings,omitempty"`
	OIDC                *OpenIDSettings `json:"oidc,omitempty"`
}

// IdentityProviderChange holds what shall change; what is nil stays. Settings
// are replaced whole.
type IdentityProviderChange struct {
	// Revision is that of the identity provider as it was seen: if it has
	// changed since, the change is refused. 0 takes any.
	Revision            int             `json:"revision,omitempty"`
	Name                *string         `json:"name,omitempty"`
	Metadata            *string         `json:"metadata,omitempty"`
	MetadataFields      *MetadataFields `json:"metadata_fields,omitempty"`
	Enabled             *bool           `json:"enabled,omitempty"`
	Accounts            []string        `json:"accounts,omitzero"`
	RolePatterns        []string        `json:"role_patterns,omitzero"`
	UserNameDomains     []string        `json:"user_name_domains,omitzero"`
	AdministratorGroups []string        `json:"administrator_groups,omitzero"`
	GroupsAttribute     *string         `json:"groups_attribute,omitempty"`
	AllowAutoCreate     *bool           `json:"allow_auto_create,omitempty"`
	Settings            *Settings       `json:"settings,omitempty"`
	OIDC                *OpenIDSettings `json:"oidc,omitempty"`
}

// Seen names what an act is done to, as it was seen. 0 takes any.
type Seen struct {
	Revision int `json:"revision,omitempty"`
}

// SAMLKeys are our own keys: by purpose, then current, next, retired.
type SAMLKeys struct {
	Keys []SAMLKey `json:"saml_keys"`
}

// SAMLKey is one of our own SAML keys, without its secret.
type SAMLKey struct {
	ID          string    `json:"id"`
	Purpose     string    `json:"purpose"` // signing, encryption
	State       string    `json:"state"`   // current, next, retired
	SHA256      string    `json:"sha256"`
	Certificate string    `json:"certificate"` // PEM
	NotAfter    time.Time `json:"not_after"`
	Created     time.Time `json:"created"`
	Changed     time.Time `json:"changed"`
}

// SAMLKeyRequest names the purpose of a key to be made or brought into use.
type SAMLKeyRequest struct {
	Purpose string `json:"purpose"`
}

// SingleSignOn is what holds for all identity providers.
type SingleSignOn struct {
	SAMLURL         string `json:"saml_url"`
	SAMLMetadataURL string `json:"saml_metadata_url"`
	OIDCRedirectURL string `json:"oidc_redirect_url"` // redirect URI at OpenID providers
	OIDCLogoutURL   string `json:"oidc_logout_url"`   // for back-channel logout
	SignedOutURL    string `json:"signed_out_url"`    // post-logout redirect URI
	UnifiedLogin    bool   `json:"unified_login"`
	RoleSync        bool   `json:"role_sync"` // allow IAM role entitlement auto sync
	Organisation    string `json:"organisation"`
	// Issuer mints for AWS.
	Issuer string `json:"issuer"`
}

// SingleSignOnChange holds what shall change; what is nil stays.
type SingleSignOnChange struct {
	UnifiedLogin *bool `json:"unified_login,omitempty"`
	RoleSync     *bool `json:"role_sync,omitempty"`
}
