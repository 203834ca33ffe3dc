package server

import (
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/sts"
)

// newSTS wires the security token service of the local authority.
func (srv *Server) newSTS(o Options, may *access.Access) (*sts.Service, error) {
	c := srv.config
	keys, err := srv.keySource()
	if err != nil {
		return nil, err
	}
	return sts.New(sts.Config{
		IAM: srv.iam, Keys: srv.ring.SessionTokenKeys(), Revocations: srv.feed, Access: may, KeySets: keySets{srv.issuer, keys},
		Subjects: subjects{srv.state}, Own: &srv.own, Trail: audit.NewGroup(srv.trail), Region: c.Region, Now: o.Now,
		MinDuration: c.IAM.MinimumDuration, Expect: srv.expectAtSTS, ClusterName: srv.clusterName,
	}), nil
}
