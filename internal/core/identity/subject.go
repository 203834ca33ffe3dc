package identity

// Who, besides a person, can hold roles. Their ids share the form and the
// rules of the others: typed prefix, 128 random bits, never reused.
type (
	GroupID            string // grp_…
	ServicePrincipalID string // spn_…
)

// NewGroupID makes an id that was never used.
func NewGroupID() GroupID { return GroupID("grp_" + lower.EncodeToString(random(16))) }

// NewServicePrincipalID makes an id that was never used.
func NewServicePrincipalID() ServicePrincipalID {
	return ServicePrincipalID("spn_" + lower.EncodeToString(random(16)))
}
