package gateway

import "carnet.dev/carnet/internal/core/identity"

// Nodes tells of the nodes of clusters, from memory, for records alone.
type Nodes interface {
	// ClusterName gives a cluster's name; its id where it is not known.
	ClusterName(id identity.ClusterID) string
	// ProcessOwner gives who owns the processes of an attachment; empty where it is
	// not known.
	ProcessOwner(id identity.AttachmentID) string
}

// onNode gives where the keys of a proven request were made for. A gateway key knows
// the name of its cluster alone (see clusterName).
func (x *exchange) onNode() identity.OnNode {
	if x.holder == nil {
		return x.caller.OnNode
	}
	key := x.holder.Key()
	on := identity.OnNode{Attachment: key.Attachment, Node: key.Node}
	if on.Attachment != "" && x.g.config.Nodes != nil {
		on.Owner = x.g.config.Nodes.ProcessOwner(on.Attachment)
	}
	return on
}

// clusterName gives the name of the cluster that the keys of a proven request are for.
func (x *exchange) clusterName(id identity.ClusterID) string {
	switch {
	case x.holder != nil:
		key := x.holder.Key()
		return key.Cluster
	case id == "" || x.g.config.Nodes == nil:
		return string(id)
	}
	return x.g.config.Nodes.ClusterName(id)
}
