package federation_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	sqlfederation "carnet.dev/carnet/internal/edge/sql/federation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/federation"
)

// TestSettingsRefused: each error names the setting and says what to mend.
func TestSettingsRefused(t *testing.T) {
	t.Parallel()
	s, honest := open(t), entered(t)
	for want, change := range map[string]func(*federation.IdP){
		"request binding":            func(p *federation.IdP) { p.RequestBinding = "artifact" },
		"signed":                     func(p *federation.IdP) { p.Signed = "neither" },
		"encryption":                 func(p *federation.IdP) { p.Encryption = "yes" },
		"certificate dates":          func(p *federation.IdP) { p.CertificateDates = "off" },
		"user-name attribute":        func(p *federation.IdP) { p.UserNameAttribute = "a\x00b" },
		"mail attribute":             func(p *federation.IdP) { p.MailAttribute = strings.Repeat("x", 3000) },
		"authentication context":     func(p *federation.IdP) { p.AuthnContexts = []string{"password please"} },
		"11 authentication contexts": func(p *federation.IdP) { p.AuthnContexts = contexts(11) },
		"metadata pin":               func(p *federation.IdP) { p.MetadataPin = []string{"abcd"} },
		"metadata address":           func(p *federation.IdP) { p.MetadataURL = "idp.example.com/metadata" },
		"is not https":               func(p *federation.IdP) { p.MetadataURL = "http://idp.example.com/metadata" },
		"without user name":          func(p *federation.IdP) { p.MetadataURL = "https://user:password@idp.example.com/metadata" },
		"CBC is allowed":             func(p *federation.IdP) { p.AllowCBC = true },
		"101 role templates":         func(p *federation.IdP) { p.RoleTemplates = make([]federation.RoleTemplate, 101) },
		"with the HTTP-POST binding": func(p *federation.IdP) { p.RequestBinding, p.Metadata = "post", onlyRedirect(honest.Metadata) },
		"the metadata is of":         func(p *federation.IdP) { p.EntityID = "https://other.example" },
		"no such account":            func(p *federation.IdP) { p.Accounts = []string{"999999999999"} },
	} {
		p := honest
		change(&p)
		_, err := s.Add(t.Context(), p)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error()+" "+fault.Of(err).Mend, want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if len(s.List()) != 0 {
		t.Errorf("stored %d", len(s.List()))
	}
}

func contexts(n int) (all []string) {
	for i := range n {
		all = append(all, "urn:context:"+strings.Repeat("x", i+1))
	}
	return all
}

func onlyRedirect(metadata []byte) []byte {
	return []byte(strings.ReplaceAll(string(metadata), "bindings:HTTP-POST", "bindings:SOAP"))
}

// TestStoredForm: what means the default is stored as the default.
func TestStoredForm(t *testing.T) {
	t.Parallel()
	s, p := open(t), entered(t)
	p.Settings = federation.Settings{RequestBinding: "redirect", Signed: "either", Encryption: "off", CertificateDates: "enforce",
		UserNameAttribute: " uid ", AuthnContexts: []string{" urn:x ", "urn:x", ""}, MetadataPin: []string{strings.Repeat("AB:", 31) + "AB"},
		RoleTemplates: []federation.RoleTemplate{{Group: " g-{r} ", Account: account, Role: "/{r}", Provider: "p"}}}
	p, err := s.Add(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if p.RequestBinding+p.Signed+p.Encryption+p.CertificateDates != "" || p.UserNameAttribute != "uid" || !slices.Equal(p.AuthnContexts, []string{"urn:x"}) ||
		p.MetadataPin[0] != strings.Repeat("ab", 32) || p.RoleTemplates[0].Group != "g-{r}" || p.RoleTemplates[0].Role != "{r}" {
		t.Errorf("stored %+v", p.Settings)
	}
}

// TestEncryptionNeedsAReader: an account at AWS that takes nothing but SAML has
// to hold our key; else encryption can't be switched on for it.
func TestEncryptionNeedsAReader(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		account  federation.Account
		refused  bool
		warnings int
	}{
		"local":                      {federation.Account{}, false, 0},
		"at AWS":                     {federation.Account{AWS: true, Name: "lake"}, true, 1},
		"at AWS with our key":        {federation.Account{AWS: true, SAMLDecryption: true}, false, 1},
		"at AWS, by web identity":    {federation.Account{AWS: true, WebIdentity: true}, false, 1},
		"at AWS, but not its list's": {federation.Account{AWS: true, ID: "444455556666"}, false, 0},
	} {
		if tt.account.ID == "" {
			tt.account.ID = account
		}
		accounts := []federation.Account{{ID: account}}
		if tt.account.ID == account {
			accounts = nil
		}
		accounts = append(accounts, tt.account)
		s, err := federation.New(t.Context(), federation.Config{Store: sqlfederation.Store{DB: sqltest.Open(t)}, Accounts: accounts, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		p := entered(t)
		p.Encryption = federation.EncryptionAllowed
		if w := s.Warnings(p); len(w) != tt.warnings {
			t.Errorf("%s: warnings %q", name, w)
		}
		_, err = s.Add(t.Context(), p)
		if (err != nil) != tt.refused || tt.refused && (fault.Of(err).Code != "federation.encryption" || !strings.Contains(fault.Of(err).Mend, "saml_decryption: true")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWarnings: whatever is weaker than need be is said before it is saved.
func TestWarnings(t *testing.T) {
	t.Parallel()
	if w := federation.Warnings(entered(t), []federation.Account{{ID: account, AWS: true}}); len(w) != 0 {
		t.Errorf("without settings: %q", w)
	}
	for want, change := range map[string]func(*federation.IdP){
		"SHA-1": func(p *federation.IdP) { p.AllowSHA1 = true }, "AES-CBC": func(p *federation.IdP) { p.AllowCBC = true },
		"dates":          func(p *federation.IdP) { p.CertificateDates = federation.DatesIgnore },
		"asked for here": func(p *federation.IdP) { p.AllowUnsolicited = true }, "RoleSessionName": func(p *federation.IdP) { p.MapSessionName = true },
		"every domain": func(p *federation.IdP) { p.UserNameDomains = []string{"*"} },
		"template":     func(p *federation.IdP) { p.RoleTemplates = make([]federation.RoleTemplate, 1) },
		"asks for signed requests": func(p *federation.IdP) {
			p.Metadata = []byte(strings.Replace(string(p.Metadata), `WantAuthnRequestsSigned="false"`, `WantAuthnRequestsSigned="true"`, 1))
		},
	} {
		p := entered(t)
		change(&p)
		if w := federation.Warnings(p, []federation.Account{{ID: account, Name: "lake", AWS: true}}); len(w) != 1 || !strings.Contains(w[0], want) {
			t.Errorf("%s: %q", want, w)
		}
	}
}

// ended keeps whose people were ended; it fails when told to.
type ended struct {
	mu  sync.Mutex
	all []identity.IdPID
	err error
}

func (e *ended) EndAll(_ context.Context, id identity.IdPID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, id)
	return e.err
}

// TestUpdate: a change is checked, recorded with what differs, and made once;
// switching off and removing end what people hold, or don't happen.
func TestUpdate(t *testing.T) {
	t.Parallel()
	db, to, end := sqltest.Open(t), &trail{}, &ended{}
	s, err := federation.New(t.Context(), federation.Config{Store: sqlfederation.Store{DB: db}, State: db, Trail: to, Ends: end, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Add(t.Context(), entered(t))
	if err != nil {
		t.Fatal(err)
	}
	stale := p
	p.Metadata, p.Signed, p.Accounts = nil, federation.SignedBoth, []string{"444455556666"}
	changed, err := s.Update(t.Context(), p)
	if err != nil || changed.Revision != 2 || len(changed.Metadata) == 0 || changed.Created != p.Created || changed.Kept.Fetched != p.Kept.Fetched {
		t.Fatalf("%+v, %v", changed, err)
	}
	if d := to.events[1].Detail; d["signed"] != `"both"` || d["accounts"] != "444455556666" || len(d) != 2 {
		t.Errorf("recorded %v", d)
	}
	if _, err := s.Update(t.Context(), stale); fault.Of(err).Code != "federation.changed" {
		t.Errorf("an older one was stored: %v", err)
	}
	bad := changed
	bad.Name = ""
	if _, err := s.Update(t.Context(), bad); fault.KindOf(err) != fault.Invalid {
		t.Errorf("unchecked: %v", err)
	}
	other := forge.NewECDSA(t, time.Now())
	changed.Metadata = devidp.Describe("https://new.example", forge.SSOURL, other.Certificate)
	if changed, err = s.Update(t.Context(), changed); err != nil || changed.EntityID != "https://new.example" {
		t.Errorf("new metadata: %+v, %v", changed.EntityID, err)
	}
	if len(end.all) != 0 {
		t.Error("people were ended by a change")
	}
	end.err = errors.New("the feed is away")
	if _, err := s.SetEnabled(t.Context(), p.ID, false); err == nil {
		t.Error("switched off without its people ended")
	}
	if _, err := s.Speaker(p.ID); err != nil {
		t.Errorf("half switched off: %v", err)
	}
	if err := s.Remove(t.Context(), p.ID); err == nil || len(s.List()) != 1 {
		t.Error("removed without its people ended")
	}
	end.err, end.all = nil, nil
	for range 2 { // again changes nothing
		if got, err := s.SetEnabled(t.Context(), p.ID, false); err != nil || got.Enabled || got.Revision != 4 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if _, err := s.SetEnabled(t.Context(), p.ID, true); err != nil {
		t.Error(err)
	}
	if err := s.Remove(t.Context(), p.ID); err != nil || len(end.all) != 2 {
		t.Errorf("ended %v, %v", end.all, err)
	}
	if got := to.actions(); got != "add change change disable enable remove" {
		t.Errorf("recorded %q", got)
	}
	for _, gone := range []error{errOf(s.Update(t.Context(), p)), errOf(s.SetEnabled(t.Context(), p.ID, true)), errOf(s.Refresh(t.Context(), p.ID)), errOf(s.AcceptPending(t.Context(), p.ID, 0))} {
		if fault.KindOf(gone) != fault.NotFound {
			t.Errorf("of one that is gone: %v", gone)
		}
	}
}

func errOf(_ federation.IdP, err error) error { return err }

// TestSwitches: made at the first start, kept, and seen by another server.
func TestSwitches(t *testing.T) {
	t.Parallel()
	db, to := sqltest.Open(t), &trail{}
	store := sqlfederation.Store{DB: db}
	var servers [2]*federation.Service
	for i := range servers {
		var err error
		if servers[i], err = federation.New(t.Context(), federation.Config{Store: store, Installations: store, State: db, Trail: to, Now: time.Now}); err != nil {
			t.Fatal(err)
		}
	}
	a, err := servers[0].Installation()
	b, berr := servers[1].Installation()
	if err != nil || berr != nil || a != b || len(a.Organisation) != 36 || a.Organisation[14] != '4' || !a.UnifiedLogin {
		t.Fatalf("%+v, %+v, %v, %v", a, b, err, berr)
	}
	urls := federation.IssuerURLs{Workspace: "https://carnet.example.com/oidc", Account: "https://carnet.example.com/oidc/accounts/1"}
	if got := a.Issuer(urls); got != urls.Workspace {
		t.Errorf("unified login on: %s", got)
	}
	if err := servers[0].SetSwitches(t.Context(), federation.Switches{UnifiedLogin: false}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { sw, err := servers[1].Switches(); return err == nil && !sw.UnifiedLogin })
	b, _ = servers[1].Installation()
	if got := b.Issuer(urls); got != urls.Account {
		t.Errorf("unified login off: %s", got)
	}
	if got := to.events[0]; got.Action != "switches.change" || got.Detail["unified_login"] != "false" {
		t.Errorf("recorded %+v", got)
	}
}
