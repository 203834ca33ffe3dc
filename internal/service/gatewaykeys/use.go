package gatewaykeys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/revocation"
)

const (
	// lookEvery bounds how often keys are read anew for ids that are not in memory,
	// whichever they are: another server may have made one a moment ago, and strangers
	// may guess. One reading is under way at a time.
	lookEvery = 100 * time.Millisecond
	// Between two readings lies a multiple of what the last one took, within a bound:
	// guesses keep no database busy that is slow already.
	lookRest, longestRest = 4, 5 * time.Second
)

// Find gives the key behind an access key id, and the secret that a request must
// be signed with. Nothing is proven until the signature held. Faults have the
// codes of S3: InvalidAccessKeyId, ExpiredToken.
func (s *Service) Find(ctx context.Context, accessKeyID string) (*Holder, secret.Text, error) {
	e := s.known.Load().byAccessKey[accessKeyID]
	if e == nil {
		e = s.look(ctx, accessKeyID)
	}
	if e == nil {
		return nil, secret.Text{}, unknownKey()
	}
	h := &Holder{key: e.Key, uses: e.uses}
	if !s.Now().Before(e.Expires) {
		return nil, secret.Text{}, fault.Coded(fault.Expired, "ExpiredToken", "This gateway key ended at "+e.Expires.Format(time.RFC3339)).
			WithMend("have a new one made, or fetch keys anew")
	}
	if err := s.Holds(h); err != nil {
		return nil, secret.Text{}, err
	}
	return h, e.secret, nil
}

// look reads the keys anew for one that another server may have just made. All
// who ask meanwhile share the next reading.
func (s *Service) look(ctx context.Context, accessKeyID string) *entry {
	if len(accessKeyID) != 20 {
		return nil
	}
	s.looks.mu.Lock()
	next := s.looks.next
	if next == nil {
		next = make(chan struct{})
		s.looks.next = next
		s.flights.Go(func() { s.lookOnce(next) })
	}
	s.looks.mu.Unlock()
	select {
	case <-next:
	case <-ctx.Done():
	}
	return s.known.Load().byAccessKey[accessKeyID]
}

// lookOnce waits for its turn and reads. Who asks from then on is for the next reading:
// this one may have passed by what they ask for.
func (s *Service) lookOnce(done chan struct{}) {
	defer close(done)
	s.looks.reading <- struct{}{}
	defer func() { <-s.looks.reading }()
	time.Sleep(min(s.looks.due.Sub(s.Now()), longestRest))
	s.looks.mu.Lock()
	s.looks.next = nil
	s.looks.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := s.Now()
	// Its cluster may be as new as the key.
	if err := errors.Join(s.Clusters.Refresh(ctx), s.load(ctx)); err != nil {
		s.Logger.Warn("gateway keys can't be read anew", "error", err)
	}
	s.looks.due = s.Now().Add(max(lookEvery, min(lookRest*s.Now().Sub(began), longestRest)))
}

// Holds is nil while nothing that the key rests on was taken back. A key that has
// ended by itself holds on: what was begun in time may finish, as on AWS.
func (s *Service) Holds(h *Holder) error {
	o, of := &h.key.Owner, ""
	if h.key.Cluster != "" {
		if c, err := s.Clusters.Find(h.key.Cluster); err == nil { // one that is gone is refused by Admit
			of = string(c.ID)
		}
	}
	for _, r := range [...]struct{ kind, id string }{
		{revocation.Everything, revocation.Everything},
		{revocation.GatewayKey, string(h.key.ID)},
		{revocation.AccessKey, h.key.AccessKeyID},
		{revocation.LoginSession, string(o.LoginSession)},
		{revocation.Person, string(o.Person)},
		{revocation.Delegation, string(o.Delegation)},
		{revocation.ServicePrincipal, string(o.ServicePrincipal)},
		{revocation.Attachment, string(h.key.Attachment)},
		{revocation.Node, string(h.key.Node)},
		{revocation.Cluster, of},
	} {
		if r.id == "" {
			continue
		}
		refused, err := s.Feed.Refused(r.kind, r.id, h.key.Epoch)
		if err != nil {
			return err
		}
		if refused {
			return fault.Coded(fault.Revoked, "ExpiredToken", "This gateway key, or what it rests on, was ended").
				WithMend("have a new one made, or sign in again and fetch keys anew")
		}
	}
	return nil
}

// Admit holds a key, once its signature was proven, to where it is bound, and has
// its first use recorded. A use from elsewhere is a stolen key, or a mistake: it is
// recorded too.
func (s *Service) Admit(ctx context.Context, h *Holder, from Peer) error {
	refusal := admits(h.key.Binding, from)
	if refusal == nil && h.key.Cluster != "" {
		c, err := s.Clusters.Find(h.key.Cluster)
		switch { // a cluster that was made later is another one, whatever it is called
		case err != nil, c.Binding.IsZero() && h.key.Binding.IsZero(), c.Made.After(h.key.Made):
			refusal = misplaced("This gateway key is for a cluster that is not known any more")
		default:
			refusal = admits(c.Binding, from)
		}
	}
	if refusal == nil && h.key.Cluster == "" && h.key.Binding.IsZero() {
		refusal = misplaced("This gateway key is bound to nothing")
	}
	if refusal != nil {
		s.strayed(ctx, h, from, refusal)
		return refusal
	}
	if h.uses.noted.CompareAndSwap(false, true) {
		s.note(ctx, h, from)
	}
	return nil
}

// note records the first use, beside the request.
func (s *Service) note(ctx context.Context, h *Holder, from Peer) {
	ctx = context.WithoutCancel(ctx)
	s.flights.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		e := h.key.event("gateway-key.first-use")
		e.Source = plain(from.Source).String()
		err := s.State.Atomic(ctx, func(ctx context.Context) error {
			first, err := s.Store.UseKey(ctx, h.key.ID, s.now())
			if err != nil || !first {
				return err
			}
			return s.Trail.Record(ctx, e)
		})
		if err != nil {
			h.uses.noted.Store(false) // the next use tries again
			s.Logger.Warn("the first use of a gateway key can't be recorded", "gateway_key", h.key.ID, "error", err)
		}
	})
}

// strayEvery bounds how often a use from elsewhere is recorded, for each key.
const strayEvery = time.Minute

// strayed records a use from elsewhere, beside the request.
func (s *Service) strayed(ctx context.Context, h *Holder, from Peer, why *fault.Fault) {
	now, last := s.Now().UnixNano(), h.uses.strayed.Load()
	if now-last < int64(strayEvery) || !h.uses.strayed.CompareAndSwap(last, now) {
		return
	}
	source := plain(from.Source).String()
	s.Logger.Warn("a gateway key was used where it is not bound", "gateway_key", h.key.ID, "owner", h.key.Owner.Name, "source", source)
	ctx = context.WithoutCancel(ctx)
	s.flights.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		e := h.key.event("gateway-key.strayed")
		e.Outcome, e.Code, e.Source = event.Denied, why.Code, source
		e.Detail["reason"] = why.Public
		if err := s.State.Atomic(ctx, func(ctx context.Context) error { return s.Trail.Record(ctx, e) }); err != nil {
			s.Logger.Warn("the use of a gateway key from elsewhere can't be recorded", "gateway_key", h.key.ID, "error", err)
		}
	})
}

// Choose picks the role for what is asked: of the roles in the key's set that its
// owner holds, the one of the longest prefix grant that covers it; without one the
// only role whose account owns the bucket; else the key's default. Where two roles
// have equal claim the fault names both.
func (s *Service) Choose(ctx context.Context, h *Holder, w Want) (Choice, error) {
	held, err := s.held(ctx, h)
	if err != nil {
		return Choice{}, err
	}
	role, err := pick(s.known.Load().grants[w.Bucket], held, h.key.Default, w)
	if err != nil {
		return Choice{}, err
	}
	local := s.Accounts[role.Account].Local
	if owner, ok := s.Accounts[w.Account]; ok && owner.Local != local {
		return Choice{}, fault.Coded(fault.Denied, "AccessDenied", fmt.Sprintf("The role of this gateway key for s3://%s is %s, whose account is not where the bucket is", w.Bucket, role)).
			WithMend("an administrator grants the bucket to a role of account " + w.Account + ": carnet prefix-grant add")
	}
	return Choice{Role: role, AWS: !local}, nil
}

// pick is Choose without the world: nothing but what it is given decides.
func pick(grants []Grant, held []arn.Role, fallback arn.Role, w Want) (arn.Role, error) {
	var best []Grant // grants come longest prefix first
	for _, g := range grants {
		if len(best) > 0 && len(g.Prefix) < len(best[0].Prefix) {
			break
		}
		if w.Bucket != "" && g.Bucket == w.Bucket && strings.HasPrefix(w.Part, g.Prefix) && slices.Contains(held, g.Role) {
			best = append(best, g)
		}
	}
	switch {
	case len(best) == 1:
		return best[0].Role, nil
	case len(best) > 1:
		var roles []arn.Role
		for _, g := range best {
			roles = append(roles, g.Role)
		}
		return arn.Role{}, unclear(fmt.Sprintf("Two prefix grants for s3://%s/%s have equal claim", w.Bucket, best[0].Prefix), roles).
			WithMend("an administrator takes all but one of these grants out: carnet prefix-grant remove")
	}
	var owners []arn.Role
	for _, r := range held {
		if w.Account != "" && r.Account == w.Account {
			owners = append(owners, r)
		}
	}
	switch {
	case len(owners) == 1:
		return owners[0], nil
	case slices.Contains(held, fallback):
		return fallback, nil
	case len(held) == 1:
		return held[0], nil
	case len(held) == 0:
		return arn.Role{}, fault.Coded(fault.Denied, "AccessDenied", "The owner of this gateway key holds none of its roles any more").
			WithMend("sign in again, or ask for the role at your identity provider")
	}
	return arn.Role{}, unclear("No prefix grant covers this request, and the gateway key has no default role", held).
		WithMend("an administrator grants the place to one of them: carnet prefix-grant add")
}

func unclear(why string, roles []arn.Role) *fault.Fault {
	var names []string
	for i, r := range roles {
		if i == 20 {
			names = append(names, "…")
			break
		}
		names = append(names, r.String())
	}
	return fault.Coded(fault.Denied, "AccessDenied", why+": "+strings.Join(names, ", "))
}
