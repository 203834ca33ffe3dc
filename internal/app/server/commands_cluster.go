package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"carnet.dev/carnet/internal/app/cli"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/api/clusterdoc"
	"carnet.dev/carnet/internal/service/cluster"
)

func (h *host) clusterCommands() *cobra.Command {
	parent := &cobra.Command{Use: "cluster", Short: "Machines that people share, and who may work on them", Args: cobra.NoArgs,
		Long: "A cluster is one machine or many. A standard cluster is for one assigned person; a high-concurrency one is for many, each\n" +
			"kept apart from the others. Machines join it with a join token, once. These commands work on the database itself,\n" +
			"also while servers run: they follow within a second."}
	parent.AddCommand(h.addCluster(), h.listClusters(), h.showCluster(), h.setCluster(), h.removeCluster(), h.assignCluster(), h.joinToken(), h.externalID())
	return parent
}

// clusterFlags are the settings of a cluster as flags.
type clusterFlags struct {
	managers, people, groups, orchestrators, roles []string
	assigned, loginNames                           string
	meta, instanceMetadata, signingProxy           bool
	longest                                        time.Duration
	where                                          bindingFlags
}

func (f *clusterFlags) bind(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.assigned, "person", "", "the one person of a standard cluster: id or user name")
	fs.StringSliceVar(&f.people, "people", nil, "people who may work on a high-concurrency cluster; with no people and no groups: everybody who signs in")
	fs.StringSliceVar(&f.groups, "groups", nil, "groups whose members may work there")
	fs.StringSliceVar(&f.managers, "managers", nil, "people who may reassign it, let machines join and end attachments, beside administrators")
	fs.StringSliceVar(&f.orchestrators, "orchestrators", nil, "service principals that may attach people who are signed in or have delegated, such as JupyterHub's")
	fs.StringSliceVar(&f.roles, "roles", nil, "patterns of the role ARNs that may be used there; * stands for any characters. None: every role that a person holds")
	fs.StringVar(&f.loginNames, "login-names", "", "the identity provider whose user names equal the login names of the nodes; an account name proves a person then")
	fs.BoolVar(&f.meta, "meta", false, "jobs and JDBC connections there may take roles by Carnet's own AWS identity")
	fs.BoolVar(&f.instanceMetadata, "instance-metadata", false, "agents may offer instance metadata, IMDSv2 (default: on a standard cluster alone)")
	fs.BoolVar(&f.signingProxy, "signing-proxy", false, "agents may offer the signing proxy")
	fs.DurationVar(&f.longest, "longest", 0, "how long an attachment lives at most, 5m to 720h (default 12h)")
	f.where.bind(c)
}

// settings says what was given on the command line.
func (f *clusterFlags) settings(fs *pflag.FlagSet) (in clusterdoc.ClusterSettings, err error) {
	seconds := int(f.longest / time.Second)
	given(fs, "person", &in.Assigned, &f.assigned)
	given(fs, "people", &in.People, clean(&f.people))
	given(fs, "groups", &in.Groups, clean(&f.groups))
	given(fs, "managers", &in.Managers, clean(&f.managers))
	given(fs, "orchestrators", &in.Orchestrators, clean(&f.orchestrators))
	given(fs, "roles", &in.Roles, clean(&f.roles))
	given(fs, "login-names", &in.LoginNames, &f.loginNames)
	given(fs, "meta", &in.Meta, &f.meta)
	given(fs, "instance-metadata", &in.InstanceMetadata, &f.instanceMetadata)
	given(fs, "signing-proxy", &in.SigningProxy, &f.signingProxy)
	given(fs, "longest", &in.LongestSeconds, &seconds)
	f.where.networks, f.where.certificates = *clean(&f.where.networks), *clean(&f.where.certificates)
	b, err := f.where.binding()
	if err != nil {
		return in, err
	}
	var networks, certificates []string
	for _, n := range b.Networks {
		networks = append(networks, n.String())
	}
	for _, c := range b.Certificates {
		certificates = append(certificates, c.String())
	}
	given(fs, "network", &in.Networks, &networks)
	given(fs, "certificate", &in.Certificates, &certificates)
	return in, nil
}

// given takes a flag that was given.
func given[T any](fs *pflag.FlagSet, name string, to **T, value *T) {
	if fs.Changed(name) {
		*to = value
	}
}

// clean drops empty entries: --people ” empties the list.
func clean(list *[]string) *[]string {
	out := []string{}
	for _, e := range *list {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return &out
}

func (h *host) addCluster() *cobra.Command {
	var f clusterFlags
	var kind string
	c := &cobra.Command{
		Use: "add NAME", Short: "Add a cluster", Args: cobra.ExactArgs(1),
		Example: "  carnet cluster add lab --kind standard --person ann@example.com\n" +
			"  carnet cluster add notebooks --kind high-concurrency --groups analysts --roles 'arn:aws:iam::111122223333:role/data-*'",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				in, err := f.settings(cmd.Flags())
				if err != nil {
					return err
				}
				c := cluster.Defaults(args[0], cluster.Kind(kind))
				if err := api.SetCluster(ctx, clusterNames{s}, &c, in); err != nil {
					return err
				}
				if c, err = s.clusters.Add(ctx, c); err != nil {
					return err
				}
				return s.sayCluster(ctx, cmd, c, "Added cluster "+c.Name+". Let a machine join it: carnet cluster join-token "+c.Name)
			})
		},
	}
	c.Flags().StringVar(&kind, "kind", string(cluster.HighConcurrency), "standard: one assigned person; high-concurrency: many people, kept apart")
	f.bind(c)
	return c
}

// sayCluster prints a cluster as JSON, or a sentence and what deserves a second look.
func (s *state) sayCluster(ctx context.Context, cmd *cobra.Command, c cluster.Cluster, text string) error {
	d, err := api.ClusterDocument(ctx, clusterNames{s}, c, len(s.clusters.NodesOf(c.ID)))
	if err != nil {
		return err
	}
	d.Manages = true
	for _, w := range d.Warnings {
		text += "\nwarning: " + w
	}
	return say(cmd, d, text)
}

func (h *host) listClusters() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the clusters", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				all, text := clusterdoc.ClusterList{Clusters: []clusterdoc.Cluster{}}, strings.Builder{}
				for _, c := range s.clusters.List() {
					d, err := api.ClusterDocument(ctx, clusterNames{s}, c, len(s.clusters.NodesOf(c.ID)))
					if err != nil {
						return err
					}
					d.Manages = true
					all.Clusters = append(all.Clusters, d)
					fmt.Fprintf(&text, "%-24s  %-16s  %-28s  %s\n", d.Name, d.Kind, whoWorks(d), counted(d.Nodes, "node"))
				}
				if len(all.Clusters) == 0 {
					text.WriteString("There is none. Add one: carnet cluster add NAME --kind standard")
				}
				return say(cmd, all, text.String())
			})
		},
	}
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// whoWorks says who may attach.
func whoWorks(d clusterdoc.Cluster) string {
	switch {
	case d.Kind == string(cluster.Standard) && d.Assigned == nil:
		return "nobody is assigned"
	case d.Kind == string(cluster.Standard):
		return called(*d.Assigned)
	case len(d.People)+len(d.Groups) == 0:
		return "everybody"
	}
	return counted(len(d.People), "person") + ", " + counted(len(d.Groups), "group")
}

func called(m clusterdoc.ClusterMember) string {
	if m.Name == "" {
		return m.ID + " (gone)"
	}
	return m.Name
}

func (h *host) showCluster() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME-or-ID", Short: "Show a cluster", Args: cobra.ExactArgs(1),
		RunE: h.onCluster(func(ctx context.Context, s *state, cmd *cobra.Command, c cluster.Cluster, _ []string) error {
			d, err := api.ClusterDocument(ctx, clusterNames{s}, c, len(s.clusters.NodesOf(c.ID)))
			if err != nil {
				return err
			}
			d.Manages = true
			return say(cmd, d, clusterText(d))
		}),
	}
}

// clusterText tells all of a cluster.
func clusterText(d clusterdoc.Cluster) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-18s %s\n", name, value)
		}
	}
	list := func(members []clusterdoc.ClusterMember) string {
		var names []string
		for _, m := range members {
			names = append(names, called(m))
		}
		return strings.Join(names, ", ")
	}
	line("cluster", d.Name)
	line("id", d.ID)
	line("kind", d.Kind)
	line("who works there", whoWorks(d))
	line("people", list(d.People))
	line("groups", list(d.Groups))
	line("managed by", list(d.Managers))
	line("attached by", list(d.Orchestrators))
	roles := strings.Join(d.Roles, ", ")
	if roles == "" {
		roles = "every role that a person holds"
	}
	line("roles", roles)
	if d.LoginNames != nil {
		line("login names of", called(*d.LoginNames))
	}
	line("longest", (time.Duration(d.LongestSeconds) * time.Second).String())
	line("calls from", strings.Join(append(d.Networks, d.Certificates...), ", "))
	for _, o := range []struct {
		name string
		on   bool
	}{{"meta", d.Meta}, {"instance metadata", d.InstanceMetadata}, {"signing proxy", d.SigningProxy}} {
		if o.on {
			line(o.name, "on")
		}
	}
	line("nodes", fmt.Sprint(d.Nodes))
	line("revision", fmt.Sprint(d.Revision))
	for _, w := range d.Warnings {
		line("warning", w)
	}
	return b.String()
}

// onCluster opens the database for a command whose first argument names a cluster.
func (h *host) onCluster(do func(context.Context, *state, *cobra.Command, cluster.Cluster, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return h.withState(cmd, func(ctx context.Context, s *state) error {
			c, err := s.clusters.Find(args[0])
			if err != nil {
				return err
			}
			return do(ctx, s, cmd, c, args[1:])
		})
	}
}

func (h *host) setCluster() *cobra.Command {
	var f clusterFlags
	c := &cobra.Command{
		Use: "set NAME-or-ID", Short: "Change a cluster; what is not named stays", Args: cobra.ExactArgs(1),
		Example: "  carnet cluster set notebooks --people ann@example.com,bob@example.com --longest 10h\n  carnet cluster set notebooks --roles ''",
		RunE: h.onCluster(func(ctx context.Context, s *state, cmd *cobra.Command, c cluster.Cluster, _ []string) error {
			in, err := f.settings(cmd.Flags())
			if err != nil {
				return err
			}
			if err := api.SetCluster(ctx, clusterNames{s}, &c, in); err != nil {
				return err
			}
			if c, err = s.clusters.Update(ctx, c); err != nil {
				return err
			}
			return s.sayCluster(ctx, cmd, c, "Cluster "+c.Name+" is changed. Servers follow within a second.")
		}),
	}
	f.bind(c)
	return c
}

func (h *host) removeCluster() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME-or-ID", Short: "Remove a cluster with its nodes: whoever works there has nothing there from then on", Args: cobra.ExactArgs(1),
		RunE: h.onCluster(func(ctx context.Context, s *state, cmd *cobra.Command, c cluster.Cluster, _ []string) error {
			if err := s.clusters.Remove(ctx, c.ID); err != nil {
				return err
			}
			return say(cmd, map[string]string{"id": string(c.ID), "done": "removed"}, "Removed cluster "+c.Name+". It holds within two seconds; keys that AWS handed out live to their end.")
		}),
	}
}

func (h *host) assignCluster() *cobra.Command {
	return &cobra.Command{
		Use: "assign NAME-or-ID [PERSON]", Short: "Assign a standard cluster to a person; without one: to nobody", Args: cobra.RangeArgs(1, 2),
		Example: "  carnet cluster assign lab bob@example.com",
		RunE: h.onCluster(func(ctx context.Context, s *state, cmd *cobra.Command, c cluster.Cluster, rest []string) error {
			var person identity.PersonID
			text := "Nobody works on cluster " + c.Name + " any more."
			if len(rest) == 1 {
				p, err := s.findPerson(ctx, rest[0])
				if err != nil {
					return err
				}
				person, text = p.ID, "Cluster "+c.Name+" is "+p.UserName+"'s. Who had it before has nothing there from now on."
			}
			c, err := s.clusters.Assign(ctx, c.ID, person)
			if err != nil {
				return err
			}
			return s.sayCluster(ctx, cmd, c, text)
		}),
	}
}

func (h *host) joinToken() *cobra.Command {
	var life time.Duration
	c := &cobra.Command{
		Use: "join-token NAME-or-ID", Short: "Make a join token: it lets one machine join, once", Args: cobra.ExactArgs(1),
		Long:    "Prints a token by which one machine becomes a node of the cluster. It is shown this once; its digest is kept.",
		Example: "  carnet cluster join-token lab --life 15m >join-token",
		RunE: h.onCluster(func(ctx context.Context, s *state, cmd *cobra.Command, c cluster.Cluster, _ []string) error {
			expires := s.now().Add(life)
			token, err := s.clusters.NewJoinToken(ctx, c.ID, "", life)
			if err != nil {
				return err
			}
			if err := say(cmd, clusterdoc.JoinToken{JoinToken: token.Reveal(), Cluster: c.Name, Expires: expires.UTC().Truncate(time.Second)}, token.Reveal()); err != nil {
				return err
			}
			// To standard error: the rest can be kept in a file, which carnet agent join reads.
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), cli.Clean("Good once, until "+expires.UTC().Format(time.RFC3339)+". On the machine: carnet agent join --server "+s.config.BaseURL+" --join-token-file FILE"))
			return err
		}),
	}
	c.Flags().DurationVar(&life, "life", cluster.DefaultJoinLife, "how long it is good, 1m to 24h")
	return c
}

func (h *host) externalID() *cobra.Command {
	return &cobra.Command{
		Use: "external-id", Short: "Show the external id that Carnet's own AWS identity takes roles with", Args: cobra.NoArgs,
		Long: "Data roles that Carnet's own AWS identity may take ask for this installation's external id. It was made by chance at the first\n" +
			"start and never changes. The policies with it: carnet setup aws --meta",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(_ context.Context, s *state) error {
				id := s.meta.ExternalID()
				return say(cmd, map[string]string{"external_id": id}, id)
			})
		},
	}
}

func (h *host) nodeCommands() *cobra.Command {
	parent := &cobra.Command{Use: "node", Short: "Machines that joined a cluster", Args: cobra.NoArgs}
	list := &cobra.Command{
		Use: "list CLUSTER", Short: "List the nodes of a cluster, and how they do", Args: cobra.ExactArgs(1),
		RunE: h.onCluster(func(ctx context.Context, s *state, cmd *cobra.Command, c cluster.Cluster, _ []string) error {
			all, err := s.clusters.ListNodes(ctx, c.ID)
			if err != nil {
				return err
			}
			d, text := api.NodeDocuments(all, s.now()), strings.Builder{}
			for _, n := range d.Nodes {
				fmt.Fprintf(&text, "%-24s  %-9s  seen %s  agent %s  %s\n", n.Name, n.State, n.Seen.Format(time.RFC3339), n.Version, strings.Join(n.Faces, ", "))
				for _, t := range n.Troubles {
					fmt.Fprintf(&text, "  trouble: %s\n", t)
				}
				if n.MetadataReachable {
					text.WriteString("  trouble: attached people reach an instance metadata service of this machine\n")
				}
			}
			if len(d.Nodes) == 0 {
				text.WriteString("No machine has joined. Let one join: carnet cluster join-token " + c.Name)
			}
			return say(cmd, d, text.String())
		}),
	}
	remove := &cobra.Command{
		Use: "remove CLUSTER NODE", Short: "Take a node out: it gets nothing from then on", Args: cobra.ExactArgs(2),
		RunE: h.onCluster(func(ctx context.Context, s *state, cmd *cobra.Command, c cluster.Cluster, rest []string) error {
			n, err := s.clusters.FindNode(c.ID, rest[0])
			if err != nil {
				return err
			}
			if err := s.clusters.RemoveNode(ctx, n.ID); err != nil {
				return err
			}
			return say(cmd, map[string]string{"id": string(n.ID), "done": "removed"}, "Removed node "+n.Name+". It holds within two seconds; keys that AWS handed out live to their end.")
		}),
	}
	parent.AddCommand(list, remove)
	return parent
}
