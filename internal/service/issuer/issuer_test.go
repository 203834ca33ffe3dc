package issuer_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	sqlissuer "carnet.dev/carnet/internal/edge/sql/issuer"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/keyring"
)

// trail keeps what was recorded.
type trail struct {
	mu     sync.Mutex
	events []event.Event
}

func (t *trail) Record(_ context.Context, e event.Event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
	return nil
}

func (t *trail) count(action string) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.events {
		if e.Action == action {
			n++
		}
	}
	return n
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a database, a key ring and a time: servers share it.
type world struct {
	*clock
	db    *sql.DB
	ring  *keyring.Keyring
	trail *trail
}

func newWorld(t testing.TB) *world {
	t.Helper()
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{clock: &clock{now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}, db: sqltest.Open(t), trail: &trail{}}
	if w.ring, err = keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: w.db}, KEKs: keks, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	return w
}

// server opens an issuer service on the world.
func (w *world) server(t testing.TB, change ...func(*issuer.Config)) *issuer.Service {
	t.Helper()
	c := issuer.Config{
		Store: sqlissuer.Store{DB: w.db}, Sealer: w.ring, State: w.db, Trail: w.trail, Now: w.Now,
		BaseURL: "https://carnet.example.com", AccountID: "acc", Audiences: []string{"vault.example.com"},
	}
	for _, f := range change {
		f(&c)
	}
	s, err := issuer.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var analyst = arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: "analyst"}

// forAWS is a token that is traded at STS.
func forAWS() issuer.IDToken {
	return issuer.IDToken{
		Subject: "user:psn_a", Audience: issuer.AudienceAWS, Role: analyst, SourceIdentity: "alice@example.com",
		Tags: []issuer.Tag{{Key: "team", Value: "risk"}}, TransitiveTagKeys: []string{"team"}, LoginSession: "lgn_1", Epoch: 7,
	}
}

// check proves a token by a key set, as a relying party does.
func check(token, issuerURL, audience string, keys *oidc.KeySet, now time.Time) (*oidc.Claims, error) {
	parsed, err := oidc.Parse(token)
	if err != nil {
		return nil, err
	}
	return parsed.Verify(keys, oidc.Expect{Issuer: issuerURL, Audiences: []string{audience}}, now)
}

func mint(t testing.TB, s *issuer.Service, token issuer.IDToken) issuer.Minted {
	t.Helper()
	m, err := s.MintID(token)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// wants fails unless err is a fault with this code.
func wants(t testing.TB, what string, err error, code string) {
	t.Helper()
	if err == nil || fault.Of(err).Code != code {
		t.Errorf("%s: %v; want %s", what, err, code)
	}
}

// TestFirstKeys: two servers that start at once end with the same four keys.
func TestFirstKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var both [2]*issuer.Service
	var starts sync.WaitGroup
	for i := range both {
		starts.Go(func() { both[i] = w.server(t) })
	}
	starts.Wait()
	a, b := both[0].Keys(), both[1].Keys()
	if len(a) != 4 || len(b) != 4 {
		t.Fatalf("%d and %d keys", len(a), len(b))
	}
	ids := map[string]bool{}
	for i := range a {
		if a[i].ID != b[i].ID || a[i].State != issuer.Used || len(a[i].Sealed) != 0 {
			t.Errorf("%+v and %+v", a[i], b[i])
		}
		ids[a[i].ID] = true
	}
	if len(ids) != 4 {
		t.Error("key ids are not unique")
	}
	for _, l := range issuer.Levels() {
		if string(both[0].JWKS(l).Body) != string(both[1].JWKS(l).Body) {
			t.Errorf("two servers publish two key sets for %s", l)
		}
	}
	if n := w.trail.count("issuer-key.add"); n != 4 {
		t.Errorf("%d keys were recorded", n)
	}
}

// TestClaimsForAWS: exactly what STS reads, five minutes, by the registered
// issuer alone.
func TestClaimsForAWS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unified := true
	s := w.server(t, func(c *issuer.Config) { c.Unified = func() bool { return unified } })
	token := forAWS()
	token.Level, token.Lifetime, token.Profile = issuer.Account, time.Hour, map[string]string{"email": "alice@example.com"}
	token.AuthTime, token.AMR, token.ACR = w.now.Add(-time.Minute), []string{"mfa"}, "phr"
	for _, on := range []bool{true, false} {
		unified = on
		want := s.URL(issuer.Account)
		if on {
			want = s.URL(issuer.Workspace)
		}
		m := mint(t, s, token)
		keys, ours := s.KeySet(want)
		if !ours || m.Issuer != want || m.Expires.Sub(m.Issued) != 5*time.Minute {
			t.Errorf("%+v, want issuer %s", m, want)
		}
		c, err := check(m.Token.Reveal(), want, issuer.AudienceAWS, keys, w.Now())
		if err != nil {
			t.Fatal(err)
		}
		all := c.All()
		tags, _ := all["https://aws.amazon.com/tags"].(map[string]any)
		if all["https://aws.amazon.com/roles"] != analyst.String() || all["https://aws.amazon.com/source_identity"] != "alice@example.com" ||
			tags["principal_tags"] == nil || tags["transitive_tag_keys"] == nil || all["sid"] != "lgn_1" || all["acr"] != "phr" ||
			c.ID != m.ID || c.Algorithm != oidc.RS256 || c.Subject != "user:psn_a" || all["email"] != nil {
			t.Errorf("%v", all)
		}
		if epoch, ok := issuer.EpochOf(c); !ok || epoch != 7 {
			t.Errorf("epoch %d, %v", epoch, ok)
		}
		// The other issuer's keys prove nothing of it.
		for _, l := range issuer.Levels() {
			if url := s.URL(l); url != want {
				others, _ := s.KeySet(url)
				if _, err := check(m.Token.Reveal(), want, issuer.AudienceAWS, others, w.Now()); err == nil {
					t.Error("the issuers' keys are mixed up")
				}
			}
		}
	}
	if _, ours := s.KeySet("https://carnet.example.com/oidc/"); ours {
		t.Error("an issuer is letter for letter")
	}
}

// TestAudiences: an ID token has one audience, which somebody listed, and a
// token for AWS has a role.
func TestAudiences(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(t)
	for name, change := range map[string]func(*issuer.IDToken){
		"nobody's":             func(c *issuer.IDToken) { c.Audience = "another.example.com" },
		"none":                 func(c *issuer.IDToken) { c.Audience = "" },
		"our own API":          func(c *issuer.IDToken) { c.Audience, c.Client = s.APIAudience(), true },
		"AWS, called a client": func(c *issuer.IDToken) { c.Audience, c.Client, c.Role = issuer.AudienceAWS, true, analyst },
	} {
		token := issuer.IDToken{Subject: "user:psn_a"}
		change(&token)
		_, err := s.MintID(token)
		wants(t, name, err, issuer.CodeAudience)
	}
	for name, token := range map[string]issuer.IDToken{
		"no role":       {Subject: "user:psn_a", Audience: issuer.AudienceAWS},
		"role for all":  {Subject: "user:psn_a", Audience: "vault.example.com", Role: analyst},
		"no subject":    {Audience: "vault.example.com"},
		"a long one":    {Audience: "vault.example.com", Subject: strings.Repeat("x", 256)},
		"no such level": {Audience: "vault.example.com", Subject: "user:psn_a", Level: "moon"},
		"no such key":   {Audience: "vault.example.com", Subject: "user:psn_a", Algorithm: "PS256"},
	} {
		if _, err := s.MintID(token); err == nil {
			t.Errorf("%s: minted", name)
		}
	}
	m := mint(t, s, issuer.IDToken{Subject: "user:psn_a", Audience: "oac_1", Client: true, Nonce: "n", Level: issuer.Account, Algorithm: oidc.ES256,
		Profile: map[string]string{"name": "Alice", "sub": "user:psn_b", "empty": ""}})
	keys, _ := s.KeySet(s.URL(issuer.Account))
	c, err := check(m.Token.Reveal(), s.URL(issuer.Account), "oac_1", keys, w.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, there := c.All()["empty"]; there || c.Subject != "user:psn_a" || c.All()["name"] != "Alice" || c.All()["nonce"] != "n" || c.Algorithm != oidc.ES256 {
		t.Errorf("%v", c.All())
	}
}

// TestAttackAccessTokenAsWebIdentity: an access token for our API is no ID
// token, nor the other way round, whatever their audiences.
func TestAttackAccessTokenAsWebIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(t)
	access, err := s.MintAccess(issuer.AccessToken{Subject: "user:psn_a", ClientID: "oac_1", Scope: "openid all-apis", LoginSession: "lgn_1", Epoch: 3, Lifetime: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := s.KeySet(access.Issuer)
	if _, err := check(access.Token.Reveal(), access.Issuer, s.APIAudience(), keys, w.Now()); fault.Of(err).Code != oidc.CheckType {
		t.Errorf("an access token as ID token: %v", err)
	}
	got, err := s.VerifyAccess(access.Token)
	if err != nil {
		t.Fatal(err)
	}
	if got.Subject != "user:psn_a" || got.ClientID != "oac_1" || got.Scope != "openid all-apis" || got.LoginSession != "lgn_1" || got.Epoch != 3 ||
		got.ID != access.ID || got.Level != issuer.Workspace || !got.Expires.Equal(access.Expires) {
		t.Errorf("%+v", got)
	}
	for name, token := range map[string]issuer.Minted{
		"an ID token":           mint(t, s, issuer.IDToken{Subject: "user:psn_a", Audience: "vault.example.com"}),
		"an ID token for AWS":   mint(t, s, forAWS()),
		"of another server":     foreign(t),
		"of a client's sign-in": mint(t, s, issuer.IDToken{Subject: "user:psn_a", Audience: "oac_1", Client: true}),
	} {
		if _, err := s.VerifyAccess(token.Token); err == nil {
			t.Errorf("%s passes as access token", name)
		}
	}
	w.pass(time.Minute)
	if _, err := s.VerifyAccess(access.Token); fault.KindOf(err) != fault.Expired {
		t.Errorf("after its end: %v", err)
	}
}

// foreign is an access token of another installation at the same address.
func foreign(t *testing.T) issuer.Minted {
	t.Helper()
	m, err := newWorld(t).server(t).MintAccess(issuer.AccessToken{Subject: "user:psn_a", ClientID: "oac_1", Lifetime: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestReuse: the live token is given until half its life, to whoever asks for
// the very same, and no longer than its key is in use.
func TestReuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(t)
	first := mint(t, s, forAWS())
	if again := mint(t, s, forAWS()); !again.Token.Equal(first.Token) || again.ID != first.ID {
		t.Error("not re-used")
	}
	for name, change := range map[string]func(*issuer.IDToken){
		"subject": func(c *issuer.IDToken) { c.Subject = "user:psn_b" }, "role": func(c *issuer.IDToken) { c.Role.Name = "engineer" },
		"login session": func(c *issuer.IDToken) { c.LoginSession = "lgn_2" }, "tag": func(c *issuer.IDToken) { c.Tags[0].Value = "x" },
		"source identity": func(c *issuer.IDToken) { c.SourceIdentity = "bob" }, "transitive": func(c *issuer.IDToken) { c.TransitiveTagKeys = nil },
		"nonce": func(c *issuer.IDToken) { c.Nonce = "n" }, "lifetime": func(c *issuer.IDToken) { c.Lifetime = time.Minute },
		"algorithm": func(c *issuer.IDToken) { c.Algorithm = oidc.ES256 }, "amr": func(c *issuer.IDToken) { c.AMR = []string{"team"} },
		"auth time": func(c *issuer.IDToken) { c.AuthTime = w.Now() }, "epoch": func(c *issuer.IDToken) { c.Epoch++ },
		"attachment": func(c *issuer.IDToken) { c.OnNode.Attachment = "att_1" }, "node": func(c *issuer.IDToken) { c.OnNode.Node = "nod_1" },
		"cluster": func(c *issuer.IDToken) { c.OnNode.Cluster = "cls_1" }, "process owner": func(c *issuer.IDToken) { c.OnNode.Owner = "1(a)" },
	} {
		token := forAWS()
		change(&token)
		if mint(t, s, token).Token.Equal(first.Token) {
			t.Errorf("another %s gets the same token", name)
		}
	}
	// What was revoked meanwhile ends the re-use: the token says an older epoch.
	token := forAWS()
	token.Epoch = 9
	fresh := mint(t, s, token)
	w.pass(149 * time.Second)
	if !mint(t, s, token).Token.Equal(fresh.Token) {
		t.Error("not re-used before half its life")
	}
	w.pass(time.Second)
	if mint(t, s, token).Token.Equal(fresh.Token) {
		t.Error("re-used after half its life")
	}
	before := mint(t, s, token)
	if _, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{Now: true}); err != nil {
		t.Fatal(err)
	}
	if mint(t, s, token).KeyID == before.KeyID {
		t.Error("re-used after its key was retired")
	}
}

// TestPrivateKeysRestSealed: without the key ring the rows hold nothing, and a
// row under another level, algorithm or id opens for nobody.
func TestPrivateKeysRestSealed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.server(t)
	rows, _, err := sqlissuer.Store{DB: w.db}.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		plain, err := w.ring.Open("issuer-key", []byte(string(r.Level)+" "+r.Algorithm+" "+r.ID), r.Sealed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x509.ParsePKCS8PrivateKey(plain); err != nil || bytes.Contains(r.Sealed, plain[40:60]) {
			t.Errorf("a private key lies open in the database: %v", err)
		}
		for _, aad := range []string{"workspace RS256 " + rows[len(rows)-1].ID, "account ES256 x", ""} {
			if r.Level == issuer.Workspace && r.Algorithm == oidc.RS256 && strings.HasSuffix(aad, r.ID) {
				continue
			}
			if _, err := w.ring.Open("issuer-key", []byte(aad), r.Sealed); err == nil {
				t.Error("a row opens as another")
			}
		}
	}
}

// TestDamagedRow: a row that is not what it says stops the start, by name.
func TestDamagedRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.server(t)
	for _, damage := range []string{`UPDATE issuer_key SET level = 'account', serial = 9 WHERE level = 'workspace' AND algorithm = 'RS256'`} {
		if err := w.db.Write(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(damage); return err }); err != nil {
			t.Fatal(err)
		}
		_, err := issuer.Open(t.Context(), issuer.Config{Store: sqlissuer.Store{DB: w.db}, Sealer: w.ring, State: w.db, Trail: w.trail, Now: w.Now,
			BaseURL: "https://carnet.example.com", AccountID: "acc"})
		if err == nil || !strings.Contains(err.Error(), "can't be read") {
			t.Errorf("%s: %v", damage, err)
		}
	}
}
