package attachment

import (
	"context"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/login"
)

// mostShown bounds a list.
const mostShown = 1000

func unknown() *fault.Fault {
	return fault.Coded(fault.NotFound, "attachment.unknown", "there is no such attachment").WithMend("list them: carnet attachment list")
}

// Own gives the attachments of the person of a login session, lately ended ones too,
// by time of making.
func (s *Service) Own(ctx context.Context, l login.LoginSession) ([]Listed, error) {
	if l.Person.ID == "" {
		return nil, nil
	}
	return s.OfPerson(ctx, l.Person.ID)
}

// OfPerson gives the attachments of a person, lately ended ones too, by time of making.
func (s *Service) OfPerson(ctx context.Context, id identity.PersonID) ([]Listed, error) {
	all, err := s.Lists.Of(ctx, id, "", mostShown)
	return s.listed(all), err
}

// EndOwn ends one of the person of a login session. Fault: NotFound, also for one of
// somebody else; none where it has ended.
func (s *Service) EndOwn(ctx context.Context, l login.LoginSession, id identity.AttachmentID) error {
	a, err := s.Lists.Attachment(ctx, id)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if err != nil || l.Person.ID == "" || a.Person != l.Person.ID {
		return unknown()
	}
	_, err = s.end(ctx, &a, WhyDetached)
	return err
}

// managed gives a cluster to those who manage it, and to administrators. To others
// there is no such cluster.
func (s *Service) managed(l login.LoginSession, text string) (cluster.Cluster, error) {
	c, err := s.Clusters.Find(text)
	if err == nil && !l.Administrator && !s.Rules.MayManage(c, l.Person.ID) {
		return cluster.Cluster{}, fault.Coded(fault.NotFound, "cluster.unknown", "you manage no such cluster").WithMend("ask an administrator")
	}
	if err != nil && !l.Administrator && fault.KindOf(err) == fault.NotFound {
		err = fault.Coded(fault.NotFound, "cluster.unknown", "you manage no such cluster").WithMend("ask an administrator")
	}
	return c, err
}

// List gives the attachments of a cluster to those who manage it. Fault: NotFound.
func (s *Service) List(ctx context.Context, l login.LoginSession, of string) ([]Listed, error) {
	c, err := s.managed(l, of)
	if err != nil {
		return nil, err
	}
	all, err := s.Lists.Of(ctx, "", c.ID, mostShown)
	return s.listed(all), err
}

// EndOne ends one of a cluster, at the word of who manages it. Fault: NotFound.
func (s *Service) EndOne(ctx context.Context, l login.LoginSession, of string, id identity.AttachmentID) error {
	c, err := s.managed(l, of)
	if err != nil {
		return err
	}
	a, err := s.Lists.Attachment(ctx, id)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if err != nil || a.Cluster != c.ID {
		return unknown()
	}
	_, err = s.end(ctx, &a, WhyManager)
	return err
}

// All gives everybody's, for whoever works on the server's host.
func (s *Service) All(ctx context.Context) ([]Listed, error) {
	all, err := s.Lists.Of(ctx, "", "", mostShown)
	return s.listed(all), err
}

// EndAny ends anybody's, for whoever works on the server's host. Fault: NotFound.
func (s *Service) EndAny(ctx context.Context, id identity.AttachmentID) error {
	a, err := s.Lists.Attachment(ctx, id)
	if err != nil {
		return err
	}
	_, err = s.end(ctx, &a, WhyManager)
	return err
}
