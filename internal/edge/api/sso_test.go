package api_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/client"
	"carnet.dev/carnet/internal/edge/api/ssodoc"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/edge/egress"
	sqlfederation "carnet.dev/carnet/internal/edge/sql/federation"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	sqlspkeys "carnet.dev/carnet/internal/edge/sql/spkeys"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/keyring"
	"carnet.dev/carnet/internal/service/spkeys"
)

// unwritten is a trail that nobody reads.
type unwritten struct{}

func (unwritten) Record(context.Context, event.Event) error { return nil }

// open starts the services of single sign-on on a database of their own.
func (w *world) open(t *testing.T) {
	t.Helper()
	db := sqltest.Open(t)
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: keks, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if w.keys, err = spkeys.Open(t.Context(), spkeys.Config{Store: sqlspkeys.Store{DB: db}, Sealer: ring, State: db, Trail: unwritten{}, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	allow, err := egress.ParseAllow([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	w.sso, err = federation.New(t.Context(), federation.Config{Store: sqlfederation.Store{DB: db}, Installations: sqlfederation.Store{DB: db},
		Fetch: egress.New(egress.Config{Allow: allow}), Sealer: ring, State: db, Trail: unwritten{}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.openGatewayKeys(t, db, ring)
}

// enter stores one identity provider.
func (w *world) enter(t *testing.T) federation.IdP {
	t.Helper()
	p, err := w.sso.Add(t.Context(), federation.IdP{Name: "Entered", Enabled: true, Metadata: forge.NewECDSA(t, time.Now()).Metadata(),
		Accounts: []string{"111122223333"}, RolePatterns: []string{"*"}, UserNameDomains: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func administratorOf(t *testing.T, base string) *client.Client {
	t.Helper()
	c, err := client.New(base, secret.New("cli-admin"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newProvider is what an administrator enters at least.
func newProvider(name string) ssodoc.NewIdentityProvider {
	return ssodoc.NewIdentityProvider{Name: name, Accounts: []string{"111122223333"}, RolePatterns: []string{"*"}, UserNameDomains: []string{"example.com"}}
}

// TestAdministratorEntersAnIdentityProvider by metadata, by fields and by an
// address, changes, refreshes and removes it.
func TestAdministratorEntersAnIdentityProvider(t *testing.T) {
	t.Parallel()
	_, base, _ := serve(t)
	c, idp := administratorOf(t, base), forge.NewECDSA(t, time.Now())
	in := newProvider("Example")
	in.Metadata = string(idp.Metadata())
	p, err := c.AddIdentityProvider(t.Context(), in)
	if err != nil || !p.Enabled || p.Accounts[0] != "111122223333" || p.AdministratorGroups == nil || p.AllowAutoCreate || p.Revision != 1 ||
		p.EntityID != forge.EntityID || p.Metadata.SignOnURL != forge.SSOURL || len(p.Metadata.Certificates) != 1 || p.Metadata.Tried != nil {
		t.Fatalf("added %+v, %v", p, err)
	}
	if s := p.Settings; s.RequestBinding != "redirect" || s.Signed != "either" || s.Encryption != "off" || s.CertificateDates != "enforce" || s.RoleTemplates == nil {
		t.Errorf("settings %+v", s)
	}
	if _, err := c.AddIdentityProvider(t.Context(), in); fault.KindOf(err) != fault.Conflict {
		t.Errorf("twice: %v", err)
	}
	for name, change := range map[string]func(*ssodoc.NewIdentityProvider){
		"no metadata":     func(n *ssodoc.NewIdentityProvider) { n.Metadata = "" },
		"nonsense":        func(n *ssodoc.NewIdentityProvider) { n.Metadata = "nonsense" },
		"metadata twice":  func(n *ssodoc.NewIdentityProvider) { n.MetadataFields = &ssodoc.MetadataFields{SignOnURL: "x"} },
		"no account":      func(n *ssodoc.NewIdentityProvider) { n.Accounts = nil },
		"no such setting": func(n *ssodoc.NewIdentityProvider) { n.Settings = &ssodoc.Settings{Signed: "neither"} },
		"a wide template": func(n *ssodoc.NewIdentityProvider) {
			n.Settings = &ssodoc.Settings{RoleTemplates: []ssodoc.RoleTemplate{{Group: "*"}}}
		},
		"an address of http": func(n *ssodoc.NewIdentityProvider) {
			n.Settings = &ssodoc.Settings{MetadataURL: "http://idp.example.com"}
		},
	} {
		bad := newProvider(name)
		bad.Metadata = in.Metadata
		change(&bad)
		if _, err := c.AddIdentityProvider(t.Context(), bad); fault.KindOf(err) != fault.Invalid || fault.Of(err).Public == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	no, name, settings := false, "Renamed", p.Settings
	settings.Signed, settings.AllowSHA1, settings.RoleTemplates = "both", true, []ssodoc.RoleTemplate{{Group: "aws-{r}", Account: "111122223333", Role: "{r}", Provider: "corp"}}
	changed, err := c.ChangeIdentityProvider(t.Context(), p.ID, ssodoc.IdentityProviderChange{Revision: 1, Name: &name, Enabled: &no, Settings: &settings, AdministratorGroups: []string{"admins"}})
	if err != nil || changed.Name != name || changed.Enabled || changed.Settings.Signed != "both" || changed.AdministratorGroups[0] != "admins" || changed.Revision != 2 ||
		changed.Accounts[0] != "111122223333" || changed.UserNameDomains[0] != "example.com" || len(changed.Warnings) != 1 || len(changed.Settings.RoleTemplates) != 1 {
		t.Errorf("changed %+v, %v", changed, err)
	}
	if _, err := c.ChangeIdentityProvider(t.Context(), p.ID, ssodoc.IdentityProviderChange{Revision: 1, Name: &name}); fault.Of(err).Code != "federation.changed" {
		t.Errorf("an older one: %v", err)
	}
	if got, err := c.ChangeIdentityProvider(t.Context(), p.ID, ssodoc.IdentityProviderChange{AdministratorGroups: []string{}}); err != nil || len(got.AdministratorGroups) != 0 || got.Name != name {
		t.Errorf("an emptied list: %+v, %v", got, err)
	}
	if _, err := c.RefreshMetadata(t.Context(), p.ID); fault.KindOf(err) != fault.Invalid {
		t.Errorf("refresh without an address: %v", err)
	}
	if err := c.RemoveIdentityProvider(t.Context(), p.ID); err != nil {
		t.Error(err)
	}
	if _, err := c.IdentityProvider(t.Context(), p.ID); fault.KindOf(err) != fault.NotFound {
		t.Errorf("after its removal: %v", err)
	}
	in = newProvider("By hand")
	in.Enabled, in.MetadataFields = &no, &ssodoc.MetadataFields{SignOnURL: "https://idp.example.com/sso", EntityID: "https://idp.example.com",
		Certificates: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: idp.Certificate.Raw}))}
	if p, err = c.AddIdentityProvider(t.Context(), in); err != nil || p.EntityID != "https://idp.example.com" || p.Enabled {
		t.Errorf("by hand: %+v, %v", p, err)
	}
}

// TestMetadataFromItsAddress: entered, refreshed, and accepted where it brings
// what nobody agreed to.
func TestMetadataFromItsAddress(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	document := forge.NewECDSA(t, time.Now()).Metadata()
	at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = w.Write(document)
	}))
	defer at.Close()
	_, base, _ := serve(t)
	c := administratorOf(t, base)
	in := newProvider("By address")
	in.Settings = &ssodoc.Settings{MetadataURL: at.URL}
	p, err := c.AddIdentityProvider(t.Context(), in)
	if err != nil || p.Settings.MetadataURL != at.URL {
		t.Fatalf("added %+v, %v", p, err)
	}
	mu.Lock()
	document = forge.NewECDSA(t, time.Now()).Metadata()
	mu.Unlock()
	refreshed, err := c.RefreshMetadata(t.Context(), p.ID)
	if err != nil || refreshed.Metadata.Pending == nil || !refreshed.Metadata.Pending.Certificates[0].New || refreshed.Metadata.Tried == nil ||
		refreshed.Metadata.Certificates[0].SHA256 != p.Metadata.Certificates[0].SHA256 {
		t.Fatalf("refreshed %+v, %v", refreshed.Metadata, err)
	}
	if _, err := c.AcceptMetadata(t.Context(), p.ID, p.Revision); fault.Of(err).Code != "federation.changed" {
		t.Errorf("what was not seen was accepted: %v", err)
	}
	if got, err := c.AcceptMetadata(t.Context(), p.ID, refreshed.Revision); err != nil || got.Metadata.Pending != nil ||
		got.Metadata.Certificates[0].SHA256 != refreshed.Metadata.Pending.Certificates[0].SHA256 {
		t.Errorf("accepted %+v, %v", got.Metadata, err)
	}
}

// TestKeysAndSwitches walks our own keys and the switch of the installation.
func TestKeysAndSwitches(t *testing.T) {
	t.Parallel()
	w, base, _ := serve(t)
	c := administratorOf(t, base)
	first, err := c.SAMLKeys(t.Context())
	if err != nil || len(first) != 2 || first[0].Purpose != "signing" || first[0].State != "current" {
		t.Fatalf("%+v, %v", first, err)
	}
	block, _ := pem.Decode([]byte(first[0].Certificate))
	if cert, err := x509.ParseCertificate(block.Bytes); err != nil || !cert.Equal(w.keys.Signer().Certificate) {
		t.Errorf("the certificate shown is not the one in use: %v", err)
	}
	if _, err := c.PromoteSAMLKey(t.Context(), "signing"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("without a next key: %v", err)
	}
	next, err := c.AddSAMLKey(t.Context(), "signing")
	if err != nil || next.State != "next" {
		t.Errorf("%+v, %v", next, err)
	}
	if now, err := c.PromoteSAMLKey(t.Context(), "signing"); err != nil || now.ID != next.ID || now.State != "current" {
		t.Errorf("%+v, %v", now, err)
	}
	if err := c.RemoveSAMLKey(t.Context(), next.ID); fault.KindOf(err) != fault.Conflict {
		t.Errorf("the key in use: %v", err)
	}
	if err := c.RemoveSAMLKey(t.Context(), first[0].ID); err != nil {
		t.Error(err)
	}
	if _, err := c.AddSAMLKey(t.Context(), "nothing"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a purpose that there is not: %v", err)
	}
	s, err := c.SingleSignOn(t.Context())
	if err != nil || !s.UnifiedLogin || s.Issuer != base+"/oidc" || s.SAMLURL != base+"/saml/consume" || s.SAMLMetadataURL != base+"/saml/metadata" {
		t.Errorf("%+v, %v", s, err)
	}
	off := false
	if s, err = c.ChangeSingleSignOn(t.Context(), ssodoc.SingleSignOnChange{UnifiedLogin: &off}); err != nil || s.UnifiedLogin || s.Issuer != base+"/oidc/accounts/1" {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = c.ChangeSingleSignOn(t.Context(), ssodoc.SingleSignOnChange{}); err != nil || s.UnifiedLogin {
		t.Errorf("a change of nothing: %+v, %v", s, err)
	}
}
