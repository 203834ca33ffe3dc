package server

import (
	"carnet.dev/carnet/internal/edge/upstream/jwks"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/sts"
)

// newSTS wires the security token service of the local authority.
func (srv *Server) newSTS(o Options, may *access.Access) (*sts.Service, error) {
	c := srv.config
	keys := jwks.Config{Now: o.Now}
	var err error
	if keys.Client, err = guarded(c); err != nil {
		return nil, err
	}
	if c.IAM.LoopbackProviders {
		if keys.Loopback, err = guarded(c, "127.0.0.0/8", "::1", "localhost"); err != nil {
			return nil, err
		}
	}
	return sts.New(sts.Config{
		IAM: srv.iam, Keys: srv.ring.SessionTokenKeys(), Revocations: srv.feed, Access: may, KeySets: keySets{srv.issuer, jwks.New(keys)},
		Subjects: subjects{srv.state}, Own: &srv.own, Trail: audit.NewGroup(srv.trail), Region: c.Region, Now: o.Now,
		MinDuration: c.IAM.MinimumDuration, Expect: srv.expectAtSTS,
	}), nil
}
