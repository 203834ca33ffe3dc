package federation

// Recalls reports whether the identity provider tells us by itself when a person
// has to go, by back-channel logout. Where neither this nor provisioning does, what
// rests on a sign-in is renewed for a shorter time. Single logout of SAML goes
// through the person's browser: it doesn't count.
func (s *Speaker) Recalls() bool {
	return s.IdP.Protocol == OIDC && s.IdP.OIDC.BackChannelLogout
}
