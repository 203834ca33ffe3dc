package identity

import "context"

// Actor is who an act is done by, once that was proven: a person in their
// login session, or whoever works on the server's host. The zero value is
// nobody.
type Actor struct {
	Person       PersonID // empty for the bearer of a set-up link
	UserName     string
	LoginSession LoginSessionID
	// Host is the account of the operating system that a command on the
	// server's host runs as; empty for everyone else.
	Host string
}

// IsZero reports whether nobody is named.
func (a Actor) IsZero() bool { return a == Actor{} }

type actorKey struct{}

// WithActor gives a context that carries who acts. Set it only after the proof
// held: audit records take it over.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorFrom gives who acts; nobody where no proof was asked for.
func ActorFrom(ctx context.Context) Actor {
	a, _ := ctx.Value(actorKey{}).(Actor)
	return a
}
