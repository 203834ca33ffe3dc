package server

import (
	"context"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/edge/nodeapi"
	sqlattachment "carnet.dev/carnet/internal/edge/sql/attachment"
	sqldevice "carnet.dev/carnet/internal/edge/sql/device"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/holder"
)

// attachmentConfig is what attachments stand on that rests: enough for commands on the
// host, which list and end them.
func (s *state) attachmentConfig() attachment.Config {
	store := sqlattachment.Store{DB: s.db}
	byAccount := byGateway(s.config)
	return attachment.Config{
		Requests: store, Changes: store, Lists: store, Clusters: s.clusters, Rules: s.clusters, People: attached{machines{s.directory}, s}, Delegations: s.workload,
		Accounts: entitledAccounts(s.config), ByGateway: func(account string) bool { return byAccount(account, "") }, Counts: sqldevice.Store{DB: s.db},
		Feed: s.feed, State: s.db, Trail: s.trail, Now: s.now, Logger: s.log, Page: s.config.BaseURL + "/attach",
	}
}

// openAttachments opens attachments as the server serves them.
func (srv *Server) openAttachments(ctx context.Context) (err error) {
	c := srv.attachmentConfig()
	c.Sessions, c.Tokens, c.GatewayKeys, c.Binder = srv.login, srv.broker, srv.gatewayKeys, srv.sts
	c.Holders = holder.Holders{Sessions: srv.login, Entitled: srv.broker, Machines: srv.workload, STS: srv.broker.STS, Meta: srv.meta, Accounts: c.Accounts, Ledger: srv.withdrawal, Now: srv.now}
	srv.attachments, err = attachment.Open(ctx, c)
	if err == nil {
		srv.own.attachments = srv.attachments
		srv.tasks.Go(func() { srv.attachments.Run(ctx) })
	}
	return err
}

// nodeRoutes are those of the agents of nodes.
func (srv *Server) nodeRoutes(home api.Place, elsewhere map[string]api.Place) []httpd.Route {
	places := map[string]nodeapi.Place{}
	for id, p := range elsewhere {
		places[id] = nodeapi.Place{Region: p.Region, S3: p.S3, STS: p.STS}
	}
	return nodeapi.Routes(nodeapi.Config{Nodes: srv.clusters, Attaching: srv.attachments, Serving: srv.attachments, Trino: srv.attachments, JDBC: srv.newJDBC(),
		Web: srv.config.BaseURL, Home: nodeapi.Place{Region: home.Region, S3: home.S3, STS: home.STS}, Elsewhere: places})
}

// attached is the directory as attachments ask it.
type attached struct {
	machines
	*state
}

// ByUserName gives the person of an identity provider with a user name.
func (a attached) ByUserName(ctx context.Context, idp identity.IdPID, userName string) (directory.Person, error) {
	return a.machines.Identities.ByUserName(ctx, idp, userName)
}

// Named gives all people with a user name.
func (a attached) Named(ctx context.Context, userName string) (all []directory.Person, err error) {
	for _, p := range a.federation.List() {
		found, err := a.ByUserName(ctx, p.ID, userName)
		if err == nil {
			all = append(all, found)
		} else if fault.KindOf(err) != fault.NotFound {
			return nil, err
		}
	}
	return all, nil
}

// nodes is what records of S3 requests ask about the keys of nodes.
type nodes struct{ *Server }

// ClusterName gives a cluster's name.
func (n nodes) ClusterName(id identity.ClusterID) string { return n.clusterName(id) }

// ProcessOwner gives who owns the processes of an attachment.
func (n nodes) ProcessOwner(id identity.AttachmentID) string {
	return n.attachments.ProcessOwner(id)
}
