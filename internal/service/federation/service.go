package federation

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// Store keeps identity providers. Each method is one transaction.
type Store interface {
	// Add inserts p; fault Conflict when its name (letter case aside) or its
	// entity id is taken.
	Add(ctx context.Context, p IdP) error
	// Update replaces all of p but its id, where p.Revision is the stored one,
	// and makes that revision; false when it is another, or p is gone. Conflict
	// as for Add.
	Update(ctx context.Context, p IdP, revision int64) (bool, error)
	// Remove deletes; false when there was none.
	Remove(ctx context.Context, id identity.IdPID) (bool, error)
	All(ctx context.Context) ([]IdP, error)
	// Watch calls changed after every change by any server, until ctx ends;
	// those of the Installations too.
	Watch(ctx context.Context, changed func()) error
}

// Installations keeps what holds for the installation. Each method is one
// transaction.
type Installations interface {
	// Installation gives what is stored, or stores first and gives that.
	Installation(ctx context.Context, first Installation) (Installation, error)
	SetSwitches(ctx context.Context, s Switches) error
}

// Ends takes back what an identity provider's people hold by it, in the
// transaction that ctx carries.
type Ends interface {
	EndAll(ctx context.Context, id identity.IdPID) error
}

// Config is what a Service stands on.
type Config struct {
	Store Store
	// Installations keeps the switches; nil: they stay at their first values,
	// for tests and tools.
	Installations Installations
	// Ends ends login sessions of an identity provider that is switched off or
	// removed; nil: they stand, for tests and tools.
	Ends Ends
	// Fetch gets metadata from addresses; nil: none is fetched.
	Fetch Fetcher
	// Sealer seals client secrets; nil: none can be entered.
	Sealer Sealer
	// Accounts are the configured accounts: an identity provider can be given
	// no other. Empty admits every account number.
	Accounts []Account
	// State and Trail put a change and its record into one transaction. Both
	// nil: nothing is recorded, for tests and tools.
	State  Atomic
	Trail  Trail
	Now    func() time.Time
	Logger *slog.Logger // nil discards
}

// Atomic makes one transaction of what fn does with its context. fn may run
// more than once.
type Atomic interface {
	Atomic(ctx context.Context, fn func(context.Context) error) error
}

// Trail records what was administered, in the transaction that ctx carries.
type Trail interface {
	Record(ctx context.Context, e event.Event) error
}

// Service answers who may say what, from memory. Safe for concurrent use.
type Service struct {
	store    Store
	places   Installations
	ends     Ends
	fetcher  Fetcher
	sealer   Sealer
	state    Atomic
	trail    Trail
	accounts []Account
	now      func() time.Time
	log      *slog.Logger

	loading sync.Mutex // orders loads, so that an older one can't win
	current atomic.Pointer[roll]
}

// roll is one reading of the stored list.
type roll struct {
	byName []*Speaker
	byID   map[identity.IdPID]*Speaker
	stored int // those included that can't be used

	installation Installation
}

// New loads the identity providers and follows changes until ctx ends.
func New(ctx context.Context, c Config) (*Service, error) {
	s := &Service{store: c.Store, places: c.Installations, ends: c.Ends, fetcher: c.Fetch, sealer: c.Sealer, state: c.State, trail: c.Trail, accounts: slices.Clone(c.Accounts), now: c.Now, log: c.Logger}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.store.Watch(ctx, func() { s.follow(ctx) }); err != nil {
		return nil, err
	}
	return s, s.load(ctx)
}

// follow loads again and again until one load succeeds. Meanwhile nobody's
// word counts: the change may have been a removal.
func (s *Service) follow(ctx context.Context) {
	for {
		err := s.load(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.log.Error("the identity providers can't be read; nobody can sign in until they are", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

func (s *Service) load(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	all, err := s.store.All(ctx)
	if err != nil {
		s.current.Store(nil)
		return err
	}
	r := &roll{byID: make(map[identity.IdPID]*Speaker, len(all)), stored: len(all)}
	if r.installation, err = s.readInstallation(ctx); err != nil {
		s.current.Store(nil)
		return err
	}
	for _, p := range all {
		sp, err := s.speaker(p)
		if err != nil {
			// Stored by a release that read more, or damaged: this one is out,
			// the others stay.
			s.log.Error("what is stored of an identity provider can't be read; it is left out",
				"identity_provider", p.Name, "error", err)
			continue
		}
		r.byName = append(r.byName, sp)
		r.byID[p.ID] = sp
	}
	slices.SortFunc(r.byName, func(a, b *Speaker) int {
		return cmp.Or(strings.Compare(a.IdP.Name, b.IdP.Name), cmp.Compare(a.IdP.ID, b.IdP.ID))
	})
	s.current.Store(r)
	return nil
}

func (s *Service) roll() (*roll, error) {
	if r := s.current.Load(); r != nil {
		return r, nil
	}
	return nil, fault.New(fault.Unavailable, "the list of identity providers can't be read").
		WithCode("federation.unavailable").WithMend("try again in a moment")
}

// Add checks and stores a new identity provider; its id, entity id and time
// of entry are set here. Without Metadata it is fetched from MetadataURL. An
// EntityID chooses where the metadata describes several. Of an OpenID provider
// the discovery document is looked at. Errors: Invalid with what to mend;
// Conflict; those of fetching.
func (s *Service) Add(ctx context.Context, p IdP) (_ IdP, err error) {
	if p.MetadataURL != "" && len(p.Metadata) == 0 {
		if err := metadataURL(p.MetadataURL); err != nil {
			return IdP{}, err
		}
		if p.Metadata, err = s.fetch(ctx, p.MetadataURL); err != nil {
			return IdP{}, err
		}
	}
	wanted := p.EntityID
	p, err = s.check(p)
	if err == nil && p.Protocol == OIDC {
		err = s.discover(ctx, p.OIDC.Issuer)
	}
	if err == nil && wanted != "" && wanted != p.EntityID {
		err = fault.New(fault.Invalid, "the metadata is of "+quote(p.EntityID)+", not of "+quote(wanted)).
			WithMend("enter the metadata of the identity provider that was named")
	}
	if err != nil {
		return IdP{}, err
	}
	p.ID, p.Created, p.Revision = identity.NewIdPID(), s.millis(), 1
	p.Kept = Kept{Fetched: p.Created}
	if err := s.seal(&p); err != nil {
		return IdP{}, err
	}
	e := event.Event{Action: "identity-provider.add", Outcome: event.Done, IdP: p.ID, Target: p.EntityID, Detail: changes(IdP{}, p)}
	if err := s.recorded(ctx, e, func(ctx context.Context) error { return s.store.Add(ctx, p) }); err != nil {
		return IdP{}, err
	}
	s.reload(ctx)
	return p, nil
}

// recorded makes a change and its record one transaction.
func (s *Service) recorded(ctx context.Context, e event.Event, change func(context.Context) error) error {
	if s.trail == nil || s.state == nil {
		return change(ctx)
	}
	return s.state.Atomic(ctx, func(ctx context.Context) error {
		if err := change(ctx); err != nil {
			return err
		}
		return s.trail.Record(ctx, e)
	})
}

// reload makes a committed change count here at once. If it fails, nobody's
// word counts until follow has read the list; the change itself stands.
func (s *Service) reload(ctx context.Context) {
	if err := s.load(context.WithoutCancel(ctx)); err != nil {
		s.log.Warn("the identity providers could not be read after a change", "error", err)
	}
}

// Remove takes an identity provider out: nobody signs in by it any more, and
// what its people hold by it ends. Errors: NotFound.
func (s *Service) Remove(ctx context.Context, id identity.IdPID) error {
	var found bool
	e := event.Event{Action: "identity-provider.remove", Outcome: event.Done, IdP: id}
	if sp, err := s.find(id); err == nil {
		e.Target, e.Detail = sp.IdP.EntityID, map[string]string{"name": sp.IdP.Name}
	}
	err := s.recorded(ctx, e, func(ctx context.Context) (err error) {
		if found, err = s.store.Remove(ctx, id); err != nil || !found {
			return err
		}
		return s.end(ctx, id)
	})
	if err != nil {
		return err
	}
	s.reload(ctx)
	if !found {
		return notFound()
	}
	return nil
}

// List gives the identity providers by name, disabled ones too; none while
// they can't be read.
func (s *Service) List() []IdP {
	r, err := s.roll()
	if err != nil {
		return nil
	}
	out := make([]IdP, len(r.byName))
	for i, sp := range r.byName {
		out[i] = sp.IdP
	}
	return out
}

// Empty reports whether no identity provider was ever entered, or all were
// removed. Errors: Unavailable.
func (s *Service) Empty() (bool, error) {
	r, err := s.roll()
	return err == nil && r.stored == 0, err
}

// ByEntityID gives the SAML identity provider that calls itself so, switched off
// ones too; false where people do not sign in by it. Errors: Unavailable.
func (s *Service) ByEntityID(entityID string) (IdP, bool, error) {
	r, err := s.roll()
	if err != nil {
		return IdP{}, false, err
	}
	for _, sp := range r.byName {
		if sp.SAML != nil && sp.IdP.EntityID == entityID {
			return sp.IdP, true, nil
		}
	}
	return IdP{}, false, nil
}

// Get gives one identity provider. Errors: NotFound, Unavailable.
func (s *Service) Get(_ context.Context, id identity.IdPID) (IdP, error) {
	sp, err := s.find(id)
	if err != nil {
		return IdP{}, err
	}
	return sp.IdP, nil
}

// Speaker gives an enabled identity provider ready for use. Errors: NotFound,
// Denied when it is switched off, Unavailable.
func (s *Service) Speaker(id identity.IdPID) (*Speaker, error) {
	sp, err := s.find(id)
	if err != nil {
		return nil, err
	}
	if !sp.IdP.Enabled {
		return nil, fault.Coded(fault.Denied, "federation.disabled", "identity provider "+sp.IdP.Name+" is switched off").
			WithMend("ask an administrator to switch it on")
	}
	if sp.SAML != nil && !sp.SAML.ValidUntil.IsZero() && !s.now().Before(sp.SAML.ValidUntil) {
		return nil, fault.Coded(fault.Misconfigured, "federation.metadata-expired",
			"the metadata of identity provider "+sp.IdP.Name+" is past its time").
			WithMend("an administrator has to enter its current metadata")
	}
	return sp, nil
}

func (s *Service) find(id identity.IdPID) (*Speaker, error) {
	r, err := s.roll()
	if err != nil {
		return nil, err
	}
	if sp := r.byID[id]; sp != nil {
		return sp, nil
	}
	return nil, notFound()
}

func notFound() error {
	return fault.Coded(fault.NotFound, "federation.unknown", "there is no such identity provider").
		WithMend("choose one of the list on the sign-in page")
}
