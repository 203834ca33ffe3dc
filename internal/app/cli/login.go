package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/app/cli/profile"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/client"
)

// signInTime is how long login waits for the person in the browser.
const signInTime = 10 * time.Minute

func (r *run) login() *cobra.Command {
	var noBrowser bool
	var port uint16
	c := &cobra.Command{
		Use:   "login",
		Short: "Sign in with your browser",
		Long: "Opens the server's sign-in page in your browser and keeps the sign-in for later commands,\n" +
			"in a folder that only you can read.",
		Example: "  carnet login --server https://carnet.example.com",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.runLogin(cmd.Context(), port, !noBrowser)
		},
	}
	c.Flags().BoolVar(&noBrowser, "no-browser", false, "print the address and open nothing")
	c.Flags().Uint16Var(&port, "port", 0, "port on 127.0.0.1 that the browser comes back to (default: a free one)")
	return c
}

func (r *run) runLogin(ctx context.Context, port uint16, browser bool) error {
	name, err := r.profileName()
	if err != nil {
		return err
	}
	place, err := profile.Place(r.Getenv)
	if err != nil {
		return err
	}
	folder, err := profile.Create(place)
	if err != nil {
		return err
	}
	defer folder.Close()
	before, err := folder.Load(name)
	if err != nil {
		before = profile.Profile{} // a profile that can't be read is signed in anew
	}
	p, err := r.newProfile(before)
	if err != nil {
		return err
	}
	api, err := r.client(p.Server, secret.Text{}, p.CA)
	if err != nil {
		return err
	}
	if err := r.reach(ctx, api); err != nil {
		return err
	}
	token, err := r.browserSignIn(ctx, api, port, browser)
	if err != nil {
		return err
	}
	p.Token, p.Expires, p.UserName = token.Token, token.Expires, token.UserName
	if err := folder.Save(name, p); err != nil {
		return fmt.Errorf("signed in, but the sign-in can't be kept: %w", err)
	}
	s := &signedIn{name: name, profile: p, folder: folder}
	if s.api, err = r.client(p.Server, p.Token, p.CA); err != nil {
		return err
	}
	return r.welcome(ctx, s)
}

// newProfile starts a profile from flags and from what the old one had.
func (r *run) newProfile(before profile.Profile) (profile.Profile, error) {
	server, err := r.serverAddress()
	if err != nil {
		return profile.Profile{}, err
	}
	if server == "" {
		server = before.Server
	}
	if server == "" {
		return profile.Profile{}, then(usage("which server? name it with --server or in CARNET_SERVER"),
			"carnet login --server https://carnet.example.com")
	}
	p := profile.Profile{Server: server}
	if before.Server == server {
		p.CA, p.Role = before.CA, before.Role
	}
	if r.ca != "" {
		if p.CA, err = absolutePath(r.ca); err != nil {
			return profile.Profile{}, err
		}
	}
	return p, nil
}

// reach asks the server one thing that needs a sign-in, so that a wrong address
// or certificate is told here and not by a browser that never comes back.
func (r *run) reach(ctx context.Context, api *client.Client) error {
	_, err := api.Session(ctx)
	if err == nil || fault.KindOf(err) == fault.Unauthenticated {
		return nil
	}
	if fault.Of(err).Code == "server.certificate" {
		return then(err, r.command("login --server "+api.Server()+" --ca FILE"))
	}
	return err
}

// browserSignIn gets a CLI token by the person's browser: a loopback redirect
// with PKCE (RFC 8252, RFC 7636).
func (r *run) browserSignIn(ctx context.Context, api *client.Client, port uint16, browser bool) (client.CLIToken, error) {
	ctx, cancel := context.WithTimeout(ctx, signInTime)
	defer cancel()
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return client.CLIToken{}, then(fmt.Errorf("can't wait for the browser: %w", err), r.command("login --port PORT"))
	}
	verifier := secret.Random(32)
	back := newCallback(ln)
	defer back.close()
	address := api.AuthorizeURL(client.Authorize{
		Verifier: verifier, State: back.state.Reveal(), RedirectURI: back.address(), Machine: machine(),
	})
	r.invite(address, ln, browser)
	code, err := back.wait(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return client.CLIToken{}, then(fault.New(fault.Expired, fmt.Sprintf("nobody signed in within %s", signInTime)), r.command("login"))
	}
	if err != nil {
		return client.CLIToken{}, err
	}
	return api.RedeemCode(ctx, code, verifier)
}

// invite shows the address and opens it where a browser can be had.
func (r *run) invite(address string, ln net.Listener, browser bool) {
	// To standard error also with --output json: without it nobody can sign in.
	fmt.Fprintf(r.Stderr, "Sign in on this page:\n  %s\n", Clean(address))
	if browser && r.openBrowser(address) {
		r.note("Waiting for your browser (Ctrl-C to stop) ...")
		return
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String()) // a listener's own address
	r.note("Browser on another machine? There, run first: ssh -L %s:127.0.0.1:%s %s", port, port, machine())
	r.note("Waiting (Ctrl-C to stop) ...")
}

// openBrowser starts the person's browser: BROWSER, else the system's own way.
func (r *run) openBrowser(address string) bool {
	var command []string
	switch {
	case r.Getenv("BROWSER") != "":
		command = strings.Fields(r.Getenv("BROWSER"))
	case runtime.GOOS == "darwin":
		command = []string{"open"}
	case runtime.GOOS == "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler"}
	case r.Getenv("DISPLAY") != "" || r.Getenv("WAYLAND_DISPLAY") != "":
		command = []string{"xdg-open"}
	}
	if len(command) == 0 {
		return false
	}
	cmd := exec.Command(command[0], append(command[1:], address)...)
	cmd.Env = r.Environ
	if err := cmd.Start(); err != nil {
		r.note("No browser could be opened: %v", err)
		return false
	}
	go func() { _ = cmd.Wait() }() // collected; how a browser ends says nothing
	return true
}

// machine names this machine to the person who approves.
func machine() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "this-machine"
	}
	return Clean(name[:min(len(name), 64)])
}

// welcome says who is signed in and what comes next. A role list that can't be
// had does not undo the sign-in.
func (r *run) welcome(ctx context.Context, s *signedIn) error {
	roles, err := s.api.Roles(ctx)
	if err != nil {
		return r.again(s, err)
	}
	if s.profile.Role != "" && !holds(roles, s.profile.Role) {
		r.note("Your current role %s is no longer yours; it was unset.", s.profile.Role)
		s.profile.Role = ""
		if err := s.save(); err != nil {
			return err
		}
	}
	p := s.profile
	var b strings.Builder
	fmt.Fprintf(&b, "Signed in as %s at %s until %s.\n", p.UserName, p.Server, clock(p.Expires))
	b.WriteString(r.roleSummary(ctx, s, roles))
	return r.say(struct {
		Server   string        `json:"server"`
		Profile  string        `json:"profile"`
		UserName string        `json:"user_name"`
		Expires  time.Time     `json:"expires"`
		Role     string        `json:"current_role"`
		Roles    []client.Role `json:"roles"`
	}{p.Server, s.name, p.UserName, p.Expires, p.Role, present(roles)}, b.String())
}

// noRole says what somebody without a role can do next.
func (r *run) noRole(ctx context.Context, s *signedIn) string {
	if me, err := s.api.Session(ctx); err == nil && me.Administrator {
		return "You hold no role, and you administer Carnet: " + r.command("exec --administrator ACCOUNT -- aws iam list-roles") + " works in a local account.\n"
	}
	return "You hold no role. Ask your administrator: your identity provider names none that this server accepts.\n"
}

func (r *run) roleSummary(ctx context.Context, s *signedIn, roles []client.Role) string {
	current := s.profile.Role
	switch {
	case len(roles) == 0:
		return r.noRole(ctx, s)
	case current != "":
		return fmt.Sprintf("Your current role is %s.\n%s", current, r.nextSteps())
	case len(roles) == 1:
		return fmt.Sprintf("Your one role is %s; it is used by itself.\n%s", roles[0].ARN, r.nextSteps())
	}
	return "You hold these roles:\n" + r.table(current, roles) +
		"next: " + r.command("role assume NAME") + ", then " + r.command("configure") + "\n"
}

func (r *run) nextSteps() string {
	return "next: " + r.command("configure") + ", then use the profile that it prints\n"
}
