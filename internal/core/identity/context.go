package identity

import (
	"context"
	"net/netip"
)

type requestIDKey struct{}

// WithRequestID gives a context that carries the id of the request being
// served, so that logs, audit records and calls onward can name it.
func WithRequestID(ctx context.Context, id RequestID) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestIDFrom gives the id of the request being served, or "" outside one.
func RequestIDFrom(ctx context.Context) RequestID {
	id, _ := ctx.Value(requestIDKey{}).(RequestID)
	return id
}

type sourceKey struct{}

// WithSource gives a context that carries the address that the request being
// served came from, as the connection or a trusted proxy says it.
func WithSource(ctx context.Context, from netip.Addr) context.Context {
	return context.WithValue(ctx, sourceKey{}, from)
}

// SourceFrom gives the address that the request being served came from, or ""
// outside one.
func SourceFrom(ctx context.Context) string {
	if from, ok := ctx.Value(sourceKey{}).(netip.Addr); ok && from.IsValid() {
		return from.String()
	}
	return ""
}
