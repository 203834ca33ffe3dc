package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/workload"
)

// machineCommands switch service principals, and take them out.
func (h *host) machineCommands() []*cobra.Command {
	return []*cobra.Command{
		h.endMachine("disable", "Give a service principal nothing more; what it holds is revoked", "service-principal.disable", "%s is switched off. ",
			func(ctx context.Context, s *state, p directory.ServicePrincipal) error {
				return s.directory.SetServicePrincipalActive(ctx, p.ID, false)
			}),
		h.enableMachine(),
		h.endMachine("remove", "Delete a service principal with its policies, credentials and the delegations to it", "service-principal.remove", "%s is removed. ",
			func(ctx context.Context, s *state, p directory.ServicePrincipal) error {
				if err := s.workload.EndAll(ctx, workload.Of{ServicePrincipal: p.ID}); err != nil {
					return err
				}
				if err := s.workload.Forget(ctx, p.ID); err != nil {
					return err
				}
				return s.directory.ServicePrincipals.DeleteServicePrincipal(ctx, p.ID)
			}),
	}
}

// endMachine makes a command that takes from a service principal what it has: do,
// its record and the revocation are one transaction.
func (h *host) endMachine(word, short, action, done string, do func(context.Context, *state, directory.ServicePrincipal) error) *cobra.Command {
	var patience time.Duration
	c := &cobra.Command{
		Use: word + " NAME-or-ID", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				p, err := s.findMachine(ctx, args[0])
				if err != nil {
					return err
				}
				r, err := s.revokeNow(ctx, revocation.ServicePrincipal, string(p.ID), patience, func(ctx context.Context) error {
					if err := do(ctx, s, p); err != nil {
						return err
					}
					return s.trail.Record(ctx, event.Event{Action: action, Target: string(p.ID), Detail: map[string]string{"name": p.Name}})
				})
				if err != nil {
					return err
				}
				return say(cmd, r, fmt.Sprintf(done, p.Name)+r.String())
			})
		},
	}
	c.Flags().DurationVar(&patience, "wait", 5*time.Second, "how long to wait until every server has applied it")
	return c
}

func (h *host) enableMachine() *cobra.Command {
	return &cobra.Command{
		Use: "enable NAME-or-ID", Short: "Switch a service principal on again", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				p, err := s.findMachine(ctx, args[0])
				if err != nil {
					return err
				}
				err = s.db.Atomic(ctx, func(ctx context.Context) error {
					if err := s.directory.SetServicePrincipalActive(ctx, p.ID, true); err != nil {
						return err
					}
					return s.trail.Record(ctx, event.Event{Action: "service-principal.enable", Target: string(p.ID), Detail: map[string]string{"name": p.Name}})
				})
				if err != nil {
					return err
				}
				return say(cmd, map[string]string{"subject": string(p.ID), "done": "enabled"}, p.Name+" can sign in again. What was revoked stays revoked.")
			})
		},
	}
}

// delegationLine is one delegation as administrators see it.
type delegationLine struct {
	ID               identity.DelegationID       `json:"id"`
	State            workload.State              `json:"state"`
	Person           identity.PersonID           `json:"person"`
	UserName         string                      `json:"user_name"`
	Role             string                      `json:"role"`
	ServicePrincipal identity.ServicePrincipalID `json:"service_principal"`
	MachineName      string                      `json:"service_principal_name"`
	Cluster          identity.ClusterID          `json:"cluster"`
	ClusterName      string                      `json:"cluster_name"`
	Label            string                      `json:"label"`
	Created          time.Time                   `json:"created"`
	Expires          time.Time                   `json:"expires"`
	LoginSession     identity.LoginSessionID     `json:"login_session"`
}

func (h *host) listDelegations() *cobra.Command {
	return &cobra.Command{
		Use: "delegations [NAME-or-ID]", Short: "List who lets which job work as them: all, of one person, or to one service principal", Args: cobra.MaximumNArgs(1),
		Long: "Lists delegations, ended ones included. End one with: carnet revoke delegation ID",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				of, err := s.delegationsOf(ctx, args)
				if err != nil {
					return err
				}
				all, err := s.workload.ListNamed(ctx, of)
				if err != nil {
					return err
				}
				lines := []delegationLine{}
				var text strings.Builder
				for _, d := range all {
					lines = append(lines, delegationLine{ID: d.ID, State: d.State, Person: d.Person, UserName: d.Evidence.UserName, Role: d.Role.String(),
						ServicePrincipal: d.ServicePrincipal, MachineName: d.MachineName, Cluster: d.Cluster, ClusterName: d.ClusterName, Label: d.Label, Created: d.Created, Expires: d.Expires,
						LoginSession: d.Evidence.LoginSession})
					to := d.MachineName
					if d.Cluster != "" {
						to = "cluster " + d.ClusterName
					}
					fmt.Fprintf(&text, "%s  %-7s  %s lets %s work in %s until %s: %s\n", d.ID, d.State, d.Evidence.UserName, to, d.Role,
						d.Expires.Format(time.DateOnly), d.Label)
				}
				if len(lines) == 0 {
					text.WriteString("There is none.")
				}
				return say(cmd, map[string]any{"delegations": lines}, text.String())
			})
		},
	}
}

func (s *state) delegationsOf(ctx context.Context, args []string) (of workload.Of, err error) {
	if len(args) == 0 {
		return of, nil
	}
	who, err := s.findSubject(ctx, args[0])
	if err != nil {
		return of, err
	}
	if who.person != nil {
		of.Person = who.person.ID
		return of, nil
	}
	m, err := s.findMachine(ctx, who.ID)
	of.ServicePrincipal = m.ID
	return of, err
}
