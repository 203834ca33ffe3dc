package server

import (
	"log/slog"
	"net/http"
	"time"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/edge/awsapi"
	"carnet.dev/carnet/internal/edge/iamapi"
	"carnet.dev/carnet/internal/service/access"
)

// wireIAM puts the IAM face behind the AWS port, or behind the listener that
// the configuration gives it alone.
func (srv *Server) wireIAM(o Options, may *access.Access, front *awsapi.Front) {
	c := srv.config
	if !c.Serves(config.FaceIAM) {
		return
	}
	face := iamapi.New(iamapi.Config{Authority: may, IAM: srv.iam, Region: c.Region, StaticKeys: c.StaticKeys == config.Allow, Now: o.Now, Logger: srv.log, Refusals: srv.refusals})
	if c.IAM.Listen.Address == "" {
		front.IAM = face
		return
	}
	srv.iamOwn = &awsapi.Front{IAM: face} // its limits on strangers hold here too
}

// iamServer serves IAM on its own listener, if it has one.
func (srv *Server) iamServer() *http.Server {
	return &http.Server{
		Handler:           awsapi.Patient(behindProxies(srv.config, srv.config.IAMURL(), srv.iamOwn, refuseForwarded), silence),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(srv.log.Handler(), slog.LevelDebug),
	}
}
