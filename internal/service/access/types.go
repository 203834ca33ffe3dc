// Package access answers the gateway's one question: may this caller do this
// on that bucket and key?
//
// It opens session tokens, asks whether a role session was revoked, finds the
// account of a bucket and has the policy engine decide. It works from memory
// alone: an immutable snapshot of IAM, the key ring and the revocation view.
// It reads no request and writes no answer. It must never allow where a
// policy, a key or a view is missing: each of these denies.
package access

import (
	"net/netip"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
)

// Caller is the principal behind one verified pair of access key id and
// session token. A Caller made by Lookup carries the claims of its session
// token; one made elsewhere carries none and is denied everything.
type Caller struct {
	Account        string   // 12 digits
	Role           arn.Role // the role, with its path
	RoleID         identity.RoleID
	SessionName    string
	AssumedRoleARN string // arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION
	UserID         string // AROA…:SESSION
	Person         identity.PersonID
	LoginSession   identity.LoginSessionID
	AccessKeyID    string
	Expires        time.Time

	opened *opened
}

// Environment is what the enforcement point knows of one request, beside the
// principal and the operation. The gateway fills it; nothing in it comes from
// a header that the client could choose, but UserAgent and Referer.
type Environment struct {
	SourceIP     netip.Addr // of the socket, or of a configured trusted proxy
	Secure       bool       // TLS
	TLSVersion   string     // "1.2", "1.3"; empty without TLS
	UserAgent    string
	Referer      string
	Now          time.Time
	RequestID    identity.RequestID
	AuthType     string        // REST-HEADER, REST-QUERY-STRING or POST
	SignatureAge time.Duration // presigned requests only: time since signing
	PayloadHash  string        // x-amz-content-sha256 as sent; empty when absent
}

// Decision is the answer. The zero value denies.
type Decision struct {
	Allow    bool
	Explicit bool // an explicit deny matched
	// Reason is one plain sentence for the AccessDenied answer and the log;
	// empty when allowed.
	Reason string
	// Statements names what decided, as policy#Sid or policy#index.
	Statements []string
}

// Place says where a bucket lives.
type Place struct {
	Bucket   string
	Account  string // 12 digits
	Upstream string // the name of a configured upstream
}
