package s3client

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// State is whether an endpoint is used.
type State string

// The states.
const (
	Up      State = "up"      // requests go there
	Away    State = "away"    // they are answered at once; see Health.Until
	Probing State = "probing" // one request is on its way to find out
)

// Health is how one endpoint of a store does.
type Health struct {
	Endpoint string // scheme://host[:port]
	State    State
	Failures int       // in a row: no connection, or no answer in time
	Until    time.Time // of Away: when it is tried again
	Answered time.Time // the last answer, whatever it said; zero: none yet
	Cause    string    // of the last failure, for administrators; empty after an answer
}

// The breaker opens after so many failures in a row, for a pause that doubles.
const (
	failuresToOpen = 5
	firstPause     = time.Second
	mostPause      = 30 * time.Second
)

// breaker keeps requests from an endpoint that does not answer. What it answers,
// 5xx included, is an answer.
type breaker struct {
	mu       sync.Mutex
	failures int
	pause    time.Duration // over 0: open
	until    time.Time
	probing  bool
	answered time.Time
	cause    error
}

// admit says whether a request may go, and whether it is the probe of an
// endpoint that was away; else how long to wait.
func (b *breaker) admit(now time.Time) (ok, probe bool, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.pause == 0:
		return true, false, 0
	case b.probing:
		return false, false, firstPause
	case now.Before(b.until):
		return false, false, b.until.Sub(now)
	}
	b.probing = true
	return true, true, 0
}

// answer notes that the endpoint answered.
func (b *breaker) answer(now time.Time) {
	b.mu.Lock()
	b.failures, b.pause, b.probing, b.answered, b.cause = 0, 0, false, now, nil
	b.mu.Unlock()
}

// fail notes that it did not. Requests that were under way when the breaker
// opened say nothing new.
func (b *breaker) fail(now time.Time, probe bool, cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures++; b.pause > 0 && !probe || b.failures < failuresToOpen {
		return
	}
	b.pause = min(max(2*b.pause, firstPause), mostPause)
	b.until = now.Add(b.pause*3/4 + rand.N(b.pause/2)) // not all servers at once
	b.probing, b.cause = false, cause
}

// leave ends a request that says nothing about the endpoint.
func (b *breaker) leave(probe bool) {
	if !probe {
		return
	}
	b.mu.Lock()
	b.probing = false
	b.mu.Unlock()
}

// Health says how each endpoint does, ordered by address.
func (c *Client) Health() []Health {
	var all []Health
	for _, e := range c.endpoints() {
		all = append(all, e.health())
	}
	return all
}

func (e *endpoint) health() Health {
	b := &e.breaker
	b.mu.Lock()
	defer b.mu.Unlock()
	h := Health{Endpoint: e.String(), State: Up, Failures: b.failures, Answered: b.answered}
	if b.cause != nil {
		h.Cause = b.cause.Error()
	}
	switch {
	case b.probing:
		h.State = Probing
	case b.pause > 0:
		h.State, h.Until = Away, b.until
	}
	return h
}

// InFlight is how many requests are under way.
func (c *Client) InFlight() int { return c.shares.taken() }

// Look asks an endpoint that had no answer for a while whether it is there, with
// no key and for nothing: whatever it says is an answer. It is the probe, too, of
// an endpoint that is away.
func (c *Client) Look(ctx context.Context, quiet time.Duration) {
	for _, e := range c.endpoints() {
		now := c.config.Now()
		if now.Sub(e.health().Answered) < quiet {
			continue
		}
		ok, probe, _ := e.breaker.admit(now)
		if !ok {
			continue
		}
		err := c.look(ctx, e)
		switch {
		case err == nil:
			e.breaker.answer(c.config.Now())
		case ctx.Err() != nil:
			e.breaker.leave(probe)
		default:
			e.breaker.fail(c.config.Now(), probe, err)
		}
	}
}

func (c *Client) look(ctx context.Context, e *endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, 3*c.config.Patience.Connect)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, e.String()+"/", nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "carnet")
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}
