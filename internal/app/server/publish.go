package server

import (
	"context"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/keyplace"
	"carnet.dev/carnet/internal/service/issuer"
)

// keyPlace is where the issuers' documents are published; nil: nowhere.
func (s *state) keyPlace() (issuer.Place, error) {
	p := s.config.OIDC.Publish
	switch {
	case p.Folder != "":
		return keyplace.Folder{Path: p.Folder}, nil
	case p.Upstream == "":
		return nil, nil
	}
	u, ok := s.config.Upstream(p.Upstream)
	if !ok {
		return nil, fault.New(fault.Misconfigured, "there is no upstream "+p.Upstream)
	}
	client, err := foreign(u, s)
	if err != nil {
		return nil, err
	}
	return keyplace.Bucket{Store: client, Name: p.Bucket, Prefix: p.Prefix}, nil
}

// keepPublished publishes what the world reads of the issuers, until ctx ends.
func (srv *Server) keepPublished(ctx context.Context) error {
	srv.sayIssuer()
	to, err := srv.keyPlace()
	if err != nil || to == nil {
		return err
	}
	srv.tasks.Go(func() { srv.issuer.KeepPublished(ctx, to) })
	return nil
}

// withheld reports whether a bucket is closed to every role: whoever can write
// where our issuers' keys are published is the issuer, and the audit trail is not for
// those of whom it speaks.
func (s *state) withheld(bucket string) string {
	if p := s.config.OIDC.Publish; p.Upstream != "" && bucket == p.Bucket {
		return "because this server publishes the keys of its issuer there"
	}
	for _, t := range s.config.Audit.Targets {
		if t.Kind == config.TargetS3 && bucket == t.Bucket {
			return "because this server keeps its audit trail there"
		}
	}
	return ""
}
