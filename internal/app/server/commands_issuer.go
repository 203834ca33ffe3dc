package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/egress"
	"carnet.dev/carnet/internal/service/issuer"
)

func (h *host) issuer() *cobra.Command {
	parent := &cobra.Command{Use: "issuer", Short: "Carnet as an OpenID issuer", Args: cobra.NoArgs,
		Long: "Carnet has two issuers, the workspace's and the account level's, with keys of their own. Unified login says which of\n" +
			"them is registered at AWS and mints for it: carnet sso switches"}
	parent.AddCommand(h.issuerShow(), h.issuerCheck(), h.issuerKeys(), h.issuerPublish())
	return parent
}

// issuerDocument is an issuer as --output json shows it.
type issuerDocument struct {
	Level      issuer.Level `json:"level"`
	Issuer     string       `json:"issuer"`
	Registered bool         `json:"registered"`
	Discovery  string       `json:"discovery"`
	Endpoints  string       `json:"endpoints"`
	Warning    string       `json:"warning,omitempty"` // why AWS can't trust it
}

func (h *host) issuerShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the issuers, and which one to register at AWS", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(_ context.Context, s *state) error {
				var all []issuerDocument
				var text strings.Builder
				for _, l := range issuer.Levels() {
					d := issuerDocument{Level: l, Issuer: s.issuer.URL(l), Registered: l == s.issuer.Registered(),
						Discovery: s.issuer.URL(l) + "/.well-known/openid-configuration", Endpoints: s.issuer.EndpointURL(l) + "/v1/", Warning: issuer.NotForAWS(s.issuer.URL(l))}
					all = append(all, d)
					fmt.Fprintf(&text, "%s%s\n", d.Level, onOff(d.Registered, ", to be registered at AWS", ""))
					lines(&text, "issuer", d.Issuer, "discovery", d.Discovery, "endpoints", d.Endpoints)
					if d.Registered && d.Warning != "" {
						text.WriteString("  ! AWS can't trust it: " + d.Warning + "\n")
					}
				}
				if err := s.issuer.Halted(); err != nil {
					text.WriteString("! " + err.Error() + "\n")
				}
				return say(cmd, map[string]any{"issuers": all}, text.String())
			})
		},
	}
}

func (h *host) issuerCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Compare what the world sees of the issuers with what is signed with", Args: cobra.NoArgs,
		Long: "Fetches discovery and key sets from the issuers' own addresses, as AWS does, and compares them with the keys in use.\n" +
			"From inside, addresses that are not public have to be listed under egress.allow.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				client, err := s.looksAtItself()
				if err != nil {
					return err
				}
				found := s.issuer.Check(ctx, client)
				var text strings.Builder
				problems := 0
				for _, f := range found {
					fmt.Fprintf(&text, "%-8s %-10s %s\n", f.Weight, f.Level, f.What)
					if f.Do != "" {
						fmt.Fprintf(&text, "%20s%s\n", "→ ", f.Do)
					}
					if f.Weight == issuer.Problem {
						problems++
					}
				}
				if err := say(cmd, map[string]any{"findings": found}, text.String()); err != nil || problems == 0 {
					return err
				}
				return fault.New(fault.Misconfigured, fmt.Sprintf("the check found %d problems", problems)).WithMend("do what stands beside each")
			})
		},
	}
}

// looksAtItself is the guarded client; an installation on loopback may look at
// loopback.
func (s *state) looksAtItself() (*egress.Client, error) {
	if s.config.IAM.LoopbackProviders {
		return guarded(s.config, "127.0.0.0/8", "::1", "localhost")
	}
	return guarded(s.config)
}

func (h *host) issuerKeys() *cobra.Command {
	parent := &cobra.Command{Use: "keys", Short: "The issuers' keys", Args: cobra.NoArgs,
		Long: "Keys rotate by themselves (oidc.rotation): the next one is published first, then used; the one before is taken for\n" +
			"a while after, then gone."}
	parent.AddCommand(&cobra.Command{
		Use: "list", Short: "List the keys with their schedule", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(_ context.Context, s *state) error {
				out := []keyDocument{}
				var text strings.Builder
				for _, k := range s.issuer.Keys() {
					d := keyDocumentOf(k)
					out = append(out, d)
					text.WriteString(d.text())
				}
				return say(cmd, map[string]any{"keys": out}, text.String())
			})
		},
	}, h.issuerRotate())
	return parent
}

func (h *host) issuerRotate() *cobra.Command {
	var level, algorithm string
	var how issuer.Rotation
	c := &cobra.Command{
		Use: "rotate", Short: "Replace keys before their time", Args: cobra.NoArgs,
		Long: "Without flags, new keys are published, and used once everyone had time to read them. --now uses them at once:\n" +
			"who keeps an older key set refuses their tokens for some minutes. --drop is for keys that leaked: it implies\n" +
			"--now, and nothing that older keys signed is taken any more.",
		Example: "  carnet issuer keys rotate\n  carnet issuer keys rotate --level workspace --algorithm RS256 --drop",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				levels, algorithms := issuer.Levels(), issuer.Algorithms()
				if level != "" {
					levels = []issuer.Level{issuer.Level(level)}
				}
				if algorithm != "" {
					algorithms = []string{algorithm}
				}
				out := []keyDocument{}
				var text strings.Builder
				for _, l := range levels {
					for _, a := range algorithms {
						k, err := s.issuer.Rotate(ctx, l, a, how)
						if err != nil {
							return err
						}
						d := keyDocumentOf(k)
						out = append(out, d)
						text.WriteString(d.text())
					}
				}
				if s.issuer.Elsewhere {
					text.WriteString("A running server publishes them within a minute; carnet issuer publish does so now.\n")
				}
				return say(cmd, map[string]any{"keys": out}, text.String())
			})
		},
	}
	c.Flags().StringVar(&level, "level", "", "workspace or account (default both)")
	c.Flags().StringVar(&algorithm, "algorithm", "", "RS256 or ES256 (default both)")
	c.Flags().BoolVar(&how.Now, "now", false, "use the new keys at once")
	c.Flags().BoolVar(&how.Drop, "drop", false, "take nothing any more that older keys signed")
	return c
}

func (h *host) issuerPublish() *cobra.Command {
	var replace bool
	c := &cobra.Command{
		Use: "publish", Short: "Write discovery and key sets to where oidc.publish says", Args: cobra.NoArgs,
		Long: "A running server does so by itself. When a key that is not ours stands there, minting stops on all servers: find out\n" +
			"who wrote it, and take their right to write; then --replace writes ours over it and lets minting go on.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				to, err := s.keyPlace()
				if err != nil {
					return err
				}
				if to == nil {
					return fault.New(fault.Misconfigured, "nothing says where to publish").WithMend("set oidc.public_url and oidc.publish, or have the world reach this server")
				}
				wrote, err := s.issuer.Publish(ctx, to, replace)
				if err != nil {
					return err
				}
				text := "Everything stands there already.\n"
				if len(wrote) > 0 {
					text = "Wrote " + strings.Join(wrote, ", ") + ".\n"
				}
				return say(cmd, map[string]any{"written": append([]string{}, wrote...)}, text+"See what the world sees: carnet issuer check")
			})
		},
	}
	c.Flags().BoolVar(&replace, "replace", false, "write over keys that are not ours, and let minting go on")
	return c
}

// keyDocument is a key as --output json shows it.
type keyDocument struct {
	ID            string `json:"id"`
	Level         string `json:"level"`
	Algorithm     string `json:"algorithm"`
	State         string `json:"state"`
	PublishedFrom string `json:"published_from,omitempty"`
	UsedFrom      string `json:"used_from,omitempty"`
	RetiredFrom   string `json:"retired_from,omitempty"`
	GoneAfter     string `json:"gone_after,omitempty"`
}

func keyDocumentOf(k issuer.Key) keyDocument {
	return keyDocument{k.ID, string(k.Level), k.Algorithm, string(k.State), planned(k.PublishedFrom), planned(k.UsedFrom), planned(k.RetiredFrom), planned(k.GoneAfter)}
}

// planned is empty for what is not decided yet.
func planned(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return stamp(t)
}

func (d keyDocument) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-9s  %s  %-9s  %s\n", d.Level, d.Algorithm, d.State, d.ID)
	lines(&b, "published from", d.PublishedFrom, "used from", d.UsedFrom, "retired from", d.RetiredFrom, "gone after", d.GoneAfter)
	return b.String()
}
