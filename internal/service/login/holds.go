package login

// Holds is nil while a login session is neither over nor revoked. Errors:
// Unauthenticated, Unavailable while this server can't say.
func (s *Service) Holds(l LoginSession) error {
	if l.live == nil {
		return notSignedIn()
	}
	return s.holds(l.live)
}
