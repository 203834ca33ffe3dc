package client

import (
	"time"

	"carnet.dev/carnet/internal/core/secret"
)

// Session is the answer to "who am I".
type Session struct {
	Person        Person       `json:"person"`
	Administrator bool         `json:"administrator"`
	LoginSession  LoginSession `json:"login_session"`
	Endpoints     Endpoints    `json:"endpoints"`
	Region        string       `json:"region"`
	// Notes are plain sentences for the person, such as a dropped entitlement.
	Notes []string `json:"notes"`
}

// Person is who signed in.
type Person struct {
	ID               string `json:"id"`
	UserName         string `json:"user_name"`
	DisplayName      string `json:"display_name"`
	IdentityProvider string `json:"identity_provider"` // its name
}

// LoginSession is the sign-in that the cookie or CLI token belongs to.
type LoginSession struct {
	ID      string    `json:"id"`
	Started time.Time `json:"started"`
	Expires time.Time `json:"expires"`
}

// Endpoints are the addresses for tools.
type Endpoints struct {
	Web string `json:"web"`
	S3  string `json:"s3"`
	STS string `json:"sts"`
	IAM string `json:"iam"`
}

// The states of a role.
const (
	Ready     = "ready"
	Available = "available" // its keys are made when they are fetched
	Failed    = "failed"
	Expired   = "expired"
)

// CanBeHad reports whether keys can be fetched now.
func (r Role) CanBeHad() bool { return r.State == Ready || r.State == Available }

// Role is one role of the person, and whether it can be had.
type Role struct {
	ARN            string       `json:"arn"`
	Account        string       `json:"account"`
	AccountName    string       `json:"account_name"`
	State          string       `json:"state"` // one of the states above
	SessionName    string       `json:"session_name"`
	AssumedRoleARN string       `json:"assumed_role_arn"`
	Expiration     *time.Time   `json:"expiration"` // nil where there are no keys
	Deliver        string       `json:"deliver"`    // direct or gateway
	Error          *RoleError   `json:"error"`      // nil unless State is Failed
	Warning        *RoleWarning `json:"warning"`    // nil for most
	Served         string       `json:"served"`     // saml, web-identity or bridge
	Renewable      bool         `json:"renewable"`  // keys come without the person until NeededBy
	NeededBy       *time.Time   `json:"needed_by"`  // when the person has to sign in again; nil where that is not known
}

// RoleWarning is said of a role whose keys came, but not as they might.
type RoleWarning struct {
	Message string `json:"message"`
	Command string `json:"command"` // what an administrator of the account runs to mend it
}

// RoleError says why a role can't be had.
type RoleError struct {
	Code    string `json:"code"` // an AWS error code
	Message string `json:"message"`
	Mend    string `json:"mend"`
}

// Credentials are the temporary credentials of one role and where to use them.
type Credentials struct {
	Role            string
	AccessKeyID     string
	SecretAccessKey secret.Text
	SessionToken    secret.Text
	Expiration      time.Time
	Region          string
	Endpoints       CredentialEndpoints
	// Warning says what the person has to know before these keys end; empty:
	// nothing.
	Warning string
	// Deliver is gateway for a gateway key, which has no session token.
	Deliver string
}

// CredentialEndpoints are the endpoints that these keys are for; empty means
// AWS's own.
type CredentialEndpoints struct {
	S3  string `json:"s3"`
	STS string `json:"sts"`
	IAM string `json:"iam"`
}

// CLIToken is what a CLI keeps after sign-in.
type CLIToken struct {
	Token    secret.Text
	Expires  time.Time
	UserName string
}

// credentialsWire is Credentials as it travels: secrets in clear.
type credentialsWire struct {
	Role            string              `json:"role"`
	AccessKeyID     string              `json:"access_key_id"`
	SecretAccessKey string              `json:"secret_access_key"`
	SessionToken    string              `json:"session_token"`
	Expiration      time.Time           `json:"expiration"`
	Region          string              `json:"region"`
	Endpoints       CredentialEndpoints `json:"endpoints"`
	Warning         string              `json:"warning"`
	Deliver         string              `json:"deliver"`
}

func (w credentialsWire) value() Credentials {
	return Credentials{
		Role: w.Role, AccessKeyID: w.AccessKeyID,
		SecretAccessKey: secret.New(w.SecretAccessKey), SessionToken: secret.New(w.SessionToken),
		Expiration: w.Expiration, Region: w.Region, Endpoints: w.Endpoints, Warning: w.Warning, Deliver: w.Deliver,
	}
}

// cliTokenWire is CLIToken as it travels.
type cliTokenWire struct {
	Token    string    `json:"token"`
	Expires  time.Time `json:"expires"`
	UserName string    `json:"user_name"`
}
