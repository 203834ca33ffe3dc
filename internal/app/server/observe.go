package server

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/edge/gateway/accesslog"
	"carnet.dev/carnet/internal/edge/gateway/trail"
	"carnet.dev/carnet/internal/service/audit"
)

// observe gives the gateway all that looks at finished S3 requests.
func (srv *Server) observe(ctx context.Context, o Options, g *gateway.Config) error {
	lines, err := srv.accessLog(ctx, o.Logs)
	if err != nil {
		return err
	}
	if lines != nil {
		g.Observers = append(g.Observers, lines)
	}
	if srv.metrics != nil {
		g.Observers = append(g.Observers, gateway.ToMetrics{Metrics: srv.metrics})
	}
	if traces := srv.config.Telemetry.Traces; traces.Endpoint != "" {
		spans, err := srv.openTraces(ctx, traces)
		if err != nil {
			return err
		}
		g.Observers = append(g.Observers, gateway.ToTraces{Traces: spans})
	}
	decisions := srv.auditDecisions(ctx)
	g.Recorder, g.Observers = decisions, append(g.Observers, decisions)
	return nil
}

// mostAudited bounds the audit records of S3 requests that wait to be written.
const mostAudited = 16_384

// auditDecisions records S3 decisions, and keeps why requests were denied.
func (srv *Server) auditDecisions(ctx context.Context) *trail.Trail {
	settings := srv.config.Audit
	srv.denials = denials(srv.db, srv.now, srv.log)
	srv.queue = audit.NewQueue(srv.trail, mostAudited, settings.Strict == config.On)
	t := trail.New(trail.Config{
		Queue: srv.queue, Denials: srv.denials, Now: srv.now,
		Reads: settings.Reads == config.On, Writes: settings.Writes == config.On, Strict: settings.Strict == config.On,
	})
	srv.tasks.Go(func() { srv.denials.Run(ctx) })
	// The queue ends after what fills it, and the last checkpoint comes after both.
	last, stop := context.WithCancel(context.WithoutCancel(ctx))
	srv.tasks.Go(func() { t.Run(ctx); stop() })
	srv.tasks.Go(func() {
		srv.queue.Run(last)
		signing, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCheckpoint)
		defer cancel()
		if err := srv.trail.Checkpoint(signing); err != nil {
			srv.log.Warn("the last audit records are not signed", "error", err)
		}
	})
	return t
}

const lastCheckpoint = 5 * time.Second

// accessLog gives what writes the line of each request; nil for none.
func (srv *Server) accessLog(ctx context.Context, logs io.Writer) (gateway.Observer, error) {
	settings := srv.config.AccessLog
	switch {
	case settings.Format == config.AccessOff:
		return nil, nil
	case settings.File == "" && logs == nil:
		return gateway.ToLog{Logger: srv.log}, nil
	}
	c := accesslog.Config{Path: settings.File, Out: logs, Logger: srv.log}
	if settings.Format == config.AccessS3 {
		c.Format = accesslog.S3
	}
	l, err := accesslog.Open(c)
	if err != nil {
		return nil, err
	}
	srv.lines = l
	srv.tasks.Go(func() { l.Run(ctx) })
	if settings.File != "" {
		srv.tasks.Go(func() { reopenOnHangup(ctx, l) })
	}
	return l, nil
}

// reopenOnHangup has the file opened anew on SIGHUP, as tools that rotate logs
// say it. The name of the file is followed without it, too.
func reopenOnHangup(ctx context.Context, l *accesslog.Log) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	defer signal.Stop(c)
	for {
		select {
		case <-c:
			l.Reopen()
		case <-ctx.Done():
			return
		}
	}
}
