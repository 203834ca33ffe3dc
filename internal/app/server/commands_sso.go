package server

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/api/ssodoc"
	"carnet.dev/carnet/internal/service/federation"
)

func (h *host) sso() *cobra.Command {
	parent := &cobra.Command{Use: "sso", Short: "Identity providers that people sign in with", Args: cobra.NoArgs,
		Long: "Enters identity providers and says what each may say and how Carnet speaks with it. These commands work on the\n" +
			"database itself, also while servers run: they follow within a second."}
	parent.AddCommand(h.addIdP(), h.listIdPs(), h.showIdP(), h.setIdP(),
		h.oneIdP("enable", "Let people sign in by an identity provider", func(ctx context.Context, s *state, p federation.IdP) (federation.IdP, string, error) {
			p, err := s.federation.SetEnabled(ctx, p.ID, true)
			return p, "People sign in by " + p.Name + " again.", err
		}),
		h.oneIdP("disable", "Let nobody sign in by an identity provider; what its people hold ends", func(ctx context.Context, s *state, p federation.IdP) (federation.IdP, string, error) {
			p, err := s.federation.SetEnabled(ctx, p.ID, false)
			return p, "Nobody signs in by " + p.Name + " any more, and what its people held has ended. Keys that AWS handed out live to their end.", err
		}),
		h.removeIdP(),
		h.oneIdP("refresh", "Fetch its metadata from its address", func(ctx context.Context, s *state, p federation.IdP) (federation.IdP, string, error) {
			p, err := s.federation.Refresh(ctx, p.ID)
			text := "The metadata of " + p.Name + " is as it stands at its address."
			if len(p.Kept.Pending) > 0 {
				text = "The metadata waits and is not used: " + p.Kept.Why + ".\nLook at it with: carnet sso show '" + p.Name + "'; use it with: carnet sso accept '" + p.Name + "'"
			}
			return p, text, err
		}),
		h.oneIdP("accept", "Use its pending metadata", func(ctx context.Context, s *state, p federation.IdP) (federation.IdP, string, error) {
			p, err := s.federation.AcceptPending(ctx, p.ID, p.Revision)
			return p, "The new metadata of " + p.Name + " is in use.", err
		}),
		h.oneIdP("refuse", "Throw its pending metadata away", func(ctx context.Context, s *state, p federation.IdP) (federation.IdP, string, error) {
			p, err := s.federation.RefusePending(ctx, p.ID, p.Revision)
			return p, "The new metadata of " + p.Name + " was thrown away. The one before stays in use.", err
		}),
		h.ssoURL(), h.ssoMetadata(), h.ssoKeys(), h.ssoSwitches())
	return parent
}

func (h *host) addIdP() *cobra.Command {
	f := providerFlags{given: federation.IdP{Enabled: true}}
	var issuer string
	c := &cobra.Command{
		Use:   "add",
		Short: "Enter an identity provider and what it may say",
		Long: "Enters an identity provider. It speaks only for what it is given: accounts, role patterns and\n" +
			"user-name domains. Whatever it says outside these lists is dropped. Its metadata comes from a file, from an\n" +
			"address, where it is looked at again every few hours, or from fields that are copied by hand. An OpenID\n" +
			"provider has an issuer and a client instead, and roles from a claim or from groups.",
		Example: "  carnet sso add --name Okta --metadata okta.xml --accounts 111122223333 \\\n" +
			"    --roles 'arn:aws:iam::111122223333:role/data-*' --domains example.com --administrators carnet-admins\n" +
			"  carnet sso add --name Corp --sign-on-url https://idp.example.com/sso --entity-id https://idp.example.com \\\n" +
			"    --certificate idp.pem --accounts 111122223333 --roles '*' --domains example.com\n" +
			"  carnet sso add --name Keycloak --oidc https://sso.example.com/realms/corp --client-id carnet --client-secret-file secret.txt \\\n" +
			"    --roles-claim aws_roles --accounts 111122223333 --roles '*' --domains example.com",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				p := f.given
				if issuer != "" {
					p.Protocol, p.OIDC.Issuer = federation.OIDC, issuer
				}
				if err := f.complete(ctx, s, cmd, &p); err != nil {
					return err
				}
				if p.Protocol == federation.SAML && len(p.Metadata) == 0 && p.MetadataURL == "" {
					return fault.New(fault.Invalid, "the identity provider's metadata is missing").
						WithMend("give --metadata, or --sign-on-url, --entity-id and --certificate; or --oidc for an OpenID provider")
				}
				warn(cmd, s.federation.Warnings(p), nil)
				added, err := s.federation.Add(ctx, p)
				if err != nil {
					return err
				}
				if added.Protocol == federation.OIDC {
					return s.sayIdP(cmd, added, fmt.Sprintf("Entered %s (%s).\nRegister there, for client %s:\n  redirect URI              %s\n  back-channel logout URI   %s\n  post-logout redirect URI  %s",
						added.Name, added.EntityID, added.OIDC.ClientID, oidcURL(s.config), oidcLogoutURL(s.config), signedOutURL(s.config)))
				}
				return s.sayIdP(cmd, added, fmt.Sprintf("Entered %s (%s).\nGive it this SAML URL, as ACS URL, entity ID and audience: %s",
					added.Name, added.EntityID, s.config.SAMLURL()))
			})
		},
	}
	f.bind(c.Flags())
	f.bindMetadata(c.Flags())
	c.Flags().StringVar(&issuer, "oidc", "", "it is an OpenID provider: its issuer, an https URL")
	c.Flags().BoolVar(&f.given.AllowAutoCreate, "allow-auto-create", true, "admit people who were never seen before")
	for _, name := range []string{"name", "accounts", "roles", "domains"} {
		_ = c.MarkFlagRequired(name)
	}
	return c
}

func (h *host) setIdP() *cobra.Command {
	var f providerFlags
	c := &cobra.Command{
		Use: "set NAME", Short: "Change what an identity provider may say and how it is spoken with", Args: cobra.ExactArgs(1),
		Long: "Changes what is given and leaves the rest. A list is replaced whole; '' empties it.",
		Example: "  carnet sso set Okta --sign-requests --signed both\n" +
			"  carnet sso set Okta --role-template 'group=data-{name},account=111122223333,role={name},provider=okta'\n" +
			"  carnet sso set Keycloak --client-secret-file new.txt --groups-claim realm_access.roles",
		RunE: func(cmd *cobra.Command, args []string) error {
			given := false
			cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) { given = given || f.Changed })
			if !given {
				return fault.New(fault.Invalid, "nothing is given that could change").
					WithMend("carnet sso set --help lists what can be set; carnet sso show " + args[0] + " shows what is")
			}
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				p, err := s.findIdP(args[0])
				if err != nil {
					return err
				}
				before := s.federation.Warnings(p)
				f.apply(cmd.Flags(), &p)
				if err := f.complete(ctx, s, cmd, &p); err != nil {
					return err
				}
				warn(cmd, s.federation.Warnings(p), before)
				if p, err = s.federation.Update(ctx, p); err != nil {
					return err
				}
				return s.sayIdP(cmd, p, "Changed "+p.Name+". It holds from now on. Try it with a test sign-in on the page Single sign-on.")
			})
		},
	}
	f.bind(c.Flags())
	f.bindMetadata(c.Flags())
	c.Flags().BoolVar(&f.given.AllowAutoCreate, "allow-auto-create", true, "admit people who were never seen before")
	return c
}

// warn says on standard error what is weaker than need be and was not before.
func warn(cmd *cobra.Command, now, before []string) {
	known := map[string]bool{}
	for _, w := range before {
		known[w] = true
	}
	for _, w := range now {
		if !known[w] {
			fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+w)
		}
	}
}

// oneIdP makes a command that does one thing to one identity provider.
func (h *host) oneIdP(word, short string, do func(context.Context, *state, federation.IdP) (federation.IdP, string, error)) *cobra.Command {
	return &cobra.Command{
		Use: word + " NAME", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				p, err := s.findIdP(args[0])
				if err != nil {
					return err
				}
				p, text, err := do(ctx, s, p)
				if err != nil {
					return err
				}
				return s.sayIdP(cmd, p, text)
			})
		},
	}
}

func (h *host) removeIdP() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Take an identity provider out; what its people hold ends", Args: cobra.ExactArgs(1),
		Long: "Takes an identity provider out. Entered again it is another one, and its people are other people; to keep them,\n" +
			"disable it instead.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				id := identity.IdPID(args[0]) // one that can't be read has no name to be found by
				p, err := s.findIdP(args[0])
				if err == nil {
					id = p.ID
				} else if !strings.HasPrefix(args[0], "idp_") {
					return err
				}
				if err := s.federation.Remove(ctx, id); err != nil {
					return err
				}
				return say(cmd, map[string]any{"removed": id}, "Removed "+args[0]+". What its people held has ended; keys that AWS handed out live to their end.")
			})
		},
	}
}

// findIdP finds an identity provider by name, letter case aside, or by id.
func (s *state) findIdP(text string) (federation.IdP, error) {
	var names []string
	for _, p := range s.federation.List() {
		if strings.EqualFold(p.Name, text) || string(p.ID) == text {
			return p, nil
		}
		names = append(names, p.Name)
	}
	if len(names) == 0 {
		return federation.IdP{}, fault.New(fault.NotFound, "there is no identity provider yet").WithMend("enter one with: carnet sso add")
	}
	return federation.IdP{}, fault.New(fault.NotFound, fmt.Sprintf("no identity provider is called %q; there is %s", text, strings.Join(names, ", "))).
		WithMend("list them: carnet sso list")
}

// sayIdP prints text, or the identity provider as the API shows it.
func (s *state) sayIdP(cmd *cobra.Command, p federation.IdP, text string) error {
	d, err := s.idpDocument(p)
	if err != nil {
		return err
	}
	return say(cmd, d, text)
}

func (s *state) idpDocument(p federation.IdP) (ssodoc.IdentityProvider, error) {
	st, err := s.federation.State(p.ID)
	return api.ProviderDocument(p, st, s.federation.Warnings(p)), err
}

func (h *host) listIdPs() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the identity providers", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(_ context.Context, s *state) error {
				all := ssodoc.IdentityProviders{Providers: []ssodoc.IdentityProvider{}}
				var text strings.Builder
				for _, p := range s.federation.List() {
					d, err := s.idpDocument(p)
					if err != nil {
						return err
					}
					all.Providers = append(all.Providers, d)
					text.WriteString(brief(d))
				}
				if len(all.Providers) == 0 {
					text.WriteString("No identity provider yet. Enter one with: carnet sso add")
				}
				return say(cmd, all, text.String())
			})
		},
	}
}

func (h *host) showIdP() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show all of an identity provider: its list, settings, metadata and warnings", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(_ context.Context, s *state) error {
				p, err := s.findIdP(args[0])
				if err != nil {
					return err
				}
				d, err := s.idpDocument(p)
				if err != nil {
					return err
				}
				return say(cmd, d, whole(d))
			})
		},
	}
}

func (h *host) ssoURL() *cobra.Command {
	var oidc bool
	cmd := &cobra.Command{
		Use: "url", Short: "Print the URL to give to an identity provider: the SAML URL, or the redirect URI for an OpenID provider", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := h.load()
			if err != nil {
				return err
			}
			all := map[string]string{"saml_url": c.SAMLURL(), "oidc_redirect_url": oidcURL(c), "oidc_logout_url": oidcLogoutURL(c), "signed_out_url": signedOutURL(c)}
			if oidc {
				return say(cmd, all, oidcURL(c))
			}
			return say(cmd, all, c.SAMLURL())
		},
	}
	cmd.Flags().BoolVar(&oidc, "oidc", false, "the redirect URI of OpenID providers")
	return cmd
}

func (h *host) ssoMetadata() *cobra.Command {
	return &cobra.Command{
		Use: "metadata", Short: "Print Carnet's own SAML metadata, for an identity provider that reads a file", Args: cobra.NoArgs,
		Example: "  carnet sso metadata > carnet-metadata.xml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(_ context.Context, s *state) error {
				xml, err := s.samlMetadata()
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(xml)
				return err
			})
		},
	}
}
