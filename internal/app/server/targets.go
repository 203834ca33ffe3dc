package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/audittarget/jsonlines"
	"carnet.dev/carnet/internal/edge/audittarget/objects"
	"carnet.dev/carnet/internal/edge/audittarget/otlp"
	"carnet.dev/carnet/internal/edge/audittarget/syslog"
	"carnet.dev/carnet/internal/edge/egress"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/service/audit"
)

// shipTrail brings the trail to every audit target of the configuration until ctx
// ends.
func (srv *Server) shipTrail(ctx context.Context) error {
	shippers := map[string]*audit.Shipper{}
	for _, t := range srv.config.Audit.Targets {
		c := audit.ShipperConfig{Places: sqlaudit.Store{DB: srv.db}, Server: srv.trail.Chain(), Now: srv.now, Logger: srv.log}
		if err := srv.openTarget(ctx, t, &c); err != nil {
			return fmt.Errorf("audit target %s: %w", t.Name, err)
		}
		shipper := audit.NewShipper(c)
		shippers[t.Name] = shipper
		srv.tasks.Go(func() {
			shipper.Run(ctx)
			if open, ok := c.Target.(io.Closer); ok {
				_ = open.Close() // all that counts was taken before
			}
		})
	}
	srv.measureTargets(shippers)
	return nil
}

// openTarget makes what takes the trail, and says how much of it goes at once. It
// connects to nothing: a target that is away holds no start back.
func (srv *Server) openTarget(ctx context.Context, t config.AuditTarget, c *audit.ShipperConfig) (err error) {
	switch t.Kind {
	case config.TargetFile:
		c.Target = jsonlines.New(t.Name, t.File)
	case config.TargetSyslog:
		c.Target, err = srv.openSyslog(t)
	case config.TargetOTLP:
		c.Target, err = srv.openCollector(t)
	case config.TargetS3:
		c.Most, c.MostBytes, c.Wait = mostInObject, mostBytesInObject, t.Every
		c.Target, err = srv.openBucket(ctx, t)
	default:
		err = fault.New(fault.Misconfigured, fmt.Sprintf("there is no kind %q", t.Kind))
	}
	return err
}

// Bounds of one object of the trail.
const (
	mostInObject      = 10_000
	mostBytesInObject = 16 << 20
)

func (srv *Server) openSyslog(t config.AuditTarget) (audit.Target, error) {
	u, err := url.Parse(t.Address)
	if err != nil {
		return nil, err
	}
	c := syslog.Config{Name: t.Name, Network: syslog.Network(u.Scheme), Address: u.Host, Facility: slices.Index(config.Facilities(), t.Facility), MostBytes: t.MostBytes,
		Host: machineName(), Version: buildVersion(), Now: srv.now}
	switch c.Network {
	case syslog.Unix:
		c.Address = u.Path
	case syslog.TLS:
		c.TLS = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
		c.TLS.RootCAs, c.TLS.Certificates, err = shown(t)
	}
	return syslog.New(c), err
}

// openCollector makes a target of a collector. The address stands in the
// configuration, so it may be a private one.
func (srv *Server) openCollector(t config.AuditTarget) (audit.Target, error) {
	u, err := url.Parse(t.Endpoint)
	if err != nil {
		return nil, err
	}
	c := otlp.Config{Name: t.Name, Endpoint: t.Endpoint, Host: machineName(), Version: buildVersion(), Now: srv.now}
	if c.Headers, err = secretHeaders(t.HeadersFile); err != nil {
		return nil, err
	}
	to := egress.Config{Timeout: audit.DefaultPatience}
	if to.Allow, err = allowed(srv.config, u.Hostname()); err != nil {
		return nil, err
	}
	if to.Roots, to.Certificates, err = shown(t); err != nil {
		return nil, err
	}
	c.Client = egress.New(to)
	return otlp.New(c), nil
}

// openBucket makes a target of a bucket. In the embedded store the bucket is made,
// since nobody else could: it is closed to every role.
func (srv *Server) openBucket(ctx context.Context, t config.AuditTarget) (audit.Target, error) {
	u, ok := srv.config.Upstream(t.Upstream)
	client := srv.stores.clients[t.Upstream]
	if !ok || client == nil {
		return nil, fault.New(fault.Misconfigured, "there is no upstream "+t.Upstream)
	}
	c := objects.Config{Name: t.Name, Store: client, Bucket: t.Bucket, Prefix: t.Prefix}
	switch u.Kind {
	case config.UpstreamEmbedded:
		if err := call(ctx, client, http.MethodPut, t.Bucket); err != nil {
			return nil, err
		}
	case config.UpstreamAWS:
		own, err := ownIdentity(srv.config)
		if err != nil {
			return nil, err
		}
		if c.As, err = own.Keys(ctx); err != nil {
			return nil, err
		}
	}
	return objects.New(c), nil
}

// shown gives whom a target's TLS believes, nil for the system's authorities, and the
// certificate that it shows.
func shown(t config.AuditTarget) (roots *x509.CertPool, certificates []tls.Certificate, err error) {
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, nil, fault.Wrap(err, fault.Misconfigured, "cannot read the ca file")
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return nil, nil, fault.New(fault.Misconfigured, t.CA+" holds no PEM certificate")
		}
	}
	if t.Client.On() {
		pair, err := tls.LoadX509KeyPair(t.Client.Certificate, t.Client.Key)
		if err != nil {
			return nil, nil, fault.Wrap(err, fault.Misconfigured, "cannot use the certificate that is shown").WithMend("check client.certificate and client.key: PEM, one pair")
		}
		certificates = []tls.Certificate{pair}
	}
	return roots, certificates, nil
}

// secretHeaders reads a file of headers.
func secretHeaders(path string) (map[string]secret.Text, error) {
	all, err := config.ReadHeaders(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Misconfigured, "cannot use the headers_file")
	}
	headers := map[string]secret.Text{}
	for _, h := range all {
		headers[h.Name] = h.Value
	}
	return headers, nil
}

// machineName is this machine's name; empty where it has none.
func machineName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// measureTargets adds how far behind the targets are. Every server knows; how much
// was taken is counted where it was brought.
func (srv *Server) measureTargets(shippers map[string]*audit.Shipper) {
	m := srv.metrics
	if m == nil || len(shippers) == 0 {
		return
	}
	ask := func(name, help string, read func(audit.ShipState) float64) {
		m.Ask(name, help, []string{"target"}, func(add func(float64, ...string)) {
			for target, s := range shippers {
				add(read(s.State()), target)
			}
		})
	}
	ask("carnet_audit_target_lag_records", "Audit records that the target has not taken.", func(s audit.ShipState) float64 { return float64(s.Records) })
	ask("carnet_audit_target_lag_seconds", "Age of the oldest audit record that the target has not taken; 0: it has all.", func(s audit.ShipState) float64 {
		if s.Oldest.IsZero() {
			return 0
		}
		return max(0, srv.now().Sub(s.Oldest).Seconds())
	})
	ask("carnet_audit_target_failing", "1 while this server feeds the target and it takes nothing.", func(s audit.ShipState) float64 {
		if s.Holds && s.Trouble != "" {
			return 1
		}
		return 0
	})
	ask("carnet_audit_target_records", "Audit records that this process brought to the target.", func(s audit.ShipState) float64 { return float64(s.Taken) })
}
