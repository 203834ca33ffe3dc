package gateway

import (
	"log/slog"

	"carnet.dev/carnet/internal/protocol/s3"
)

// log writes the access record of a request. It holds no secret: of the
// credential only the access key id, and of the target no query, where a
// presigned URL carries its signature and token.
func (x *exchange) log() {
	op, bucket, key := s3.Name("-"), "", ""
	if x.op != nil {
		op, bucket, key = x.op.Name, x.op.Bucket, x.op.Key
	}
	attrs := make([]slog.Attr, 0, 20)
	attrs = append(attrs,
		slog.String("request_id", string(x.id)), slog.String("source", x.g.config.Source(x.r).String()),
		slog.String("method", x.r.Method), slog.String("operation", string(op)),
		slog.String("bucket", bucket), slog.String("key", key),
		slog.Int("status", x.status), slog.Int64("sent", x.sent), slog.Int64("received", x.received),
		slog.Duration("took", x.g.config.Now().Sub(x.began)), slog.String("user_agent", x.r.UserAgent()),
	)
	if x.claimed != "" {
		attrs = append(attrs, slog.String("access_key_id", x.claimed))
	}
	if x.presented != nil {
		attrs = append(attrs,
			slog.String("principal", x.caller.ARN),
			slog.String("person", string(x.caller.Person)), slog.String("authentication", x.presented.Place.String()),
		)
	}
	if x.code != "" {
		attrs = append(attrs, slog.String("error", x.code))
	}
	if x.cause != nil {
		attrs = append(attrs, slog.String("cause", x.cause.Error()))
	}
	x.g.config.Logger.LogAttrs(x.r.Context(), slog.LevelInfo, "s3", attrs...)
}
