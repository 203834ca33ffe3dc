package server

import (
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/awsapi"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/sts"
)

// wireAWS wires the second walk (gateway, access, upstream) and the local
// authority's STS behind the one AWS port.
func (srv *Server) wireAWS(o Options) error {
	c := srv.config
	may := access.New(access.Config{
		Authority: srv.iam, Keys: srv.ring.SessionTokenKeys(), Revocations: srv.feed, Region: c.Region, Now: o.Now,
		Rule: func(bucket string) (account, upstream string, ok bool) {
			rule, ok := c.BucketRule(bucket)
			return rule.Account, rule.Upstream, ok
		},
	})
	domain, err := url.Parse(c.Listen.AWS.URL)
	if err != nil {
		return err
	}
	objects, err := gateway.New(gateway.Config{
		Region: c.Region, Domains: []string{domain.Hostname()}, Keys: may, Decider: may, Places: may,
		Stores: srv.stores.byName, Logger: srv.log, Now: o.Now,
	})
	if err != nil {
		return err
	}
	authority := sts.New(sts.Config{
		IAM: srv.iam, Keys: srv.ring.SessionTokenKeys(), Revocations: srv.feed, Trail: srv.trail, Now: o.Now,
		MinDuration: c.IAM.MinimumDuration,
	})
	face := awsapi.STSConfig{Authority: authority, Keys: may, Region: c.Region, Now: o.Now, Logger: srv.log}
	front := &awsapi.Front{Refuse: refuseFace}
	if c.Serves(config.FaceSTS) {
		front.STS = awsapi.NewSTS(face)
	}
	if c.Serves(config.FaceS3) {
		front.S3 = objects
	}
	srv.aws = front
	// The broker's own way in: the same handler, told apart by its listener.
	face.TrustInternal, face.Exchanges = true, innerExchanges
	srv.internal = awsapi.NewSTS(face)
	return nil
}

// innerExchanges bounds the broker's calls at once: its limiter class is its
// own, so strangers on the public port can't starve a sign-in.
const innerExchanges = 64

// refuseFace answers a request for a service that this listener doesn't serve.
func refuseFace(w http.ResponseWriter, _ *http.Request, service string) {
	e := s3.Error{
		Code: "AuthorizationHeaderMalformed", Status: http.StatusBadRequest, RequestID: string(identity.NewRequestID()),
		Message: "The credential is scoped to the service " + strconv.Quote(clip(service)) + ", which is not served here; sign for s3 or sts.",
	}
	h := w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("X-Amz-Request-Id", e.RequestID)
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(e.Status)
	_, _ = w.Write(e.XML())
}

func clip(s string) string {
	const most = 32
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// awsServer serves the faces that the configuration names. Objects stream for
// as long as they take; what is bounded is the header, and silence.
func (srv *Server) awsServer() *http.Server {
	return &http.Server{
		Handler:           srv.aws,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(srv.log.Handler(), slog.LevelDebug),
	}
}

// innerServer serves the broker.
func (srv *Server) innerServer() *http.Server {
	return &http.Server{Handler: srv.internal, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(srv.log.Handler(), slog.LevelDebug)}
}
