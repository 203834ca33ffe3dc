package identity

import (
	"strconv"
	"strings"
)

// OnNode is where on the nodes of clusters something acts: what keys that were made
// for there are bound to. The zero value is nowhere.
type OnNode struct {
	// Attachment is empty for a connection to an engine of the node.
	Attachment AttachmentID
	Node       NodeID
	Cluster    ClusterID
	// Owner is who owns the processes, as the node's agent read it (see
	// ProcessOwner); empty where no one account does.
	Owner string
}

// IsZero reports whether it is nowhere.
func (n OnNode) IsZero() bool { return n == OnNode{} }

// mostOwner bounds the account in the text of a process owner.
const mostOwner = 128

// ProcessOwner writes who owns processes, as id(1) does: 1000(alice). A long
// account is cut.
func ProcessOwner(uid uint32, account string) string {
	text := strconv.FormatUint(uint64(uid), 10)
	if account == "" {
		return text
	}
	return text + "(" + strings.ToValidUTF8(account[:min(len(account), mostOwner)], "") + ")"
}
