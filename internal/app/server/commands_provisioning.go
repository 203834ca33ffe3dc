package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/scimapi"
	"carnet.dev/carnet/internal/service/provisioning"
)

// scopes are the words for what a credential is good for.
var scopes = [...]struct {
	word string
	kind provisioning.Kind
}{{"users", provisioning.User}, {"groups", provisioning.Group}, {"service-principals", provisioning.ServicePrincipal}}

func (h *host) provisioning() *cobra.Command {
	parent := &cobra.Command{Use: "provisioning", Short: "Provisioning systems (SCIM 2.0) and their credentials", Args: cobra.NoArgs,
		Long: "A provisioning system says who exists and what each holds, for one identity provider and within its list. It proves\n" +
			"itself by a bearer token that is made here."}
	credentials := &cobra.Command{Use: "credential", Short: "Bearer tokens of provisioning systems", Args: cobra.NoArgs}
	credentials.AddCommand(h.addProvisioningCredential(), h.listProvisioningCredentials(), h.removeProvisioningCredential())
	parent.AddCommand(credentials)
	return parent
}

// credentialLine is a credential as commands print it.
type credentialLine struct {
	ID       string     `json:"id"`
	Provider string     `json:"identity_provider"`
	Label    string     `json:"label"`
	Owner    string     `json:"owner"`
	Scope    []string   `json:"scope"`
	Made     time.Time  `json:"made"`
	Expires  time.Time  `json:"expires"`
	Used     *time.Time `json:"used,omitempty"`
	// Bearer is given out once, when it is made.
	Bearer string `json:"bearer_token,omitempty"`
	URL    string `json:"url,omitempty"`
}

func (s *state) credentialLine(c provisioning.Credential) credentialLine {
	l := credentialLine{ID: string(c.ID), Provider: string(c.IdP), Label: c.Label, Owner: c.Owner, Made: c.Made, Expires: c.Expires}
	if p, err := s.federation.Get(context.Background(), c.IdP); err == nil {
		l.Provider = p.Name
	}
	for _, x := range scopes {
		for _, k := range c.Kinds {
			if k == x.kind {
				l.Scope = append(l.Scope, x.word)
			}
		}
	}
	if !c.Used.IsZero() {
		l.Used = &c.Used
	}
	return l
}

func (h *host) addProvisioningCredential() *cobra.Command {
	var provider string
	var scope []string
	var n provisioning.NewCredential
	var days int
	c := &cobra.Command{
		Use: "add", Short: "Make a bearer token for a provisioning system", Args: cobra.NoArgs,
		Long: "Prints the address and the bearer token to enter at the identity provider. The token is shown this once; only its\n" +
			"digest is kept.",
		Example: "  carnet provisioning credential add --idp okta --label 'Okta app' --owner 'identity team'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				idp, err := s.findIdP(provider)
				if err != nil {
					return err
				}
				n.IdP, n.Lifetime = idp.ID, time.Duration(days)*24*time.Hour
				for _, word := range scope {
					kind, err := scopeOf(word)
					if err != nil {
						return err
					}
					n.Kinds = append(n.Kinds, kind)
				}
				made, bearer, err := s.provisioning.MakeCredential(ctx, n)
				if err != nil {
					return err
				}
				line := s.credentialLine(made)
				line.Bearer, line.URL = bearer.Reveal(), s.config.BaseURL+scimapi.Bases[0]
				return say(cmd, line, fmt.Sprintf("Enter both at the identity provider. The token is shown this once; it counts until %s.\n\n  SCIM address  %s\n  bearer token  %s\n",
					made.Expires.Format(time.DateOnly), line.URL, line.Bearer))
			})
		},
	}
	f := c.Flags()
	f.StringVar(&provider, "idp", "", "the identity provider that it speaks for (carnet sso list)")
	f.StringVar(&n.Label, "label", "", "what it is, for those who read the list")
	f.StringVar(&n.Owner, "owner", "", "who answers for it")
	f.StringSliceVar(&scope, "scope", []string{"users", "groups"}, "what it is good for: users, groups, service-principals")
	f.IntVar(&days, "days", int(provisioning.DefaultLifetime.Hours()/24), "how long it counts, up to 730")
	for _, name := range []string{"idp", "label", "owner"} {
		_ = c.MarkFlagRequired(name)
	}
	return c
}

func scopeOf(word string) (provisioning.Kind, error) {
	for _, x := range scopes {
		if x.word == word {
			return x.kind, nil
		}
	}
	return "", fault.New(fault.Invalid, fmt.Sprintf("%q is no scope", word)).WithMend("it is users, groups or service-principals")
}

func (h *host) listProvisioningCredentials() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the credentials of provisioning systems", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				all, err := s.provisioning.Credentials.List(ctx)
				if err != nil {
					return err
				}
				lines, text := []credentialLine{}, strings.Builder{}
				for _, c := range all {
					l := s.credentialLine(c)
					used := "never used"
					if l.Used != nil {
						used = "used " + l.Used.Format(time.DateOnly)
					}
					lines = append(lines, l)
					fmt.Fprintf(&text, "%s  %s  %s  (%s)  %s  until %s, %s\n", l.ID, l.Provider, l.Label, l.Owner, strings.Join(l.Scope, " "), l.Expires.Format(time.DateOnly), used)
				}
				if len(lines) == 0 {
					text.WriteString("There is none.")
				}
				return say(cmd, map[string]any{"credentials": lines}, text.String())
			})
		},
	}
}

func (h *host) removeProvisioningCredential() *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Short: "End a credential; servers follow within a second", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				if err := s.provisioning.RemoveCredential(ctx, identity.CredentialID(args[0])); err != nil {
					return err
				}
				return say(cmd, map[string]string{"id": args[0], "done": "removed"}, "Removed "+args[0]+".")
			})
		},
	}
}
