package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/withdrawal"
)

func (h *host) revoke() *cobra.Command {
	parent := &cobra.Command{
		Use: "revoke", Short: "Take back what was issued", Args: cobra.NoArgs,
		Long: "Takes back all login sessions and keys that were issued up to now. It holds once it is committed, wherever Carnet\n" +
			"decides, within 2 seconds. Keys that AWS handed out live to their end, which is said, unless Carnet may write a Deny\n" +
			"into their roles. Whoever may still sign in can do so again: to keep a person out, use carnet people deactivate.\n" +
			"Long-lived access keys of IAM users (static_keys: allow) are not issued by a sign-in and stay: aws iam\n" +
			"update-access-key --status Inactive ends one.",
	}
	var patience time.Duration
	parent.PersistentFlags().DurationVar(&patience, "wait", 5*time.Second, "how long to wait until every server has applied it")
	one := func(kind, argument, short string) {
		use, args := kind, cobra.NoArgs
		if argument != "" {
			use, args = kind+" "+argument, cobra.ExactArgs(1)
		}
		parent.AddCommand(&cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				t, err := s.taking(ctx, kind, strings.Join(args, ""))
				if err != nil {
					return err
				}
				return s.sayRevoked(ctx, cmd, t, patience)
			})
		}})
	}
	one(revocation.Person, "NAME-or-ID", "Everything that a person has")
	one(revocation.LoginSession, "ID", "One sign-in with all that rests on it")
	one(revocation.Role, "ARN-or-NAME", "All keys of a role; whoever has it by a sign-in signs in again")
	one(revocation.AccessKey, "ACCESS-KEY-ID", "The temporary keys with this id (ASIA…), or a gateway key (GWKA…)")
	one(revocation.GatewayKey, "ID", "One gateway key, by its id or its access key id")
	one(revocation.ServicePrincipal, "NAME-or-ID", "Everything that a service principal has; it can sign in again")
	one(revocation.Delegation, "ID", "A delegation, and what work runs under it")
	one(revocation.OAuthClient, "NAME-or-ID", "All tokens of a program; people sign in to it again")
	one(revocation.Cluster, "NAME-or-ID", "All that is attached to a cluster's nodes, and their access tokens")
	parent.AddCommand(&cobra.Command{Use: "node CLUSTER NODE", Short: "All that is attached to a node, and its access tokens; its key proves it again", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				c, err := s.clusters.Find(args[0])
				if err != nil {
					return err
				}
				n, err := s.clusters.FindNode(c.ID, args[1])
				if err != nil {
					return err
				}
				t, err := the(revocation.Node, string(n.ID), nil)
				return errors.Join(err, s.sayRevoked(ctx, cmd, t, patience))
			})
		}})
	one(revocation.Attachment, "ID", "One attachment, and the gateway keys that it was given")
	one(revocation.Everything, "", "Everything of everybody")
	return parent
}

func (s *state) sayRevoked(ctx context.Context, cmd *cobra.Command, t taking, patience time.Duration) error {
	r, err := s.revokeNow(ctx, t.Kind, t.ID, patience, t.also)
	if err != nil {
		return err
	}
	return say(cmd, r, r.String())
}

// revoked is what a revocation has come to.
type revoked struct {
	Kind    string    `json:"kind"`
	ID      string    `json:"id"`
	Epoch   uint64    `json:"epoch"`
	Servers []applied `json:"servers"`
	// Outstanding are keys that AWS may honour longer.
	Outstanding []api.OutstandingKey `json:"outstanding"`
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
	b.WriteString(outstandingText(r.Outstanding))
	return b.String()
}

// mostTold bounds how many outstanding keys are told of as text.
const mostTold = 50

// outstandingText tells of keys that AWS may honour longer; empty without any.
func outstandingText(keys []api.OutstandingKey) string {
	if len(keys) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "AWS may honour %d keys longer, since they were handed out by AWS itself:\n", len(keys))
	for i, k := range keys {
		if i == mostTold {
			fmt.Fprintf(&b, "  … and %d more: carnet revoke … --output json has all\n", len(keys)-i)
			break
		}
		fmt.Fprintf(&b, "  %s of %s, until %s: %s\n", cmp.Or(k.AccessKeyID, "an ID token"), k.Role, stamp(k.Until), denyText(k))
	}
	return b.String()
}

// denyText says what keeps AWS from honouring a key.
func denyText(k api.OutstandingKey) string {
	switch withdrawal.DenyState(k.Deny) {
	case withdrawal.DenyQueued:
		return "a Deny is being written into the role"
	case withdrawal.DenyWritten:
		return "a Deny stands in the role"
	case withdrawal.DenyFailed:
		return "a Deny can't be written yet: " + k.Trouble
	}
	return "Carnet may not write into this account's roles"
}

// revokeNow revokes, with its record and what else belongs into the same
// transaction, and waits until every live server has applied it.
func (s *state) revokeNow(ctx context.Context, kind, id string, patience time.Duration, also func(context.Context) error) (revoked, error) {
	r := revoked{Kind: kind, ID: id}
	result, err := s.withdrawal.RevokeWith(ctx, withdrawal.Target{Kind: kind, ID: id}, also)
	if err != nil {
		return r, err
	}
	r.Epoch, r.Outstanding = result.Epoch, api.OutstandingKeys(result.Outstanding)
	err = poll(ctx, patience, func() (bool, error) {
		views, all, err := s.withdrawal.Applied(ctx, r.Epoch)
		r.Servers = []applied{}
		for _, v := range views {
			r.Servers = append(r.Servers, applied{Server: v.Server, Applied: v.Epoch >= r.Epoch, Seen: v.Seen})
		}
		return all, err
	})
	if err != nil {
		err = fault.Wrap(err, fault.KindOf(err), fmt.Sprintf("it is revoked (epoch %d), but which servers know of it can't be asked", r.Epoch))
	}
	return r, err
}
