package audit

import (
	"context"
	"time"
)

// Round lets a test have a Shipper look once, and says when it would look again.
func (s *Shipper) Round(ctx context.Context) time.Duration { return s.round(ctx) }

// Leave lets a test end a Shipper as Run does.
func (s *Shipper) Leave(ctx context.Context) { s.leave(ctx) }
