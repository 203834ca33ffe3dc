package cluster

// Report is what the agent of a node says of itself.
type Report struct {
	Version  string
	Faces    []string // that answer: container, imds, socket, proxy
	Troubles []string // sentences for administrators
	// MetadataReachable: an instance metadata service of the node answers attached
	// uids.
	MetadataReachable bool
}
