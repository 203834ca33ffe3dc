package audit

import (
	"context"
	"time"
)

// Round lets a test have a Shipper look once, and says when it would look again.
func (s *Shipper) Round(ctx context.Context) time.Duration { return s.round(ctx) }

// Leave lets a test end a Shipper as Run does.
func (s *Shipper) Leave(ctx context.Context) { s.leave(ctx) }

// Continue lets a test do what no server does: write on a chain that another process
// began, with the same key.
func Continue(ctx context.Context, of *Writer) (*Writer, error) {
	w, err := Open(ctx, of.Config)
	if err != nil {
		return nil, err
	}
	head, err := w.Store.Head(ctx, of.Chain())
	w.tail = &tail{signed: head, made: []Head{head}, end: head}
	return w, err
}
