package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/edge/awsapi"
	"carnet.dev/carnet/internal/edge/fastpath"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/service/access"
)

// wireAWS wires the second walk (gateway, access, upstream) and the local
// authority's STS behind the one AWS port.
func (srv *Server) wireAWS(ctx context.Context, o Options) error {
	c := srv.config
	may := access.New(access.Config{
		Authority: srv.iam, Keys: srv.ring.SessionTokenKeys(), Revocations: srv.feed, Region: c.Region, Now: o.Now,
		StaticKeys: c.StaticKeys == config.Allow, Withheld: srv.withheld,
		Rule: srv.place,
	})
	domain, err := url.Parse(c.Listen.AWS.URL)
	if err != nil {
		return err
	}
	domains := []string{domain.Hostname()}
	settings := gateway.Config{
		Region: c.Region, Domains: domains, Keys: may, GatewayKeys: srv.gatewayKeys, Nodes: nodes{srv}, Decider: may, Places: may,
		Stores: srv.stores.byName, Settings: srv.iam, Logger: srv.log, Now: o.Now,
	}
	if err := srv.observe(ctx, o, &settings); err != nil {
		return err
	}
	objects, err := gateway.New(settings)
	if err != nil {
		return err
	}
	srv.measure(objects)
	if srv.sts, err = srv.newSTS(o, may); err != nil {
		return err
	}
	face := awsapi.STSConfig{Authority: srv.sts, Keys: may, Region: c.Region, Now: o.Now, Logger: srv.log, Refusals: srv.refusals}
	front := &awsapi.Front{Domains: domains}
	if c.Serves(config.FaceSTS) {
		front.STS = awsapi.NewSTS(face)
	}
	if c.Serves(config.FaceS3) {
		front.S3 = objects
	}
	srv.wireIAM(o, may, front)
	srv.aws = underOwnNames(c, o.Development, front)
	// The broker's own way in: the same handler, told apart by its listener.
	face.TrustInternal, face.Exchanges = true, innerExchanges
	srv.internal = awsapi.NewSTS(face)
	return nil
}

// innerExchanges bounds the broker's calls at once: its limiter class is its
// own, so strangers on the public port can't starve a sign-in.
const innerExchanges = 64

// silence is how long a transfer on the AWS port may stand still.
const silence = time.Minute

// awsServer serves the faces that the configuration names. Objects stream for
// as long as they take; what is bounded is the header, and silence.
func (srv *Server) awsServer() listening {
	h := &http.Server{
		Handler:           awsapi.Patient(behindProxies(srv.config, srv.config.Listen.AWS.URL, srv.aws, refuseForwarded), silence),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(srv.log.Handler(), slog.LevelDebug),
	}
	if srv.config.Listen.AWS.FastPath == config.Off {
		return h
	}
	return &fastpath.Server{HTTP: h}
}

// innerServer serves the broker.
func (srv *Server) innerServer() *http.Server {
	return &http.Server{Handler: srv.internal, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(srv.log.Handler(), slog.LevelDebug)}
}
