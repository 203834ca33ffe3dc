package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/api/ssodoc"
	"carnet.dev/carnet/internal/service/spkeys"
)

func (h *host) ssoKeys() *cobra.Command {
	parent := &cobra.Command{Use: "keys", Short: "Carnet's own SAML keys", Args: cobra.NoArgs,
		Long: "One key signs requests and logout messages, one opens encrypted assertions. A change of keys takes two steps: add\n" +
			"publishes the next key in our metadata; promote brings it into use once identity providers have read it."}
	purpose := func(word, short, text string, do func(context.Context, *state, spkeys.Purpose) (spkeys.Key, error)) *cobra.Command {
		return &cobra.Command{
			Use: word + " signing|encryption", Short: short, Args: cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
			ValidArgs: []string{string(spkeys.Signing), string(spkeys.Encryption)},
			RunE: func(cmd *cobra.Command, args []string) error {
				return h.withState(cmd, func(ctx context.Context, s *state) error {
					k, err := do(ctx, s, spkeys.Purpose(args[0]))
					if err != nil {
						return err
					}
					return say(cmd, api.KeyDocument(k), fmt.Sprintf(text, k.ID))
				})
			},
		}
	}
	parent.AddCommand(h.listKeys(),
		purpose("add", "Make and publish the next key", "%s is published in our metadata, and not used yet.\nGive identity providers that don't read it by themselves the new certificate, then: carnet sso keys promote",
			func(ctx context.Context, s *state, p spkeys.Purpose) (spkeys.Key, error) { return s.spkeys.Add(ctx, p) }),
		purpose("promote", "Bring the next key into use", "%s is in use. The key before is retired: remove it once nobody encrypts for it any more.",
			func(ctx context.Context, s *state, p spkeys.Purpose) (spkeys.Key, error) {
				return s.spkeys.Promote(ctx, p)
			}),
		&cobra.Command{
			Use: "remove KEY", Short: "Remove a next or retired key for good", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return h.withState(cmd, func(ctx context.Context, s *state) error {
					if err := s.spkeys.Remove(ctx, args[0]); err != nil {
						return err
					}
					return say(cmd, map[string]string{"removed": args[0]}, "Removed "+args[0]+".")
				})
			},
		}, h.exportKey())
	return parent
}

func (h *host) listKeys() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(_ context.Context, s *state) error {
				out := ssodoc.SAMLKeys{Keys: []ssodoc.SAMLKey{}}
				var text strings.Builder
				for _, k := range s.spkeys.List() {
					d := api.KeyDocument(k)
					out.Keys = append(out.Keys, d)
					fmt.Fprintf(&text, "%s  %-10s  %-7s  since %s, certificate until %s\n  %s\n", d.ID, d.Purpose, d.State, stamp(d.Changed), stamp(d.NotAfter), d.SHA256)
				}
				return say(cmd, out, text.String())
			})
		},
	}
}

func (h *host) exportKey() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "export KEY --out FILE", Short: "Write the private key of an encryption key to a file", Args: cobra.ExactArgs(1),
		Long: "For a SAML provider at AWS that shall read encrypted assertions too: add the private key there, then set\n" +
			"saml_decryption: true for the account. Whoever has the file can read what is encrypted for Carnet: delete it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) (err error) {
				key, err := s.spkeys.Export(ctx, args[0])
				if err != nil {
					return err
				}
				f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					return fault.Wrap(err, fault.Invalid, "cannot make the file "+out).WithMend("name a new file in a folder of yours with --out")
				}
				_, err = f.WriteString(key.Reveal())
				if err = errors.Join(err, f.Close()); err != nil {
					return err
				}
				return say(cmd, map[string]string{"file": out}, "Wrote "+out+". Delete it once AWS has it.")
			})
		},
	}
	c.Flags().StringVar(&out, "out", "", "the file to make")
	_ = c.MarkFlagRequired("out")
	return c
}

func (h *host) ssoSwitches() *cobra.Command {
	var unified, roleSync string
	c := &cobra.Command{
		Use: "switches", Short: "Show or change what holds for all identity providers", Args: cobra.NoArgs,
		Long: "Unified login says which OIDC issuer of Carnet mints for AWS: on, the workspace's; off, the organisation's. It\n" +
			"chooses nothing else: people sign in and trade roles by SAML either way.\n" +
			"Role sync (allow IAM role entitlement auto sync) makes the roles of each sign-in the person's mapped roles, within the\n" +
			"list of the identity provider; a sign-in that names none leaves none.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				before, err := s.federation.Installation()
				if err != nil {
					return err
				}
				to := before.Switches
				for _, f := range []struct {
					name, value string
					is          *bool
				}{{"unified-login", unified, &to.UnifiedLogin}, {"role-sync", roleSync, &to.RoleSync}} {
					if !cmd.Flags().Changed(f.name) {
						continue
					}
					if f.value != "on" && f.value != "off" {
						return fault.New(fault.Invalid, "--"+f.name+" is on or off").WithMend("give --" + f.name + " on, or --" + f.name + " off")
					}
					*f.is = f.value == "on"
				}
				if to != before.Switches {
					if err := s.federation.SetSwitches(ctx, to); err != nil {
						return err
					}
				}
				now, err := s.federation.Installation()
				if err != nil {
					return err
				}
				d := api.SingleSignOnDocument(now, now.Issuer(s.issuerURLs()), s.config.BaseURL, s.config.SAMLURL())
				var text strings.Builder
				lines(&text, "unified login", onOff(now.UnifiedLogin, "on", "off"), "role sync", onOff(now.RoleSync, "on", "off"), "issuer for AWS", d.Issuer, "organisation", d.Organisation)
				if was := before.Issuer(s.issuerURLs()); was != d.Issuer {
					text.WriteString("Trusts that name " + was + " take nothing from Carnet any more:\n")
					for _, broken := range s.trusts(was) {
						text.WriteString("  " + broken + "\n")
					}
					text.WriteString("Register " + d.Issuer + " there, and have them name it.\n")
				}
				return say(cmd, d, text.String())
			})
		},
	}
	c.Flags().StringVar(&unified, "unified-login", "", "on or off")
	c.Flags().StringVar(&roleSync, "role-sync", "", "on or off")
	return c
}
