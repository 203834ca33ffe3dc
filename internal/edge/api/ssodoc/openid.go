package ssodoc

// OpenIDProvider is what is set for an OpenID provider. The client secret is
// never shown.
type OpenIDProvider struct {
	Issuer           string   `json:"issuer"`
	ClientID         string   `json:"client_id"`
	ClientSecretSet  bool     `json:"client_secret_set"`
	ClientAuth       string   `json:"client_auth"`
	Scopes           []string `json:"scopes"`
	UserNameClaim    string   `json:"user_name_claim"`
	DisplayNameClaim string   `json:"display_name_claim"`
	MailClaim        string   `json:"mail_claim"`
	GroupsClaim      string   `json:"groups_claim"`
	RolesClaim       string   `json:"roles_claim"`
	ACRValues        []string `json:"acr_values"`
	MaxAge           *int     `json:"max_age"` // seconds; nil: any
	// BackChannelLogout: it tells Carnet by itself when a sign-in ends.
	BackChannelLogout bool `json:"back_channel_logout"`
}

// OpenIDSettings are what an administrator enters of an OpenID provider; what is
// empty is the default. Issuer never changes.
type OpenIDSettings struct {
	Issuer           string   `json:"issuer"`
	ClientID         string   `json:"client_id"`
	ClientSecret     string   `json:"client_secret,omitempty"` // empty in a change: it stays
	ClientAuth       string   `json:"client_auth,omitempty"`
	Scopes           []string `json:"scopes,omitzero"`
	UserNameClaim    string   `json:"user_name_claim,omitempty"`
	DisplayNameClaim string   `json:"display_name_claim,omitempty"`
	MailClaim        string   `json:"mail_claim,omitempty"`
	GroupsClaim      string   `json:"groups_claim,omitempty"`
	RolesClaim       string   `json:"roles_claim,omitempty"`
	ACRValues        []string `json:"acr_values,omitzero"`
	MaxAge           *int     `json:"max_age,omitempty"`
	// BackChannelLogout: an administrator has entered Carnet's logout URI there.
	BackChannelLogout bool `json:"back_channel_logout,omitempty"`
}
