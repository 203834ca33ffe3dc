package cli_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/administrator"
	"carnet.dev/carnet/internal/service/login"
)

// world stands below the real HTTP API for the services: one person, whose
// browser is signed in already and approves every command line.
type world struct {
	mu      sync.Mutex
	user    string
	refuse  bool // the person presses "no"
	codes   map[string]string
	tokens  map[string]bool
	expires time.Time
	roles   []login.RoleStatus
	stop    func() // ends the http server
	// administers makes the person an administrator.
	administers bool
	// The workload: its public key, and whether it may have nothing.
	key      crypto.PublicKey
	disabled bool
	minted   int
	agent    *agent // of the machine that the person is on
}

func role(account, name string) arn.Role {
	return arn.Role{Partition: "aws", Account: account, Path: "/", Name: name}
}

// roleSets are the roles that a script can give to its person.
func roleSets() map[string][]login.RoleStatus {
	names := map[string]string{"111122223333": "analytics", "444455556666": "engineering", "777788889999": "lake"}
	ready := func(account, name string) login.RoleStatus {
		r := role(account, name)
		return login.RoleStatus{
			Role: r, Account: account, AccountName: names[account], State: login.RoleReady,
			Expiration: time.Now().Add(time.Hour), Deliver: "direct", AssumedRoleARN: r.AssumedRole("x"),
		}
	}
	failed := ready("444455556666", "pipeline")
	failed.State, failed.Expiration = login.RoleFailed, time.Time{}
	failed.Error = &login.RoleError{Code: "AccessDenied", Message: "the trust policy of the role refuses", Mend: "name the provider in the trust policy"}
	short := ready("111122223333", "analyst")
	short.Warning = login.RoleWarning{Message: "the keys of this role last 1 hour at most", Command: "aws iam update-role --role-name analyst"}
	bridged := ready("111122223333", "analyst")
	bridged.Served, bridged.Renewable, bridged.NeededBy = "bridge", true, time.Now().Add(11*time.Hour+30*time.Second)
	alone := ready("111122223333", "analyst")
	alone.Served, alone.NeededBy = "saml", alone.Expiration
	alone.Warning = login.RoleWarning{Message: "these keys end at 12:00, and account 111122223333 takes SAML alone: sign in again before then to go on"}
	ended := ready("111122223333", "analyst")
	ended.State = login.RoleExpired
	return map[string][]login.RoleStatus{
		"none":    nil,
		"one":     {ready("111122223333", "analyst")},
		"three":   {ready("111122223333", "analyst"), ready("111122223333", "engineer"), ready("444455556666", "pipeline")},
		"same":    {ready("111122223333", "analyst"), ready("444455556666", "analyst")},
		"failed":  {ready("111122223333", "analyst"), failed},
		"broken":  {failed},
		"expired": {ended},
		"short":   {short},
		"bridged": {bridged},
		"alone":   {alone},
		"cloud":   {ready("111122223333", "analyst"), ready("777788889999", "reader")},
	}
}

func (w *world) session() login.LoginSession {
	return login.LoginSession{
		ID: "lgn_1", IdPName: "Example IdP", Administrator: w.administers, Started: time.Now(), Expires: w.expires, Roles: w.roles,
		Person: login.Person{ID: "psn_1", IdP: "idp_1", UserName: w.user, DisplayName: "Alice \x1b[31mA."},
		Notes:  []string{"One role was dropped."},
	}
}

func (w *world) Resume(context.Context, secret.Text) (login.LoginSession, error) {
	return login.LoginSession{}, fault.Coded(fault.Unauthenticated, "login.unknown", "You are not signed in")
}

func (w *world) ResumeCLI(_ context.Context, t secret.Text) (login.LoginSession, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.tokens[t.Reveal()] {
		return login.LoginSession{}, fault.Coded(fault.Unauthenticated, "login.unknown", "you are not signed in, or your login session ended").WithMend("sign in")
	}
	return w.session(), nil
}

func (w *world) NeedsSetup(context.Context) (bool, error) { return false, nil }

func (w *world) SignOut(context.Context, identity.LoginSessionID) error { return nil }

func (w *world) SignOutCLI(_ context.Context, t secret.Text) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.tokens, t.Reveal())
	return nil
}

func (w *world) RedeemCode(_ context.Context, code secret.Text, verifier string) (login.CLIToken, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sum := sha256.Sum256([]byte(verifier))
	challenge, ok := w.codes[code.Reveal()]
	delete(w.codes, code.Reveal())
	if !ok || challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
		return login.CLIToken{}, fault.Coded(fault.Unauthenticated, "cli.code", "this code is not for this command line")
	}
	t := secret.Random(32)
	w.tokens[t.Reveal()] = true
	return login.CLIToken{Token: t, Expires: w.expires, UserName: w.user}, nil
}

func (w *world) Credentials(_ context.Context, s login.LoginSession, wanted string) (credential.RoleSession, error) {
	for _, r := range s.Roles {
		if wanted != r.Role.String() && wanted != r.Role.Name {
			continue
		}
		if r.Error != nil {
			return credential.RoleSession{}, fault.Coded(fault.Denied, r.Error.Code, "role "+r.Role.String()+" can't be had: "+r.Error.Message).WithMend(r.Error.Mend)
		}
		return credential.RoleSession{Role: r.Role, Credentials: credential.Temporary{
			AccessKeyID: "ASIA" + "EXAMPLEKEY" + r.Account[:6], SecretAccessKey: secret.New("secret/of+" + r.Role.Name),
			SessionToken: secret.New("token-of-" + r.Role.Name), Expiration: r.Expiration,
		}}, nil
	}
	return credential.RoleSession{}, fault.Coded(fault.NotFound, "role.unheld", "you don't hold role \""+wanted+"\"").
		WithMend("choose one of them, or ask for the role at your identity provider and sign in again")
}

// authorize is the browser's page with the person's answer given already.
func (w *world) authorize(rw http.ResponseWriter, r *http.Request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := r.URL.Query()
	if q.Get("code_challenge_method") != "S256" || len(q.Get("machine")) > 64 {
		return fault.New(fault.Invalid, "not a request of the command line")
	}
	answer := url.Values{"state": {q.Get("state")}}
	if w.refuse {
		answer.Set("error", "access_denied")
	} else {
		code := secret.Random(16).Reveal()
		w.codes[code] = q.Get("code_challenge")
		answer.Set("code", code)
	}
	http.Redirect(rw, r, q.Get("redirect_uri")+"?"+answer.Encode(), http.StatusSeeOther)
	return nil
}

// start serves the world by the real table, over http or https.
func (w *world) start(secure bool) (*httptest.Server, error) {
	srv := httptest.NewUnstartedServer(nil)
	scheme := "http"
	if secure {
		scheme = "https"
	}
	base := &url.URL{Scheme: scheme, Host: srv.Listener.Addr().String()}
	rows := append(api.Routes(api.Config{
		Login: w, Cookies: httpd.NewCookies(base), Web: base.String(),
		Home:           api.Place{Region: "us-east-1", S3: "http://127.0.0.1:8481", STS: "http://127.0.0.1:8481", IAM: "http://127.0.0.1:8482"},
		Administration: administration{},
		Elsewhere:      map[string]api.Place{"777788889999": {Region: "eu-west-1"}},
		LocalAccounts:  []string{"111122223333", "444455556666"},
		IDTokens:       idTokens{w, base.String()},
		Delegations:    &delegations{},
		Attachments:    w.agent,
		Issuers: func() []api.Issuer {
			return []api.Issuer{{Level: "workspace", Issuer: base.String() + "/oidc"}, {Level: "account", Issuer: base.String() + "/oidc/accounts/org", Registered: true}}
		},
	}), w.tokenRoutes(base.String())...)
	rows = append(rows, httpd.Route{
		Method: http.MethodGet, Pattern: "/cli/authorize", Access: httpd.Open, Rate: httpd.RatePage,
		Errors: httpd.Problem, Handler: w.authorize,
	})
	site, err := httpd.New(httpd.Config{
		BaseURL: base, Sessions: w, Page: httpd.Problem, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	}, rows)
	if err != nil {
		return nil, err
	}
	srv.Config.Handler = site
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are wanted here
	if secure {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	return srv, nil
}

// administration issues keys of carnet-admin in one account.
type administration struct{}

func (administration) Roles(login.LoginSession) []administrator.Role {
	return []administrator.Role{{Account: administrator.Account{ID: "111122223333", Name: "analytics", Partition: "aws"}, ARN: role("111122223333", "carnet-admin")}}
}

func (administration) Credentials(_ context.Context, _ login.LoginSession, account string, _ time.Duration) (credential.RoleSession, error) {
	if account != "analytics" && account != "111122223333" {
		return credential.RoleSession{}, fault.Coded(fault.NotFound, "account.not-local", "There is no local account of that number or name")
	}
	return credential.RoleSession{Role: role("111122223333", "carnet-admin"), Credentials: credential.Temporary{
		AccessKeyID: "ASIAEXAMPLEADMIN1111", SecretAccessKey: secret.New("secret-of-admin"), SessionToken: secret.New("token-of-admin"),
		Expiration: time.Now().Add(time.Hour),
	}}, nil
}
