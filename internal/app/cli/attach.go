package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/node/localdoc"
)

type attachFlags struct {
	approve, loginName bool
}

func (r *run) attach() *cobra.Command {
	var f attachFlags
	c := &cobra.Command{
		Use:   "attach",
		Short: "Work as yourself in this login to a shared machine",
		Long: "Asks the agent of this machine to bind this login to you. What runs in it then gets your keys from the agent, and nobody else on the machine does.\n\n" +
			"It prints a page and a code: type the code in the browser in which you are signed in. With --approve it is your sign-in by carnet login here that says yes. " +
			"It ends with this login, with carnet detach, and with your sign-in.",
		Example: "  carnet attach\n  eval \"$(carnet attach env)\"\n  aws s3 ls",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.runAttach(cmd.Context(), f)
		},
	}
	c.Flags().BoolVar(&f.approve, "approve", false, "say yes by your sign-in here (carnet login), without a browser")
	c.Flags().BoolVar(&f.loginName, "login-name", false, "by your account's name on this machine, where its administrator trusts it")
	c.MarkFlagsMutuallyExclusive("approve", "login-name")
	c.AddCommand(r.attachStatus(), r.attachEnv())
	return c
}

func (r *run) runAttach(ctx context.Context, f attachFlags) error {
	agent := r.agent()
	st, err := agent.Status(ctx)
	if err != nil {
		return err
	}
	if st.Attachment != nil {
		return r.sayAttached(ctx, st, "This login is attached already: ")
	}
	begun, err := agent.Attach(ctx, localdoc.Attach{ByLoginName: f.loginName})
	if err != nil {
		return err
	}
	if begun.Attachment == nil {
		if err := r.askApproval(ctx, f, st, begun); err != nil {
			return err
		}
		if err := r.awaitApproval(ctx, begun); err != nil {
			return err
		}
	}
	if st, err = agent.Status(ctx); err != nil {
		return err
	}
	if st.Attachment == nil {
		return then(fault.Coded(fault.Unavailable, "cli.attach-lost", "the attachment was made and has ended again"), "carnet attach")
	}
	return r.sayAttached(ctx, st, "Attached: ")
}

// askApproval shows the code to the person, or gives it to the server with the
// person's own sign-in. That never goes to the agent.
func (r *run) askApproval(ctx context.Context, f attachFlags, st localdoc.Status, b localdoc.Begun) error {
	if !f.approve {
		// To standard error also with --output json: without it nobody can approve.
		fmt.Fprintf(r.Stderr, "Open this page where you are signed in:\n  %s\nand type this code, within %s:\n  %s\n",
			Clean(b.VerificationURI), r.left(b.Expires), Clean(b.UserCode))
		return nil
	}
	s, err := r.signedIn()
	if err != nil {
		return err
	}
	defer s.close()
	if strings.TrimSuffix(st.Server, "/") != s.profile.Server {
		return then(fault.Coded(fault.Denied, "cli.other-server",
			fmt.Sprintf("this machine belongs to %s, and profile %q is signed in at %s", st.Server, s.name, s.profile.Server)).
			WithMend("sign in there"), r.loginCommand(s.name, st.Server))
	}
	a, err := s.api.ApproveAttachment(ctx, b.UserCode, ownUIDs())
	if err != nil {
		return r.again(s, err)
	}
	r.note("Approved as %s: account %s (uid %d) on %s of cluster %s.", s.profile.UserName, a.Account, a.UID, a.NodeName, a.ClusterName)
	return nil
}

// ownUIDs are what the node may call this account: its own uid, and in a user namespace
// the one outside (user_namespaces(7)). Empty where the system has none.
func ownUIDs() []int {
	own := os.Geteuid()
	if own < 0 {
		return nil
	}
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return []int{own}
	}
	out := []int{own}
	for line := range strings.Lines(string(text)) {
		var inside, outside, count int
		if n, _ := fmt.Sscan(line, &inside, &outside, &count); n == 3 && own >= inside && own-inside < count && outside+own-inside != own {
			out = append(out, outside+own-inside)
		}
	}
	return out
}

// patience is how often a person is told that they are waited for.
const patience = 30 * time.Second

// awaitApproval asks the agent until the person has said something.
func (r *run) awaitApproval(ctx context.Context, b localdoc.Begun) error {
	pause := max(time.Duration(b.Interval)*time.Second, time.Second)
	if b.Interval == 0 {
		pause = 100 * time.Millisecond // an agent of a test
	}
	r.note("Waiting for your answer (Ctrl-C to stop) ...")
	told := r.Now()
	for {
		p, err := r.agent().Poll(ctx, b.Request)
		if err != nil {
			return err
		}
		switch p.State {
		case "attached":
			return nil
		case "refused":
			return fault.Coded(fault.Denied, "cli.attach-refused", "the attachment was refused on the page")
		case "pending":
		case "expired":
			return then(fault.Coded(fault.Expired, "cli.attach-expired", "nobody typed the code in time"), "carnet attach")
		default:
			return fault.Coded(fault.Unavailable, "cli.attach-state", "the agent says "+p.State+", which this carnet does not know").
				WithMend("use the carnet program of the same release as the agent")
		}
		if now := r.Now(); now.Sub(told) >= patience {
			told = now
			r.note("Still waiting: the code %s is good for %s.", b.UserCode, r.left(b.Expires))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// sayAttached says what this login has now, and what comes next. Where the agent
// keeps no file of the second factor, it is kept here.
func (r *run) sayAttached(ctx context.Context, st localdoc.Status, lead string) error {
	if st.Faces.Container != "" {
		if _, err := r.bearerFile(ctx, st); err != nil {
			return err
		}
	}
	return r.sayStatus(st, lead)
}

// sayStatus prints what this login has.
func (r *run) sayStatus(st localdoc.Status, lead string) error {
	a := st.Attachment
	var b strings.Builder
	subject := account(a.Account)
	if lead == "" && a.Account == "" {
		subject = "This account"
	}
	fmt.Fprintf(&b, "%s%s works here as %s until %s (%s left).\n", lead, subject, a.Name, clock(a.Expires), r.left(a.Expires))
	fmt.Fprintf(&b, "machine: %s, cluster %s (%s)\nbound to: %s\n", st.Node, st.Cluster, st.Kind, a.Scope)
	next := "carnet role list"
	if a.Role != "" {
		fmt.Fprintf(&b, "current role: %s\n", a.Role)
	}
	switch {
	case st.Faces.Container != "":
		next = `eval "$(carnet attach env)"`
	case st.Faces.Missing["container"] != "":
		fmt.Fprintf(&b, "no container endpoint: %s\n", st.Faces.Missing["container"])
		next = "carnet configure, whose AWS profiles ask the agent's socket"
	}
	if !st.Fresh {
		b.WriteString("note: the agent has not heard from the server for a while; keys that it gave you before go on until they end\n")
	}
	return r.say(st, b.String()+"next: "+next+"\n")
}

func account(name string) string {
	if name == "" {
		return "this account"
	}
	return name
}

func (r *run) attachStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show who this login works as, where and until when",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := r.agent().Status(cmd.Context())
			if err != nil {
				return err
			}
			if st.Attachment == nil {
				return notAttached(st)
			}
			return r.sayStatus(st, "")
		},
	}
}

func notAttached(st localdoc.Status) error {
	return then(fault.Coded(fault.Unauthenticated, "cli.not-attached",
		fmt.Sprintf("this login is not attached (%s of cluster %s)", st.Node, st.Cluster)), "carnet attach")
}

func (r *run) detach() *cobra.Command {
	return &cobra.Command{
		Use:   "detach",
		Short: "End the attachment of this login",
		Long:  "Ends the attachment of this login. Keys that were handed out already work until they expire.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			agent := r.agent()
			st, err := agent.Status(cmd.Context())
			if err != nil {
				return err
			}
			if st.Attachment == nil {
				return notAttached(st)
			}
			if err := agent.Detach(cmd.Context()); err != nil {
				return err
			}
			err = r.forgetBearer(st)
			return errors.Join(r.say(map[string]string{"detached": st.Attachment.ID},
				"Detached. Keys that were handed out already work until they expire.\n"), err)
		},
	}
}
