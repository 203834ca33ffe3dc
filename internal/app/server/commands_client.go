package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/oauth"
)

func (h *host) clients() *cobra.Command {
	parent := &cobra.Command{Use: "client", Short: "Programs that ask for tokens (OAuth clients)", Args: cobra.NoArgs,
		Long: "Registers programs that sign people in by OpenID Connect or act in their name, and gives programs and service\n" +
			"principals the secrets and keys that they prove themselves with. These commands work on the database itself, also\n" +
			"while servers run: they follow within a second."}
	parent.AddCommand(h.addClient(), h.listClients(), h.showClient(), h.setClient(),
		h.oneClient("enable", "Let a program have tokens again", func(ctx context.Context, o *oauth.Service, c oauth.Client) (oauth.Client, string, error) {
			c, err := o.SetEnabled(ctx, c.ID, true)
			return c, c.Name + " gets tokens again.", err
		}),
		h.oneClient("disable", "Give a program nothing more; what it holds ends", func(ctx context.Context, o *oauth.Service, c oauth.Client) (oauth.Client, string, error) {
			c, err := o.SetEnabled(ctx, c.ID, false)
			return c, c.Name + " gets nothing more, and the tokens that it held have ended.", err
		}),
		h.oneClient("remove", "Take a program out for good; what it holds ends", func(ctx context.Context, o *oauth.Service, c oauth.Client) (oauth.Client, string, error) {
			return c, "Removed " + c.Name + ". Registered again it is another client, with another id.", o.Remove(ctx, c.ID)
		}),
		h.clientSecrets(), h.clientKeys())
	return parent
}

// withClients opens the database for one command on clients.
func (h *host) withClients(cmd *cobra.Command, do func(context.Context, *state, *oauth.Service) error) error {
	return h.withState(cmd, func(ctx context.Context, s *state) error {
		o, err := s.openOAuth(ctx, nil, nil, nil)
		if err != nil {
			return err
		}
		return do(ctx, s, o)
	})
}

// clientFlags are the flags that say what a client may have.
type clientFlags struct {
	given     oauth.Client
	principal string
}

func (f *clientFlags) bind(fs *pflag.FlagSet) {
	c := &f.given
	fs.StringArrayVar(&c.RedirectURIs, "redirect-uri", nil, "an address that people are sent back to, letter for letter; on loopback any port will do. May be given again")
	fs.StringSliceVar(&c.Grants, "grant", nil, "grant types that it may use (default "+oauth.GrantCode+","+oauth.GrantRefresh+")")
	fs.StringSliceVar(&c.Scopes, "scope", nil, "scopes that it may ask for: "+strings.Join(oauth.ScopeNames(), ", ")+" (default all but "+oauth.ScopeAPI+")")
	fs.StringSliceVar(&c.Audiences, "audience", nil, "audiences that it may have ID tokens made for, besides its own")
	fs.BoolVar(&c.Trusted, "trusted", false, "don't ask people before it gets what it wants")
	fs.BoolVar(&c.ResourceServer, "resource-server", false, "let it ask about tokens that other programs hold (introspection)")
	fs.StringVar(&f.principal, "service-principal", "", "the service principal as which it acts by itself: name or id")
	fs.StringVar(&c.IDTokenAlg, "id-token-alg", "", "how its ID tokens are signed: RS256 or ES256 (default: as all are)")
	fs.StringVar(&c.Owner, "owner", "", "who answers for it")
}

// apply puts into c what was given on the command line.
func (f *clientFlags) apply(ctx context.Context, s *state, fs *pflag.FlagSet, c *oauth.Client) error {
	g := &f.given
	for name, put := range map[string]func(){
		"redirect-uri": func() { c.RedirectURIs = withoutEmpty(g.RedirectURIs) }, "grant": func() { c.Grants = withoutEmpty(g.Grants) },
		"scope": func() { c.Scopes = withoutEmpty(g.Scopes) }, "audience": func() { c.Audiences = withoutEmpty(g.Audiences) },
		"trusted": func() { c.Trusted = g.Trusted }, "resource-server": func() { c.ResourceServer = g.ResourceServer },
		"id-token-alg": func() { c.IDTokenAlg = g.IDTokenAlg }, "owner": func() { c.Owner = g.Owner },
	} {
		if fs.Changed(name) {
			put()
		}
	}
	if !fs.Changed("service-principal") {
		return nil
	}
	c.ServicePrincipal = ""
	if f.principal == "" {
		return nil
	}
	who, err := s.findSubject(ctx, f.principal)
	if err == nil && who.Kind != "service-principal" {
		err = fault.New(fault.Invalid, fmt.Sprintf("%q is a %s: a program acts by itself as a service principal", f.principal, who.Kind))
	}
	c.ServicePrincipal = identity.ServicePrincipalID(who.ID)
	return err
}

func withoutEmpty(all []string) (out []string) {
	for _, s := range all {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

func (h *host) addClient() *cobra.Command {
	var f clientFlags
	c := &cobra.Command{
		Use: "add NAME", Short: "Register a program", Args: cobra.ExactArgs(1),
		Long: "Registers a program. A confidential one proves itself by a secret or key (carnet client secret add); a public one,\n" +
			"on people's own machines or in their browsers, can keep neither. PKCE is required of both.",
		Example: "  carnet client add Dashboard --redirect-uri https://dashboard.example.com/callback --trusted --owner data-platform\n" +
			"  carnet client add 'Data CLI' --public --redirect-uri http://127.0.0.1/callback --scope openid,offline_access,all-apis",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withClients(cmd, func(ctx context.Context, s *state, o *oauth.Service) error {
				c := oauth.Client{Name: args[0], Public: f.given.Public}
				if err := f.apply(ctx, s, cmd.Flags(), &c); err != nil {
					return err
				}
				added, err := o.Add(ctx, c)
				if err != nil {
					return err
				}
				warn(cmd, added.Warnings(), nil)
				text := "Registered " + added.Name + ".\n  client id  " + added.ID + "\n  issuer     " + s.issuer.URL(s.issuer.Registered())
				if !added.Public {
					text += "\nIt proves itself by a secret: carnet client secret add " + quoteWord(added.Name)
				}
				return say(cmd, documentOf(added, nil), text)
			})
		},
	}
	f.bind(c.Flags())
	c.Flags().BoolVar(&f.given.Public, "public", false, "it can keep no secret: a program on people's machines, or in their browsers")
	return c
}

func (h *host) setClient() *cobra.Command {
	var f clientFlags
	c := &cobra.Command{
		Use: "set NAME", Short: "Change what a program may have", Args: cobra.ExactArgs(1),
		Long:    "Changes what is given and leaves the rest. A list is replaced whole; '' empties it, where that is possible.",
		Example: "  carnet client set Dashboard --redirect-uri https://dashboard.example.com/callback --redirect-uri http://127.0.0.1/callback",
		RunE: func(cmd *cobra.Command, args []string) error {
			given := false
			cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) { given = given || f.Changed })
			if !given {
				return fault.New(fault.Invalid, "nothing is given that could change").WithMend("carnet client set --help lists what can be set")
			}
			return h.withClients(cmd, func(ctx context.Context, s *state, o *oauth.Service) error {
				c, err := o.Find(args[0])
				if err != nil {
					return err
				}
				want := c
				if err := f.apply(ctx, s, cmd.Flags(), &want); err != nil {
					return err
				}
				if c.Name != want.Name {
					return fault.New(fault.Invalid, "a client keeps its name")
				}
				before := c.Warnings()
				if c, err = o.Update(ctx, c.ID, func(c *oauth.Client) { *c = want }); err != nil {
					return err
				}
				warn(cmd, c.Warnings(), before)
				return say(cmd, documentOf(c, o.CredentialsOf(c.ID)), "Changed "+c.Name+". It holds from now on.")
			})
		},
	}
	f.bind(c.Flags())
	return c
}

// oneClient makes a command that does one thing to one client.
func (h *host) oneClient(word, short string, do func(context.Context, *oauth.Service, oauth.Client) (oauth.Client, string, error)) *cobra.Command {
	return &cobra.Command{
		Use: word + " NAME", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withClients(cmd, func(ctx context.Context, _ *state, o *oauth.Service) error {
				c, err := o.Find(args[0])
				if err != nil {
					return err
				}
				c, text, err := do(ctx, o, c)
				if err != nil {
					return err
				}
				return say(cmd, documentOf(c, o.CredentialsOf(c.ID)), text)
			})
		},
	}
}

func (h *host) listClients() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the programs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withClients(cmd, func(_ context.Context, _ *state, o *oauth.Service) error {
				all := []clientDocument{}
				var text strings.Builder
				for _, c := range o.List() {
					all = append(all, documentOf(c, o.CredentialsOf(c.ID)))
					fmt.Fprintf(&text, "%s  %s%s\n", c.ID, c.Name, onOff(c.Enabled, "", "  (switched off)"))
				}
				if len(all) == 0 {
					text.WriteString("No program is registered yet. Register one with: carnet client add")
				}
				return say(cmd, map[string]any{"clients": all}, text.String())
			})
		},
	}
}

func (h *host) showClient() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a program, or a service principal's secrets and keys", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withClients(cmd, func(ctx context.Context, s *state, o *oauth.Service) error {
				c, err := s.findHolder(ctx, o, args[0])
				if err != nil {
					return err
				}
				d := documentOf(c, o.CredentialsOf(c.ID))
				return say(cmd, d, d.String())
			})
		},
	}
}

// clientDocument is a client as commands print it.
type clientDocument struct {
	ID               string               `json:"id"`
	Name             string               `json:"name"`
	Public           bool                 `json:"public"`
	Enabled          bool                 `json:"enabled"`
	Trusted          bool                 `json:"trusted"`
	ResourceServer   bool                 `json:"resource_server"`
	RedirectURIs     []string             `json:"redirect_uris"`
	Grants           []string             `json:"grants"`
	Scopes           []string             `json:"scopes"`
	Audiences        []string             `json:"audiences"`
	ServicePrincipal string               `json:"service_principal,omitempty"`
	IDTokenAlg       string               `json:"id_token_alg,omitempty"`
	Owner            string               `json:"owner,omitempty"`
	Created          time.Time            `json:"created"`
	Credentials      []credentialDocument `json:"credentials"`
}

type credentialDocument struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"` // "secret" or "key"
	Owner    string    `json:"owner"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"`
	LastUsed time.Time `json:"last_used,omitzero"`
}

func documentOf(c oauth.Client, creds []oauth.Credential) clientDocument {
	some := func(list []string) []string { return append([]string{}, list...) }
	d := clientDocument{ID: c.ID, Name: c.Name, Public: c.Public, Enabled: c.Enabled, Trusted: c.Trusted, ResourceServer: c.ResourceServer,
		RedirectURIs: some(c.RedirectURIs), Grants: some(c.Grants), Scopes: some(c.Scopes), Audiences: some(c.Audiences),
		ServicePrincipal: string(c.ServicePrincipal), IDTokenAlg: c.IDTokenAlg, Owner: c.Owner, Created: c.Created, Credentials: []credentialDocument{}}
	for _, k := range creds {
		d.Credentials = append(d.Credentials, credentialOf(k))
	}
	return d
}

func credentialOf(k oauth.Credential) credentialDocument {
	return credentialDocument{ID: string(k.ID), Kind: string(k.Kind), Owner: k.Owner, Created: k.Created, Expires: k.Expires, LastUsed: k.LastUsed}
}

// String tells it as text.
func (d clientDocument) String() string {
	var b strings.Builder
	kind := onOff(d.Public, "public", "confidential") + onOff(d.Enabled, "", ", switched off") + onOff(d.Trusted, ", trusted", "") + onOff(d.ResourceServer, ", resource server", "")
	b.WriteString(d.Name + "\n")
	lines(&b, "client id", d.ID, "kind", kind, "redirect URIs", strings.Join(d.RedirectURIs, " "), "grants", strings.Join(d.Grants, " "),
		"scopes", strings.Join(d.Scopes, " "), "audiences", strings.Join(d.Audiences, " "), "service principal", d.ServicePrincipal,
		"ID tokens", d.IDTokenAlg, "owner", d.Owner, "since", stamp(d.Created))
	for _, k := range d.Credentials {
		used, ends := "never used", ""
		if !k.LastUsed.IsZero() {
			used = "last used about " + stamp(k.LastUsed)
		}
		if !k.Expires.IsZero() {
			ends = ", until " + stamp(k.Expires)
		}
		lines(&b, k.Kind, fmt.Sprintf("%s of %s, since %s%s, %s", k.ID, k.Owner, stamp(k.Created), ends, used))
	}
	return b.String()
}
