package api

import (
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/service/login"
)

// Session tells a caller who they are and where the faces of the server are.
type Session struct {
	Person        Person       `json:"person"`
	Administrator bool         `json:"administrator"`
	LoginSession  LoginSession `json:"login_session"`
	Endpoints     Endpoints    `json:"endpoints"`
	Region        string       `json:"region"`
	Notes         []string     `json:"notes"`
}

// Person is who signed in; an empty id is the bearer of a set-up link.
type Person struct {
	ID               string `json:"id"`
	UserName         string `json:"user_name"`
	DisplayName      string `json:"display_name"`
	IdentityProvider string `json:"identity_provider"`
}

// LoginSession is one sign-in.
type LoginSession struct {
	ID      string    `json:"id"`
	Started time.Time `json:"started"`
	Expires time.Time `json:"expires"`
}

// Endpoints are addresses for tools.
type Endpoints struct {
	Web string `json:"web"`
	S3  string `json:"s3"`
	STS string `json:"sts"`
	IAM string `json:"iam"`
}

// Roles is the list of a person's roles, in the order of the assertion.
type Roles struct {
	Roles []Role `json:"roles"`
}

// Role is one role and whether it can be had.
type Role struct {
	ARN            string     `json:"arn"`
	Account        string     `json:"account"`
	AccountName    string     `json:"account_name"`
	State          string     `json:"state"`
	SessionName    string     `json:"session_name"`
	AssumedRoleARN string     `json:"assumed_role_arn"`
	Expiration     *time.Time `json:"expiration"`
	Deliver        string     `json:"deliver"`
	Error          *RoleError `json:"error"`
	// Warning is absent for most: the keys came, but not as they might.
	Warning *RoleWarning `json:"warning"`
	// Served is how it is served: saml, web-identity or bridge; empty where it
	// isn't. Renewable: keys come without the person until NeededBy.
	Served    string     `json:"served"`
	Renewable bool       `json:"renewable"`
	NeededBy  *time.Time `json:"needed_by"`
}

// RoleError says why a role can't be had.
type RoleError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Mend    string `json:"mend"`
}

// RoleWarning is said of a role whose keys came, but not as they might.
type RoleWarning struct {
	Message string `json:"message"`
	Command string `json:"command"`
}

// CredentialsRequest names a role by ARN, or by a name unique among one's own.
type CredentialsRequest struct {
	Role string `json:"role"`
	// Bucket is what the keys are for, where its rule says how keys reach clients;
	// empty: what is said of the account.
	Bucket string `json:"bucket"`
}

// Credentials are the keys of one role, in clear: this is the one answer that
// holds them.
type Credentials struct {
	Role            string         `json:"role"`
	AccessKeyID     string         `json:"access_key_id"`
	SecretAccessKey string         `json:"secret_access_key"`
	SessionToken    string         `json:"session_token"`
	Expiration      time.Time      `json:"expiration"`
	Region          string         `json:"region"`
	Endpoints       PlaceEndpoints `json:"endpoints"`
	// Warning says what the person has to know before these keys end; empty:
	// nothing.
	Warning string `json:"warning"`
	// Deliver is direct for the role's own keys; gateway for a gateway key, which
	// has no session token and is good for S3 at the gateway alone.
	Deliver string `json:"deliver"`
}

// PlaceEndpoints are where keys are used; empty means AWS's own.
type PlaceEndpoints struct {
	S3  string `json:"s3"`
	STS string `json:"sts"`
	IAM string `json:"iam"`
}

// CLITokenRequest redeems the one-use code of a CLI sign-in.
type CLITokenRequest struct {
	Code     string `json:"code"`
	Verifier string `json:"verifier"`
}

// CLIToken is what a command line keeps.
type CLIToken struct {
	Token    string    `json:"token"`
	Expires  time.Time `json:"expires"`
	UserName string    `json:"user_name"`
}

func (a api) sessionDocument(s login.LoginSession) Session {
	return Session{
		Person: Person{
			ID: string(s.Person.ID), UserName: s.Person.UserName,
			DisplayName: s.Person.DisplayName, IdentityProvider: s.IdPName,
		},
		Administrator: s.Administrator,
		LoginSession:  LoginSession{ID: string(s.ID), Started: seconds(s.Started), Expires: seconds(s.Expires)},
		Endpoints:     Endpoints{Web: a.Web, S3: a.Home.S3, STS: a.Home.STS, IAM: a.Home.IAM},
		Region:        a.Home.Region,
		Notes:         list(s.Notes),
	}
}

func roleDocument(s login.RoleStatus) Role {
	out := Role{
		ARN: s.Role.String(), Account: s.Account, AccountName: s.AccountName, State: string(s.State),
		SessionName: s.SessionName, AssumedRoleARN: s.AssumedRoleARN, Deliver: s.Deliver, Served: s.Served, Renewable: s.Renewable,
	}
	if !s.NeededBy.IsZero() {
		t := seconds(s.NeededBy)
		out.NeededBy = &t
	}
	if !s.Expiration.IsZero() {
		t := seconds(s.Expiration)
		out.Expiration = &t
	}
	if s.Warning != (login.RoleWarning{}) {
		out.Warning = &RoleWarning{Message: s.Warning.Message, Command: s.Warning.Command}
	}
	if s.Error != nil {
		out.Error = &RoleError{Code: s.Error.Code, Message: s.Error.Message, Mend: s.Error.Mend}
	}
	return out
}

func credentialsDocument(rs credential.RoleSession, at Place) Credentials {
	return Credentials{
		Role: rs.Role.String(), AccessKeyID: rs.Credentials.AccessKeyID,
		SecretAccessKey: rs.Credentials.SecretAccessKey.Reveal(), SessionToken: rs.Credentials.SessionToken.Reveal(),
		Expiration: seconds(rs.Credentials.Expiration), Region: at.Region,
		Endpoints: PlaceEndpoints{S3: at.S3, STS: at.STS, IAM: at.IAM}, Deliver: deliverDirect,
	}
}

// warningOf gives what is said of keys that end soon, or were not renewed.
func warningOf(rs credential.RoleSession, all []login.RoleStatus) string {
	for _, s := range all {
		if s.Role == rs.Role && s.Expiration.Equal(rs.Credentials.Expiration) && s.Warning.Command == "" {
			return s.Warning.Message
		}
	}
	return ""
}

// list writes an absent list as [], not null.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// seconds cuts a time down: keys must never look alive longer than they are.
func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
