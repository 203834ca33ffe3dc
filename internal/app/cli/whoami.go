package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/app/cli/profile"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api/client"
)

func (r *run) whoami() *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Show who is signed in, where and for how long",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.signedIn()
			if err != nil {
				return err
			}
			defer s.close()
			w, err := s.api.Session(cmd.Context())
			if err != nil {
				return r.again(s, err)
			}
			roles, err := s.api.Roles(cmd.Context())
			if err != nil {
				return r.again(s, err)
			}
			warnings := warningsOf(roles)
			var b strings.Builder
			fmt.Fprintf(&b, "%s at %s\n", w.Person.UserName, s.profile.Server)
			if w.Person.DisplayName != "" && w.Person.DisplayName != w.Person.UserName {
				fmt.Fprintf(&b, "name: %s\n", w.Person.DisplayName)
			}
			if w.Administrator {
				b.WriteString("administrator: yes\n")
			}
			fmt.Fprintf(&b, "signed in until: %s (%s left)\n", clock(w.LoginSession.Expires), r.left(w.LoginSession.Expires))
			if s.profile.Role != "" {
				fmt.Fprintf(&b, "current role: %s\n", s.profile.Role)
			}
			for _, n := range w.Notes {
				fmt.Fprintf(&b, "note: %s\n", n)
			}
			for _, n := range warnings {
				fmt.Fprintf(&b, "warning: %s\n", n)
			}
			return r.say(struct {
				Server           string    `json:"server"`
				Profile          string    `json:"profile"`
				PersonID         string    `json:"person_id"`
				UserName         string    `json:"user_name"`
				DisplayName      string    `json:"display_name"`
				IdentityProvider string    `json:"identity_provider"`
				Administrator    bool      `json:"administrator"`
				Expires          time.Time `json:"expires"`
				Role             string    `json:"current_role"`
				Notes            []string  `json:"notes"`
				Warnings         []string  `json:"warnings"`
			}{s.profile.Server, s.name, w.Person.ID, w.Person.UserName, w.Person.DisplayName, w.Person.IdentityProvider,
				w.Administrator, w.LoginSession.Expires, s.profile.Role, present(w.Notes), present(warnings)}, b.String())
		},
	}
}

// warningsOf gives what is said of roles that end soon, or were not renewed.
func warningsOf(roles []client.Role) (out []string) {
	for _, x := range roles {
		if x.Warning != nil && x.Warning.Command == "" {
			out = append(out, roleName(x.ARN)+": "+x.Warning.Message)
		}
	}
	return out
}

func (r *run) logout() *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Sign out at the server and forget the sign-in here",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.signedIn()
			if fault.Of(err) != nil && fault.Of(err).Code == "cli.expired" {
				return r.forget()
			}
			if err != nil {
				return err
			}
			defer s.close()
			// Here first: after a failure at the server, no token is left behind.
			if err := s.folder.Remove(s.name); err != nil {
				return err
			}
			if err := s.api.SignOut(cmd.Context()); err != nil && exitOf(fault.KindOf(err)) != exitSignIn { // that one had ended already
				return fault.Wrap(err, fault.KindOf(err), fmt.Sprintf("forgotten here, but %s was not told; there the sign-in ends by itself at %s",
					s.profile.Server, clock(s.profile.Expires)))
			}
			return r.signedOut(s.profile.Server, s.name)
		},
	}
}

// forget removes a profile whose time is over: there is nothing to end at the server.
func (r *run) forget() error {
	name, err := r.profileName()
	if err != nil {
		return err
	}
	place, err := profile.Place(r.Getenv)
	if err != nil {
		return err
	}
	folder, err := profile.Open(place)
	if err != nil {
		return err
	}
	defer folder.Close()
	p, err := folder.Load(name)
	if err != nil {
		return err
	}
	if err := folder.Remove(name); err != nil {
		return err
	}
	return r.signedOut(p.Server, name)
}

func (r *run) signedOut(server, name string) error {
	return r.say(struct {
		Server  string `json:"server"`
		Profile string `json:"profile"`
	}{server, name}, "Signed out at "+server+".\nKeys that were handed out already work until they expire.\n")
}
