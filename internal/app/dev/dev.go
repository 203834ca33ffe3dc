// Package dev is `carnet dev`: the whole world on loopback in one process.
//
// It is the server wired with a development identity provider, demo accounts
// and demo data, not another program. It listens on loopback only and keeps to
// a data folder of its own, which a real server refuses. It must never be
// reachable from another machine but through a tunnel that its user opens.
package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/app/dev/dataset"
	"carnet.dev/carnet/internal/app/server"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/service/federation"
)

// Options are the flags of carnet dev.
type Options struct {
	Data      string // folder
	Reset     bool   // start anew
	Check     bool   // walk, then end
	Ports     Ports
	Status    string // file for the addresses and the password; empty: none
	Authority string // an authority file in place of the demo's; empty: the demo's
	// KeyLifetime makes role keys live this short: for tests. 0: as long as
	// each role allows.
	KeyLifetime time.Duration
	// StaticKeys lets IAM users have access keys, as static_keys: allow does.
	StaticKeys bool
	Log        slog.Level

	// Program is how the embedded store's child process is started.
	Program   string
	StoreArgs []string
	StoreEnv  []string
}

type keyLifetime time.Duration

// walkLifetime is what the walk asks STS for.
func (w world) walkLifetime() time.Duration {
	if w.lifetime > 0 {
		return time.Duration(w.lifetime)
	}
	return time.Hour
}

// Run is the program: everything up, the walk, then wait for ctx to end.
func Run(ctx context.Context, o Options, out, logs io.Writer) (err error) {
	began := time.Now()
	logger := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: o.Log}))
	if err := prepare(&o); err != nil {
		return err
	}
	ca, caPath, err := ownCA(o.Data, began)
	if err != nil {
		return err
	}
	certificate, err := serverCertificate(ca, began)
	if err != nil {
		return err
	}
	sockets, w, err := open(o.Ports, certificate)
	if err != nil {
		return err
	}
	defer sockets.close()
	w.data, w.ca, w.password, w.lifetime = o.Data, caPath, newPassword(), keyLifetime(o.KeyLifetime)
	if w.binary, err = keepProgram(o); err != nil {
		return err
	}
	idp, err := newIdP(o, w)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	srv, err := start(ctx, o, &w, idp, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()

	var tasks sync.WaitGroup
	failed := make(chan error, 2)
	tasks.Go(func() { failed <- srv.Serve(ctx, sockets.Listeners) })
	tasks.Go(func() { failed <- serveIdP(ctx, acquainted(idp, srv), sockets) })
	defer tasks.Wait()
	defer stop()
	return present(ctx, o, w, out, failed, began)
}

// present prints how to use it, walks, and stays.
func present(ctx context.Context, o Options, w world, out io.Writer, failed <-chan error, began time.Time) error {
	if o.Check {
		fmt.Fprintf(out, "Carnet is up on %s after %s. The walk, over the real wire:\n", w.web, seconds(time.Since(began)))
	} else {
		fmt.Fprintf(out, "Carnet is up after %s.\n", seconds(time.Since(began)))
		w.banner(out)
		fmt.Fprintln(out, "The walk from sign-in to S3, over the real wire:")
	}
	if o.Authority == "" {
		if err := (&walk{world: &w, out: out}).run(ctx); err != nil {
			return fmt.Errorf("the walk failed at %w", err)
		}
	} else {
		fmt.Fprintln(out, "  (left out: the roles of your own authority file are not known to it)")
	}
	if o.Check {
		fmt.Fprintln(out, "All hops work.")
		return nil
	}
	if o.Status != "" {
		if err := w.writeStatus(o.Status); err != nil {
			return fmt.Errorf("write the status file: %w", err)
		}
	}
	fmt.Fprintln(out, "\nCtrl-C ends it. Data stays.")
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// prepare makes the data folder, anew where asked. It goes no further with a
// folder that isn't dev's own.
func prepare(o *Options) error {
	if o.Data == "" {
		return fault.New(fault.Misconfigured, "this user has no home for the data folder").WithMend("name one with --data")
	}
	folder, err := filepath.Abs(o.Data)
	if err != nil {
		return err
	}
	o.Data = folder
	if err := server.ClaimDevelopmentFolder(folder); err != nil || !o.Reset {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	return server.ClaimDevelopmentFolder(folder)
}

// keepProgram copies this program to a path that outlives `go run`, so that
// what is printed and what `carnet configure` writes keep working.
func keepProgram(o Options) (string, error) {
	folder := filepath.Join(o.Data, "bin")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	name := "carnet" + filepath.Ext(o.Program)
	if !strings.HasSuffix(name, ".exe") {
		name = "carnet"
	}
	path := filepath.Join(folder, name)
	from, err := os.Open(o.Program)
	if err != nil {
		return "", err
	}
	defer from.Close()
	return path, place(path, 0o700, from)
}

func newIdP(o Options, w world) (*devidp.IdP, error) {
	key, certificate, err := signingPair(o.Data, time.Now())
	if err != nil {
		return nil, err
	}
	samlURL := w.web + "/saml/consume"
	return devidp.New(devidp.Config{
		BaseURL: w.idp, EntityID: w.idp + "/metadata", Key: key, Certificate: certificate,
		Users: demoUsers(), Password: w.password, Now: time.Now,
		ServiceProviders: []devidp.SP{{EntityID: samlURL, ACS: samlURL}},
	})
}

func serveIdP(ctx context.Context, idp http.Handler, s sockets) error {
	srv := &http.Server{Handler: idp, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second}
	return server.ServeUntil(ctx, srv, s.idp)
}

// start builds the server and fills it: identity provider, authority, data.
func start(ctx context.Context, o Options, w *world, idp *devidp.IdP, logger *slog.Logger) (srv *server.Server, err error) {
	c := demoConfig(o, *w)
	if err := leaveConfig(c); err != nil {
		return nil, err
	}
	srv, err = server.New(ctx, server.Options{
		Config: c, Binary: o.Program, StoreArgs: o.StoreArgs, StoreEnv: o.StoreEnv, Logger: logger, Now: time.Now,
		Development: true, KeyLifetime: o.KeyLifetime, AlsoHosts: []string{strings.TrimPrefix(w.webTLS, "https://")},
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, srv.Close())
		}
	}()
	if err := srv.ReplaceIdP(ctx, demoIdP(idp)); err != nil {
		return nil, err
	}
	if err := applyAuthority(ctx, srv, o, w, idp, c.SAMLURL()); err != nil {
		return nil, err
	}
	objects, err := dataset.Build()
	if err != nil {
		return nil, err
	}
	for _, x := range objects {
		if err := srv.PutIfMissing(ctx, x.Bucket, x.Key, x.ContentType, x.Body); err != nil {
			return nil, err
		}
	}
	return srv, nil
}

// applyAuthority fills the local accounts: with the demo's roles, one of which
// is for its workload, or as a file of the user's own says.
func applyAuthority(ctx context.Context, srv *server.Server, o Options, w *world, idp *devidp.IdP, samlURL string) (err error) {
	if o.Authority != "" {
		return srv.ApplyAuthorityFile(ctx, o.Authority)
	}
	w.issuer = srv.RegisteredIssuer()
	if w.workload, err = openWorkload(ctx, srv, o.Data); err != nil {
		return err
	}
	text, err := demoAuthority(idp.Metadata(), samlURL, w.issuer, w.workload.id)
	if err != nil {
		return err
	}
	if err := srv.ApplyAuthority(ctx, text, func(string) ([]byte, error) {
		return nil, errors.New("the demo's authority file names no other file")
	}); err != nil {
		return err
	}
	return srv.ForgetIssuers(ctx)
}

func demoIdP(idp *devidp.IdP) federation.IdP {
	return federation.IdP{
		Name: "Development identity provider", Metadata: idp.Metadata(), Enabled: true,
		Accounts: []string{analytics, engineering}, RolePatterns: []string{federation.Any}, UserNameDomains: []string{federation.Any},
		AdministratorGroups: []string{administrators}, AllowAutoCreate: true,
	}
}

// leaveConfig writes the configuration beside the data, so that the commands of
// the server's host can be tried: carnet people list --config FOLDER/carnet.yaml
func leaveConfig(c *config.Config) error {
	text, err := config.Write(c)
	if err != nil {
		return err
	}
	return place(filepath.Join(c.Data, "carnet.yaml"), 0o600, bytes.NewReader(text))
}

// demoConfig is what carnet.yaml would say.
func demoConfig(o Options, w world) *config.Config {
	c := &config.Config{
		BaseURL: w.web, Region: region, Data: o.Data, Faces: []config.Face{config.FaceSTS, config.FaceIAM, config.FaceS3}, SameHost: config.Accepted,
		Database:     config.Database{SQLite: filepath.Join(o.Data, "carnet.db")},
		Secrets:      config.Secrets{KeyEncryptionKey: filepath.Join(o.Data, "key-encryption-key")},
		IAM:          config.IAM{MinimumDuration: config.DefaultMinimumDuration, LoopbackProviders: true},
		LoginSession: config.LoginSession{Lifetime: config.DefaultLoginSession},
		Upstreams:    []config.Upstream{{Name: "disk", Kind: config.UpstreamEmbedded, Folder: filepath.Join(o.Data, "store"), Keys: config.KeysFilesystem}},
		Buckets: []config.Bucket{
			{Match: "lab*", Account: engineering, Upstream: "disk"},
			{Match: "*", Account: analytics, Upstream: "disk"},
		},
	}
	c.Listen.AWS.URL = w.aws
	c.Listen.Web.Address, c.Listen.AWS.Address = strings.TrimPrefix(w.web, "http://"), strings.TrimPrefix(w.aws, "http://")
	if o.StaticKeys {
		c.StaticKeys = config.Allow
	}
	if o.KeyLifetime > 0 {
		c.IAM.MinimumDuration = time.Second
	}
	for _, a := range []struct{ id, name string }{{analytics, "analytics"}, {engineering, "engineering"}} {
		c.Accounts = append(c.Accounts, config.Account{
			ID: a.id, Name: a.name, Kind: config.AccountLocal, Exchanges: []config.Exchange{config.ExchangeSAML, config.ExchangeWebIdentity},
			Bridge: config.Bridge{Renew: config.Accepted},
		})
	}
	c.Complete()
	return c
}
