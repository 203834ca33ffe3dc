package server

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/oauth"
)

// findHolder finds who may have credentials: a client, or a service principal as
// the client that it is by itself.
func (s *state) findHolder(ctx context.Context, o *oauth.Service, text string) (oauth.Client, error) {
	c, err := o.Find(text)
	principals, listErr := s.directory.ServicePrincipals.ServicePrincipals(ctx)
	if listErr != nil {
		return oauth.Client{}, listErr
	}
	for _, p := range principals {
		if string(p.ID) != text && !strings.EqualFold(p.Name, text) {
			continue
		}
		if err == nil && c.ID != text {
			return oauth.Client{}, fault.New(fault.Conflict, "both a client and a service principal are called "+text+": "+c.ID+" and "+string(p.ID)).WithMend("give the id")
		}
		return oauth.Client{ID: string(p.ID), Name: p.Name, ServicePrincipal: p.ID, Enabled: p.Active, Created: p.Created}, nil
	}
	if err != nil && len(o.List()) == 0 {
		err = fault.New(fault.NotFound, "there is neither a client nor a service principal "+text).
			WithMend("register one: carnet client add, or: carnet people service-principal add")
	}
	return c, err
}

// ownerOr gives who answers for a credential: as said, else whoever answers for
// its client, else who runs this command.
func ownerOr(given string, c oauth.Client) string {
	for _, name := range []string{given, c.Owner, onHost().Host} {
		if name != "" {
			return name
		}
	}
	return "unknown"
}

func (h *host) clientSecrets() *cobra.Command {
	parent := &cobra.Command{Use: "secret", Short: "Secrets of programs and service principals", Args: cobra.NoArgs,
		Long: "A secret is shown once, when it is made; Carnet keeps its digest. Five may stand beside each other, so that one can\n" +
			"be replaced without a gap: add the next, bring it to the program, remove the old one."}
	parent.AddCommand(h.addSecret(), h.removeCredential("secret", oauth.SecretCredential))
	return parent
}

func (h *host) addSecret() *cobra.Command {
	var owner string
	var life time.Duration
	c := &cobra.Command{
		Use: "add NAME", Short: "Make a secret, and show it once", Args: cobra.ExactArgs(1),
		Example: "  carnet client secret add nightly-export --owner data-platform --lifetime 2160h",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withClients(cmd, func(ctx context.Context, s *state, o *oauth.Service) error {
				c, err := s.findHolder(ctx, o, args[0])
				if err != nil {
					return err
				}
				text, k, err := o.AddSecret(ctx, c.ID, ownerOr(owner, c), life)
				if err != nil {
					return err
				}
				d := struct {
					credentialDocument
					ClientID string `json:"client_id"`
					Secret   string `json:"secret"`
				}{credentialOf(k), c.ID, text.Reveal()}
				return say(cmd, d, "A secret of "+c.Name+", shown this once:\n\n  client id  "+c.ID+"\n  secret     "+text.Reveal()+
					"\n\nIt counts until "+stamp(k.Expires)+". Take it back with: carnet client secret remove "+quoteWord(c.Name)+" "+string(k.ID))
			})
		},
	}
	c.Flags().StringVar(&owner, "owner", "", "who answers for it (default: the program's owner, or you)")
	c.Flags().DurationVar(&life, "lifetime", oauth.SecretLifetime, "how long it counts")
	return c
}

func (h *host) clientKeys() *cobra.Command {
	parent := &cobra.Command{Use: "key", Short: "Public keys of programs and service principals", Args: cobra.NoArgs,
		Long: "With a key of its own a program signs what it proves itself with (private_key_jwt): no secret is ever sent."}
	parent.AddCommand(h.addKey(), h.removeCredential("key", oauth.KeyCredential))
	return parent
}

func (h *host) addKey() *cobra.Command {
	var owner string
	var life time.Duration
	c := &cobra.Command{
		Use: "add NAME FILE", Short: "Register a public key: PEM, JWK, or a JWKS of one key; - reads standard input", Args: cobra.ExactArgs(2),
		Example: "  openssl ecparam -name prime256v1 -genkey -noout -out export.key\n  openssl pkey -in export.key -pubout | carnet client key add nightly-export -",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withClients(cmd, func(ctx context.Context, s *state, o *oauth.Service) error {
				c, err := s.findHolder(ctx, o, args[0])
				if err != nil {
					return err
				}
				text, err := readSmall(cmd, args[1])
				if err != nil {
					return err
				}
				var expires time.Time
				if life > 0 {
					expires = s.now().Add(life).UTC().Truncate(time.Millisecond)
				}
				k, err := o.AddKey(ctx, c.ID, ownerOr(owner, c), text, expires)
				if err != nil {
					return err
				}
				return say(cmd, credentialOf(k), "Registered "+string(k.ID)+" for "+c.Name+" (client id "+c.ID+").\n"+
					"It signs a JWT with iss and sub "+c.ID+", aud "+o.TokenEndpoint(s.issuer.Registered())+",\na new jti each time, and exp at most five minutes ahead.")
			})
		},
	}
	c.Flags().StringVar(&owner, "owner", "", "who answers for it (default: the program's owner, or you)")
	c.Flags().DurationVar(&life, "lifetime", 0, "how long it counts (default: until it is removed)")
	return c
}

const maxKeyFile = 64 << 10

func readSmall(cmd *cobra.Command, name string) ([]byte, error) {
	from := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "cannot read the file "+name)
		}
		defer f.Close() //nolint:errcheck // only read
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxKeyFile))
	if err != nil {
		err = fault.Wrap(err, fault.Invalid, "cannot read the key")
	}
	return text, err
}

func (h *host) removeCredential(word string, kind oauth.CredentialKind) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME CREDENTIAL", Short: "Take a " + word + " back: it proves nothing any more", Args: cobra.ExactArgs(2),
		Long: "Takes it back. Tokens that were got by it live to their end, an hour at most; carnet client disable ends those too.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withClients(cmd, func(ctx context.Context, s *state, o *oauth.Service) error {
				c, err := s.findHolder(ctx, o, args[0])
				if err != nil {
					return err
				}
				for _, k := range o.CredentialsOf(c.ID) {
					if string(k.ID) == args[1] && k.Kind == kind {
						if err := o.RemoveCredential(ctx, c.ID, k.ID); err != nil {
							return err
						}
						return say(cmd, map[string]any{"removed": identity.CredentialID(args[1])}, "Removed "+args[1]+" of "+c.Name+".")
					}
				}
				return fault.New(fault.NotFound, c.Name+" has no "+word+" "+args[1]).WithMend("list them: carnet client show " + quoteWord(c.Name))
			})
		},
	}
}

// quoteWord quotes a name for a shell where it has to be.
func quoteWord(s string) string {
	if strings.ContainsAny(s, " '\"$&|;<>()*?[]#~`\\!") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
