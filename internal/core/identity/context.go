package identity

import "context"

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
