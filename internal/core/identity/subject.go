package identity

// Who, besides a person, can hold roles. Their ids share the form and the
// rules of the others: typed prefix, 128 random bits, never reused.
type (
	GroupID            string // grp_…
	ServicePrincipalID string // spn_…
	ClientID           string // oac_…, an OAuth client
	CredentialID       string // crd_…, a secret or key of a client or service principal
	FederationPolicyID string // fpl_…, trust in the tokens of another issuer
	DelegationID       string // dlg_…, the right to run work as a person who is away
)

// NewGroupID makes an id that was never used.
func NewGroupID() GroupID { return GroupID("grp_" + lower.EncodeToString(random(16))) }

// NewServicePrincipalID makes an id that was never used.
func NewServicePrincipalID() ServicePrincipalID {
	return ServicePrincipalID("spn_" + lower.EncodeToString(random(16)))
}

// NewClientID makes an id that was never used.
func NewClientID() ClientID { return ClientID("oac_" + lower.EncodeToString(random(16))) }

// NewCredentialID makes an id that was never used.
func NewCredentialID() CredentialID { return CredentialID("crd_" + lower.EncodeToString(random(16))) }

// NewFederationPolicyID makes an id that was never used.
func NewFederationPolicyID() FederationPolicyID {
	return FederationPolicyID("fpl_" + lower.EncodeToString(random(16)))
}

// NewDelegationID makes an id that was never used.
func NewDelegationID() DelegationID { return DelegationID("dlg_" + lower.EncodeToString(random(16))) }
