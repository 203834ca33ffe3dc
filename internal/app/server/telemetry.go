package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/edge/telemetry"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
)

// mostEndpoints bounds the endpoints of stores that have series of their own.
const mostEndpoints = 100

// measure adds what is asked for at each scrape: states of this server that nobody
// counts as they change.
func (srv *Server) measure(objects *gateway.Gateway) {
	m := srv.metrics
	if m == nil {
		return
	}
	gauge := func(name, help string, read func() float64) {
		m.Ask(name, help, nil, func(add func(float64, ...string)) { add(read()) })
	}
	gauge("carnet_s3_in_flight", "S3 requests that are being served.", func() float64 { return float64(objects.InFlight()) })
	gauge("carnet_audit_queue_records", "Audit records of S3 requests that wait to be written.", func() float64 { return float64(srv.queue.Depth()) })
	gauge("carnet_audit_queue_room", "How many may wait.", func() float64 { return float64(srv.queue.Size()) })
	m.Count("carnet_audit_lost_total", "Audit records of S3 requests and of refusals that were lost.", func() float64 { return float64(srv.queue.LostEver() + srv.refusals.LostEver()) })
	if l := srv.lines; l != nil {
		m.Count("carnet_access_log_lost_total", "Lines of the access log that were lost.", func() float64 { return float64(l.Lost()) })
	}
	gauge("carnet_revocation_view_age_seconds", "Time since this server last confirmed what was revoked. Over 60 it decides nothing.", func() float64 { return srv.feed.Age().Seconds() })
	m.Ask("carnet_upstream_up", "1 while requests go to this endpoint of a store, 0 while it is not asked because it did not answer.", []string{"upstream", "endpoint"}, srv.storesUp)
}

func (srv *Server) storesUp(add func(float64, ...string)) {
	n := 0
	for name, store := range srv.stores.byName {
		client, ok := store.Upstream.(*s3client.Client)
		if !ok {
			continue
		}
		for _, h := range client.Health() {
			if n++; n > mostEndpoints {
				return
			}
			up := 0.0
			if h.State == s3client.Up {
				up = 1
			}
			add(up, name, h.Endpoint)
		}
	}
}

// metricsServer serves metrics, where a listener asks for them.
func (srv *Server) metricsServer() *http.Server {
	handler := http.NotFoundHandler()
	if srv.metrics != nil {
		handler = srv.metrics.Handler(srv.config.Telemetry.Metrics)
	}
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(srv.log.Handler(), slog.LevelDebug),
	}
}

// openTraces exports spans until ctx ends, and what is left then.
func (srv *Server) openTraces(ctx context.Context, c config.Traces) (*telemetry.Traces, error) {
	headers, err := secretHeaders(c.HeadersFile)
	if err != nil {
		return nil, fmt.Errorf("telemetry.traces: %w", err)
	}
	t := telemetry.NewTraces(telemetry.TraceConfig{Headers: headers, Endpoint: c.Endpoint, Sample: float64(c.Sample), Version: buildVersion(), Server: srv.trail.Chain(), Logger: srv.log})
	srv.tasks.Go(func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSpans)
		defer cancel()
		if err := t.Close(last); err != nil {
			srv.log.Warn("the last spans were not exported", "error", err)
		}
	})
	return t, nil
}

const lastSpans = 3 * time.Second

func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
