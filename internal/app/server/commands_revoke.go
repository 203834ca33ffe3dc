package server

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/withdrawal"
)

func (h *host) revoke() *cobra.Command {
	parent := &cobra.Command{
		Use: "revoke", Short: "Take back what was issued", Args: cobra.NoArgs,
		Long: "Takes back all login sessions and keys that were issued up to now. It holds once it is committed, wherever Carnet\n" +
			"decides, within 2 seconds. Keys that AWS handed out live to their end. Whoever may still sign in can do so again:\n" +
			"to keep a person out, use carnet people deactivate. Long-lived access keys of IAM users (static_keys: allow) are not\n" +
			"issued by a sign-in and stay: aws iam update-access-key --status Inactive ends one.",
	}
	var patience time.Duration
	parent.PersistentFlags().DurationVar(&patience, "wait", 5*time.Second, "how long to wait until every server has applied it")
	one := func(use, short string, args cobra.PositionalArgs, find func(context.Context, *state, []string) (kind, id string, err error)) {
		parent.AddCommand(&cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				kind, id, err := find(ctx, s, args)
				if err != nil {
					return err
				}
				r, err := s.revokeNow(ctx, kind, id, patience, nil)
				if err != nil {
					return err
				}
				return say(cmd, r, r.String())
			})
		}})
	}
	one("person NAME-or-ID", "Everything that a person has", cobra.ExactArgs(1), func(ctx context.Context, s *state, args []string) (string, string, error) {
		if personID.MatchString(args[0]) { // also one who is not known any more
			return revocation.Person, args[0], nil
		}
		p, err := s.findPerson(ctx, args[0])
		return revocation.Person, string(p.ID), err
	})
	one("login-session ID", "One sign-in with all that rests on it", cobra.ExactArgs(1), func(_ context.Context, _ *state, args []string) (string, string, error) {
		if !loginSessionID.MatchString(args[0]) {
			return "", "", fault.New(fault.Invalid, fmt.Sprintf("%q is not the id of a login session (lgn_…)", args[0])).
				WithMend("carnet people show NAME lists a person's login sessions")
		}
		return revocation.LoginSession, args[0], nil
	})
	one("service-principal NAME-or-ID", "Everything that a service principal has; it can sign in again", cobra.ExactArgs(1), func(ctx context.Context, s *state, args []string) (string, string, error) {
		if servicePrincipalID.MatchString(args[0]) { // also one that is not known any more
			return revocation.ServicePrincipal, args[0], nil
		}
		p, err := s.findMachine(ctx, args[0])
		return revocation.ServicePrincipal, string(p.ID), err
	})
	one("delegation ID", "A delegation, and what work runs under it", cobra.ExactArgs(1), func(ctx context.Context, s *state, args []string) (string, string, error) {
		d, err := s.workload.Delegation(ctx, identity.DelegationID(args[0]))
		return revocation.Delegation, string(d.ID), err
	})
	one("cluster NAME-or-ID", "All that is attached to a cluster's nodes, and their access tokens", cobra.ExactArgs(1), func(_ context.Context, s *state, args []string) (string, string, error) {
		c, err := s.clusters.Find(args[0])
		return revocation.Cluster, string(c.ID), err
	})
	one("node CLUSTER NODE", "All that is attached to a node, and its access tokens; its key proves it again", cobra.ExactArgs(2), func(_ context.Context, s *state, args []string) (string, string, error) {
		c, err := s.clusters.Find(args[0])
		if err != nil {
			return "", "", err
		}
		n, err := s.clusters.FindNode(c.ID, args[1])
		return revocation.Node, string(n.ID), err
	})
	one("attachment ID", "One attachment, and the gateway keys that it was given", cobra.ExactArgs(1), func(_ context.Context, _ *state, args []string) (string, string, error) {
		if !attachmentID.MatchString(args[0]) {
			return "", "", fault.New(fault.Invalid, fmt.Sprintf("%q is not the id of an attachment (att_…)", args[0])).WithMend("carnet attachment list shows them")
		}
		return revocation.Attachment, args[0], nil
	})
	one("everything", "Everything of everybody", cobra.NoArgs, func(context.Context, *state, []string) (string, string, error) {
		return revocation.Everything, revocation.Everything, nil
	})
	return parent
}

// Ids as identity makes them: a mistyped one would revoke nothing, silently.
var (
	personID           = regexp.MustCompile(`^psn_[a-z2-7]{26}$`)
	loginSessionID     = regexp.MustCompile(`^lgn_[a-z2-7]{26}$`)
	attachmentID       = regexp.MustCompile(`^att_[a-z2-7]{26}$`)
	servicePrincipalID = regexp.MustCompile(`^spn_[a-z2-7]{26}$`)
)

// revoked is what a revocation has come to.
type revoked struct {
	Kind    string    `json:"kind"`
	ID      string    `json:"id"`
	Epoch   uint64    `json:"epoch"`
	Servers []applied `json:"servers"`
}

type applied struct {
	Server  string    `json:"server"`
	Applied bool      `json:"applied"`
	Seen    time.Time `json:"last_seen"`
}

// String tells it as text.
func (r revoked) String() string {
	var b strings.Builder
	what := r.Kind + " " + r.ID
	if r.Kind == revocation.Everything {
		what = r.Kind
	}
	fmt.Fprintf(&b, "Revoked %s (epoch %d). It holds from now on.\n", what, r.Epoch)
	if r.Kind == revocation.Everything {
		b.WriteString("Long-lived access keys of IAM users are not among it: aws iam update-access-key --status Inactive ends one,\n" +
			"and carnet.yaml without static_keys: allow, after a restart, all of them.\n")
	}
	if len(r.Servers) == 0 {
		b.WriteString("No server is running.\n")
	}
	for _, v := range r.Servers {
		if v.Applied {
			fmt.Fprintf(&b, "  %s has applied it\n", v.Server)
			continue
		}
		fmt.Fprintf(&b, "  %s has not applied it yet; if it has lost touch it decides nothing from %s on\n",
			v.Server, v.Seen.Add(revocation.DefaultBound).Format(time.TimeOnly))
	}
	return b.String()
}

// revokeNow revokes, with its record and what else belongs into the same
// transaction, and waits until every live server has applied it.
func (s *state) revokeNow(ctx context.Context, kind, id string, patience time.Duration, also func(context.Context) error) (revoked, error) {
	r := revoked{Kind: kind, ID: id}
	result, err := s.withdrawal.RevokeWith(ctx, withdrawal.Target{Kind: kind, ID: id}, also)
	if err != nil {
		return r, err
	}
	r.Epoch = result.Epoch
	err = poll(ctx, patience, func() (bool, error) {
		views, all, err := s.withdrawal.Applied(ctx, r.Epoch)
		r.Servers = []applied{}
		for _, v := range views {
			r.Servers = append(r.Servers, applied{Server: v.Server, Applied: v.Epoch >= r.Epoch, Seen: v.Seen})
		}
		return all, err
	})
	return r, err
}
