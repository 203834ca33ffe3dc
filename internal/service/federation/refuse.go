package federation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// RefusePending throws pending metadata away: an administrator's word. The same
// document does not wait again; another one does. revision as for
// AcceptPending. Errors: Conflict when nothing is pending or it changed
// meanwhile.
func (s *Service) RefusePending(ctx context.Context, id identity.IdPID, revision int64) (IdP, error) {
	sp, err := s.find(id)
	if err != nil {
		return IdP{}, err
	}
	p := sp.IdP
	switch {
	case revision != 0 && revision != p.Revision:
		return IdP{}, changedMeanwhile(p)
	case len(p.Kept.Pending) == 0:
		return IdP{}, fault.Coded(fault.Conflict, "federation.nothing-pending", "no metadata of identity provider "+p.Name+" is pending")
	}
	p.Kept.Refused = digest(p.Kept.Pending)
	p.Kept.Pending, p.Kept.PendingSince, p.Kept.Why = nil, time.Time{}, ""
	return s.keep(ctx, sp.IdP, p, event.Event{Action: "identity-provider.metadata-refused", Outcome: event.Done,
		Detail: map[string]string{"sha256": p.Kept.Refused}})
}

func digest(document []byte) string {
	sum := sha256.Sum256(document)
	return hex.EncodeToString(sum[:])
}
