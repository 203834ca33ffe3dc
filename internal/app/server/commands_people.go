package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/revocation"
)

func (h *host) people() *cobra.Command {
	parent := &cobra.Command{Use: "people", Short: "Who is known, and what each holds", Args: cobra.NoArgs}
	parent.AddCommand(h.listPeople(), h.showPerson(), h.explain(), h.mapRole(), h.unmapRole(), h.deactivate(), h.activate(),
		h.groups(), h.servicePrincipals(), h.listDelegations())
	return parent
}

// page is how many rows are read at once.
const page = 1000

func (h *host) listPeople() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List people, by user name", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				all, names := []personLine{}, map[identity.IdPID]string{}
				var text strings.Builder
				for after := (directory.Person{}); ; {
					people, err := s.directory.People.People(ctx, after, page)
					if err != nil {
						return err
					}
					for _, p := range people {
						if _, ok := names[p.IdP]; !ok {
							names[p.IdP] = s.idpName(p.IdP)
						}
						line := lineOf(p, names[p.IdP])
						all = append(all, line)
						text.WriteString(line.String())
					}
					if len(people) < page {
						break
					}
					after = people[len(people)-1]
				}
				if len(all) == 0 {
					text.WriteString("Nobody is known yet: people appear at their first sign-in.")
				}
				return say(cmd, map[string]any{"people": all}, text.String())
			})
		},
	}
}

// personLine is one person as they are listed.
type personLine struct {
	ID            identity.PersonID `json:"id"`
	UserName      string            `json:"user_name"`
	DisplayName   string            `json:"display_name"`
	Mail          string            `json:"mail"`
	IdP           identity.IdPID    `json:"identity_provider"`
	IdPName       string            `json:"identity_provider_name"`
	ExternalID    string            `json:"external_id,omitempty"`
	Active        bool              `json:"active"`
	Administrator bool              `json:"administrator"`
	Created       time.Time         `json:"created"`
}

func lineOf(p directory.Person, idp string) personLine {
	return personLine{ID: p.ID, UserName: p.UserName, DisplayName: p.DisplayName, Mail: p.Mail, IdP: p.IdP, IdPName: idp,
		ExternalID: p.ExternalID, Active: p.Active, Administrator: p.Administrator, Created: p.Created}
}

// String tells it as a line of text.
func (l personLine) String() string {
	text := fmt.Sprintf("%s  %-30s  %s", l.ID, l.UserName, l.IdPName)
	if !l.Active {
		text += "  (switched off)"
	}
	return text + "\n"
}

func (h *host) showPerson() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME-or-ID", Short: "Show a person, group or service principal", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				who, err := s.findSubject(ctx, args[0])
				if err != nil {
					return err
				}
				v, err := s.portrait(ctx, who)
				if err != nil {
					return err
				}
				return say(cmd, v, v.String())
			})
		},
	}
}

func (h *host) explain() *cobra.Command {
	return &cobra.Command{
		Use: "explain NAME-or-ID [ROLE]", Short: "Say where each role comes from and what would take it away", Args: cobra.RangeArgs(1, 2),
		Example: "  carnet people explain alice@example.com\n  carnet people explain alice@example.com arn:aws:iam::111122223333:role/analyst",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				who, err := s.findSubject(ctx, args[0])
				if err != nil {
					return err
				}
				x, err := s.explanation(ctx, who)
				if err != nil {
					return err
				}
				if len(args) == 2 {
					if x, err = x.only(args[1]); err != nil {
						return err
					}
				}
				return say(cmd, x, x.String())
			})
		},
	}
}

// act makes a command that changes something about one subject: do and its
// record are one transaction.
func (h *host) act(c *cobra.Command, do func(ctx context.Context, s *state, who subject, args []string) (event.Event, string, error)) *cobra.Command {
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return h.withState(cmd, func(ctx context.Context, s *state) error {
			who, err := s.findSubject(ctx, args[0])
			if err != nil {
				return err
			}
			var text string
			err = s.db.Atomic(ctx, func(ctx context.Context) error {
				e, done, err := do(ctx, s, who, args[1:])
				if err != nil {
					return err
				}
				text, e.Target = done, who.ID
				return s.trail.Record(ctx, e)
			})
			if err != nil {
				return err
			}
			return say(cmd, map[string]string{"subject": who.ID, "done": text}, text)
		})
	}
	return c
}

const mappedLong = "A stored role is what an administrator or a provisioning system says. It counts from the next sign-in on, beside what\n" +
	"the sign-in brings, where its account takes our own ID tokens: the assertion does not name it, so SAML does not buy it."

func (h *host) mapRole() *cobra.Command {
	return h.act(&cobra.Command{
		Use: "map NAME-or-ID ROLE", Short: "Store a role for a person, group or service principal", Args: cobra.ExactArgs(2), Long: mappedLong,
		Example: "  carnet people map Analysts arn:aws:iam::111122223333:role/analyst",
	}, func(ctx context.Context, s *state, who subject, args []string) (event.Event, string, error) {
		role, err := s.configuredRole(args[0])
		if err != nil {
			return event.Event{}, "", err
		}
		return event.Event{Action: "role.map", Account: role.Account, Role: role.String()},
			fmt.Sprintf("Stored %s for %s.", role, who.Name), s.directory.MapRole(ctx, who.ID, role, directory.FromAdmin, "")
	})
}

// configuredRole reads a role's ARN; an account that isn't listed gets nothing.
func (s *state) configuredRole(text string) (arn.Role, error) {
	role, err := arn.ParseRole(text)
	if err != nil {
		return role, err
	}
	a, ok := s.config.Account(role.Account)
	if !ok || a.Partition != role.Partition {
		return role, fault.New(fault.Invalid, "account "+role.Account+" of partition "+role.Partition+" is not in the configuration").
			WithMend("list it under accounts, or look at the ARN")
	}
	return role, nil
}

func (h *host) unmapRole() *cobra.Command {
	return h.act(&cobra.Command{
		Use: "unmap NAME-or-ID ROLE", Short: "Take a role away that an administrator stored", Args: cobra.ExactArgs(2), Long: mappedLong,
	}, func(ctx context.Context, s *state, who subject, args []string) (event.Event, string, error) {
		role, err := arn.ParseRole(args[0])
		if err != nil {
			return event.Event{}, "", err
		}
		stored, err := s.directory.Mappings.Own(ctx, who.ID)
		if err != nil {
			return event.Event{}, "", err
		}
		var others []string
		for _, m := range stored {
			switch {
			case m.Role != role:
			case m.Origin == directory.FromAdmin:
				if err := s.directory.Mappings.Unmap(ctx, m); err != nil {
					return event.Event{}, "", err
				}
				return event.Event{Action: "role.unmap", Account: role.Account, Role: role.String()},
					fmt.Sprintf("%s no longer has %s from an administrator. %s", who.Name, role, takenBack), s.takeBack(ctx, who.ID)
			default:
				others = append(others, s.named(directory.HeldMapping{Mapping: m}.Explain()))
			}
		}
		err = fault.New(fault.NotFound, fmt.Sprintf("no administrator gave %s the role %s", who.Name, role)).
			WithMend("look where it comes from: carnet people explain " + who.ID)
		if len(others) > 0 {
			err = fault.New(fault.NotFound, fmt.Sprintf("no administrator gave %s the role %s; it is %s", who.Name, role, strings.Join(others, ", "))).
				WithMend("take it away there")
		}
		return event.Event{}, "", err
	})
}

const takenBack = "Keys that rested on it have ended; people sign in anew."

// takeBack revokes what a subject, or everybody in a group, has out: keys may name the
// role that was taken away. What is still theirs they get anew.
func (s *state) takeBack(ctx context.Context, subject string) error {
	everyone, err := sqldirectory.Store{DB: s.db}.Everyone(ctx, subject)
	if err != nil {
		return err
	}
	for _, id := range everyone {
		kind := revocation.Person
		if strings.HasPrefix(id, "spn_") {
			kind = revocation.ServicePrincipal
		}
		if _, err := (takesBack{s}).Revoke(ctx, kind, id); err != nil {
			return err
		}
	}
	return nil
}

func (h *host) deactivate() *cobra.Command {
	var patience time.Duration
	c := &cobra.Command{
		Use: "deactivate NAME-or-ID", Short: "Switch a person off: no sign-in, no role, everything issued is revoked", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				p, err := s.findPerson(ctx, args[0])
				if err != nil {
					return err
				}
				r, err := s.revokeNow(ctx, revocation.Person, string(p.ID), patience, func(ctx context.Context) error { return s.setActive(ctx, p.ID, false) })
				if err != nil {
					return err
				}
				return say(cmd, r, p.UserName+" is switched off. "+r.String())
			})
		},
	}
	c.Flags().DurationVar(&patience, "wait", 5*time.Second, "how long to wait until every server has applied it")
	return c
}

func (h *host) activate() *cobra.Command {
	return h.act(&cobra.Command{
		Use: "activate NAME-or-ID", Short: "Switch a person on again: they can sign in", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, s *state, who subject, _ []string) (event.Event, string, error) {
		if who.person == nil {
			return event.Event{}, "", fault.New(fault.Invalid, who.Name+" is a "+who.Kind+": this command is for people")
		}
		return event.Event{Action: "person.activate"}, who.Name + " can sign in again. What was revoked stays revoked.",
			s.directory.SetActive(ctx, who.person.ID, true)
	})
}

func (h *host) groups() *cobra.Command {
	parent := &cobra.Command{Use: "group", Short: "Groups of people, service principals and groups", Args: cobra.NoArgs}
	list := h.list("groups", "List groups, by name", func(ctx context.Context, s *state) (all []subject, err error) {
		for after := (directory.Group{}); ; {
			groups, err := s.directory.Lists.ListGroups(ctx, after, page)
			if err != nil || len(groups) == 0 {
				return all, err
			}
			for _, g := range groups {
				all = append(all, aGroup(g))
			}
			after = groups[len(groups)-1]
		}
	})
	add := h.make("add NAME", "Make a group", "group.add", func(ctx context.Context, s *state, name string) (string, error) {
		g, err := s.directory.NewGroup(ctx, name, "")
		return string(g.ID), err
	})
	remove := h.act(&cobra.Command{Use: "remove GROUP", Short: "Delete a group and what it gave", Args: cobra.ExactArgs(1)},
		func(ctx context.Context, s *state, who subject, _ []string) (event.Event, string, error) {
			if err := s.takeBack(ctx, who.ID); err != nil { // while it still says who is in it
				return event.Event{}, "", err
			}
			return event.Event{Action: "group.remove"}, "Deleted group " + who.Name + ". " + takenBack, s.directory.Groups.DeleteGroup(ctx, identity.GroupID(who.ID))
		})
	join := h.act(&cobra.Command{Use: "join GROUP MEMBER", Short: "Put a person, group or service principal into a group", Args: cobra.ExactArgs(2)},
		func(ctx context.Context, s *state, who subject, args []string) (event.Event, string, error) {
			return s.membership(ctx, "group.join", "%s is in %s.", who, args[0], s.directory.Groups.AddMember)
		})
	leave := h.act(&cobra.Command{Use: "leave GROUP MEMBER", Short: "Take a member out of a group", Args: cobra.ExactArgs(2)},
		func(ctx context.Context, s *state, who subject, args []string) (event.Event, string, error) {
			return s.membership(ctx, "group.leave", "%s is not in %s. "+takenBack, who, args[0], func(ctx context.Context, g identity.GroupID, member string) error {
				if err := s.directory.Groups.RemoveMember(ctx, g, member); err != nil {
					return err
				}
				return s.takeBack(ctx, member)
			})
		})
	parent.AddCommand(list, add, remove, join, leave)
	return parent
}

func (s *state) membership(ctx context.Context, action, text string, group subject, member string,
	change func(context.Context, identity.GroupID, string) error) (event.Event, string, error) {
	if group.Kind != "group" {
		return event.Event{}, "", fault.New(fault.Invalid, group.Name+" is a "+group.Kind+", not a group")
	}
	who, err := s.findSubject(ctx, member)
	if err != nil {
		return event.Event{}, "", err
	}
	return event.Event{Action: action, Detail: map[string]string{"member": who.ID}}, fmt.Sprintf(text, who.Name, group.Name),
		change(ctx, identity.GroupID(group.ID), who.ID)
}

func (h *host) servicePrincipals() *cobra.Command {
	parent := &cobra.Command{Use: "service-principal", Short: "Machine identities", Args: cobra.NoArgs}
	list := h.list("service_principals", "List service principals, by name", func(ctx context.Context, s *state) (all []subject, err error) {
		principals, err := s.directory.ServicePrincipals.ServicePrincipals(ctx)
		for _, p := range principals {
			one := aServicePrincipal(p)
			if !p.Active {
				one.note = "  (switched off)"
			}
			all = append(all, one)
		}
		return all, err
	})
	add := h.make("add NAME", "Make a service principal", "service-principal.add", func(ctx context.Context, s *state, name string) (string, error) {
		p, err := s.directory.NewServicePrincipal(ctx, name, "")
		return string(p.ID), err
	})
	parent.AddCommand(list, add)
	parent.AddCommand(h.machineCommands()...)
	return parent
}

// list makes a command that lists; key names the list in JSON.
func (h *host) list(key, short string, all func(context.Context, *state) ([]subject, error)) *cobra.Command {
	return &cobra.Command{Use: "list", Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return h.withState(cmd, func(ctx context.Context, s *state) error {
			found, err := all(ctx, s)
			if err != nil {
				return err
			}
			var text strings.Builder
			for _, x := range found {
				fmt.Fprintf(&text, "%s  %s%s\n", x.ID, x.Name, x.note)
			}
			if len(found) == 0 {
				text.WriteString("There is none yet.")
			}
			return say(cmd, map[string]any{key: append([]subject{}, found...)}, text.String())
		})
	}}
}

// make makes a command that gives a new name an id; the act and its record are
// one transaction.
func (h *host) make(use, short, action string, do func(context.Context, *state, string) (string, error)) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return h.withState(cmd, func(ctx context.Context, s *state) error {
			var id string
			err := s.db.Atomic(ctx, func(ctx context.Context) (err error) {
				if id, err = do(ctx, s, args[0]); err != nil {
					return err
				}
				return s.trail.Record(ctx, event.Event{Action: action, Target: id, Detail: map[string]string{"name": args[0]}})
			})
			if err != nil {
				return err
			}
			return say(cmd, map[string]string{"id": id, "name": args[0]}, id+"  "+args[0])
		})
	}}
}
