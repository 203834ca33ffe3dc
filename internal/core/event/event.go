// Package event holds the words of the audit trail: what happened, to whom,
// by whom, and how it ended. An event never holds a secret.
package event

import (
	"time"

	"carnet.dev/carnet/internal/core/identity"
)

// Outcome is how an act ended.
type Outcome string

// The outcomes.
const (
	Done   Outcome = "done"
	Denied Outcome = "denied"
	Failed Outcome = "failed"
)

// Event is one act. Empty fields are left out of the record.
type Event struct {
	At           time.Time               `json:"at"`     // set by the writer when zero
	Action       string                  `json:"action"` // "sign-in", "exchange", "identity-provider.add", …
	Outcome      Outcome                 `json:"outcome"`
	Code         string                  `json:"code,omitempty"`   // fault code when not done
	Person       identity.PersonID       `json:"person,omitempty"` // who acted
	UserName     string                  `json:"user_name,omitempty"`
	IdP          identity.IdPID          `json:"identity_provider,omitempty"`
	LoginSession identity.LoginSessionID `json:"login_session,omitempty"`
	Request      identity.RequestID      `json:"request,omitempty"`
	Source       string                  `json:"source,omitempty"` // address of the caller
	Account      string                  `json:"account,omitempty"`
	Role         string                  `json:"role,omitempty"`          // ARN
	AccessKeyID  string                  `json:"access_key_id,omitempty"` // joins our trail with AWS's
	// Principal is who acted as AWS names it: of a role session, an IAM user.
	Principal        string                      `json:"principal,omitempty"`
	ServicePrincipal identity.ServicePrincipalID `json:"service_principal,omitempty"`
	Delegation       identity.DelegationID       `json:"delegation,omitempty"`
	GatewayKey       identity.GatewayKeyID       `json:"gateway_key,omitempty"`
	Cluster          string                      `json:"cluster,omitempty"`
	// Of what acts on a node of a cluster: the node, the attachment, and the owner
	// of its processes as the node's agent read it, such as "1000(alice)".
	Node         identity.NodeID       `json:"node,omitempty"`
	Attachment   identity.AttachmentID `json:"attachment,omitempty"`
	ProcessOwner string                `json:"process_owner,omitempty"`
	Target       string                `json:"target,omitempty"` // what was acted on
	Detail       map[string]string     `json:"detail,omitempty"`
}
