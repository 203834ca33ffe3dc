package federation

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/event"
)

// When metadata is fetched again, unless its document asks for other times.
const (
	refreshEvery = 6 * time.Hour
	refreshLeast = time.Hour
	refreshMost  = 24 * time.Hour
	retryLeast   = 10 * time.Minute
	// tick is how often Run looks whether something is due.
	tick = time.Minute
)

// Run refreshes metadata from its addresses and warns of what ends, until ctx
// ends. Several servers may run it: who comes first does it.
func (s *Service) Run(ctx context.Context) {
	own := rand.Float64() // servers are not due in the same minute
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(tick):
		}
		s.Tend(ctx, own)
	}
}

// Tend is one turn of Run. jitter from 0 to 1 shifts when something is due.
func (s *Service) Tend(ctx context.Context, jitter float64) {
	r, err := s.roll()
	if err != nil {
		return // follow says so
	}
	for _, sp := range r.byName {
		if due := sp.due(jitter); !due.IsZero() && !s.now().Before(due) {
			s.refresh(ctx, sp)
		}
	}
	if r, err = s.roll(); err != nil {
		return
	}
	for _, sp := range r.byName {
		s.warn(ctx, sp)
	}
}

func (s *Service) refresh(ctx context.Context, sp *Speaker) {
	p, err := s.Refresh(ctx, sp.IdP.ID)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.log.Warn("the metadata of an identity provider can't be refreshed; what is known serves on",
			"identity_provider", sp.IdP.Name, "error", err)
	case len(p.Kept.Pending) > 0 && len(sp.IdP.Kept.Pending) == 0:
		s.log.Warn("refreshed metadata of an identity provider waits for an administrator; it is not used",
			"identity_provider", p.Name, "why", p.Kept.Why)
	}
}

// due says when the metadata is to be fetched again; zero: never. The document
// may ask for it by cacheDuration and validUntil, within bounds.
func (sp *Speaker) due(jitter float64) time.Time {
	k := sp.IdP.Kept
	if sp.SAML == nil || sp.IdP.MetadataURL == "" {
		return time.Time{}
	}
	every := refreshEvery
	if sp.SAML.CacheDuration > 0 {
		every = sp.SAML.CacheDuration
	}
	if until := sp.SAML.ValidUntil; !until.IsZero() {
		every = min(every, until.Sub(k.Fetched)/2)
	}
	every = min(max(every, refreshLeast), refreshMost)
	from := k.Fetched
	if k.Failed > 0 {
		from, every = k.Tried, min(every, retryLeast<<min(k.Failed-1, 10))
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(sp.IdP.ID)) // it never fails
	spread := (jitter + float64(h.Sum32()%1000)/1000) / 2
	return from.Add(time.Duration(float64(every) * (0.9 + 0.2*spread)))
}

// warn says once what ends, in the log and the trail.
func (s *Service) warn(ctx context.Context, sp *Speaker) {
	p := sp.IdP
	var now []string
	var news []ending
	for _, e := range sp.endings(s.now()) {
		now = append(now, e.key)
		if !slices.Contains(p.Kept.Warned, e.key) {
			news = append(news, e)
		}
	}
	if len(news) == 0 {
		return
	}
	old := p
	p.Kept.Warned = now
	detail := map[string]string{}
	for i, e := range news {
		detail[[]string{"first", "second", "third", "fourth"}[min(i, 3)]] = e.text
	}
	if _, err := s.keep(ctx, old, p, event.Event{Action: "identity-provider.expires", Outcome: event.Done, Detail: detail}); err != nil {
		return // another server was faster, or it is said at the next turn
	}
	for _, e := range news {
		s.log.Warn("something of an identity provider's metadata ends", "identity_provider", p.Name, "what", e.text, "at", e.at)
	}
}
