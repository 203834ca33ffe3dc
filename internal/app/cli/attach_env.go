package cli

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/node/localdoc"
)

type attachEnvFlags struct {
	shell, role string
	webIdentity bool
}

func (r *run) attachEnv() *cobra.Command {
	var f attachEnvFlags
	c := &cobra.Command{
		Use:   "env",
		Short: "Print what makes AWS tools of this login ask the agent",
		Long: "Prints variables for your shell. They hold no key: AWS SDKs fetch keys from the agent and renew them by themselves.\n\n" +
			"Without --role the keys are those of the current role of this login, so carnet role assume changes them for programs that run already. " +
			"Run it again after you have changed to a role of another account.",
		Example: "  eval \"$(carnet attach env)\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			form, ok := shells()[f.shell]
			if !ok {
				return usage("--shell is %q: want sh, fish or powershell", f.shell)
			}
			n, err := r.mustBeAttached(cmd.Context())
			if err != nil {
				return err
			}
			set, err := r.nodeVariables(cmd.Context(), n, f.role, f.webIdentity)
			if err != nil {
				return err
			}
			return r.sayEnvironment(set, form)
		},
	}
	c.Flags().StringVar(&f.shell, "shell", defaultShell(), "sh, fish or powershell")
	c.Flags().StringVar(&f.role, "role", "", "ARN or name of a role to keep to (default: the current one, whichever it is)")
	c.Flags().BoolVar(&f.webIdentity, "web-identity", false, "by the file with your ID token, for programs that trade it themselves")
	return c
}

// staticKeys win over everything else in an SDK's order.
func staticKeys() []string {
	return []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CREDENTIAL_EXPIRATION"}
}

// sayEnvironment prints the variables, and clears those that are in the way.
func (r *run) sayEnvironment(set []variable, form form) error {
	if r.output == "json" {
		out := map[string]string{}
		for _, v := range set {
			out[v.name] = v.value
		}
		return r.say(out, "")
	}
	for _, name := range staticKeys() {
		if r.Getenv(name) != "" && name == "AWS_ACCESS_KEY_ID" {
			r.note("AWS_ACCESS_KEY_ID is set here and would win over the agent: it is taken out.")
		}
	}
	for _, name := range slices.Concat(staticKeys(), inTheWay(set)) {
		fmt.Fprintln(r.Stdout, form.unset(name))
	}
	for _, v := range set {
		fmt.Fprintln(r.Stdout, form.set(v.name, v.value))
	}
	return nil
}

// nodeVariables gives what SDKs read to ask the agent. Nothing in it is a secret.
func (r *run) nodeVariables(ctx context.Context, n *onNode, role string, webIdentity bool) ([]variable, error) {
	k, err := r.nodeKeys(ctx, n, role) // where they are used; and that they can be had at all
	if err != nil {
		return nil, err
	}
	var set []variable
	if webIdentity {
		set, err = webIdentityVariables(n.status, k)
	} else {
		set, err = r.containerVariables(ctx, n.status, role)
	}
	if err != nil {
		return nil, err
	}
	// The node's own identity must never be what a program falls back to.
	set = append(set, variable{"AWS_EC2_METADATA_DISABLED", "true"}, variable{"AWS_REGION", k.Region}, variable{"AWS_DEFAULT_REGION", k.Region})
	for _, v := range []variable{{"AWS_ENDPOINT_URL_S3", k.Endpoints.S3}, {"AWS_ENDPOINT_URL_STS", k.Endpoints.STS}, {"AWS_CA_BUNDLE", k.ca}} {
		if v.value != "" {
			set = append(set, v)
		}
	}
	return set, nil
}

func (r *run) containerVariables(ctx context.Context, st localdoc.Status, role string) ([]variable, error) {
	if st.Faces.Container == "" {
		why := st.Faces.Missing["container"]
		if why == "" {
			why = "it was not configured"
		}
		return nil, then(fault.Coded(fault.Unavailable, "cli.no-container", "the agent of "+st.Node+" offers no container endpoint: "+why).
			WithMend("use AWS profiles that ask the agent's socket"), "carnet configure")
	}
	if _, err := url.Parse(st.Faces.Container); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the agent's answer can't be used")
	}
	file, err := r.bearerFile(ctx, st)
	if err != nil {
		return nil, err
	}
	address := st.Faces.Container
	if role != "" {
		address += "/" + url.PathEscape(role)
	}
	return []variable{{"AWS_CONTAINER_CREDENTIALS_FULL_URI", address}, {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file}}, nil
}

func webIdentityVariables(st localdoc.Status, k keys) ([]variable, error) {
	if st.Attachment.WebIdentityFile == "" {
		return nil, fault.Coded(fault.Unavailable, "cli.no-token-file", "the agent of "+st.Node+" keeps no file with your ID token").
			WithMend("leave out --web-identity")
	}
	b, err := os.ReadFile(st.Attachment.WebIdentityFile)
	if err != nil {
		return nil, fmt.Errorf("your ID token can't be read: %w", err)
	}
	t, err := readIDToken(secret.New(string(b)))
	if err != nil {
		return nil, err
	}
	return []variable{
		{"AWS_WEB_IDENTITY_TOKEN_FILE", st.Attachment.WebIdentityFile}, {"AWS_ROLE_ARN", k.Role}, {"AWS_ROLE_SESSION_NAME", t.sessionName()},
	}, nil
}
