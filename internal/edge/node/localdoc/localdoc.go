// Package localdoc holds the documents that a node's agent and local programs
// exchange over its unix socket: HTTP, JSON, times RFC 3339 in UTC.
//
// Who is calling is what the kernel says of the process at the other end; nothing in
// a document says who somebody is. Errors are Problem, application/problem+json.
//
//	GET  /v1/status             Status, also for callers who have no attachment
//	POST /v1/attach             Attach, answered by Begun
//	POST /v1/attach/poll        Poll, answered by Polled
//	POST /v1/detach             ends the caller's attachment; 204
//	GET  /v1/keys?role=         Keys
//	GET  /v1/id-token?role=     IDToken
//	GET  /v1/roles              Roles
//	PUT  /v1/role               SetRole, answered by Roles
//	GET  /v1/bearer             Bearer: the second factor of the loopback endpoints
//	GET  /v1/trino              the mapping for Trino, for the engine's account alone
//	POST /v1/jdbc               JDBC, answered by JDBCConnection, for the engine's account alone
//	GET  /healthz, /readyz      for everybody, root too
package localdoc

import "time"

// Socket is where the agent listens, where nothing else is set (SocketVariable).
const Socket = "/run/carnet/agent.sock"

// SocketVariable names another place of the socket to local programs.
const SocketVariable = "CARNET_AGENT_SOCKET"

// Status (GET /v1/status) says what the caller has.
type Status struct {
	Node       string      `json:"node"`
	Cluster    string      `json:"cluster"`
	Kind       string      `json:"kind"`
	Server     string      `json:"server"`
	Fresh      bool        `json:"fresh"` // the agent's view of the server counts
	Attachment *Attachment `json:"attachment,omitempty"`
	Faces      Faces       `json:"faces"`
	// CA is the PEM file of the authority that the agent trusts beside the system's,
	// where other accounts can read it; empty: none.
	CA string `json:"ca,omitempty"`
}

// Attachment is the caller's own.
type Attachment struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"` // the person's user name
	Account string    `json:"account"`
	Scope   string    `json:"scope"`
	Role    string    `json:"role,omitempty"`
	Expires time.Time `json:"expires"`
	// TokenFile holds the second factor of the loopback endpoints, and
	// WebIdentityFile the ID token of the current role; empty: none is kept.
	TokenFile       string `json:"token_file"`
	WebIdentityFile string `json:"web_identity_file,omitempty"`
}

// Faces are the addresses at which the agent answers; empty: not offered.
type Faces struct {
	Container string `json:"container,omitempty"` // http://127.0.0.1:1018/v1/credentials
	Metadata  string `json:"metadata,omitempty"`  // http://127.0.0.1:1020
	Proxy     string `json:"proxy,omitempty"`     // http://127.0.0.1:1019
	// Missing says of each that is not offered why.
	Missing map[string]string `json:"missing,omitempty"`
}

// Attach (POST /v1/attach) begins to attach the calling process's login scope.
type Attach struct {
	// ByLoginName attaches by the account's name, where the cluster trusts it.
	ByLoginName bool `json:"by_login_name,omitempty"`
}

// Begun answers Attach.
type Begun struct {
	// Request is what POST /v1/attach/poll ({"request"}) asks with; the same uid and
	// scope alone may.
	Request         string      `json:"request,omitempty"`
	UserCode        string      `json:"user_code,omitempty"`
	VerificationURI string      `json:"verification_uri,omitempty"`
	Expires         time.Time   `json:"expires"`
	Interval        int         `json:"interval,omitempty"`
	Attachment      *Attachment `json:"attachment,omitempty"`
}

// Poll asks for what became of a request.
type Poll struct {
	Request string `json:"request"`
}

// Polled answers Poll. State: pending, attached, refused, expired.
type Polled struct {
	State      string      `json:"state"`
	Attachment *Attachment `json:"attachment,omitempty"`
}

// Keys answers GET /v1/keys?role=: those of the role, of the current one, or of the
// only one.
type Keys struct {
	AccessKeyID     string    `json:"access_key_id"`
	SecretAccessKey string    `json:"secret_access_key"`
	SessionToken    string    `json:"session_token,omitempty"`
	Expiration      time.Time `json:"expiration"`
	Role            string    `json:"role"`
	AccountID       string    `json:"account_id"`
	Region          string    `json:"region"`
	S3              string    `json:"s3,omitempty"`
	STS             string    `json:"sts,omitempty"`
}

// Roles answers GET /v1/roles and PUT /v1/role ({"role"}).
type Roles struct {
	Roles []Role `json:"roles"`
}

// Role is one that the caller may use here.
type Role struct {
	ARN     string `json:"arn"`
	Current bool   `json:"current"`
	Trouble string `json:"trouble,omitempty"`
}

// SetRole chooses the current role.
type SetRole struct {
	Role string `json:"role"`
}

// IDToken answers GET /v1/id-token?role=: a web-identity token.
type IDToken struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
	Role    string    `json:"role"`
	Region  string    `json:"region"`
	STS     string    `json:"sts,omitempty"` // empty: AWS itself
}

// Bearer answers GET /v1/bearer: the second factor of the loopback endpoints, for the
// caller to keep, where the agent may not write a file that the caller owns
// (Attachment.TokenFile is empty).
type Bearer struct {
	Token string `json:"token"`
}

// JDBC (POST /v1/jdbc) asks for the keys of somebody who connects to the engine, by the
// user name and password that they gave; or by Connection, which an earlier answer gave,
// for fresh ones. Role: an ARN or a name; empty: the only one. A connection keeps its
// person and role.
type JDBC struct {
	User       string `json:"user,omitempty"`
	Password   string `json:"password,omitempty"`
	Role       string `json:"role,omitempty"`
	Connection string `json:"connection,omitempty"`
}

// JDBCConnection answers JDBC. Connection is a secret of the engine, good on this node
// alone, until Expires.
type JDBCConnection struct {
	User       string    `json:"user"`
	Connection string    `json:"connection"`
	Expires    time.Time `json:"expires"`
	Keys       JDBCKeys  `json:"keys"`
}

// JDBCKeys are of the connection's person. SessionToken is empty for a gateway key.
type JDBCKeys struct {
	AccessKeyID     string    `json:"access_key_id"`
	SecretAccessKey string    `json:"secret_access_key"`
	SessionToken    string    `json:"session_token,omitempty"`
	Expiration      time.Time `json:"expiration"`
	Role            string    `json:"role"`
	AccountID       string    `json:"account_id"`
	Region          string    `json:"region"`
	S3              string    `json:"s3,omitempty"` // empty: AWS itself
	STS             string    `json:"sts,omitempty"`
}

// Problem is what an error looks like (RFC 9457). POST /v1/detach ends the caller's
// attachment and answers 204; without one it is NotFound, like all that needs one.
type Problem struct {
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Kind   string `json:"kind"` // the name of a fault kind
	Code   string `json:"code"`
	Mend   string `json:"mend,omitempty"`
}
