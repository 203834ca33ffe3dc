package server

import (
	"context"
	"sync"
)

// recordRefusals records what is refused, and signs the last of it: the trail's own
// last checkpoint doesn't wait for it.
func (s *state) recordRefusals(ctx context.Context, tasks *sync.WaitGroup) {
	tasks.Go(func() {
		s.refusals.Run(ctx)
		signing, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCheckpoint)
		defer cancel()
		if err := s.trail.Checkpoint(signing); err != nil {
			s.log.Warn("the last refusals in the audit trail are not signed", "error", err)
		}
	})
}
