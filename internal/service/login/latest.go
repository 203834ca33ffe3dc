package login

import (
	"context"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// Latest gives the newest login session of a person that neither ended nor was
// revoked. Errors: Unauthenticated where there is none, Unavailable.
func (s *Service) Latest(ctx context.Context, person identity.PersonID) (LoginSession, error) {
	if person == "" {
		return LoginSession{}, notSignedIn()
	}
	all, err := s.Upkeep.Surplus(ctx, person, "", 0)
	if err != nil {
		return LoginSession{}, err
	}
	for _, id := range all {
		l, err := s.ResumeID(ctx, id)
		if err == nil || fault.KindOf(err) != fault.Unauthenticated {
			return l, err
		}
	}
	return LoginSession{}, notSignedIn()
}
