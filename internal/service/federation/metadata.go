package federation

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/saml"
)

// Fetcher gets what stands at a configured address, by the guarded client.
type Fetcher interface {
	Get(ctx context.Context, url string) ([]byte, error)
}

// Fields are what an administrator enters by hand where the identity provider
// gives no metadata.
type Fields struct {
	SignOnURL string
	EntityID  string
	// Certificates are one or more in PEM, or one as bare base64.
	Certificates string
	LogoutURL    string // empty: no single logout
}

// Metadata gives the metadata document that says the same. Faults: Invalid.
func (f Fields) Metadata() ([]byte, error) {
	for _, need := range []struct{ what, value string }{
		{"sign-on URL", f.SignOnURL}, {"entity id", f.EntityID}, {"X.509 certificate", f.Certificates},
	} {
		if strings.TrimSpace(need.value) == "" {
			return nil, fault.New(fault.Invalid, "the "+need.what+" is missing").
				WithMend("copy sign-on URL, entity id and X.509 certificate from the identity provider, or enter its metadata")
		}
	}
	certificates, err := saml.ParseCertificates([]byte(f.Certificates))
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the X.509 certificate can't be read").WithCode(saml.CheckMetadata).
			WithMend("copy it whole, from BEGIN CERTIFICATE to END CERTIFICATE; it has to be RSA of 2048 bits or more, or ECDSA")
	}
	return saml.BuildMetadata(strings.TrimSpace(f.EntityID), strings.TrimSpace(f.SignOnURL), strings.TrimSpace(f.LogoutURL), certificates)
}

// parse reads metadata. entityID chooses where it describes several identity
// providers; else the only one counts, whatever it calls itself.
func parse(metadata []byte, entityID string) (*saml.Metadata, error) {
	if entityID != "" {
		if m, err := saml.ParseMetadataFor(metadata, entityID); err == nil {
			return m, nil
		}
	}
	return saml.ParseMetadata(metadata)
}

// fetch reads metadata from its address.
func (s *Service) fetch(ctx context.Context, at string) ([]byte, error) {
	if s.fetcher == nil {
		return nil, fault.New(fault.Unsupported, "metadata can't be fetched here").WithMend("enter the metadata itself")
	}
	return s.fetcher.Get(ctx, at)
}

// Soon is how long before its end a certificate or a document is warned of.
const Soon = 30 * 24 * time.Hour

// Certificate is one signing certificate of an identity provider.
type Certificate struct {
	Subject   string
	SHA256    string // hex
	NotBefore time.Time
	NotAfter  time.Time
	// ExpiresSoon holds from 30 days before its end on, Expired after it.
	ExpiresSoon bool
	Expired     bool
	// New: not in use yet. It stands in pending metadata only.
	New bool
}

// MetadataState is what is known of an identity provider's metadata.
type MetadataState struct {
	URL          string // empty: it is not refreshed
	Fetched      time.Time
	Tried        time.Time // zero: never refreshed
	Error        string    // why the last refresh failed; empty: it did not
	SignOnURL    string
	LogoutURL    string    // empty: no single logout
	ValidUntil   time.Time // zero: not stated
	Certificates []Certificate
	// ExpiresSoon holds when the document or every certificate of it ends
	// within 30 days, or has ended.
	ExpiresSoon bool
	// Remarks say in plain words what needs an administrator; may be empty.
	Remarks []string
	// Pending waits for an administrator; nil: nothing does.
	Pending *PendingMetadata
}

// PendingMetadata is refreshed metadata that is not used yet.
type PendingMetadata struct {
	Since        time.Time
	Why          string
	EntityID     string
	SignOnURL    string
	Certificates []Certificate
}

// State gives what is known of an identity provider's metadata; next to nothing
// for an OpenID provider, which has none. Errors: NotFound, Unavailable.
func (s *Service) State(id identity.IdPID) (MetadataState, error) {
	sp, err := s.find(id)
	if err != nil {
		return MetadataState{}, err
	}
	return sp.metadataState(s.now()), nil
}

func (sp *Speaker) metadataState(now time.Time) MetadataState {
	p, m := sp.IdP, sp.SAML
	if m == nil {
		return MetadataState{Fetched: p.Created}
	}
	st := MetadataState{URL: p.MetadataURL, Fetched: p.Kept.Fetched, Tried: p.Kept.Tried, Error: p.Kept.Error, ValidUntil: m.ValidUntil,
		SignOnURL: signOn(m, p.RequestBinding), Certificates: certificates(m, nil, now)}
	if st.Fetched.IsZero() {
		st.Fetched = p.Created // entered by a release that kept no times
	}
	st.LogoutURL, _ = m.SLOLocation(saml.BindingRedirect)
	if st.LogoutURL == "" {
		st.LogoutURL, _ = m.SLOLocation(saml.BindingPOST)
	}
	endings := sp.endings(now)
	for _, e := range endings {
		st.Remarks = append(st.Remarks, e.text)
		st.ExpiresSoon = st.ExpiresSoon || e.document
	}
	st.ExpiresSoon = st.ExpiresSoon || !slices.ContainsFunc(st.Certificates, func(c Certificate) bool { return !c.ExpiresSoon })
	if p.Kept.Error != "" {
		st.Remarks = append(st.Remarks, "The metadata could not be refreshed: "+p.Kept.Error)
	}
	if len(p.Kept.Pending) == 0 {
		return st
	}
	st.Pending = &PendingMetadata{Since: p.Kept.PendingSince, Why: p.Kept.Why}
	if next, err := parse(p.Kept.Pending, p.EntityID); err == nil { // it was read before it was kept
		st.Pending.EntityID, st.Pending.SignOnURL = next.EntityID, signOn(next, p.RequestBinding)
		st.Pending.Certificates = certificates(next, m, now)
	}
	st.Remarks = append(st.Remarks, "Refreshed metadata waits for an administrator: "+p.Kept.Why)
	return st
}

func signOn(m *saml.Metadata, requestBinding string) string {
	binding := saml.BindingRedirect
	if requestBinding == BindingPost {
		binding = saml.BindingPOST
	}
	place, _ := m.SSOLocation(binding)
	return place
}

// certificates lists those of m; what known has not is new.
func certificates(m, known *saml.Metadata, now time.Time) []Certificate {
	var out []Certificate
	for _, c := range m.Certificates {
		out = append(out, Certificate{Subject: clip(c.Subject.String()), SHA256: Fingerprint(c), NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(),
			ExpiresSoon: now.After(c.NotAfter.Add(-Soon)), Expired: now.After(c.NotAfter),
			New: known != nil && !slices.ContainsFunc(known.Certificates, c.Equal)})
	}
	return out
}

// ending is something of the metadata that ends soon, or has ended.
type ending struct {
	key      string // names it once
	text     string
	document bool // the document itself, not one certificate
	at       time.Time
}

// endings lists what an administrator has to know in time. A document that is
// refreshed by itself ends soon as a matter of course: only its failing counts.
func (sp *Speaker) endings(now time.Time) []ending {
	var out []ending
	if sp.SAML == nil {
		return nil
	}
	say := func(what string, at time.Time) string {
		if now.After(at) {
			return what + " ended on " + day(at) + "."
		}
		return what + " ends on " + day(at) + "."
	}
	for _, c := range certificates(sp.SAML, nil, now) {
		if c.ExpiresSoon {
			out = append(out, ending{key: fmt.Sprintf("certificate:%s:%v", c.SHA256, c.Expired), at: c.NotAfter,
				text: say("The signing certificate "+c.SHA256[:16]+"… of "+c.Subject, c.NotAfter)})
		}
	}
	until := sp.SAML.ValidUntil
	alone := sp.IdP.MetadataURL != "" && sp.IdP.Kept.Failed == 0
	if !until.IsZero() && now.After(until.Add(-Soon)) && (!alone || now.After(until)) {
		out = append(out, ending{key: fmt.Sprintf("document:%d:%v", until.Unix(), now.After(until)), at: until, document: true,
			text: say("The metadata", until)})
	}
	return out
}

func day(t time.Time) string { return t.UTC().Format("2 January 2006") }

// judge says what of refreshed metadata is beyond what an administrator has
// agreed to, all of it: one thing must not hide another. Empty: it may be used.
func (sp *Speaker) judge(next *saml.Metadata) string {
	var why []string
	if next.EntityID != sp.SAML.EntityID {
		why = append(why, "it is of another identity provider, "+quote(next.EntityID))
	}
	admitted := func(c *x509.Certificate) bool {
		return slices.ContainsFunc(sp.SAML.Certificates, c.Equal) || slices.Contains(sp.IdP.MetadataPin, Fingerprint(c))
	}
	for _, c := range next.Certificates {
		if !admitted(c) {
			why = append(why, "it has a signing certificate that is not known, "+Fingerprint(c))
		}
	}
	agreed := sites(sp.SAML)
	for _, at := range sites(next) {
		if !slices.Contains(agreed, at) {
			agreed = append(agreed, at) // told once
			why = append(why, "it sends people to a place at another host, "+quote(at))
		}
	}
	const most = 20 // a document may name thousands of places
	if len(why) > most {
		why = append(why[:most], "and more")
	}
	return strings.Join(why, "; ")
}

// sites lists scheme and host of every place that browsers may be sent to, for
// sign-in and logout and by either binding: what is not in use today may be
// tomorrow.
func sites(m *saml.Metadata) (all []string) {
	for _, e := range slices.Concat(m.SSO, m.SLO) {
		for _, at := range []string{e.Location, cmp.Or(e.ResponseLocation, e.Location)} {
			if u, err := url.Parse(at); err == nil { // it was read before
				all = append(all, u.Scheme+"://"+u.Host)
			}
		}
	}
	return all
}

// Refresh fetches the metadata from its address. What an administrator has not
// agreed to becomes pending and is not used. Errors: Invalid without an
// address; whatever kept it from being fetched or read, which is kept too.
func (s *Service) Refresh(ctx context.Context, id identity.IdPID) (IdP, error) {
	sp, err := s.find(id)
	if err != nil {
		return IdP{}, err
	}
	if sp.IdP.MetadataURL == "" {
		return IdP{}, fault.New(fault.Invalid, "identity provider "+sp.IdP.Name+" has no metadata address").
			WithMend("set one, or enter new metadata")
	}
	next, document, err := s.fresh(ctx, sp)
	if err != nil {
		return IdP{}, cmp.Or(s.failed(ctx, sp, err), err)
	}
	return s.adopt(ctx, sp, next, document)
}

// fresh fetches and checks the document that stands at the address.
func (s *Service) fresh(ctx context.Context, sp *Speaker) (*saml.Metadata, []byte, error) {
	document, err := s.fetch(ctx, sp.IdP.MetadataURL)
	if err != nil {
		return nil, nil, err
	}
	p := sp.IdP
	p.Metadata = document
	next, err := s.readMetadata(p)
	return next, document, err
}

// failed keeps why a refresh failed; the metadata in use stays.
func (s *Service) failed(ctx context.Context, sp *Speaker, cause error) error {
	p := sp.IdP
	p.Kept.Tried, p.Kept.Error = s.millis(), clip(fault.Of(cause).Public)
	p.Kept.Failed++
	_, err := s.store.Update(ctx, p, p.Revision)
	s.reload(ctx)
	return err
}

// adopt uses refreshed metadata, or keeps it until an administrator accepts it.
func (s *Service) adopt(ctx context.Context, sp *Speaker, next *saml.Metadata, document []byte) (IdP, error) {
	p, now := sp.IdP, s.millis()
	why := sp.judge(next)
	p.Kept.Fetched, p.Kept.Tried, p.Kept.Error, p.Kept.Failed = now, now, "", 0
	switch {
	case why != "" && (bytes.Equal(document, p.Kept.Pending) || digest(document) == p.Kept.Refused):
	case why != "":
		p.Kept.Pending, p.Kept.PendingSince, p.Kept.Why = document, now, why
		return s.keep(ctx, sp.IdP, p, event.Event{Action: "identity-provider.metadata-pending", Outcome: event.Denied,
			Detail: map[string]string{"why": why}})
	case !bytes.Equal(document, p.Metadata):
		p.Metadata = document
		p.Kept.Pending, p.Kept.PendingSince, p.Kept.Why = nil, time.Time{}, ""
		return s.keep(ctx, sp.IdP, p, event.Event{Action: "identity-provider.metadata-refreshed", Outcome: event.Done, Detail: changes(sp.IdP, p)})
	case len(p.Kept.Pending) > 0: // what was new is gone again
		p.Kept.Pending, p.Kept.PendingSince, p.Kept.Why = nil, time.Time{}, ""
		return s.keep(ctx, sp.IdP, p, event.Event{Action: "identity-provider.metadata-withdrawn", Outcome: event.Done})
	}
	// Only the times changed: nothing that somebody who edits has to know.
	if _, err := s.store.Update(ctx, p, p.Revision); err != nil {
		return IdP{}, err
	}
	s.reload(ctx)
	return p, nil
}

// keep stores what Refresh or AcceptPending brought, with its record.
func (s *Service) keep(ctx context.Context, old, p IdP, e event.Event) (IdP, error) {
	e.IdP, e.Target = p.ID, p.EntityID
	err := s.recorded(ctx, e, func(ctx context.Context) error {
		stood, err := s.store.Update(ctx, p, p.Revision+1)
		if err == nil && !stood {
			return changedMeanwhile(old)
		}
		return err
	})
	if err != nil {
		return IdP{}, err
	}
	p.Revision++
	s.reload(ctx)
	return p, nil
}

// AcceptPending uses pending metadata from now on: an administrator's word.
// revision is that of the identity provider as the administrator saw it; 0
// takes whatever is pending. Errors: Conflict when nothing is pending or it
// changed meanwhile; Invalid when it can't be used any more.
func (s *Service) AcceptPending(ctx context.Context, id identity.IdPID, revision int64) (IdP, error) {
	sp, err := s.find(id)
	if err != nil {
		return IdP{}, err
	}
	p := sp.IdP
	switch {
	case revision != 0 && revision != p.Revision:
		return IdP{}, changedMeanwhile(p)
	case len(p.Kept.Pending) == 0:
		return IdP{}, fault.Coded(fault.Conflict, "federation.nothing-pending", "no metadata of identity provider "+p.Name+" is pending").
			WithMend("refresh it first")
	}
	p.Metadata = p.Kept.Pending
	m, err := s.readMetadata(p)
	if err != nil {
		return IdP{}, err
	}
	p.EntityID = m.EntityID
	p.Kept.Pending, p.Kept.PendingSince, p.Kept.Why = nil, time.Time{}, ""
	return s.keep(ctx, sp.IdP, p, event.Event{Action: "identity-provider.metadata-accepted", Outcome: event.Done, Detail: changes(sp.IdP, p)})
}

func changedMeanwhile(p IdP) error {
	return fault.Coded(fault.Conflict, "federation.changed", "identity provider "+p.Name+" was changed by somebody else meanwhile").
		WithMend("look at it again, then change it")
}
