package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"carnet.dev/carnet/internal/app/cli/profile"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/client"
)

// signedIn is a live profile and the API behind it.
type signedIn struct {
	name    string
	profile profile.Profile
	folder  *profile.Folder
	api     *client.Client
}

func (s *signedIn) close() { s.folder.Close() }

// save writes the profile back.
func (s *signedIn) save() error { return s.folder.Save(s.name, s.profile) }

// profileName gives the CLI profile that this run works with.
func (r *run) profileName() (string, error) {
	name := r.profile
	if name == "" {
		name = r.Getenv("CARNET_PROFILE")
	}
	if name == "" {
		name = "default"
	}
	if err := profile.CheckName(name); err != nil {
		return "", usage("%v", err)
	}
	return name, nil
}

// serverAddress gives the server that this run names, or "".
func (r *run) serverAddress() (string, error) {
	s := r.server
	if s == "" {
		s = r.Getenv("CARNET_SERVER")
	}
	if s == "" {
		return "", nil
	}
	u, err := client.ParseBaseURL(s)
	if err != nil {
		f := fault.Of(err)
		return "", usage("%s; %s", f.Public, f.Mend)
	}
	return u.String(), nil
}

// signedIn opens the profile of this run. The token goes only to the server
// that it was made by: another --server is an error.
func (r *run) signedIn() (*signedIn, error) {
	name, err := r.profileName()
	if err != nil {
		return nil, err
	}
	server, err := r.serverAddress()
	if err != nil {
		return nil, err
	}
	place, err := profile.Place(r.Getenv)
	if err != nil {
		return nil, err
	}
	folder, err := profile.Open(place)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, r.notSignedIn(name, place, server)
	}
	if err != nil {
		return nil, err
	}
	s, err := r.open(folder, name, place, server)
	if err != nil {
		folder.Close()
		return nil, err
	}
	return s, nil
}

func (r *run) open(folder *profile.Folder, name, place, wanted string) (*signedIn, error) {
	p, err := folder.Load(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, r.notSignedIn(name, place, wanted)
	}
	if err != nil {
		return nil, err
	}
	if wanted != "" && wanted != p.Server {
		return nil, then(fault.Coded(fault.Unauthenticated, "cli.other-server",
			fmt.Sprintf("profile %q is signed in at %s, not at %s", name, p.Server, wanted)),
			r.command("login --server "+wanted+" --profile NAME"))
	}
	if !r.Now().Before(p.Expires) {
		return nil, then(fault.Coded(fault.Expired, "cli.expired", fmt.Sprintf("the sign-in of profile %q ended at %s", name, clock(p.Expires))),
			r.loginCommand(name, p.Server))
	}
	ca := r.ca
	if ca == "" {
		ca = p.CA
	}
	api, err := r.client(p.Server, p.Token, ca)
	if err != nil {
		return nil, err
	}
	return &signedIn{name: name, profile: p, folder: folder, api: api}, nil
}

func (r *run) notSignedIn(name, place, server string) error {
	next := []string{r.loginCommand(name, server)}
	if r.profile == "" && server == "" && r.agent().Present() {
		next = append([]string{"carnet attach, to work by the agent of this machine; or sign in:"}, next...)
	}
	return then(fault.Coded(fault.Unauthenticated, "cli.not-signed-in", fmt.Sprintf("profile %q is not signed in (looked in %s)", name, place)), next...)
}

// loginCommand gives the command that signs a profile in.
func (r *run) loginCommand(name, server string) string {
	if server == "" {
		server = "https://carnet.example.com"
	}
	c := "carnet login --server " + server
	if name != "default" {
		c += " --profile " + name
	}
	return c
}

// command gives a command for the profile of this run.
func (r *run) command(rest string) string {
	if name, err := r.profileName(); err == nil && name != "default" && !strings.Contains(rest, "--profile") {
		return "carnet " + rest + " --profile " + name
	}
	return "carnet " + rest
}

// again gives err of a call to the server with the command that mends it.
func (r *run) again(s *signedIn, err error) error {
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Expired, fault.Revoked:
		return then(err, r.loginCommand(s.name, s.profile.Server))
	case fault.NotFound, fault.Denied:
		return then(err, r.command("role list"))
	}
	if f := fault.Of(err); f.Code == "server.certificate" {
		return then(err, r.loginCommand(s.name, s.profile.Server)+" --ca FILE")
	}
	return err
}

// client makes the API client; ca is a PEM file to trust besides the system's.
func (r *run) client(server string, token secret.Text, ca string) (*client.Client, error) {
	hc, err := httpClient(ca)
	if err != nil {
		return nil, err
	}
	return client.New(server, token, hc)
}

func httpClient(ca string) (*http.Client, error) {
	if ca == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("can't read the authority to trust: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", ca)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: t, Timeout: time.Minute}, nil
}

// absolutePath makes a path good for every folder that later runs start in.
func absolutePath(p string) (string, error) {
	if p == "" {
		return "", nil
	}
	return filepath.Abs(p)
}

// clock shows a time as the person's own clock does.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// left shows how long a moment is away: 11h58m, 4m, 30s.
func (r *run) left(t time.Time) string {
	d := t.Sub(r.Now())
	switch {
	case d <= 0:
		return "ended"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	default:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
}
