package federation

import "time"

// Kept is what is known of an identity provider's metadata beside the document
// itself. The names in JSON are those of the database.
type Kept struct {
	// Fetched is when the metadata was last had: entered, or refreshed and
	// found in order.
	Fetched time.Time `json:"fetched,omitzero"`
	// Tried is when a refresh was last tried, Error why it failed; empty: it
	// did not.
	Tried time.Time `json:"tried,omitzero"`
	Error string    `json:"error,omitempty"`
	// Failed counts the refreshes that failed since the last one that did not.
	Failed int `json:"failed,omitempty"`
	// Pending is refreshed metadata that is not used until an administrator
	// accepts it; nil: none. Why says what is new about it.
	Pending      []byte    `json:"pending,omitempty"`
	PendingSince time.Time `json:"pending_since,omitzero"`
	Why          string    `json:"why,omitempty"`
	// Refused is the digest (SHA-256, hex) of the metadata that an administrator
	// refused last: it does not wait again.
	Refused string `json:"refused,omitempty"`
	// Warned lists what was warned of: it is done once.
	Warned []string `json:"warned,omitempty"`
}

// Switches hold for the whole installation.
type Switches struct {
	// UnifiedLogin says which issuer mints for AWS: on, the workspace's; off,
	// the organisation's. It chooses nothing else.
	UnifiedLogin bool
	// RoleSync is "Allow IAM role entitlement auto sync": at each sign-in the roles that
	// the identity provider names replace those that are mapped to the person, whoever
	// mapped them, within the provider's list; none named are none left. Off, they live
	// with that login session alone.
	RoleSync bool
}

// Installation is what is stored of the installation as a whole.
type Installation struct {
	// Organisation is a UUID, made at the first start and never changed.
	Organisation string
	Switches
}

// IssuerURLs are those of our two OIDC issuers.
type IssuerURLs struct {
	Workspace string
	Account   string // of the account level
}

// Issuer gives the OIDC issuer that mints for AWS.
func (i Installation) Issuer(of IssuerURLs) string {
	if i.UnifiedLogin {
		return of.Workspace
	}
	return of.Account
}
