package login_test

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	sqlbroker "carnet.dev/carnet/internal/edge/sql/broker"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	sqlfederation "carnet.dev/carnet/internal/edge/sql/federation"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	sqllogin "carnet.dev/carnet/internal/edge/sql/login"
	sqlonceonly "carnet.dev/carnet/internal/edge/sql/onceonly"
	sqlrevocation "carnet.dev/carnet/internal/edge/sql/revocation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/keyring"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/onceonly"
	"carnet.dev/carnet/internal/service/revocation"
)

const (
	analyst  = "arn:aws:iam::111122223333:role/analyst"
	engineer = "arn:aws:iam::111122223333:role/engineer"
	pipeline = "arn:aws:iam::444455556666:role/pipeline"
	idp1     = "arn:aws:iam::111122223333:saml-provider/dev-idp"
	idp2     = "arn:aws:iam::444455556666:saml-provider/dev-idp"
)

// world is everything that a sign-in goes through, real but for STS.
type world struct {
	t      testing.TB
	file   string
	db     *sql.DB
	ring   *keyring.Keyring
	feed   *revocation.Feed
	once   *onceonly.Once
	fed    *federation.Service
	signer *forge.IdP
	idp    federation.IdP
	sts    *authority
	config login.Config
	*login.Service

	mu  sync.Mutex
	now time.Time
}

// signingKey is the identity provider's, made once: keys are slow to make.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// authority is STS as a table of refusals by role name.
type authority struct {
	refuse map[string]*fault.Fault
	now    func() time.Time
	lasts  time.Duration
	mu     sync.Mutex
	calls  []broker.Call
	web    int // calls by web identity
}

func (a *authority) AssumeRoleWithSAML(_ context.Context, c broker.Call) (broker.Assumed, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, c)
	if f := a.refuse[c.Role.Name]; f != nil {
		return broker.Assumed{}, f
	}
	return broker.Assumed{AssumedRoleARN: c.Role.AssumedRole("alice"), Credentials: credential.Temporary{
		AccessKeyID: identity.NewAccessKeyID(), SecretAccessKey: secret.New("secret key of " + c.Role.Name),
		SessionToken: secret.New("session token of " + c.Role.Name), Expiration: a.now().Add(min(a.lasts, c.Duration)).Truncate(time.Second)}}, nil
}

func (a *authority) AssumeRoleWithWebIdentity(_ context.Context, c broker.WebCall) (broker.Assumed, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.web++
	if f := a.refuse[c.Role.Name]; f != nil {
		return broker.Assumed{}, f
	}
	return broker.Assumed{AssumedRoleARN: c.Role.AssumedRole(c.SessionName), SourceIdentity: "alice", Credentials: credential.Temporary{
		AccessKeyID: identity.NewAccessKeyID(), SecretAccessKey: secret.New("secret key of " + c.Role.Name),
		SessionToken: secret.New("session token of " + c.Role.Name), Expiration: a.now().Add(c.Duration).Truncate(time.Second)}}, nil
}

// ownKeys are our own SAML keys: one pair for both purposes.
type ownKeys struct{}

func (ownKeys) Signer() *saml.Signer {
	return &saml.Signer{Key: ownKey(), Certificate: ownCertificate()}
}

func (ownKeys) Decrypter(allowCBC bool) *saml.Decrypter {
	return &saml.Decrypter{Keys: []*rsa.PrivateKey{ownKey()}, AllowCBC: allowCBC}
}

var ownKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

var ownCertificate = sync.OnceValue(func() *x509.Certificate {
	cert, err := devidp.SelfSign(ownKey(), "carnet", time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
	if err != nil {
		panic(err)
	}
	return cert
})

// people lets the directory answer as login asks.
type people struct{ *directory.Directory }

func (p people) Ensure(ctx context.Context, w login.Subject, create bool) (identity.PersonID, error) {
	person, _, err := p.Arrive(ctx, directory.Arrival{IdP: w.IdP, Subject: w.NameID, UserName: w.UserName,
		DisplayName: w.DisplayName, Mail: w.Mail, MayCreate: create})
	return person.ID, err
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOn(t, sql.Config{SQLite: filepath.Join(t.TempDir(), "carnet.db")})
}

func newWorldOn(t testing.TB, c sql.Config) *world {
	t.Helper()
	w := &world{t: t, now: time.Now().UTC().Truncate(time.Second), file: c.SQLite, db: sqltest.OpenWith(t, c)}
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	must(t, err)
	w.ring, err = keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: w.db}, KEKs: keks, Server: "a", Now: w.clock})
	must(t, err)
	w.fed, err = federation.New(t.Context(), federation.Config{Store: sqlfederation.Store{DB: w.db}, Sealer: w.ring, Now: w.clock})
	must(t, err)
	w.signer = forge.WithKey(t, signingKey(), w.now)
	w.idp, err = w.fed.Add(t.Context(), federation.IdP{Name: "Dev", Metadata: w.signer.Metadata(), Enabled: true, AllowAutoCreate: true,
		Accounts: []string{"111122223333", "444455556666"}, RolePatterns: []string{"*"}, UserNameDomains: []string{"*"},
		AdministratorGroups: []string{"admins"}})
	must(t, err)
	w.sts = &authority{refuse: map[string]*fault.Fault{}, now: w.clock, lasts: time.Hour}
	w.config = w.wire("a", w.db)
	w.feed = w.config.Feed.(*revocation.Feed)
	w.Service, err = login.New(t.Context(), w.config)
	must(t, err)
	return w
}

// wire is what one server of the installation stands on.
func (w *world) wire(server string, db *sql.DB) login.Config {
	w.t.Helper()
	store := sqllogin.Store{DB: db}
	feed, err := revocation.Open(w.t.Context(), revocation.Config{Store: sqlrevocation.Store{DB: db}, Server: server, Now: w.clock})
	must(w.t, err)
	if w.once == nil {
		w.once = onceonly.New(sqlonceonly.Store{DB: db}, 10_000, w.clock)
	}
	trail, err := audit.Open(w.t.Context(), audit.Config{Store: sqlaudit.Store{DB: db}, Sealer: w.ring, Now: w.clock})
	must(w.t, err)
	b := broker.New(broker.Config{STS: w.sts, Store: sqlbroker.Store{DB: db}, Sealer: w.ring, Now: w.clock})
	return login.Config{
		SAMLURL: forge.ACS, IdPs: w.fed, People: people{sqldirectory.On(db, w.clock)},
		Accounts: entitlement.Accounts{
			"111122223333": {ID: "111122223333", Name: "analytics", Partition: "aws", SAML: true, Decrypts: true, Deliver: "direct"},
			"444455556666": {ID: "444455556666", Name: "engineering", Partition: "aws", SAML: true, Deliver: "gateway"}},
		Broker: b, Renewer: b,
		Once:   w.once,
		Sealer: w.ring, State: db, Sessions: store, Parked: store, Named: store, CLI: store, Upkeep: store, Keys: ownKeys{}, Feed: feed, Audit: trail, Now: w.clock,
	}
}

// another is a second server of the installation: with a connection of its own
// on PostgreSQL, on the one database of the process on SQLite.
func (w *world) another(c sql.Config) *login.Service {
	w.t.Helper()
	db := w.db
	if c.SQLite == "" {
		db = sqltest.OpenWith(w.t, c)
	}
	s, err := login.New(w.t.Context(), w.wire("b", db))
	must(w.t, err)
	return s
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.t.Helper()
	w.mu.Lock()
	w.now = w.now.Add(d)
	w.mu.Unlock()
	must(w.t, w.feed.Confirm(w.t.Context()))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if err == nil || fault.Of(err).Code != code {
		t.Errorf("error %v with code %q, want %q", err, fault.Of(orNone(err)).Code, code)
	}
}

func orNone(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

// visit is one browser on its way through the identity provider.
type visit struct {
	started   login.Started
	requestID string
	relay     string
	forced    bool // the request asks for a fresh proof
}

func (w *world) begin(returnTo string) visit {
	w.t.Helper()
	return w.beginWith(returnTo, login.Options{})
}

func (w *world) beginWith(returnTo string, o login.Options) visit {
	w.t.Helper()
	s, err := w.Begin(w.t.Context(), w.idp.ID, returnTo, o)
	must(w.t, err)
	u, err := url.Parse(s.RedirectURL)
	must(w.t, err)
	raw, err := base64.StdEncoding.DecodeString(u.Query().Get("SAMLRequest"))
	must(w.t, err)
	xml, err := io.ReadAll(flate.NewReader(bytes.NewReader(raw)))
	must(w.t, err)
	id := regexp.MustCompile(`ID="([^"]+)"`).FindSubmatch(xml)
	if id == nil || !strings.HasPrefix(s.RedirectURL, forge.SSOURL+"?") {
		w.t.Fatalf("redirect %s carries %s", s.RedirectURL, xml)
	}
	return visit{started: s, requestID: string(id[1]), relay: u.Query().Get("RelayState"), forced: bytes.Contains(xml, []byte(`ForceAuthn="true"`))}
}

// respond is the honest answer to a visit, changed as a test likes.
func (w *world) respond(v visit, change ...func(*devidp.Answer)) string {
	w.t.Helper()
	a := w.signer.Answer(v.requestID, w.clock())
	for _, c := range change {
		c(&a)
	}
	return forge.Encode(w.signer.Respond(w.t, a))
}

func decoded(t testing.TB, response string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(response)
	must(t, err)
	return raw
}

// flip changes one character in the middle.
func flip(s string) string {
	b := []byte(s)
	if b[60] == 'A' {
		b[60] = 'B'
	} else {
		b[60] = 'A'
	}
	return string(b)
}

func roles(values ...string) func(*devidp.Answer) {
	return func(a *devidp.Answer) { a.Attributes[0].Values = values }
}

func (w *world) consume(v visit, response string) (login.Consumed, error) {
	return w.Consume(w.t.Context(), response, "", netip.MustParseAddr("192.0.2.7"))
}

// signIn goes all the way.
func (w *world) signIn(change ...func(*devidp.Answer)) login.SignedIn {
	w.t.Helper()
	v := w.begin("/")
	c, err := w.consume(v, w.respond(v, change...))
	must(w.t, err)
	s, err := w.Complete(w.t.Context(), c.Handle, v.started.PreLogin)
	must(w.t, err)
	return s
}

// count gives the number of rows of a table.
func (w *world) count(table string) (n int) {
	w.t.Helper()
	must(w.t, w.db.Read(w.t.Context(), func(t *sql.Tx) error { return t.QueryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n) }))
	return n
}

// trailOf gives the recorded acts as "action outcome role code".
func (w *world) acts() (out []string) {
	w.t.Helper()
	must(w.t, w.db.Read(w.t.Context(), func(t *sql.Tx) error {
		out = nil
		return t.Each(`SELECT action FROM audit_record ORDER BY seq`, nil, func(scan func(...any) error) error {
			var a string
			err := scan(&a)
			out = append(out, a)
			return err
		})
	}))
	return out
}

// failingAudit records nothing.
type failingAudit struct{}

func (failingAudit) Record(context.Context, event.Event) error {
	return errors.New("the trail is full")
}
