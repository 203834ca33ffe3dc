package provisioning

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
)

// Limits of credentials.
const (
	// DefaultLifetime and LongestLifetime: how long a credential counts.
	DefaultLifetime = 180 * 24 * time.Hour
	LongestLifetime = 730 * 24 * time.Hour
	// MostCredentials bounds those of one provider.
	MostCredentials = 10

	bearerPrefix = "carnet-scim-"
)

// Codes of refusals.
const (
	CodeBearer     = "provisioning.credential"
	CodeLabel      = "provisioning.label"
	CodeLifetime   = "provisioning.lifetime"
	CodeMost       = "provisioning.most"
	CodeNoProvider = "provisioning.provider"
)

// Credential is a bearer token of a provisioning system, without the token.
type Credential struct {
	ID      identity.CredentialID
	IdP     identity.IdPID
	Label   string
	Owner   string // who answers for it
	Kinds   []Kind
	Digest  []byte // SHA-256 of the token
	Made    time.Time
	Expires time.Time
	Used    time.Time // when it was used last, to the hour; zero: never
}

// Credentials keeps them. Each call is one transaction, or part of the one that
// ctx carries.
type Credentials interface {
	// AddCredential stores one; Conflict when its provider has most already.
	AddCredential(ctx context.Context, c Credential, most int) error
	// List gives all, by time of making.
	List(ctx context.Context) ([]Credential, error)
	// RemoveCredential deletes; NotFound.
	RemoveCredential(ctx context.Context, id identity.CredentialID) error
	// Touch notes a use.
	Touch(ctx context.Context, id identity.CredentialID, at time.Time) error
}

// NewCredential is what is asked for.
type NewCredential struct {
	IdP      identity.IdPID
	Label    string
	Owner    string
	Kinds    []Kind        // none: users and groups
	Lifetime time.Duration // 0: DefaultLifetime
}

// MakeCredential makes a bearer token, which is given out this once.
func (s *Service) MakeCredential(ctx context.Context, n NewCredential) (Credential, secret.Text, error) {
	if n.Lifetime == 0 {
		n.Lifetime = DefaultLifetime
	}
	if len(n.Kinds) == 0 {
		n.Kinds = []Kind{User, Group}
	}
	switch {
	case checkName("label", n.Label) != nil, checkName("owner", n.Owner) != nil:
		return Credential{}, secret.Text{}, invalid(CodeLabel, "a credential needs a label and an owner of 1 to %d bytes that can be seen", maxName)
	case n.Lifetime < time.Minute || n.Lifetime > LongestLifetime:
		return Credential{}, secret.Text{}, invalid(CodeLifetime, "a credential counts for a minute to %d days", int(LongestLifetime.Hours()/24))
	case n.IdP == "":
		return Credential{}, secret.Text{}, invalid(CodeNoProvider, "a credential speaks for one identity provider")
	}
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return Credential{}, secret.Text{}, fault.Wrap(err, fault.Internal, "no random bytes can be had")
	}
	text := secret.New(bearerPrefix + base64.RawURLEncoding.EncodeToString(random))
	now := s.Now().UTC().Truncate(time.Millisecond)
	c := Credential{ID: identity.NewCredentialID(), IdP: n.IdP, Label: n.Label, Owner: n.Owner, Kinds: n.Kinds, Digest: digest(text),
		Made: now, Expires: now.Add(n.Lifetime)}
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := s.Credentials.AddCredential(ctx, c, MostCredentials); err != nil {
			return err
		}
		return s.Trail.Record(ctx, credentialEvent("provisioning-credential.add", c))
	})
	if err != nil {
		return Credential{}, secret.Text{}, err
	}
	return c, text, nil
}

func credentialEvent(action string, c Credential) event.Event {
	kinds := make([]string, len(c.Kinds))
	for i, k := range c.Kinds {
		kinds[i] = k.Type().Name
	}
	return event.Event{Action: action, Outcome: event.Done, IdP: c.IdP, Target: string(c.ID),
		Detail: map[string]string{"label": c.Label, "owner": c.Owner, "kinds": strings.Join(kinds, " "), "expires": c.Expires.Format(time.RFC3339)}}
}

// RemoveCredential ends one at once.
func (s *Service) RemoveCredential(ctx context.Context, id identity.CredentialID) error {
	return s.State.Atomic(ctx, func(ctx context.Context) error {
		all, err := s.Credentials.List(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(c Credential) bool { return c.ID == id })
		if i < 0 {
			return fault.New(fault.NotFound, fmt.Sprintf("there is no credential %q", clip(string(id)))).WithMend("list them: carnet provisioning credential list")
		}
		if err := s.Credentials.RemoveCredential(ctx, id); err != nil {
			return err
		}
		return s.Trail.Record(ctx, credentialEvent("provisioning-credential.remove", all[i]))
	})
}

func digest(text secret.Text) []byte {
	d := sha256.Sum256([]byte(text.Reveal()))
	return d[:]
}

// Authenticate gives whoever a bearer token proves, from memory: a stranger's guess
// costs no look at the database. The answer to a wrong one does not say what is wrong
// with it.
func (s *Service) Authenticate(ctx context.Context, bearer secret.Text) (Caller, error) {
	refused := fault.Coded(fault.Unauthenticated, CodeBearer, "The bearer token is not known, or has ended").
		WithMend("have an administrator make one: carnet provisioning credential add")
	if text := bearer.Reveal(); !strings.HasPrefix(text, bearerPrefix) || len(text) != len(bearerPrefix)+43 {
		return Caller{}, refused
	}
	c, ok := s.known.Load().byDigest[string(digest(bearer))]
	now := s.Now()
	if !ok || !now.Before(c.Expires) {
		return Caller{}, refused
	}
	if now.Sub(c.Used) >= time.Hour {
		if err := s.Credentials.Touch(ctx, c.ID, now); err != nil {
			return Caller{}, err
		}
	}
	return Caller{Credential: c.ID, IdP: c.IdP, Kinds: c.Kinds}, nil
}

// known is what is in memory of the credentials.
type known struct {
	byDigest map[string]Credential
	speaks   map[identity.IdPID]time.Time // the last use of a credential for people
}

// silentFor is how long a provisioning system may be silent before it no longer
// counts as telling us who has to go.
const silentFor = 30 * 24 * time.Hour

// Speaks reports whether the provisioning system of a provider tells us who has to
// go: it has a credential for people, and used it in the last 30 days.
func (s *Service) Speaks(idp identity.IdPID) bool {
	used, ok := s.known.Load().speaks[idp]
	return ok && s.Now().Sub(used) < silentFor
}

// Load reads the credentials anew.
func (s *Service) Load(ctx context.Context) error {
	all, err := s.Credentials.List(ctx)
	if err != nil {
		return err
	}
	k, now := known{map[string]Credential{}, map[identity.IdPID]time.Time{}}, s.Now()
	for _, c := range all {
		k.byDigest[string(c.Digest)] = c
		if now.Before(c.Expires) && slices.Contains(c.Kinds, User) && c.Used.After(k.speaks[c.IdP]) {
			k.speaks[c.IdP] = c.Used
		}
	}
	s.known.Store(&k)
	return nil
}

// loadAgain is the pause after credentials could not be read.
const loadAgain = time.Second

// Run follows changed until ctx ends. Where credentials can't be read it tries again
// until it can: one that was removed must not count on.
func (s *Service) Run(ctx context.Context, changed <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			for err := s.Load(ctx); err != nil && ctx.Err() == nil; err = s.Load(ctx) {
				s.Logger.Error("credentials of provisioning systems can't be read", "error", err)
				select {
				case <-ctx.Done():
				case <-time.After(loadAgain):
				}
			}
		}
	}
}
