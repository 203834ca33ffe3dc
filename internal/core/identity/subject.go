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
	GatewayKeyID       string // gwk_…, a key for tools without a field for session tokens
	PrefixGrantID      string // pfg_…, the role for a part of a bucket
	ClusterID          string // cls_…, machines that people share
	NodeID             string // nod_…, one machine of a cluster
	AttachmentID       string // att_…, a person bound to processes of a node
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

// NewGatewayKeyID makes an id that was never used.
func NewGatewayKeyID() GatewayKeyID { return GatewayKeyID("gwk_" + lower.EncodeToString(random(16))) }

// NewPrefixGrantID makes an id that was never used.
func NewPrefixGrantID() PrefixGrantID {
	return PrefixGrantID("pfg_" + lower.EncodeToString(random(16)))
}

// NewClusterID makes an id that was never used.
func NewClusterID() ClusterID { return ClusterID("cls_" + lower.EncodeToString(random(16))) }

// NewNodeID makes an id that was never used.
func NewNodeID() NodeID { return NodeID("nod_" + lower.EncodeToString(random(16))) }

// NewAttachmentID makes an id that was never used.
func NewAttachmentID() AttachmentID { return AttachmentID("att_" + lower.EncodeToString(random(16))) }

// GatewayKeyPrefix begins the access key id of every gateway key, and of no other.
const GatewayKeyPrefix = "GWKA"

// NewGatewayAccessKeyID makes the access key id of a gateway key, which has the
// shape of AWS's: GWKA and 16 letters or digits.
func NewGatewayAccessKeyID() string { return GatewayKeyPrefix + upper.EncodeToString(random(10)) }
