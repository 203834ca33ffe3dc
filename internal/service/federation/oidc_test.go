package federation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/sql"
	sqlfederation "carnet.dev/carnet/internal/edge/sql/federation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/protocol/openid"
	"carnet.dev/carnet/internal/service/federation"
)

// boxes is a sealer that shows what it sealed for what.
type boxes struct{}

func (boxes) Seal(purpose string, aad, plain []byte) ([]byte, error) {
	return append([]byte(purpose+"|"+string(aad)+"|"), reversed(plain)...), nil
}

func (boxes) Open(purpose string, aad, sealed []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(sealed, []byte(purpose+"|"+string(aad)+"|"))
	if !ok {
		return nil, errors.New("sealed for something else")
	}
	return reversed(rest), nil
}

func reversed(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		out[len(b)-1-i] = c
	}
	return out
}

// documents answers discovery.
type documents map[string]string

func (d documents) Get(_ context.Context, at string) ([]byte, error) {
	if text, ok := d[at]; ok {
		return []byte(text), nil
	}
	return nil, fault.New(fault.Unavailable, at+" can't be reached")
}

const issuer = "https://op.example/realms/x"

func discovered(issuer string) documents {
	return documents{issuer + "/.well-known/openid-configuration": fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":"https://op.example/a","token_endpoint":"https://op.example/t"}`, issuer)}
}

// opened is a service over one database, its trail and its log.
func openedOIDC(t *testing.T, db *sql.DB, log *bytes.Buffer) (*federation.Service, *trail) {
	t.Helper()
	tr := &trail{}
	store := sqlfederation.Store{DB: db}
	s, err := federation.New(t.Context(), federation.Config{Store: store, Fetch: discovered(issuer), Sealer: boxes{}, State: db, Trail: tr,
		Accounts: []federation.Account{{ID: account, Name: "lake"}}, Now: time.Now, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s, tr
}

func openID() federation.IdP {
	return federation.IdP{Name: "OP", Protocol: federation.OIDC, Enabled: true, Accounts: []string{account}, RolePatterns: []string{"*"}, UserNameDomains: []string{"*"},
		OIDC: federation.OIDCSettings{Issuer: issuer, ClientID: "carnet", ClientSecret: secret.New("s3cret")}}
}

// TestAddOpenID: the secret is in memory and sealed in the store, and nowhere
// else.
func TestAddOpenID(t *testing.T) {
	t.Parallel()
	db, log := sqltest.Open(t), &bytes.Buffer{}
	s, tr := openedOIDC(t, db, log)
	p, err := s.Add(t.Context(), openID())
	if err != nil {
		t.Fatal(err)
	}
	if p.EntityID != issuer || p.OIDC.ClientSecret.Reveal() != "s3cret" || bytes.Contains(p.OIDC.SealedSecret, []byte("s3cret")) {
		t.Errorf("stored form %+v", p)
	}
	again, _ := openedOIDC(t, db, log)
	sp, err := again.Speaker(p.ID)
	if err != nil || sp.SAML != nil || sp.IdP.OIDC.ClientSecret.Reveal() != "s3cret" {
		t.Fatalf("read back %+v, %v", sp, err)
	}
	if st, err := again.State(p.ID); err != nil || st.Pending != nil || st.ExpiresSoon || len(st.Certificates) != 0 {
		t.Errorf("metadata %+v, %v", st, err)
	}
	again.Tend(t.Context(), 0.5) // nothing to refresh, and no panic
	if _, err := again.Refresh(t.Context(), p.ID); fault.KindOf(err) != fault.Invalid {
		t.Errorf("refreshed: %v", err)
	}
	if all, err := again.ByIssuer(issuer); err != nil || len(all) != 1 {
		t.Errorf("by issuer: %v, %v", all, err)
	}
	if _, known, err := again.ByEntityID(issuer); err != nil || known {
		t.Errorf("it speaks SAML: %v", err)
	}
	if detail := fmt.Sprint(tr.events); strings.Contains(detail, "s3cret") || !strings.Contains(detail, "client_secret") || !strings.Contains(detail, issuer) {
		t.Errorf("recorded %s", detail)
	}
	// Another key seals now: this one is out, the service stands.
	if err := db.Write(t.Context(), func(t *sql.Tx) error {
		_, err := t.Exec(`UPDATE identity_provider SET client_secret = $1`, []byte("x"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	broken, _ := openedOIDC(t, db, log)
	if _, err := broken.Speaker(p.ID); fault.KindOf(err) != fault.NotFound || !strings.Contains(log.String(), "left out") {
		t.Errorf("a secret that can't be opened: %v", err)
	}
	if empty, err := broken.Empty(); err != nil || empty {
		t.Error("set-up answers again")
	}
}

func TestAddOpenIDRefuses(t *testing.T) {
	t.Parallel()
	s, _ := openedOIDC(t, sqltest.Open(t), &bytes.Buffer{})
	minus, huge := -1, 1<<30
	for name, tt := range map[string]struct {
		change func(*federation.IdP)
		says   string
	}{
		"no issuer":          {func(p *federation.IdP) { p.OIDC.Issuer = "" }, "issuer is missing"},
		"the document":       {func(p *federation.IdP) { p.OIDC.Issuer += "/.well-known/openid-configuration" }, "enter the issuer: " + issuer},
		"plain http":         {func(p *federation.IdP) { p.OIDC.Issuer = "http://op.example" }, "not https"},
		"a query":            {func(p *federation.IdP) { p.OIDC.Issuer += "?x=1" }, "not a URL without query"},
		"a user in it":       {func(p *federation.IdP) { p.OIDC.Issuer = "https://a@op.example" }, "not a URL without query"},
		"another issuer":     {func(p *federation.IdP) { p.OIDC.Issuer = issuer + "/" }, "calls itself"},
		"one that is away":   {func(p *federation.IdP) { p.OIDC.Issuer = "https://away.example" }, "can't be reached"},
		"no client":          {func(p *federation.IdP) { p.OIDC.ClientID = " " }, "client id"},
		"no secret":          {func(p *federation.IdP) { p.OIDC.ClientSecret = secret.Text{} }, "client secret is missing"},
		"a secret too many":  {func(p *federation.IdP) { p.OIDC.ClientAuth = "none" }, "public client"},
		"another proof":      {func(p *federation.IdP) { p.OIDC.ClientAuth = "tls" }, "no such choice"},
		"a line end":         {func(p *federation.IdP) { p.OIDC.ClientSecret = secret.New("a\nb") }, "printable"},
		"a scope with space": {func(p *federation.IdP) { p.OIDC.Scopes = []string{"a b"} }, "without spaces"},
		"offline access":     {func(p *federation.IdP) { p.OIDC.Scopes = []string{"offline_access"} }, "no refresh token"},
		"age below zero":     {func(p *federation.IdP) { p.OIDC.MaxAge = &minus }, "max age"},
		"age of years":       {func(p *federation.IdP) { p.OIDC.MaxAge = &huge }, "max age"},
		"settings of SAML":   {func(p *federation.IdP) { p.AllowSHA1 = true }, "settings of a SAML identity provider"},
		"metadata":           {func(p *federation.IdP) { p.Metadata = []byte("<x/>") }, "settings of a SAML identity provider"},
		"no accounts":        {func(p *federation.IdP) { p.Accounts = nil }, "no account"},
		"a provider in a template": {func(p *federation.IdP) {
			p.RoleTemplates = []federation.RoleTemplate{{Group: "a-{x}", Account: account, Role: "{x}", Provider: "p"}}
		}, "have none"},
	} {
		p := openID()
		tt.change(&p)
		if _, err := s.Add(t.Context(), p); err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(s.List()) != 0 {
		t.Error("one was entered")
	}
}

// TestUpdateOpenID: the secret stays where none is given; issuer and protocol
// stay in any case.
func TestUpdateOpenID(t *testing.T) {
	t.Parallel()
	s, tr := openedOIDC(t, sqltest.Open(t), &bytes.Buffer{})
	p, err := s.Add(t.Context(), openID())
	if err != nil {
		t.Fatal(err)
	}
	sealed := p.OIDC.SealedSecret
	change := func(f func(*federation.IdP)) (federation.IdP, error) {
		now, err := s.Get(t.Context(), p.ID)
		if err != nil {
			t.Fatal(err)
		}
		f(&now)
		return s.Update(t.Context(), now)
	}
	got, err := change(func(p *federation.IdP) { p.OIDC.ClientSecret, p.OIDC.UserNameClaim = secret.Text{}, "email" })
	if err != nil || got.OIDC.ClientSecret.Reveal() != "s3cret" || !bytes.Equal(got.OIDC.SealedSecret, sealed) {
		t.Errorf("without a secret: %v", err)
	}
	got, err = change(func(p *federation.IdP) { p.OIDC.ClientSecret = secret.New("another") })
	if err != nil || got.OIDC.ClientSecret.Reveal() != "another" || bytes.Equal(got.OIDC.SealedSecret, sealed) {
		t.Errorf("another secret: %v", err)
	}
	if last := tr.events[len(tr.events)-1]; last.Detail["client_secret"] != "(changed)" || len(last.Detail) != 1 {
		t.Errorf("recorded %v", last.Detail)
	}
	got, err = change(func(p *federation.IdP) { p.OIDC.ClientAuth = "none" })
	if err != nil || !got.OIDC.ClientSecret.IsZero() || len(got.OIDC.SealedSecret) != 0 {
		t.Errorf("a public client: %v, %v", got.OIDC.SealedSecret, err)
	}
	if _, err = change(func(p *federation.IdP) { p.OIDC.Issuer = "https://other.example" }); err == nil {
		t.Error("the issuer was changed")
	}
	if _, err = change(func(p *federation.IdP) { p.Protocol, p.OIDC = federation.SAML, federation.OIDCSettings{} }); err == nil {
		t.Error("the protocol was changed")
	}
	if _, err := s.SetEnabled(t.Context(), p.ID, false); err != nil {
		t.Fatal(err)
	}
	if all, err := s.ByIssuer(issuer); err != nil || len(all) != 0 {
		t.Errorf("switched off, it speaks: %v", all)
	}
	if sp, err := s.Trial(p.ID); err != nil || sp.IdP.OIDC.Issuer != issuer {
		t.Errorf("for a test: %v", err)
	}
}

// TestClaimsName people, groups and roles as it is set.
func TestClaimsName(t *testing.T) {
	t.Parallel()
	plain := &federation.Speaker{IdP: federation.IdP{Protocol: federation.OIDC}}
	set := &federation.Speaker{IdP: federation.IdP{Protocol: federation.OIDC, AdministratorGroups: []string{"a"}, OIDC: federation.OIDCSettings{
		UserNameClaim: "upn", DisplayNameClaim: "nick", MailClaim: "contact.mail", GroupsClaim: "realm.roles", RolesClaim: "https://aws/roles"}}}
	c := openid.Claims{"preferred_username": "ann", "upn": "ANN", "name": "Ann", "nick": "an", "email": "a@x", "contact": map[string]any{"mail": "b@x"},
		"groups": []any{"g"}, "realm": map[string]any{"roles": []any{"r", "s"}}, "https://aws/roles": "arn"}
	for sp, want := range map[*federation.Speaker]string{plain: "ann Ann a@x [g] []", set: "ANN an b@x [r s] [arn]"} {
		name, err := sp.UserNameIn(c)
		roles, ok := sp.RolesIn(c)
		if got := fmt.Sprint(name, " ", sp.DisplayNameIn(c), " ", sp.MailIn(c), " ", sp.GroupsIn(c), " ", roles); got != want || err != nil || !ok {
			t.Errorf("%s, want %s; %v", got, want, err)
		}
	}
	if got := fmt.Sprint(plain.Wants(), set.Wants()); got != "[preferred_username] [upn https://aws/roles realm.roles]" {
		t.Errorf("wants %s", got)
	}
	for name, bad := range map[string]openid.Claims{"none": {}, "a list": {"preferred_username": []any{"ann"}}, "blank": {"preferred_username": " "}, "with a space": {"preferred_username": " ann"},
		"a line end": {"preferred_username": "a\nb"}, "long": {"preferred_username": strings.Repeat("a", 300)}, "another letter case": {"Preferred_Username": "ann"}} {
		if got, err := plain.UserNameIn(bad); err == nil || fault.Of(err).Code != "oidc.user-name" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestWarningsOpenID(t *testing.T) {
	t.Parallel()
	p := openID()
	p.UserNameDomains = []string{"example.com"}
	if got := federation.Warnings(p, []federation.Account{{ID: account, Name: "lake"}}); len(got) != 1 || !strings.Contains(got[0], "takes no web identity") {
		t.Errorf("warnings %q", got)
	}
	if got := federation.Warnings(p, []federation.Account{{ID: account, Name: "lake", WebIdentity: true, AWS: true}}); len(got) != 0 {
		t.Errorf("warnings %q", got)
	}
}
