package httpd

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// recorder notes what became of a request, for its one line in the log.
type recorder struct {
	http.ResponseWriter
	site    *Site
	id      identity.RequestID
	started time.Time
	row     *row // that it came to; nil for one that is not in the table
	status  int  // 0 until the answer has begun
	bytes   int64
	session identity.LoginSessionID
	fault   *fault.Fault
	half    bool // the answer had begun when it failed
}

// Unwrap serves http.ResponseController.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

func (rec *recorder) WriteHeader(status int) {
	if rec.status == 0 && status >= 200 {
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(b []byte) (int, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	n, err := rec.ResponseWriter.Write(b)
	rec.bytes += int64(n)
	return n, err
}

// finish turns a panic into an internal fault and writes the log line. An
// answer that had begun is cut off, so that nobody takes half for the whole.
func (s *Site) finish(rec *recorder, r *http.Request) {
	p := recover()
	abort := rec.half || p != nil && rec.status != 0
	if p != nil {
		s.lost.fail(rec, r, fault.Of(fmt.Errorf("panic: %v\n%s", p, debug.Stack())))
	}
	s.logRequest(rec, r)
	if abort {
		panic(http.ErrAbortHandler)
	}
}

// logRequest writes one line. Never the query, a cookie or a body: codes and
// handles travel there. The path of an unknown route is clipped. Public
// documents that were served are for who debugs: the world reads them over and
// over, and strangers shall not fill the log.
func (s *Site) logRequest(rec *recorder, r *http.Request) {
	level, to := slog.LevelInfo, s.log.Handler()
	if rec.fault == nil && rec.row != nil && rec.row.Document {
		if level = slog.LevelDebug; !to.Enabled(r.Context(), level) {
			return
		}
	}
	now := s.now()
	attrs := []slog.Attr{
		slog.String("request_id", string(rec.id)),
		slog.Int("status", rec.status),
		slog.Int64("bytes", rec.bytes),
		slog.Int64("ms", now.Sub(rec.started).Milliseconds()),
		slog.String("source", Source(r).String()),
	}
	switch {
	case rec.row == nil:
		attrs = append(attrs, slog.String("method", clip(r.Method, 16)), slog.String("route", "-"), slog.String("path", clip(r.URL.Path, 200)))
	case rec.row.Method != r.Method: // HEAD
		attrs = append(attrs, slog.String("method", clip(r.Method, 16)), slog.String("route", rec.row.Pattern))
	default:
		to = rec.row.log
	}
	if rec.session != "" {
		attrs = append(attrs, slog.String("login_session", string(rec.session)))
	}
	if theirs := r.Header.Get(HeaderRequestID); theirs != "" {
		attrs = append(attrs, slog.String("client_request_id", clip(theirs, 64)))
	}
	if f := rec.fault; f != nil {
		attrs = append(attrs, slog.String("kind", f.Kind.String()), slog.String("code", f.Code), slog.String("error", f.Error()))
		if Status(f.Kind) >= 500 {
			level = slog.LevelError
		}
	}
	if to.Enabled(r.Context(), level) {
		line := slog.NewRecord(now, level, "request", 0) // without the place in the program: it is always this one
		line.AddAttrs(attrs...)
		_ = to.Handle(r.Context(), line) // as slog.Logger does: a log that can't be written stops nobody
	}
}

// clip bounds what the log repeats of outside input, control characters out.
func clip(v string, most int) string {
	v = strings.Map(func(c rune) rune {
		if c < 0x20 || c == 0x7f {
			return '.'
		}
		return c
	}, v)
	if len(v) > most {
		v = v[:most]
	}
	return v
}
