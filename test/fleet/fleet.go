//go:build interop

// Package fleet runs an installation as a company does that can't do without it: some
// equal `carnet server` processes of the built binary on one real PostgreSQL, one
// configuration and one key-encryption key, a real S3 store behind their gateways, and
// an identity provider by SAML. All of it ends with its test.
//
//	f := fleet.New(t, 3)
//	alice := f.SignIn(t, 0, "alice")        // in a browser, at the first server
//	keys := alice.Keys(t, 1, "analyst")     // by the API of the second
//	f.Server(2).Get(t.Context(), keys)      // at the gateway of the third
//	f.Server(0).Kill(t)                     // SIGKILL
//	f.Postgres.Kill(t)                      // SIGKILL of all its processes
//
// People know one address for the pages and one for AWS's interfaces. A balancer
// stands there: it gives a connection to the next server that takes it. Whoever wants a
// certain server goes by its Transport, which stands for a balancer that chose it.
//
// Nodes with agents join with test/nodes: nodes.On(t, f.World, nil); whom an agent
// reaches is NodeOptions.To (see Via). Tests that use this package carry the build tag
// interop and are started by make; a missing need fails.
package fleet

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/test/running"
)

// What every fleet has. Bucket holds Object; both roles may read it, and Engineer may
// write beside it.
const (
	Account  = "111122223333"
	Analyst  = "arn:aws:iam::111122223333:role/analyst"
	Engineer = "arn:aws:iam::111122223333:role/engineer"
	Bucket   = "sales"
	Object   = "orders.csv"
	// Content is what Object holds.
	Content = "id,amount\n1,10\n"
	// IdP is the name of the identity provider.
	IdP = "Corp"

	provider = "arn:aws:iam::111122223333:saml-provider/corp"
)

// Options of a fleet. The zero value is what most tests want.
type Options struct {
	// People beside the usual: alice and bob, who hold both roles, and carol, who
	// administers. They hold both roles too.
	People []string
	// Config are further lines of carnet.yaml.
	Config string
	// Cables gives each server a line of its own to PostgreSQL, which a test can cut
	// (Server.Line).
	Cables bool
}

// Fleet is one running installation.
type Fleet struct {
	// World is how test/running and test/nodes see it: addresses, binary, password, and
	// the commands of a server's host.
	*running.World
	Postgres *sqltest.Server
	Store    *Store

	servers []*Server
	tries   *rate.Limiter
}

// New starts a fleet of n servers.
func New(t testing.TB, n int) *Fleet { return With(t, n, Options{}) }

// With is New with options.
func With(t testing.TB, n int, o Options) *Fleet {
	t.Helper()
	f := &Fleet{World: &running.World{Binary: running.Need(t, "CARNET_BINARY"), Data: t.TempDir(), Password: "the password of everybody"},
		Postgres: sqltest.Start(t), tries: rate.NewLimiter(rate.Every(1050*time.Millisecond), 9)}
	f.Store = startStore(t, f.Binary)
	f.Web, f.AWS = f.balance(t, func(s *Server) string { return s.web }), f.balance(t, func(s *Server) string { return s.aws })
	f.write(t, "idp.xml", f.serveIdP(t, o.People))
	dsn := f.Postgres.Database(t)
	f.write(t, "dsn", dsn.Reveal()+"\n")
	f.write(t, "store-id", f.Store.id)
	f.write(t, "store-key", f.Store.key.Reveal())
	f.write(t, "authority.yaml", f.authority())
	for i := range n {
		s := &Server{fleet: f, web: running.FreeAddress(t), aws: running.FreeAddress(t), config: filepath.Join(f.Data, fmt.Sprintf("carnet-%d.yaml", i))}
		if o.Cables {
			s.Line = f.Postgres.Lay(t)
			f.write(t, fmt.Sprintf("dsn-%d", i), s.Line.Through(dsn).Reveal()+"\n")
		}
		f.servers = append(f.servers, s)
		f.write(t, filepath.Base(s.config), f.config(s, i)+o.Config)
		if i == 0 {
			near := &Server{fleet: f, web: s.web, aws: s.aws} // commands go past the cables
			f.write(t, "carnet.yaml", f.config(near, i)+o.Config)
		}
	}
	f.Host(t, "sso", "add", "--name", IdP, "--metadata", filepath.Join(f.Data, "idp.xml"), "--accounts", Account,
		"--roles", "arn:aws:iam::"+Account+":role/*", "--domains", "*", "--administrators", "administrators")
	f.Host(t, "authority", "apply", filepath.Join(f.Data, "authority.yaml"))
	for _, s := range f.servers {
		s.Start(t)
	}
	return f
}

// Server gives one by its number, from 0.
func (f *Fleet) Server(i int) *Server { return f.servers[i] }

// Servers gives all.
func (f *Fleet) Servers() []*Server { return f.servers }

func (f *Fleet) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.Data, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// config is carnet.yaml of one server. They differ in what is a machine's own.
func (f *Fleet) config(s *Server, i int) string {
	dsn := "dsn"
	if s.Line != nil {
		dsn = fmt.Sprintf("dsn-%d", i)
	}
	return fmt.Sprintf(`base_url: %s
data: data-%d
listen:
  web: {address: "%s"}
  aws: {address: "%s", url: "%s"}
same_host: accept
database: {postgresql_dsn_file: %s}
secrets: {key_encryption_key: kek}
accounts:
  - {id: "%s", name: analytics, kind: local, exchanges: [saml, web-identity], bridge: {renew: accept}}
buckets:
  - {match: "*", account: "%s", upstream: store}
upstreams:
  - {name: store, kind: s3, endpoint: "%s", access_key_file: store-id, secret_key_file: store-key, keys: filesystem}
iam: {loopback_providers: true}
access_log: {format: off}
`, f.Web, i, s.web, s.aws, f.AWS, dsn, Account, Account, f.Store.URL)
}

// authority is an authority file: roles for whoever the identity provider says, and for
// work that Carnet's own issuer speaks for.
func (f *Fleet) authority() string {
	issuer := f.Web + "/oidc"
	name := strings.TrimPrefix(issuer, "http://")
	role := func(role, actions string) string {
		return fmt.Sprintf(`
      - name: %s
        max_session_duration: 12h
        trust_policy:
          Version: "2012-10-17"
          Statement:
            - Effect: Allow
              Principal: {Federated: %q}
              Action: sts:AssumeRoleWithSAML
              Condition: {StringEquals: {"SAML:aud": %q}}
            - Effect: Allow
              Principal: {Federated: "arn:aws:iam::%s:oidc-provider/%s"}
              Action: ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"]
              Condition: {StringEquals: {"%s:aud": sts.amazonaws.com}, Bool: {"sts:RoleAuthorizedByIdp": "true"}}
        policies:
          - name: sales
            document: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: [%s], Resource: ["arn:aws:s3:::sales", "arn:aws:s3:::sales/*"]}]}`,
			role, provider, f.Web+"/saml/consume", Account, name, name, actions)
	}
	return `accounts:
  "` + Account + `":
    saml_providers: [{name: corp, metadata_file: idp.xml}]
    oidc_providers: [{url: "` + issuer + `", client_ids: [sts.amazonaws.com]}]
    roles:` + role("analyst", `"s3:GetObject", "s3:ListBucket"`) + role("engineer", `"s3:*"`) + "\n"
}

// serveIdP starts the identity provider, in this process, and gives its metadata.
func (f *Fleet) serveIdP(t testing.TB, more []string) string {
	t.Helper()
	keyPEM, certPEM, err := devidp.NewKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, cert, err := devidp.ParseKey(keyPEM, certPEM)
	if err != nil {
		t.Fatal(err)
	}
	var users []devidp.User
	roles := []string{Analyst + "," + provider, Engineer + "," + provider}
	for _, name := range append([]string{"alice", "bob"}, more...) {
		users = append(users, devidp.User{Name: name, Mail: name + "@example.com", Roles: roles})
	}
	users = append(users, devidp.User{Name: "carol", Mail: "carol@example.com", Groups: []string{"administrators"}})
	s := httptest.NewUnstartedServer(nil)
	_, port, _ := strings.Cut(s.Listener.Addr().String(), ":") // of IPv4 or IPv6: only the last part matters
	f.World.IdP = "http://localhost:" + port[strings.LastIndexByte(port, ':')+1:]
	consume := f.Web + "/saml/consume"
	idp, err := devidp.New(devidp.Config{BaseURL: f.World.IdP, EntityID: f.World.IdP + "/metadata", Key: key, Certificate: cert,
		Password: secret.New(f.Password), Now: time.Now, Users: users, ServiceProviders: []devidp.SP{{EntityID: consume, ACS: consume}}})
	if err != nil {
		t.Fatal(err)
	}
	s.Config.Handler = idp.Handler()
	s.Start()
	t.Cleanup(s.Close)
	return string(idp.Metadata())
}

// pause waits until the identity provider allows one more try of the password.
func (f *Fleet) pause(ctx context.Context) error { return f.tries.Wait(ctx) }
