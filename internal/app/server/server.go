// Package server wires the parts of `carnet server`: one readable function per
// part of the program, top to bottom.
//
// It decides nothing itself. `carnet dev` uses it with its own configuration
// and listeners. It must never start half: what is misconfigured is said
// before the first listener answers.
package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/gateway/accesslog"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/edge/web"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/denial"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/oauth"
	"carnet.dev/carnet/internal/service/sts"
)

// Options are what a program of this process decides.
type Options struct {
	Config *config.Config
	// Binary is this program's file, for the embedded store's child process.
	Binary string
	// StoreArgs and StoreEnv change how the child is started; tests start
	// themselves. Empty: the command `store`, no environment.
	StoreArgs []string
	StoreEnv  []string
	Logger    *slog.Logger
	// Logs is the stream below Logger, for lines of JSON that are written in
	// groups; nil sends them through Logger.
	Logs io.Writer
	Now  func() time.Time
	// Development admits a folder of `carnet dev`, and only that.
	Development bool
	// AlsoHosts are further values of the Host header that pages answer to.
	AlsoHosts []string
	// KeyLifetime shortens role keys below AWS's minimum, for tests on
	// loopback; 0 asks for the longest that each role allows.
	KeyLifetime time.Duration
}

// Server is the wired program.
type Server struct {
	*state
	broker *broker.Broker
	login  *login.Service
	oauth  *oauth.Service
	// gatewayKeys are the keys without a session token.
	gatewayKeys *gatewaykeys.Service
	attachments *attachment.Service
	sts         *sts.Service
	stores      *stores
	site        *httpd.Site
	aws         http.Handler
	denials     *denial.Keeper
	reader      *audit.Reader  // of the trail, for administrators
	queue       *audit.Queue   // of S3 decisions
	lines       *accesslog.Log // nil: lines go through the log, or nowhere
	iamOwn      http.Handler   // nil: IAM answers on the AWS listener

	inner    *inner
	internal http.Handler
	own      own // what STS knows of our own tokens

	stop  context.CancelFunc
	tasks sync.WaitGroup
	room  []byte // see Headroom
}

// New builds every part, from the database up, and starts what runs in the
// background: the end of starting ends New, but what runs ends with Close alone.
// Requests are still under way when a program is told to end, and what is
// revoked then has to reach them too.
func New(starting context.Context, o Options) (_ *Server, err error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(starting))
	detach := context.AfterFunc(starting, stop)
	srv := &Server{stop: stop, inner: newInner(), stores: &stores{}, room: headroom()}
	defer func() {
		if !detach() {
			err = errors.Join(err, starting.Err())
		}
		if err != nil {
			err = errors.Join(err, srv.Close())
		}
	}()
	if srv.state, err = openState(ctx, o, serverID()); err != nil {
		return nil, err
	}
	if err := srv.run(ctx, &srv.tasks); err != nil {
		return nil, err
	}
	if srv.stores, err = openStores(ctx, srv.state, o); err != nil {
		return nil, err
	}
	if err := srv.iam.EnsureAdministratorRoles(ctx); err != nil {
		return nil, err
	}
	srv.own.state, srv.own.delegations = srv.state, srv.workload
	if srv.broker, err = newBroker(srv.state, o, srv.inner); err != nil {
		return nil, err
	}
	if srv.login, err = newLogin(ctx, srv.state, srv.broker); err != nil {
		return nil, err
	}
	if risk := bridgeRisk(srv.config); risk != "" {
		srv.log.Warn(risk)
	}
	if srv.gatewayKeys, err = srv.openGatewayKeys(ctx, srv.login, srv.broker); err != nil {
		return nil, err
	}
	if err := srv.wireAWS(ctx, o); err != nil {
		return nil, err
	}
	srv.stores.run(ctx, &srv.tasks)
	srv.tasks.Go(func() { srv.gatewayKeys.Run(ctx) })
	srv.tasks.Go(func() { srv.broker.Run(ctx) })
	srv.tasks.Go(func() { srv.login.Run(ctx) })
	devices := srv.openDevices()
	srv.tasks.Go(func() { devices.Run(ctx, srv.log) })
	if srv.oauth, err = srv.openOAuth(ctx, srv.login, devices, srv.broker); err != nil {
		return nil, err
	}
	srv.tasks.Go(func() { srv.oauth.Run(ctx) })
	if err := srv.openAttachments(ctx); err != nil {
		return nil, err
	}
	if err := srv.keepPublished(ctx); err != nil {
		return nil, err
	}
	if err := srv.shipTrail(ctx); err != nil {
		return nil, err
	}
	srv.readTrail(ctx)
	return srv, srv.wireSite(o)
}

// wireSite puts pages and API behind one table of routes.
func (srv *Server) wireSite(o Options) error {
	c := srv.config
	base, err := url.Parse(c.BaseURL)
	if err != nil {
		return err
	}
	pages, err := web.New(srv.pages(base, o))
	if err != nil {
		return err
	}
	home, elsewhere := places(c)
	srv.site, err = httpd.New(httpd.Config{
		BaseURL: base, AlsoHosts: o.AlsoHosts, Sessions: srv.login, AccessTokens: srv.oauth, Nodes: srv.clusters, Machines: srv.oauth, Provisioners: srv.provisioning, Page: pages.ErrorPage, Logger: srv.log, Now: o.Now,
	}, pages.Routes(), api.Routes(api.Config{
		Login: srv.login, Providers: srv.federation, Metadata: srv.federation, Installation: srv.federation, Keys: srv.spkeys, SAMLURL: c.SAMLURL(),
		Cookies: httpd.NewCookies(base), Web: c.BaseURL, Home: home, Elsewhere: elsewhere, LocalAccounts: localNumbers(c),
		Administration: srv.newAdministrator(), Issuers: srv.issuers, IDTokens: srv.oauth, Delegations: srv.workload, Denials: srv.denials, Trail: srv.reader, Stores: srv.upstreams,
		GatewayKeys: srv.gatewayKeys, GatewayClusters: srv.clusters, PrefixGrants: srv.gatewayKeys, Delivery: srv.gatewayKeys, ByGateway: byGateway(c),
		Clusters: srv.clusters, ClusterRules: srv.clusters, ClusterNodes: srv.clusters, Names: clusterNames{srv.state}, GroupsAround: srv.directory.GroupsAround, Now: o.Now,
		Attachments: srv.attachments, ClusterAttachments: srv.attachments, Revocations: revoking{srv.state},
	}), srv.issuerRoutes(base, pages.ErrorPage), srv.nodeRoutes(home, elsewhere), srv.scimRoutes())
	return err
}

func webAccounts(c *config.Config) []web.Account {
	var all []web.Account
	for _, a := range c.Accounts {
		w := web.Account{ID: a.ID, Name: a.Name, Region: a.Region}
		w.Gateway = a.Kind == config.AccountAWS && a.Deliver == config.DeliverGateway
		if a.Kind == config.AccountLocal || w.Gateway {
			w.S3, w.Region = c.Listen.AWS.URL, c.Region
		}
		all = append(all, w)
	}
	return all
}

// places says where keys are used: those of local accounts here, others at AWS.
func places(c *config.Config) (home api.Place, elsewhere map[string]api.Place) {
	elsewhere = map[string]api.Place{}
	for _, a := range c.Accounts {
		if a.Kind != config.AccountLocal {
			elsewhere[a.ID] = api.Place{Region: a.Region}
		}
	}
	home = api.Place{Region: c.Region, S3: c.Listen.AWS.URL, STS: c.Listen.AWS.URL}
	if c.Serves(config.FaceIAM) {
		home.IAM = c.IAMURL()
	}
	return home, elsewhere
}

func localNumbers(c *config.Config) (ids []string) {
	for _, a := range c.Accounts {
		if a.Kind == config.AccountLocal {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

// ready says whether this server should get requests: its view of what was
// revoked counts and its stores answer.
func (srv *Server) ready(ctx context.Context) error {
	errs := []error{srv.feed.Current()}
	for _, child := range srv.stores.children {
		errs = append(errs, child.Ready(ctx))
	}
	return errors.Join(errs...)
}

// Serve answers on the listeners until ctx ends, then lets requests that are
// under way finish.
func (srv *Server) Serve(ctx context.Context, l Listeners) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(ctx, srv.attachments.Rest)() // nodes go on with another server
	failed := make(chan error, 5)
	// The internal listener is drained last: the broker may be in a call.
	var outer sync.WaitGroup
	innerCtx, stopInner := context.WithCancel(context.WithoutCancel(ctx))
	defer stopInner()
	var last sync.WaitGroup
	last.Go(func() { failed <- ServeUntil(innerCtx, srv.innerServer(), []net.Listener{srv.inner}) })
	outer.Go(func() {
		failed <- ServeUntil(ctx, httpd.NewServer(behindProxies(srv.config, srv.config.BaseURL, srv.site, httpd.Problem), srv.log), l.Web)
	})
	outer.Go(func() { failed <- ServeUntil(ctx, srv.awsServer(), l.AWS) })
	outer.Go(func() { failed <- ServeUntil(ctx, srv.iamServer(), l.IAM) })
	outer.Go(func() { failed <- ServeUntil(ctx, srv.metricsServer(), l.Metrics) })
	err := <-failed // the first to end ends all
	stop()
	outer.Wait()
	stopInner()
	last.Wait()
	return errors.Join(err, <-failed, <-failed, <-failed, <-failed)
}

// drain is how long requests under way may take once the end was asked for.
const drain = 5 * time.Second

// listening is an http.Server, or one before it.
type listening interface {
	Serve(l net.Listener) error
	Shutdown(ctx context.Context) error
	Close() error
}

// ServeUntil runs one HTTP server on listeners until ctx ends.
func ServeUntil(ctx context.Context, s listening, listeners []net.Listener) error {
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- s.Serve(l) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if s.Shutdown(end) != nil {
		_ = s.Close() // what still runs is cut: nothing half-written is visible
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// SetupLink gives a link for the first administrator while nobody can sign in;
// empty once somebody can.
func (srv *Server) SetupLink(ctx context.Context) (string, error) {
	needed, err := srv.login.NeedsSetup(ctx)
	if err != nil || !needed {
		return "", err
	}
	code, err := srv.login.NewSetupLink(ctx)
	if err != nil {
		return "", err
	}
	return linkWith(srv.config.BaseURL, code), nil
}

func linkWith(base string, code secret.Text) string {
	return base + "/setup?code=" + url.QueryEscape(code.Reveal())
}

// recoveryLink makes a link from a command on the host.
func (s *state) recoveryLink(ctx context.Context) (string, error) {
	b, err := newBroker(s, Options{}, nil)
	if err != nil {
		return "", err
	}
	l, err := newLogin(ctx, s, b)
	if err != nil {
		return "", err
	}
	code, err := l.NewRecoveryLink(ctx)
	if err != nil {
		return "", err
	}
	return linkWith(s.config.BaseURL, code), nil
}

// Close ends what runs in the background and the child processes, then closes
// the database. Serve must have returned.
func (srv *Server) Close() error {
	srv.stop()
	srv.tasks.Wait()
	errs := []error{srv.inner.Close(), srv.stores.close()}
	if srv.state != nil {
		errs = append(errs, srv.state.close())
	}
	return errors.Join(errs...)
}
