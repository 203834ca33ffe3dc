// Package nodedoc holds the documents that a node's agent and the server exchange.
//
// All are JSON, times RFC 3339 in UTC. Paths are below /api/v1/node. Every request
// but Join and Token carries "Authorization: Bearer " and a node access token; errors
// are problem documents (RFC 9457) as everywhere in the API. Fields are only ever
// added: servers accept agents one release older.
package nodedoc

import "time"

// Join (POST join) trades a one-use join token for an identity of the node.
type Join struct {
	JoinToken string `json:"join_token"`
	Name      string `json:"name"`       // of the node, unique in its cluster
	PublicKey string `json:"public_key"` // SPKI, base64: ECDSA P-256, made on the node
	Version   string `json:"version"`    // of the agent
}

// Joined answers Join.
type Joined struct {
	Node    string  `json:"node"`
	Cluster Cluster `json:"cluster"`
}

// TokenRequest (POST token) buys an access token by an assertion: a JWT, ES256, kid =
// iss = sub = the node's id, aud = the base URL of the server, exp at most 60 s on,
// jti of one use.
type TokenRequest struct {
	Assertion string `json:"assertion"`
}

// TokenAnswer answers TokenRequest.
type TokenAnswer struct {
	AccessToken string    `json:"access_token"`
	Expires     time.Time `json:"expires"` // 10 minutes on
}

// NewKey (POST key) replaces the node's key. The proof is an assertion as for
// TokenRequest, signed by the new key, with aud = base URL + "/api/v1/node/key". The old
// key counts for ten more minutes, so a lost answer locks nobody out.
type NewKey struct {
	PublicKey string `json:"public_key"`
	Proof     string `json:"proof"`
}

// Cluster is what an agent needs to know of its cluster.
type Cluster struct {
	ID               string `json:"id"`
	Name             string `json:"name"`
	Kind             string `json:"kind"` // standard, high-concurrency
	InstanceMetadata bool   `json:"instance_metadata"`
	SigningProxy     bool   `json:"signing_proxy"`
	LoginNames       bool   `json:"login_names"` // account names may attach
	Meta             bool   `json:"meta"`
}

// Watch (POST watch) waits up to 25 s for a view of another revision than Revision; 0
// answers at once. An answer with the same revision says that nothing changed: the
// agent's view is fresh either way. A revision stands for what the view says, whichever
// server answers: it is no counter, and only equal or not.
type Watch struct {
	Revision int64 `json:"revision"`
}

// View answers Watch: all that counts on this node, whole. With the revision that was
// asked about nothing has changed since: attachments and what was taken back are left
// out then.
type View struct {
	Revision    int64        `json:"revision"`
	NodeName    string       `json:"node_name,omitempty"` // unique in its cluster
	Cluster     Cluster      `json:"cluster"`
	Attachments []Attachment `json:"attachments"` // live ones of this node alone
	// Revoked is what was taken back lately of what agents keep: they drop what they
	// fetched of it before.
	Revoked []Revoked `json:"revoked,omitempty"`
}

// Revoked is one revocation. Kind is role (ID: its ARN) or access-key (ID: the access
// key id); a later one of the same has a greater Epoch.
type Revoked struct {
	Kind  string `json:"kind"`
	ID    string `json:"id"`
	Epoch uint64 `json:"epoch,string"`
}

// Attachment is one live attachment of the node.
type Attachment struct {
	ID      string    `json:"id"`
	UID     uint32    `json:"uid"`
	Scope   string    `json:"scope"`
	ScopeID uint64    `json:"scope_id,string"`
	Account string    `json:"account"`
	Name    string    `json:"name"` // the person's user name, to show
	Role    string    `json:"role,omitempty"`
	Expires time.Time `json:"expires"`
}

// Place is where a process of the node asks to be attached.
type Place struct {
	UID     uint32 `json:"uid"`
	Scope   string `json:"scope"`
	ScopeID uint64 `json:"scope_id,string"`
	Account string `json:"account"` // login name of the uid on the node; may be empty
}

// AttachRequest (POST attach) begins an attachment that a person has to approve.
// Refused while MetadataReachable on a high-concurrency cluster.
type AttachRequest struct {
	Place
	// MetadataReachable: this uid reaches an instance metadata service of the node.
	MetadataReachable bool `json:"metadata_reachable"`
	// ByLoginName asks to attach at once by the account's name, without a code.
	ByLoginName bool `json:"by_login_name,omitempty"`
}

// AttachBegun answers AttachRequest.
type AttachBegun struct {
	// Request is what the agent polls with; a secret of the agent.
	Request string `json:"request,omitempty"`
	// UserCode is what the person types on the page at VerificationURI, in the
	// browser in which they are signed in.
	UserCode        string    `json:"user_code,omitempty"`
	VerificationURI string    `json:"verification_uri,omitempty"`
	Expires         time.Time `json:"expires"`
	Interval        int       `json:"interval,omitempty"` // seconds between polls
	// Attachment is set where nothing has to be approved.
	Attachment *Attachment `json:"attachment,omitempty"`
}

// AttachPoll (POST attach/poll) asks what became of a request. State is pending,
// attached, refused or expired.
type AttachPoll struct {
	Request string `json:"request"`
}

// AttachState answers AttachPoll.
type AttachState struct {
	State      string      `json:"state"`
	Attachment *Attachment `json:"attachment,omitempty"`
}

// Fetch (POST credentials, POST id-token, POST roles) asks for something of an
// attachment of this node. Role: an ARN, or a name that is unique among those
// usable there; empty: the current one, or the only one.
type Fetch struct {
	Attachment string `json:"attachment"`
	Role       string `json:"role,omitempty"`
}

// Keys answers POST credentials.
type Keys struct {
	AccessKeyID     string    `json:"access_key_id"`
	SecretAccessKey string    `json:"secret_access_key"`
	SessionToken    string    `json:"session_token,omitempty"` // empty: a gateway key
	Expiration      time.Time `json:"expiration"`
	Role            string    `json:"role"`       // ARN
	AccountID       string    `json:"account_id"` // of 12 digits
	// Where these keys are used; empty: at AWS itself.
	Region string `json:"region"`
	S3     string `json:"s3,omitempty"`
	STS    string `json:"sts,omitempty"`
}

// IDToken answers POST id-token: a web-identity token for the role.
type IDToken struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
	Role    string    `json:"role"`
	// Where it is traded; empty: at AWS itself.
	Region string `json:"region"`
	STS    string `json:"sts,omitempty"`
}

// Roles answers POST roles.
type Roles struct {
	Roles []Role `json:"roles"`
}

// Role is one that the person holds and the cluster allows.
type Role struct {
	ARN     string `json:"arn"`
	Current bool   `json:"current"`
	// Trouble says why it can't be had now; empty: it can.
	Trouble string `json:"trouble,omitempty"`
}

// SetRole (POST role) makes a role the current one; an empty one chooses none. A role
// that is not among POST roles is NotFound. It answers Roles.
type SetRole struct {
	Attachment string `json:"attachment"`
	Role       string `json:"role"`
}

// End (POST end) ends an attachment of this node. Why: detached, scope-ended, uid-reused.
type End struct {
	Attachment string `json:"attachment"`
	Why        string `json:"why"`
}

// Report (POST report) says how the node is.
type Report struct {
	Version  string   `json:"version"`
	Faces    []string `json:"faces"`    // that answer: container, imds, socket, proxy
	Troubles []string `json:"troubles"` // sentences for administrators
	// MetadataReachable: an instance metadata service of the node answers attached
	// uids.
	MetadataReachable bool `json:"metadata_reachable"`
}

// Trino answers POST trino: the document that Trino's S3 security mapping reads, for
// the people who are attached in the cluster. Its secrets are in clear: it is for the
// engine's own account alone.
type Trino struct {
	Mappings []TrinoRule `json:"mappings"`
	Notes    []string    `json:"notes,omitempty"` // who has no rule, and why
}

// TrinoRule is one user's.
type TrinoRule struct {
	User      string `json:"user"` // a regular expression of Java that matches one name
	AccessKey string `json:"accessKey"`
	SecretKey string `json:"secretKey"`
	Endpoint  string `json:"endpoint"`
	Region    string `json:"region"`
}

// JDBC (POST jdbc) asks for the keys of somebody who connects to an engine of the node,
// by user name and password; or by Connection, which an earlier answer gave, for fresh
// ones. It is served on clusters with Meta alone.
type JDBC struct {
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	// Role: an ARN, or a name that is unique among those usable there; empty: the only
	// one. A connection keeps its role.
	Role       string `json:"role,omitempty"`
	Connection string `json:"connection,omitempty"`
}

// JDBCConnection answers JDBC.
type JDBCConnection struct {
	User       string    `json:"user"`       // the person's user name
	Connection string    `json:"connection"` // a secret of the engine
	Expires    time.Time `json:"expires"`    // of the connection: then the person signs in again
	Keys       Keys      `json:"keys"`
}
