package server

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/edge/gateway/accesslog"
)

// observers are all that look at finished S3 requests.
func (srv *Server) observers(ctx context.Context, o Options) ([]gateway.Observer, error) {
	var all []gateway.Observer
	lines, err := srv.accessLog(ctx, o.Logs)
	if lines != nil {
		all = append(all, lines)
	}
	return all, err
}

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
