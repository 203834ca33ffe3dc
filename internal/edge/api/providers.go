package api

import (
	"context"
	"encoding/pem"
	"net/http"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/api/ssodoc"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/spkeys"
)

// Providers is what the API asks about identity providers.
type Providers interface {
	List() []federation.IdP
	Get(ctx context.Context, id identity.IdPID) (federation.IdP, error)
	Add(ctx context.Context, idp federation.IdP) (federation.IdP, error)
	Update(ctx context.Context, idp federation.IdP) (federation.IdP, error)
	Remove(ctx context.Context, id identity.IdPID) error
}

// ProviderMetadata is what the API asks about their metadata and settings.
type ProviderMetadata interface {
	State(id identity.IdPID) (federation.MetadataState, error)
	Refresh(ctx context.Context, id identity.IdPID) (federation.IdP, error)
	AcceptPending(ctx context.Context, id identity.IdPID, revision int64) (federation.IdP, error)
	RefusePending(ctx context.Context, id identity.IdPID, revision int64) (federation.IdP, error)
	Warnings(idp federation.IdP) []string
}

// Installation holds what is set for all identity providers at once.
type Installation interface {
	Installation() (federation.Installation, error)
	SetSwitches(ctx context.Context, to federation.Switches) error
}

// SAMLKeys are our own SAML keys.
type SAMLKeys interface {
	List() []spkeys.Key
	Add(ctx context.Context, p spkeys.Purpose) (spkeys.Key, error)
	Promote(ctx context.Context, p spkeys.Purpose) (spkeys.Key, error)
	Remove(ctx context.Context, id string) error
}

// rowMaker makes one row of the table of routes.
type rowMaker func(method, pattern string, access httpd.Access, body int64, h httpd.Handler) httpd.Route

func (a api) ssoRoutes(row rowMaker) []httpd.Route {
	const admin = httpd.Administrator
	return []httpd.Route{
		row(http.MethodGet, "identity-providers", admin, 0, a.providers),
		row(http.MethodPost, "identity-providers", admin, maxMetadata, a.addProvider),
		row(http.MethodGet, "identity-providers/{id}", admin, 0, a.provider),
		row(http.MethodPatch, "identity-providers/{id}", admin, maxMetadata, a.changeProvider),
		row(http.MethodDelete, "identity-providers/{id}", admin, maxSmall, a.removeProvider),
		row(http.MethodPost, "identity-providers/{id}/refresh", admin, maxSmall, a.refreshProvider),
		row(http.MethodPost, "identity-providers/{id}/accept", admin, maxSmall, a.onPending(ProviderMetadata.AcceptPending)),
		row(http.MethodPost, "identity-providers/{id}/refuse", admin, maxSmall, a.onPending(ProviderMetadata.RefusePending)),
		row(http.MethodGet, "saml-keys", admin, 0, a.samlKeys),
		row(http.MethodPost, "saml-keys", admin, maxSmall, a.addSAMLKey),
		row(http.MethodPost, "saml-keys/promote", admin, maxSmall, a.promoteSAMLKey),
		row(http.MethodDelete, "saml-keys/{id}", admin, maxSmall, a.removeSAMLKey),
		row(http.MethodGet, "single-sign-on", admin, 0, a.singleSignOn),
		row(http.MethodPatch, "single-sign-on", admin, maxSmall, a.changeSingleSignOn),
	}
}

func (a api) providers(w http.ResponseWriter, _ *http.Request) error {
	out := ssodoc.IdentityProviders{Providers: []ssodoc.IdentityProvider{}}
	for _, p := range a.Providers.List() {
		d, err := a.providerDocument(p)
		if err != nil {
			return err
		}
		out.Providers = append(out.Providers, d)
	}
	return answer(w, http.StatusOK, out)
}

func (a api) provider(w http.ResponseWriter, r *http.Request) error {
	p, err := a.Providers.Get(r.Context(), identity.IdPID(r.PathValue("id")))
	return a.answerProvider(w, http.StatusOK, p, err)
}

// answerProvider answers with p, or with what kept it from being had.
func (a api) answerProvider(w http.ResponseWriter, status int, p federation.IdP, err error) error {
	if err != nil {
		return err
	}
	d, err := a.providerDocument(p)
	if err != nil {
		return err
	}
	return answer(w, status, d)
}

func (a api) addProvider(w http.ResponseWriter, r *http.Request) error {
	var in ssodoc.NewIdentityProvider
	if err := read(r, &in); err != nil {
		return err
	}
	p := federation.IdP{
		Name: in.Name, Enabled: in.Enabled == nil || *in.Enabled,
		Accounts: in.Accounts, RolePatterns: in.RolePatterns, UserNameDomains: in.UserNameDomains,
		AdministratorGroups: in.AdministratorGroups, GroupsAttribute: in.GroupsAttribute, AllowAutoCreate: in.AllowAutoCreate,
	}
	if in.Settings != nil {
		p.Settings = settingsOf(*in.Settings)
	}
	if in.OIDC != nil {
		p.Protocol, p.OIDC = federation.OIDC, openIDOf(*in.OIDC)
	}
	metadata, err := metadataOf(in.Metadata, in.MetadataFields)
	if err != nil {
		return err
	}
	p.Metadata = metadata
	p, err = a.Providers.Add(r.Context(), p)
	return a.answerProvider(w, http.StatusCreated, p, err)
}

// metadataOf gives the document, or the one that fields say; none where it is
// to come from its address.
func metadataOf(document string, fields *ssodoc.MetadataFields) ([]byte, error) {
	if fields == nil {
		return []byte(document), nil
	}
	if document != "" {
		return nil, fault.Coded(fault.Invalid, "metadata.twice", "The request has metadata and its fields").WithMend("give one of \"metadata\" and \"metadata_fields\"")
	}
	return federation.Fields(*fields).Metadata()
}

func (a api) changeProvider(w http.ResponseWriter, r *http.Request) error {
	var in ssodoc.IdentityProviderChange
	if err := read(r, &in); err != nil {
		return err
	}
	p, err := a.Providers.Get(r.Context(), identity.IdPID(r.PathValue("id")))
	if err != nil {
		return err
	}
	if in.Revision != 0 {
		p.Revision = int64(in.Revision)
	}
	given := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	if p.Metadata, err = metadataOf(given(in.Metadata), in.MetadataFields); err != nil {
		return err
	}
	set(&p.Name, in.Name)
	set(&p.Enabled, in.Enabled)
	set(&p.GroupsAttribute, in.GroupsAttribute)
	set(&p.AllowAutoCreate, in.AllowAutoCreate)
	for _, l := range []struct {
		to *[]string
		in []string
	}{
		{&p.Accounts, in.Accounts}, {&p.RolePatterns, in.RolePatterns},
		{&p.UserNameDomains, in.UserNameDomains}, {&p.AdministratorGroups, in.AdministratorGroups},
	} {
		if l.in != nil {
			*l.to = l.in
		}
	}
	if in.Settings != nil {
		p.Settings = settingsOf(*in.Settings)
	}
	if in.OIDC != nil {
		p.OIDC = openIDOf(*in.OIDC)
	}
	p, err = a.Providers.Update(r.Context(), p)
	return a.answerProvider(w, http.StatusOK, p, err)
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (a api) removeProvider(w http.ResponseWriter, r *http.Request) error {
	if err := a.Providers.Remove(r.Context(), identity.IdPID(r.PathValue("id"))); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a api) refreshProvider(w http.ResponseWriter, r *http.Request) error {
	var in ssodoc.Seen
	if err := read(r, &in); err != nil {
		return err
	}
	p, err := a.Metadata.Refresh(r.Context(), identity.IdPID(r.PathValue("id")))
	return a.answerProvider(w, http.StatusOK, p, err)
}

func (a api) onPending(act func(ProviderMetadata, context.Context, identity.IdPID, int64) (federation.IdP, error)) httpd.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var in ssodoc.Seen
		if err := read(r, &in); err != nil {
			return err
		}
		p, err := act(a.Metadata, r.Context(), identity.IdPID(r.PathValue("id")), int64(in.Revision))
		return a.answerProvider(w, http.StatusOK, p, err)
	}
}

func (a api) samlKeys(w http.ResponseWriter, _ *http.Request) error {
	out := ssodoc.SAMLKeys{Keys: []ssodoc.SAMLKey{}}
	for _, k := range a.Keys.List() {
		out.Keys = append(out.Keys, KeyDocument(k))
	}
	return answer(w, http.StatusOK, out)
}

func (a api) addSAMLKey(w http.ResponseWriter, r *http.Request) error {
	return a.onPurpose(w, r, http.StatusCreated, a.Keys.Add)
}

func (a api) promoteSAMLKey(w http.ResponseWriter, r *http.Request) error {
	return a.onPurpose(w, r, http.StatusOK, a.Keys.Promote)
}

func (a api) onPurpose(w http.ResponseWriter, r *http.Request, status int, act func(context.Context, spkeys.Purpose) (spkeys.Key, error)) error {
	var in ssodoc.SAMLKeyRequest
	if err := read(r, &in); err != nil {
		return err
	}
	k, err := act(r.Context(), spkeys.Purpose(in.Purpose))
	if err != nil {
		return err
	}
	return answer(w, status, KeyDocument(k))
}

func (a api) removeSAMLKey(w http.ResponseWriter, r *http.Request) error {
	if err := a.Keys.Remove(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a api) singleSignOn(w http.ResponseWriter, _ *http.Request) error {
	i, err := a.Installation.Installation()
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, SingleSignOnDocument(i, a.registered(), a.Web, a.SAMLURL))
}

// SingleSignOnDocument writes what holds for all identity providers as the API
// shows it. issuer is the one that mints for AWS, base the address of pages and
// API.
func SingleSignOnDocument(i federation.Installation, issuer, base, samlURL string) ssodoc.SingleSignOn {
	return ssodoc.SingleSignOn{SAMLURL: samlURL, SAMLMetadataURL: base + "/saml/metadata",
		OIDCRedirectURL: base + "/sign-in/oidc/callback", OIDCLogoutURL: base + "/sign-in/oidc/logout", SignedOutURL: base + "/signed-out",
		UnifiedLogin: i.UnifiedLogin, RoleSync: i.RoleSync, Organisation: i.Organisation, Issuer: issuer}
}

func (a api) changeSingleSignOn(w http.ResponseWriter, r *http.Request) error {
	var in ssodoc.SingleSignOnChange
	if err := read(r, &in); err != nil {
		return err
	}
	i, err := a.Installation.Installation()
	if err != nil {
		return err
	}
	before := i.Switches
	if in.UnifiedLogin != nil {
		i.UnifiedLogin = *in.UnifiedLogin
	}
	if in.RoleSync != nil {
		i.RoleSync = *in.RoleSync
	}
	if i.Switches != before {
		if err := a.Installation.SetSwitches(r.Context(), i.Switches); err != nil {
			return err
		}
	}
	return a.singleSignOn(w, r)
}

// KeyDocument writes one of our keys as the API shows it.
func KeyDocument(k spkeys.Key) ssodoc.SAMLKey {
	return ssodoc.SAMLKey{ID: k.ID, Purpose: string(k.Purpose), State: string(k.State), SHA256: k.Fingerprint(),
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Certificate.Raw})),
		NotAfter:    seconds(k.Certificate.NotAfter), Created: seconds(k.Created), Changed: seconds(k.Changed)}
}

func (a api) providerDocument(p federation.IdP) (ssodoc.IdentityProvider, error) {
	st, err := a.Metadata.State(p.ID)
	if err != nil {
		return ssodoc.IdentityProvider{}, err
	}
	return ProviderDocument(p, st, a.Metadata.Warnings(p)), nil
}

// ProviderDocument writes an identity provider as the API shows it.
func ProviderDocument(p federation.IdP, st federation.MetadataState, warnings []string) ssodoc.IdentityProvider {
	return ssodoc.IdentityProvider{
		ID: string(p.ID), Name: p.Name, Protocol: p.Protocol.String(), OIDC: openIDDocument(p), EntityID: p.EntityID, Enabled: p.Enabled,
		Accounts: list(p.Accounts), RolePatterns: list(p.RolePatterns), UserNameDomains: list(p.UserNameDomains),
		AdministratorGroups: list(p.AdministratorGroups), GroupsAttribute: p.GroupsAttribute, AllowAutoCreate: p.AllowAutoCreate,
		Settings: settingsDocument(p.Settings), Metadata: metadataDocument(st), Warnings: list(warnings),
		Created: seconds(p.Created), Revision: int(p.Revision),
	}
}

func metadataDocument(st federation.MetadataState) ssodoc.Metadata {
	out := ssodoc.Metadata{SignOnURL: st.SignOnURL, LogoutURL: st.LogoutURL, Fetched: seconds(st.Fetched), Tried: moment(st.Tried), Error: st.Error,
		ValidUntil: moment(st.ValidUntil), ExpiresSoon: st.ExpiresSoon, Certificates: certificateDocuments(st.Certificates), Remarks: list(st.Remarks)}
	if p := st.Pending; p != nil {
		out.Pending = &ssodoc.PendingMetadata{Since: seconds(p.Since), Why: p.Why, EntityID: p.EntityID, SignOnURL: p.SignOnURL,
			Certificates: certificateDocuments(p.Certificates)}
	}
	return out
}

func certificateDocuments(all []federation.Certificate) []ssodoc.Certificate {
	out := []ssodoc.Certificate{}
	for _, c := range all {
		out = append(out, ssodoc.Certificate{Subject: c.Subject, SHA256: c.SHA256, NotBefore: seconds(c.NotBefore), NotAfter: seconds(c.NotAfter),
			ExpiresSoon: c.ExpiresSoon, Expired: c.Expired, New: c.New})
	}
	return out
}

// moment writes a zero time as null.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = seconds(t)
	return &t
}

// settingsDocument writes out the defaults, so that nobody has to know them.
func settingsDocument(s federation.Settings) ssodoc.Settings {
	s = s.WithDefaults()
	out := ssodoc.Settings{
		RequestBinding: s.RequestBinding, SignRequests: s.SignRequests, ForceAuthn: s.ForceAuthn, AuthnContexts: list(s.AuthnContexts),
		AllowUnsolicited: s.AllowUnsolicited, Signed: s.Signed, Encryption: s.Encryption, AllowCBC: s.AllowCBC, AllowSHA1: s.AllowSHA1,
		CertificateDates: s.CertificateDates, MapSessionName: s.MapSessionName, UserNameAttribute: s.UserNameAttribute,
		DisplayNameAttribute: s.DisplayNameAttribute, MailAttribute: s.MailAttribute, RoleTemplates: []ssodoc.RoleTemplate{},
		MetadataURL: s.MetadataURL, MetadataPin: list(s.MetadataPin),
	}
	for _, t := range s.RoleTemplates {
		out.RoleTemplates = append(out.RoleTemplates, ssodoc.RoleTemplate(t))
	}
	return out
}

func settingsOf(s ssodoc.Settings) federation.Settings {
	out := federation.Settings{
		RequestBinding: s.RequestBinding, SignRequests: s.SignRequests, ForceAuthn: s.ForceAuthn, AuthnContexts: s.AuthnContexts,
		AllowUnsolicited: s.AllowUnsolicited, Signed: s.Signed, Encryption: s.Encryption, AllowCBC: s.AllowCBC, AllowSHA1: s.AllowSHA1,
		CertificateDates: s.CertificateDates, MapSessionName: s.MapSessionName, UserNameAttribute: s.UserNameAttribute,
		DisplayNameAttribute: s.DisplayNameAttribute, MailAttribute: s.MailAttribute, MetadataURL: s.MetadataURL, MetadataPin: s.MetadataPin,
	}
	for _, t := range s.RoleTemplates {
		out.RoleTemplates = append(out.RoleTemplates, federation.RoleTemplate(t))
	}
	return out
}
