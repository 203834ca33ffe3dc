package server

import (
	"context"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/login"
)

func (h *host) gatewayKeys() *cobra.Command {
	parent := &cobra.Command{Use: "gateway-key", Short: "S3 keys without a session token, for engines and old tools", Args: cobra.NoArgs,
		Long: "Gateway keys are good at the S3 gateway alone, for 24 hours at most, from where they are bound to. Whose they are has to\n" +
			"be there: signed in, or having delegated; of the roles in a key only those count that its owner holds at that moment.\n" +
			"These commands work on the database itself, also while servers run: they follow within a second."}
	parent.AddCommand(h.makeGatewayKey(), h.listGatewayKeys(), h.rollGatewayKey(), h.revokeGatewayKey(), h.gatewayClusters())
	return parent
}

// withGatewayKeys opens the database for one command on gateway keys.
func (h *host) withGatewayKeys(cmd *cobra.Command, do func(context.Context, *state, *gatewaykeys.Service, *login.Service) error) error {
	return h.withState(cmd, func(ctx context.Context, s *state) error {
		keys, sessions, err := s.hostGatewayKeys(ctx)
		if err != nil {
			return err
		}
		return do(ctx, s, keys, sessions)
	})
}

// bindingFlags say where a key, or an engine, is.
type bindingFlags struct{ networks, certificates []string }

func (f *bindingFlags) bind(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.networks, "network", nil, "a network that requests come from, such as 10.1.0.0/16. May be given again")
	c.Flags().StringSliceVar(&f.certificates, "certificate", nil, "a client certificate: its PEM file, or its SHA-256 in hex. May be given again")
}

func (f *bindingFlags) binding() (gatewaykeys.Binding, error) {
	var prints []string
	for _, text := range f.certificates {
		if raw, err := os.ReadFile(text); err == nil {
			block, _ := pem.Decode(raw)
			if block == nil || block.Type != "CERTIFICATE" {
				return gatewaykeys.Binding{}, fault.New(fault.Invalid, text+" holds no PEM certificate")
			}
			text = gatewaykeys.Fingerprint(sha256.Sum256(block.Bytes)).String()
		}
		prints = append(prints, text)
	}
	return cluster.ParseBinding(f.networks, prints)
}

// ownerFlags say whose a key is.
type ownerFlags struct{ person, session, delegation, machine string }

func (f *ownerFlags) bind(c *cobra.Command) {
	c.Flags().StringVar(&f.person, "person", "", "a person who is signed in: their newest login session")
	c.Flags().StringVar(&f.session, "login-session", "", "a login session (carnet people show NAME lists them)")
	c.Flags().StringVar(&f.delegation, "delegation", "", "a delegation (carnet people delegations lists them)")
	c.Flags().StringVar(&f.machine, "service-principal", "", "a service principal, in its own roles")
	c.MarkFlagsMutuallyExclusive("person", "login-session", "delegation", "service-principal")
	c.MarkFlagsOneRequired("person", "login-session", "delegation", "service-principal")
}

func (f *ownerFlags) owner(ctx context.Context, s *state) (gatewaykeys.Owner, error) {
	switch {
	case f.session != "":
		return gatewaykeys.Owner{LoginSession: identity.LoginSessionID(f.session)}, nil
	case f.delegation != "":
		return gatewaykeys.Owner{Delegation: identity.DelegationID(f.delegation)}, nil
	case f.machine != "":
		m, err := s.findMachine(ctx, f.machine)
		return gatewaykeys.Owner{ServicePrincipal: m.ID}, err
	}
	p, err := s.findPerson(ctx, f.person)
	if err != nil {
		return gatewaykeys.Owner{}, err
	}
	open, err := s.openSessions(ctx, aPerson(p))
	if err == nil && len(open) == 0 {
		err = fault.New(fault.Denied, p.UserName+" is not signed in: nobody else can act as them").
			WithMend("have them sign in, or delegate to a service principal for the time when they are away: carnet delegation add")
	}
	if err != nil {
		return gatewaykeys.Owner{}, err
	}
	return gatewaykeys.Owner{LoginSession: identity.LoginSessionID(open[0].ID)}, nil
}

func (h *host) makeGatewayKey() *cobra.Command {
	var whose ownerFlags
	var where bindingFlags
	var cluster, fallback string
	var roles []string
	var lifetime time.Duration
	c := &cobra.Command{
		Use: "make", Short: "Make a gateway key; its secret is shown once", Args: cobra.NoArgs,
		Long: "Makes a gateway key. It needs an owner, and where it is used from: a cluster, networks or client certificates. All that\n" +
			"is said of a place must hold at once: one of the networks, and one of the certificates.",
		Example: "  carnet gateway-key make --person ann@example.com --cluster trino\n" +
			"  carnet gateway-key make --delegation dlg_… --network 10.4.7.0/24 --lifetime 8h",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withGatewayKeys(cmd, func(ctx context.Context, s *state, keys *gatewaykeys.Service, _ *login.Service) error {
				n := gatewaykeys.NewKey{Cluster: cluster, Lifetime: lifetime}
				var err error
				if n.Owner, err = whose.owner(ctx, s); err != nil {
					return err
				}
				if n.Binding, err = where.binding(); err != nil {
					return err
				}
				if n.Roles, err = parseRoles(roles); err != nil {
					return err
				}
				if fallback != "" {
					if n.Default, err = arn.ParseRole(fallback); err != nil {
						return err
					}
				}
				made, err := keys.Make(ctx, n)
				if err != nil {
					return err
				}
				return h.sayMade(cmd, s, made, "Made")
			})
		},
	}
	whose.bind(c)
	where.bind(c)
	c.Flags().StringVar(&cluster, "cluster", "", "the cluster that it is for (carnet gateway-key cluster list)")
	c.Flags().StringSliceVar(&roles, "role", nil, "ARN of a role that the owner holds. May be given again (default: all that they hold)")
	c.Flags().StringVar(&fallback, "default-role", "", "ARN of the role for requests that no prefix grant covers")
	c.Flags().DurationVar(&lifetime, "lifetime", gatewaykeys.Longest, "how long it lives, up to 24h; what it rests on may end it earlier")
	return c
}

func parseRoles(texts []string) (roles []arn.Role, err error) {
	for _, text := range texts {
		r, err := arn.ParseRole(text)
		if err != nil {
			return nil, err
		}
		roles = append(roles, r)
	}
	return roles, nil
}

// sayMade prints a new key, with its secret, this once.
func (h *host) sayMade(cmd *cobra.Command, s *state, m gatewaykeys.Made, done string) error {
	d := api.MadeGatewayKeyOf(m, s.config.Listen.AWS.URL, s.config.Region)
	var text strings.Builder
	fmt.Fprintf(&text, "%s the gateway key %s of %s, until %s. The secret is not shown again.\n\n", done, m.ID, m.Owner.Name, m.Expires.Local().Format("2006-01-02 15:04"))
	fmt.Fprintf(&text, "  access key id      %s\n  secret access key  %s\n  endpoint           %s\n  region             %s\n", m.AccessKeyID, d.SecretAccessKey, d.Endpoint, d.Region)
	for _, r := range d.GatewayKey.Roles {
		fmt.Fprintf(&text, "  role               %s\n", r)
	}
	return say(cmd, d, text.String())
}

func (h *host) listGatewayKeys() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "list", Short: "List gateway keys with owner and expiry, never their secrets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withGatewayKeys(cmd, func(ctx context.Context, _ *state, keys *gatewaykeys.Service, _ *login.Service) error {
				list, err := keys.List(ctx)
				if err != nil {
					return err
				}
				lines, text := []api.GatewayKey{}, strings.Builder{}
				for _, k := range list {
					if !all && k.State != gatewaykeys.Active {
						continue
					}
					d := api.GatewayKeyOf(k)
					lines = append(lines, d)
					fmt.Fprintf(&text, "%s  %-7s  %s  %s until %s", k.ID, k.State, k.AccessKeyID, ownerWords(d), k.Expires.Local().Format("2006-01-02 15:04"))
					if d.Cluster != "" {
						text.WriteString(", cluster " + d.Cluster)
					}
					for _, n := range d.Networks {
						text.WriteString(", " + n)
					}
					if len(d.Certificates) > 0 {
						text.WriteString(", by client certificate")
					}
					text.WriteString(": " + roleNames(k.Roles) + "\n")
				}
				if len(lines) == 0 {
					text.WriteString("There is none.")
				}
				return say(cmd, map[string]any{"gateway_keys": lines}, text.String())
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "also those that ended within the last week")
	return c
}

// ownerWords says what a key rests on, and whose it is.
func ownerWords(k api.GatewayKey) string {
	if k.Person == "" {
		return "service principal " + k.Name
	}
	return strings.ReplaceAll(k.Owner, "-", " ") + " of " + k.Name
}

// roleNames lists the names of some roles, and counts the rest.
func roleNames(roles []arn.Role) string {
	const most = 4
	var names []string
	for i, r := range roles {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(roles)-most))
			break
		}
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}

func (h *host) rollGatewayKey() *cobra.Command {
	var overlap time.Duration
	c := &cobra.Command{
		Use: "roll ID", Short: "Make the successor of a key; the old one lives on for a while", Args: cobra.ExactArgs(1),
		Example: "  carnet gateway-key roll gwk_… --overlap 15m",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withGatewayKeys(cmd, func(ctx context.Context, s *state, keys *gatewaykeys.Service, _ *login.Service) error {
				made, err := keys.Roll(ctx, identity.GatewayKeyID(args[0]), overlap)
				if err != nil {
					return err
				}
				return h.sayMade(cmd, s, made, "Rolled "+args[0]+" to")
			})
		},
	}
	c.Flags().DurationVar(&overlap, "overlap", gatewaykeys.DefaultOverlap, "how long the old one lives on at most")
	return c
}

func (h *host) revokeGatewayKey() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "End a key at once, everywhere", Args: cobra.ExactArgs(1),
		Long: "Ends a gateway key within 2 seconds, in transfers that are under way too. Keys of roles at AWS that it was served with\n" +
			"never left the server. What the owner had besides stays: carnet revoke ends that.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withGatewayKeys(cmd, func(ctx context.Context, _ *state, keys *gatewaykeys.Service, _ *login.Service) error {
				if err := keys.Revoke(ctx, identity.GatewayKeyID(args[0])); err != nil {
					return err
				}
				return say(cmd, map[string]string{"id": args[0], "done": "revoked"}, "Revoked "+args[0]+". It holds from now on.")
			})
		},
	}
}

func (h *host) gatewayClusters() *cobra.Command {
	parent := &cobra.Command{Use: "cluster", Short: "Where engines call from", Args: cobra.NoArgs,
		Long: "Where the engines of a cluster call the gateway from. All else about clusters: carnet cluster."}
	var where bindingFlags
	add := &cobra.Command{
		Use: "add NAME", Short: "Add a cluster, or change where it calls from; its keys follow", Args: cobra.ExactArgs(1),
		Example: "  carnet gateway-key cluster add trino --network 10.4.0.0/16",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				b, err := where.binding()
				if err != nil {
					return err
				}
				c, err := s.clusters.Place(ctx, args[0], b)
				if err != nil {
					return err
				}
				return say(cmd, api.GatewayClusterOf(c), "Keys of cluster "+c.Name+" work from there, and from nowhere else.")
			})
		},
	}
	where.bind(add)
	list := &cobra.Command{
		Use: "list", Short: "List the clusters", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(_ context.Context, s *state) error {
				all, text := api.GatewayClustersOf(s.clusters.List()), strings.Builder{}
				for _, c := range all.Clusters {
					fmt.Fprintf(&text, "%s  %s\n", c.Name, strings.Join(slices.Concat(c.Networks, c.Certificates), ", "))
				}
				if len(all.Clusters) == 0 {
					text.WriteString("There is none.")
				}
				return say(cmd, all, text.String())
			})
		},
	}
	remove := &cobra.Command{
		Use: "remove NAME", Short: "Take a cluster out: its keys work nowhere any more", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				c, err := s.clusters.Find(args[0])
				if err != nil {
					return err
				}
				if err := s.clusters.Remove(ctx, c.ID); err != nil {
					return err
				}
				return say(cmd, map[string]string{"name": args[0], "done": "removed"}, "Removed "+args[0]+". Its keys are refused within a second.")
			})
		},
	}
	parent.AddCommand(add, list, remove)
	return parent
}
