package federation_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/edge/egress"
	"carnet.dev/carnet/internal/edge/sql"
	sqlfederation "carnet.dev/carnet/internal/edge/sql/federation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/federation"
)

// place is where an identity provider shows its metadata.
type place struct {
	*httptest.Server
	mu       sync.Mutex
	document []byte
	asked    int
}

func newPlace(t *testing.T, document []byte) *place {
	t.Helper()
	p := &place{document: document}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked++
		if p.document == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(p.document)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *place) show(document []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.document = document
}

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

func (t *trail) actions() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for _, e := range t.events {
		all = append(all, strings.TrimPrefix(e.Action, "identity-provider."))
	}
	return strings.Join(all, " ")
}

// watched is a service whose clock, trail and log a test holds.
type watched struct {
	*federation.Service
	db    *sql.DB
	trail *trail
	log   *bytes.Buffer
	now   time.Time
}

func watch(t *testing.T) *watched {
	t.Helper()
	w := &watched{db: sqltest.Open(t), trail: &trail{}, log: &bytes.Buffer{}, now: time.Now()}
	allow, err := egress.ParseAllow([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	w.Service, err = federation.New(t.Context(), federation.Config{
		Store: sqlfederation.Store{DB: w.db}, Installations: sqlfederation.Store{DB: w.db}, Fetch: egress.New(egress.Config{Allow: allow}),
		State: w.db, Trail: w.trail, Now: func() time.Time { return w.now }, Logger: slog.New(slog.NewTextHandler(w.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// byURL enters an identity provider whose metadata stands at a place.
func (w *watched) byURL(t *testing.T, at *place, change ...func(*federation.IdP)) federation.IdP {
	t.Helper()
	p := federation.IdP{Name: "Example", Enabled: true, Accounts: []string{account}, RolePatterns: []string{"*"}, UserNameDomains: []string{"*"},
		Settings: federation.Settings{MetadataURL: at.URL}}
	for _, f := range change {
		f(&p)
	}
	p, err := w.Add(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *watched) state(t *testing.T, p federation.IdP) federation.MetadataState {
	t.Helper()
	st, err := w.State(p.ID)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// withLogout adds a place for logout to a metadata document.
func withLogout(document []byte, at string) []byte {
	const end = "</md:IDPSSODescriptor>"
	slo := `<md:SingleLogoutService xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" Binding="` + saml.BindingRedirect + `" Location="` + at + `"/>`
	return bytes.Replace(document, []byte(end), []byte(slo+end), 1)
}

// TestRefreshKeepsThePin: metadata with a certificate, identity provider or
// host that no administrator has agreed to is not used until one accepts it.
func TestRefreshKeepsThePin(t *testing.T) {
	t.Parallel()
	one, two := forge.NewECDSA(t, time.Now()), forge.NewECDSA(t, time.Now())
	document := func(entityID, sso string, c ...*x509.Certificate) []byte { return devidp.Describe(entityID, sso, c...) }
	for name, tt := range map[string]struct {
		change  func(*federation.IdP)
		next    []byte
		pending string // why; empty: it is used
	}{
		"the same":            {nil, document(forge.EntityID, forge.SSOURL, one.Certificate), ""},
		"another path":        {nil, document(forge.EntityID, forge.SSOURL+"/new", one.Certificate), ""},
		"a certificate more":  {nil, document(forge.EntityID, forge.SSOURL, one.Certificate, two.Certificate), "a signing certificate that is not known"},
		"another certificate": {nil, document(forge.EntityID, forge.SSOURL, two.Certificate), "a signing certificate that is not known"},
		"another entity id":   {nil, document("https://evil.example", forge.SSOURL, one.Certificate), "of another identity provider"},
		"a logout host behind a certificate": {nil, withLogout(document(forge.EntityID, forge.SSOURL, one.Certificate, two.Certificate), "https://evil.example/slo"),
			"; it sends people to a place at another host, \"https://evil.example\""},
		"another logout host":  {nil, withLogout(document(forge.EntityID, forge.SSOURL, one.Certificate), "https://evil.example/slo"), "at another host"},
		"another scheme":       {nil, withLogout(document(forge.EntityID, forge.SSOURL, one.Certificate), "https://localhost:8482/slo"), "at another host"},
		"another host":         {nil, document(forge.EntityID, "https://evil.example/sso", one.Certificate), "at another host"},
		"a pinned certificate": {func(p *federation.IdP) { p.MetadataPin = []string{federation.Fingerprint(two.Certificate)} }, document(forge.EntityID, forge.SSOURL, two.Certificate), ""},
		"a pin of something else": {func(p *federation.IdP) { p.MetadataPin = []string{strings.Repeat("ab", 32)} },
			document(forge.EntityID, forge.SSOURL, two.Certificate), "a signing certificate that is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := watch(t)
			first := document(forge.EntityID, forge.SSOURL, one.Certificate)
			at := newPlace(t, first)
			change := tt.change
			if change == nil {
				change = func(*federation.IdP) {}
			}
			p := w.byURL(t, at, change)
			at.show(tt.next)
			if _, err := w.Refresh(t.Context(), p.ID); err != nil {
				t.Fatal(err)
			}
			got, err := w.Get(t.Context(), p.ID)
			if err != nil {
				t.Fatal(err)
			}
			st := w.state(t, p)
			if tt.pending == "" {
				if !bytes.Equal(got.Metadata, tt.next) || st.Pending != nil || got.Kept.Pending != nil {
					t.Errorf("not used: pending %+v", st.Pending)
				}
				return
			}
			if !bytes.Equal(got.Metadata, first) || st.Pending == nil || !strings.Contains(st.Pending.Why, tt.pending) || len(st.Remarks) == 0 {
				t.Fatalf("used, or pending for another reason: %+v", st)
			}
			if sp, err := w.Speaker(p.ID); err != nil || !sp.SAML.Certificates[0].Equal(one.Certificate) || len(sp.SAML.Certificates) != 1 || sp.IdP.EntityID != forge.EntityID {
				t.Errorf("what is pending counts already: %+v, %v", sp.IdP.EntityID, err)
			}
			accepted, err := w.AcceptPending(t.Context(), p.ID, got.Revision)
			if err != nil || !bytes.Equal(accepted.Metadata, tt.next) || accepted.Kept.Pending != nil {
				t.Errorf("accepted: %v", err)
			}
			if _, err := w.AcceptPending(t.Context(), p.ID, 0); fault.Of(err).Code != "federation.nothing-pending" {
				t.Errorf("accepted twice: %v", err)
			}
			if a := w.trail.actions(); a != "add metadata-pending metadata-accepted" {
				t.Errorf("recorded %q", a)
			}
		})
	}
}

// TestAcceptWhatWasSeen: the pending metadata that an administrator looked at,
// and none that came since.
func TestAcceptWhatWasSeen(t *testing.T) {
	t.Parallel()
	one, two, three := forge.NewECDSA(t, time.Now()), forge.NewECDSA(t, time.Now()), forge.NewECDSA(t, time.Now())
	w, at := watch(t), newPlace(t, one.Metadata())
	p := w.byURL(t, at)
	at.show(two.Metadata())
	seen, err := w.Refresh(t.Context(), p.ID)
	if err != nil {
		t.Fatal(err)
	}
	at.show(three.Metadata())
	if _, err := w.Refresh(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.AcceptPending(t.Context(), p.ID, seen.Revision); fault.Of(err).Code != "federation.changed" {
		t.Errorf("what was never seen was accepted: %v", err)
	}
	at.show(one.Metadata()) // it was a mistake
	if got, err := w.Refresh(t.Context(), p.ID); err != nil || got.Kept.Pending != nil {
		t.Errorf("what is gone is pending still: %v", err)
	}
	if a := w.trail.actions(); a != "add metadata-pending metadata-pending metadata-withdrawn" {
		t.Errorf("recorded %q", a)
	}
}

// TestRefreshFails: what is known serves on, the failure is kept, and it is
// tried again sooner.
func TestRefreshFails(t *testing.T) {
	t.Parallel()
	idp := forge.NewECDSA(t, time.Now())
	for name, bad := range map[string][]byte{
		"away": nil, "a page": []byte("<html><body>Welcome</body></html>"), "no certificate": devidp.Describe(forge.EntityID, forge.SSOURL),
		"sign-on by http": devidp.Describe(forge.EntityID, "http://idp.example.com/sso", idp.Certificate), "too large": bytes.Repeat([]byte(" "), 2<<20),
		"over long ago": bytes.Replace(idp.Metadata(), []byte("entityID="), []byte(`validUntil="2020-01-01T00:00:00Z" entityID=`), 1),
		"with a DTD":    append([]byte(`<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>`), idp.Metadata()...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, at := watch(t), newPlace(t, idp.Metadata())
			p := w.byURL(t, at)
			at.show(bad)
			w.now = w.now.Add(7 * time.Hour)
			w.Tend(t.Context(), 0.5)
			st := w.state(t, p)
			if st.Error == "" || len(st.Remarks) == 0 || !st.Tried.Equal(w.now.UTC().Truncate(time.Millisecond)) || st.Pending != nil {
				t.Errorf("state %+v", st)
			}
			if sp, err := w.Speaker(p.ID); err != nil || len(sp.SAML.Certificates) != 1 {
				t.Errorf("what is known serves no more: %v", err)
			}
			if !strings.Contains(w.log.String(), "can't be refreshed") {
				t.Errorf("log %q", w.log)
			}
			asked := at.asked
			w.Tend(t.Context(), 0.5)
			w.now = w.now.Add(5 * time.Minute)
			w.Tend(t.Context(), 0.5)
			if at.asked != asked {
				t.Error("tried again at once")
			}
			at.show(idp.Metadata())
			w.now = w.now.Add(10 * time.Minute)
			w.Tend(t.Context(), 0.5)
			if st := w.state(t, p); st.Error != "" || at.asked != asked+1 {
				t.Errorf("after it came back: %+v", st)
			}
		})
	}
	w, at := watch(t), newPlace(t, nil)
	_, err := w.Add(t.Context(), federation.IdP{Name: "x", Accounts: []string{account}, RolePatterns: []string{"*"}, UserNameDomains: []string{"*"},
		Settings: federation.Settings{MetadataURL: at.URL}})
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("entered from an address that is away: %v", err)
	}
	p := w.byURL(t, newPlace(t, idp.Metadata()))
	p.MetadataURL, p.Name = "", "Other"
	if p, err = w.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Refresh(t.Context(), p.ID); fault.KindOf(err) != fault.Invalid {
		t.Errorf("without an address: %v", err)
	}
}

// TestWhenMetadataIsRefreshed: every six hours, or as its document asks within
// bounds; none that has no address.
func TestWhenMetadataIsRefreshed(t *testing.T) {
	t.Parallel()
	idp := forge.NewECDSA(t, time.Now())
	with := func(attribute string) []byte {
		return bytes.Replace(idp.Metadata(), []byte("entityID="), []byte(attribute+` entityID=`), 1)
	}
	for name, tt := range map[string]struct {
		document     []byte
		early, after time.Duration
	}{
		"by default":             {idp.Metadata(), 5 * time.Hour, 7 * time.Hour},
		"cacheDuration 2 h":      {with(`cacheDuration="PT2H"`), 100 * time.Minute, 140 * time.Minute},
		"cacheDuration 1 s":      {with(`cacheDuration="PT1S"`), 50 * time.Minute, 70 * time.Minute},
		"cacheDuration 1 month":  {with(`cacheDuration="P30D"`), 21 * time.Hour, 27 * time.Hour},
		"valid for 4 hours more": {with(fmt.Sprintf(`validUntil="%s"`, time.Now().Add(4*time.Hour).UTC().Format(time.RFC3339))), 100 * time.Minute, 140 * time.Minute},
	} {
		for _, jitter := range []float64{0, 1} {
			w, at := watch(t), newPlace(t, tt.document)
			w.byURL(t, at)
			start := w.now
			w.now = start.Add(tt.early)
			w.Tend(t.Context(), jitter)
			if at.asked != 1 {
				t.Errorf("%s: fetched again after %v", name, tt.early)
			}
			w.now = start.Add(tt.after)
			w.Tend(t.Context(), jitter)
			if at.asked != 2 {
				t.Errorf("%s: not fetched again after %v", name, tt.after)
			}
			if a := w.trail.actions(); strings.Contains(a, "refreshed") {
				t.Errorf("%s: recorded %q though nothing changed", name, a)
			}
		}
	}
	w := watch(t)
	p, err := w.Add(t.Context(), entered(t))
	if err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(1000 * time.Hour)
	w.Tend(t.Context(), 0)
	if st := w.state(t, p); !st.Tried.IsZero() {
		t.Errorf("tried without an address: %+v", st)
	}
}

// lasting makes a certificate that is valid for some days.
func lasting(t *testing.T, days int) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, err := devidp.SelfSign(key, "idp", time.Now().Add(-time.Hour), time.Now().AddDate(0, 0, days))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestWarnsInTime: what ends within 30 days is said once, in the log and the
// trail, and once more when it has ended.
func TestWarnsInTime(t *testing.T) {
	t.Parallel()
	long, short := lasting(t, 900), lasting(t, 90)
	w := watch(t)
	start := w.now
	p := entered(t)
	p.Metadata = devidp.Describe(forge.EntityID, forge.SSOURL, long, short)
	p, err := w.Add(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		after   time.Duration
		said    int // events in all
		remarks int
		soon    bool
	}{
		{0, 0, 0, false}, {59 * 24 * time.Hour, 0, 0, false}, {61 * 24 * time.Hour, 1, 1, false}, {62 * 24 * time.Hour, 1, 1, false},
		{91 * 24 * time.Hour, 2, 1, false}, {92 * 24 * time.Hour, 2, 1, false}, {871 * 24 * time.Hour, 3, 2, true},
	} {
		w.now = start.Add(tt.after)
		w.Tend(t.Context(), 0)
		if said := strings.Count(w.trail.actions(), "expires"); said != tt.said || strings.Count(w.log.String(), "metadata ends") != tt.said {
			t.Errorf("after %v: %d events, log %s", tt.after, said, w.log)
		}
		st := w.state(t, p)
		if len(st.Remarks) != tt.remarks || st.ExpiresSoon != tt.soon || len(st.Certificates) != 2 {
			t.Errorf("after %v: %+v", tt.after, st)
		}
	}
	document := bytes.Replace(devidp.Describe("https://other", forge.SSOURL, long), []byte("entityID="),
		[]byte(fmt.Sprintf(`validUntil="%s" entityID=`, start.Add(40*24*time.Hour).UTC().Format(time.RFC3339))), 1)
	w.now = start
	other, err := w.Add(t.Context(), federation.IdP{Name: "Other", Metadata: document, Accounts: []string{account}, RolePatterns: []string{"*"}, UserNameDomains: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	w.now = start.Add(11 * 24 * time.Hour)
	if st := w.state(t, other); !st.ExpiresSoon || len(st.Remarks) != 1 || !strings.HasPrefix(st.Remarks[0], "The metadata ends on") {
		t.Errorf("document: %+v", st)
	}
}

// TestFieldsByHand: what an administrator copies becomes metadata; what is
// missing or can't be used is said.
func TestFieldsByHand(t *testing.T) {
	t.Parallel()
	idp := forge.NewECDSA(t, time.Now())
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: idp.Certificate.Raw}))
	whole := federation.Fields{SignOnURL: " https://idp.example.com/sso ", EntityID: "https://idp.example.com", Certificates: certificate, LogoutURL: "https://idp.example.com/slo"}
	document, err := whole.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	w := watch(t)
	p, err := w.Add(t.Context(), federation.IdP{Name: "By hand", Metadata: document, Accounts: []string{account}, RolePatterns: []string{"*"}, UserNameDomains: []string{"*"}})
	if err != nil || p.EntityID != whole.EntityID {
		t.Fatalf("%+v, %v", p, err)
	}
	if st := w.state(t, p); st.SignOnURL != "https://idp.example.com/sso" || st.LogoutURL != whole.LogoutURL || st.Certificates[0].SHA256 != federation.Fingerprint(idp.Certificate) {
		t.Errorf("state %+v", st)
	}
	for want, change := range map[string]func(*federation.Fields){
		"sign-on URL": func(f *federation.Fields) { f.SignOnURL = " " }, "entity id": func(f *federation.Fields) { f.EntityID = "" },
		"X.509 certificate": func(f *federation.Fields) { f.Certificates = "" }, "ertificate": func(f *federation.Fields) { f.Certificates = "MIIC" },
		"": func(f *federation.Fields) { f.SignOnURL = "javascript:alert(1)" },
	} {
		f := whole
		change(&f)
		if _, err := f.Metadata(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
