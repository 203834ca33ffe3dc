// Package attachment binds people to processes on the nodes of clusters.
//
// An attachment says: what runs on this node under this uid, within this login
// scope, works as this person. It rests on the person's login session, or on a
// delegation to the cluster, and ends with it, with its login scope, at its own end,
// by detaching and by revocation. Its keys come from the same places as everywhere:
// the broker's for a login session, our own tokens for a delegation; there is no
// other right in it. Those of a local account are bound to it before they are handed
// out, so they end with it too.
//
// It must never give a node anything of somebody who is not attached there, nor a
// role that the cluster does not allow, nor let two people share a uid of a node of a
// high-concurrency cluster.
package attachment

import (
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
)

// How is the way an attachment came about.
type How string

// The ways.
const (
	Approved   How = "approved"   // by the person, with a code of the node
	OnBehalf   How = "on-behalf"  // by an orchestrator
	LoginNamed How = "login-name" // by the account name of the node, which the administrator trusts
)

// Place is where on a node an attachment holds.
type Place struct {
	Node identity.NodeID
	// UID is the user id on the node: never 0, never the overflow uid.
	UID uint32
	// Scope is the path of the control group (version 2) that processes have to be
	// in or below, such as /user.slice/user-1000.slice/session-3.scope; "/" binds to
	// the root group alone, not to what is below it.
	Scope string
	// ScopeID is the kernel's id of that group: a later group of the same path has
	// another.
	ScopeID uint64
	// Account is the login name on the node, as its agent read it.
	Account string
}

// Owner writes who owns the processes: 1000(alice).
func (p Place) Owner() string { return identity.ProcessOwner(p.UID, p.Account) }

// Attachment is one person bound to processes.
type Attachment struct {
	ID      identity.AttachmentID
	Cluster identity.ClusterID
	Place   Place
	Person  identity.PersonID
	IdP     identity.IdPID
	Name    string // the person's user name, to show
	// LoginSession or Delegation is what it rests on: exactly one.
	LoginSession identity.LoginSessionID
	Delegation   identity.DelegationID
	How          How
	// By is the orchestrator that made it; empty otherwise.
	By identity.ServicePrincipalID
	// Role is the current one; zero: none chosen.
	Role    arn.Role
	Made    time.Time
	Expires time.Time
	Ended   time.Time // zero: live
	Why     string    // why it ended
	Epoch   uint64
}

// OnNode is what keys and tokens that are made for it are bound to.
func (a *Attachment) OnNode() identity.OnNode {
	return identity.OnNode{Attachment: a.ID, Node: a.Place.Node, Cluster: a.Cluster, Owner: a.Place.Owner()}
}
