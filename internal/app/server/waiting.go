package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/upstream/keyprobe"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
	"carnet.dev/carnet/internal/protocol/s3"
)

// waiting is a store that was away when the server started. One of several
// stores keeps the others from nobody: it is closed until how it treats keys was
// proven, and proven once it is back.
type waiting struct {
	*s3client.Client
	upstream config.Upstream
	config   *config.Config
	log      *slog.Logger
	open     atomic.Bool
	cause    atomic.Pointer[string]
}

func newWaiting(u config.Upstream, client *s3client.Client, s *state, why error) *waiting {
	w := &waiting{Client: client, upstream: u, config: s.config, log: s.log}
	w.because(why)
	s.log.Error("the store is away: its buckets are closed until it is back and was probed", "upstream", u.Name, "error", why)
	return w
}

func (w *waiting) because(err error) {
	text := err.Error()
	w.cause.Store(&text)
}

// Do sends a request once the store is proven.
func (w *waiting) Do(ctx context.Context, out *s3.Outgoing) (*http.Response, error) {
	if w.open.Load() {
		return w.Client.Do(ctx, out)
	}
	return nil, fault.Wrap(&s3client.Busy{Why: "the store was not proven yet", After: waitFirst}, fault.Unavailable, "The store behind this gateway is away").WithMend("try again")
}

// The pauses between two looks at a store that is away.
const waitFirst, waitMost = time.Second, 30 * time.Second

// watch opens the store once it is back and keeps to what is stated of it.
func (w *waiting) watch(ctx context.Context) {
	for pause := waitFirst; ; pause = min(2*pause, waitMost) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		proven, err := prove(ctx, w.Client, w.config, w.upstream)
		switch {
		case err == nil && (proven || keyRule(w.upstream) == s3.Filesystem):
			w.open.Store(true)
			w.log.Info("the store is back and open", "upstream", w.upstream.Name, "proven", proven)
			return
		case err == nil:
			err = errors.New("the store has no bucket in which its keys could be probed: make one there, or restart this server")
		case !away(err):
			w.log.Error("the store is back but stays closed", "upstream", w.upstream.Name, "error", err)
		}
		w.because(err)
	}
}

// away reports whether a store could not be asked, where nothing in our own
// configuration can be at fault.
func away(err error) bool {
	var untrusted *tls.CertificateVerificationError
	kind := fault.KindOf(err)
	return err != nil && (kind == fault.Unavailable || kind == fault.Limited) && !errors.As(err, &untrusted)
}

// prove holds a store to how it is said to treat keys; it is not proven where it
// has no bucket to try that in.
func prove(ctx context.Context, client *s3client.Client, c *config.Config, u config.Upstream) (proven bool, err error) {
	bucket, err := probeBucket(ctx, client, c, u.Name)
	if err != nil || bucket == "" {
		return false, err
	}
	return true, keyprobe.Prove(ctx, client, bucket, keyRule(u))
}

func keyRule(u config.Upstream) s3.Keys {
	if u.Keys == config.KeysLiteral {
		return s3.Literal
	}
	return s3.Filesystem
}

// lookEvery is how often a store that nobody asks is looked at, so that its state
// is known before somebody does.
const lookEvery = 15 * time.Second

// run watches the stores until ctx ends.
func (all *stores) run(ctx context.Context, tasks *sync.WaitGroup) {
	for _, w := range all.waiting {
		tasks.Go(func() { w.watch(ctx) })
	}
	for _, c := range all.clients {
		tasks.Go(func() {
			tick := time.NewTicker(lookEvery)
			defer tick.Stop()
			for ctx.Err() == nil {
				c.Look(ctx, lookEvery)
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
}

// upstreams says how each store does, in the order of the configuration.
func (srv *Server) upstreams() []api.Upstream {
	var all []api.Upstream
	for _, u := range srv.config.Upstreams {
		client, ok := srv.stores.clients[u.Name]
		if !ok {
			continue
		}
		out := api.Upstream{Name: u.Name, Kind: string(u.Kind), State: string(s3client.Up), InFlight: client.InFlight(), Endpoints: []api.UpstreamEndpoint{}}
		for _, h := range client.Health() {
			out.Endpoints = append(out.Endpoints, api.UpstreamEndpoint{Endpoint: h.Endpoint, State: string(h.State), Failures: h.Failures, Cause: h.Cause, Answered: moment(h.Answered), Until: moment(h.Until)})
			if h.State != s3client.Up {
				out.State = string(h.State)
			}
		}
		if w := srv.stores.waiting[u.Name]; w != nil && !w.open.Load() {
			out.State, out.Cause = "waiting", *w.cause.Load()
		}
		all = append(all, out)
	}
	return all
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// besideReady names the stores that are not up: other stores go on, and so does
// the server.
func (srv *Server) besideReady() (lines []string) {
	for _, u := range srv.upstreams() {
		lines = append(lines, fmt.Sprintf("upstream %s: %s", u.Name, u.State))
	}
	return lines
}
