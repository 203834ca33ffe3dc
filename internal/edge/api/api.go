// Package api serves Carnet's HTTP API under /api/v1: JSON in, JSON out,
// failures as problem documents.
//
// Callers come with a browser's cookie or with a CLI token; the table of
// routes says which rows want whom. The API grows by addition only, and
// openapi.json describes all of it: a test holds the two together. It decides
// nothing by itself and must never put a secret in an address, an error or a
// log.
package api

import (
	"context"
	_ "embed" // openapi.json
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/login"
)

// Login is what the API asks about login sessions.
type Login interface {
	SignOut(ctx context.Context, id identity.LoginSessionID) error
	SignOutCLI(ctx context.Context, token secret.Text) error
	RedeemCode(ctx context.Context, code secret.Text, verifier string) (login.CLIToken, error)
	// Credentials gives the keys of a role, by ARN or by a name that is unique
	// among the roles of the login session.
	Credentials(ctx context.Context, s login.LoginSession, role string) (credential.RoleSession, error)
}

// Place says where the keys of an account are used.
type Place struct {
	Region string
	S3     string // endpoint; empty: AWS's own
	STS    string // endpoint; empty: AWS's own
	IAM    string // endpoint; empty: AWS's own, or not served
}

// Config is what the API is made of.
type Config struct {
	Login Login
	// What single sign-on asks: one service, in the parts that are used.
	Providers    Providers
	Metadata     ProviderMetadata
	Installation Installation
	Keys         SAMLKeys
	SAMLURL      string // what identity providers are given
	// Administration issues keys of carnet-admin.
	Administration Administration
	Cookies        httpd.Cookies
	Web            string // address of pages and API
	// Home is the place of the local accounts: our own AWS port.
	Home Place
	// Elsewhere are the places of the other accounts, by account number.
	Elsewhere map[string]Place
	// LocalAccounts are the numbers of those that are at Home.
	LocalAccounts []string
	// Issuers gives the issuers of this installation; nil: it has none.
	Issuers func() []Issuer
	// IDTokens mints; nil: nothing does.
	IDTokens IDTokens
	// Delegations are those of people.
	Delegations Delegations
	// Denials tells why requests were denied.
	Denials Denials
	// Trail is the audit trail.
	Trail Trail
	// Stores says how the stores behind the gateway do; nil: there is no gateway.
	Stores func() []Upstream
	// What keys without a session token ask: one service, in parts.
	GatewayKeys     GatewayKeys
	GatewayClusters GatewayClusters
	PrefixGrants    PrefixGrants
	// What clusters ask: one service, in parts, and who is called what.
	Clusters     Clusters
	ClusterRules ClusterRules
	ClusterNodes ClusterNodes
	Names        Names
	// GroupsAround gives every group that a subject is in.
	GroupsAround func(ctx context.Context, subject string) ([]identity.GroupID, error)
	// Now is the time; nil: that of the machine.
	Now      func() time.Time
	Delivery Delivery
	// What attachments to nodes ask: one service, in parts.
	Attachments        Attachments
	ClusterAttachments ClusterAttachments
	// Revocations take back what was issued.
	Revocations Revocations
	// ByGateway reports whether keys of an account, for a bucket of it where one
	// is named, are delivered as gateway keys; nil: none are.
	ByGateway func(account, bucket string) bool
}

//go:embed openapi.json
var openapi []byte

// maxSmall bounds the body of ordinary calls, maxMetadata that of a new
// identity provider, whose metadata is a document.
const (
	maxSmall    = 16 << 10
	maxMetadata = 1 << 20
)

type api struct{ Config }

// Routes gives the API's rows of the table.
func Routes(c Config) []httpd.Route {
	a := api{c}
	row := func(method, pattern string, access httpd.Access, body int64, h httpd.Handler) httpd.Route {
		return httpd.Route{
			Method: method, Pattern: "/api/v1/" + pattern, Access: access, Rate: httpd.RateAPI, MaxBody: body,
			CLIToken: access >= httpd.Person, Errors: httpd.Problem, Handler: h,
		}
	}
	redeem := row(http.MethodPost, "cli/tokens", httpd.Public, maxSmall, a.redeemCode)
	redeem.Rate = httpd.RateSecret
	return slices.Concat(a.administratorRoutes(row), a.ssoRoutes(row), a.issuerRoutes(row), a.idTokenRoutes(row), a.delegationRoutes(row), a.denialRoutes(row), a.auditRoutes(row), a.gatewayKeyRoutes(row), a.clusterRoutes(row), a.upstreamRoutes(row), a.attachmentRoutes(row), a.revocationRoutes(row), []httpd.Route{
		row(http.MethodGet, "openapi.json", httpd.Open, 0, a.document),
		redeem,
		row(http.MethodGet, "session", httpd.Person, 0, a.session),
		row(http.MethodDelete, "session", httpd.Person, maxSmall, a.signOut),
		row(http.MethodGet, "roles", httpd.Person, 0, a.roles),
		row(http.MethodPost, "roles/credentials", httpd.Person, maxSmall, a.credentials),
	})
}

func (a api) document(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openapi)
	return nil
}

func (a api) session(w http.ResponseWriter, r *http.Request) error {
	s := httpd.CallerOf(r).Session
	return answer(w, http.StatusOK, a.sessionDocument(s))
}

// signOut ends what the caller came with: a CLI token ends alone, a cookie
// ends its login session and all that hangs on it.
func (a api) signOut(w http.ResponseWriter, r *http.Request) error {
	c := httpd.CallerOf(r)
	if !c.AccessToken.IsZero() {
		return fault.Coded(fault.Unsupported, "session.access-token", "An access token doesn't end a login session").
			WithMend("revoke the token at the revocation endpoint of the issuer that gave it")
	}
	var err error
	if c.CLIToken.IsZero() {
		err = a.Login.SignOut(r.Context(), c.Session.ID)
		a.Cookies.ClearLogin(w)
	} else {
		err = a.Login.SignOutCLI(r.Context(), c.CLIToken)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a api) roles(w http.ResponseWriter, r *http.Request) error {
	out := Roles{Roles: []Role{}}
	for _, s := range httpd.CallerOf(r).Session.Roles {
		out.Roles = append(out.Roles, roleDocument(s))
	}
	return answer(w, http.StatusOK, out)
}

func (a api) credentials(w http.ResponseWriter, r *http.Request) error {
	var in CredentialsRequest
	if err := read(r, &in); err != nil {
		return err
	}
	if in.Role == "" {
		return fault.Coded(fault.Invalid, "role.missing", "The request names no role").
			WithMend("give the ARN or the name of one of your roles in \"role\"")
	}
	if out, ok, err := a.byGateway(r, in); ok {
		if err != nil {
			return err
		}
		return answer(w, http.StatusOK, out)
	}
	session := httpd.CallerOf(r).Session
	rs, err := a.Login.Credentials(r.Context(), session, in.Role)
	if err != nil {
		return err
	}
	at, ok := a.Elsewhere[rs.Role.Account]
	if !ok {
		at = a.Home
	}
	out := credentialsDocument(rs, at)
	out.Warning = warningOf(rs, session.Roles)
	return answer(w, http.StatusOK, out)
}

func (a api) redeemCode(w http.ResponseWriter, r *http.Request) error {
	var in CLITokenRequest
	if err := read(r, &in); err != nil {
		return err
	}
	t, err := a.Login.RedeemCode(r.Context(), secret.New(in.Code), in.Verifier)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, CLIToken{Token: t.Token.Reveal(), Expires: seconds(t.Expires), UserName: t.UserName})
}

// read takes exactly one JSON document. A member that we don't know is
// refused: a misspelt one must not pass for an absent one.
func read(r *http.Request, into any) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return fault.Coded(fault.Invalid, "request.content-type", "The request must be of Content-Type application/json")
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return badJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badJSON(err)
	}
	return nil
}

// badJSON says that the body is no such document; what it held stays out of
// the public text, since it may be a secret. A body over the limit keeps its
// own fault.
func badJSON(err error) error {
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return err
	}
	return fault.Wrap(err, fault.Invalid, "The request is not the JSON document that this call takes").
		WithCode("request.json").WithMend("compare it with /api/v1/openapi.json")
}

func answer(w http.ResponseWriter, status int, document any) error {
	b, err := json.Marshal(document)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "The answer could not be written")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
	return nil
}
