package gateway

import (
	"context"
	"log/slog"
)

// ToLog writes one line per request to a process log.
type ToLog struct{ Logger *slog.Logger }

// Observe writes the line.
func (l ToLog) Observe(r *Record) {
	ctx := context.Background()
	if !l.Logger.Enabled(ctx, slog.LevelInfo) {
		return
	}
	op := string(r.Operation)
	if op == "" {
		op = "-"
	}
	attrs := make([]slog.Attr, 0, 20)
	attrs = append(attrs,
		slog.String("request_id", string(r.Request)), slog.String("source", r.Source.String()),
		slog.String("method", r.Method), slog.String("operation", op),
		slog.String("bucket", r.Bucket), slog.String("key", r.Key),
		slog.Int("status", r.Status), slog.Int64("sent", r.Sent), slog.Int64("received", r.Received),
		slog.Duration("took", r.Total), slog.String("user_agent", r.UserAgent),
	)
	if r.AccessKeyID != "" {
		attrs = append(attrs, slog.String("access_key_id", r.AccessKeyID))
	}
	if r.Caller != nil {
		attrs = append(attrs,
			slog.String("principal", r.Caller.ARN),
			slog.String("person", string(r.Caller.Person)), slog.String("authentication", r.Authentication),
		)
	}
	if r.Code != "" {
		attrs = append(attrs, slog.String("error", r.Code))
	}
	if r.Cause != nil {
		attrs = append(attrs, slog.String("cause", r.Cause.Error()))
	}
	l.Logger.LogAttrs(ctx, slog.LevelInfo, "s3", attrs...)
}
