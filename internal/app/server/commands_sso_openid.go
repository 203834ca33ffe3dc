package server

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/ssodoc"
	"carnet.dev/carnet/internal/service/federation"
)

// openIDFlags are the flags of an OpenID provider.
type openIDFlags struct {
	given      federation.OIDCSettings
	secretFile string
	maxAge     string
}

// bind defines the flags.
func (f *openIDFlags) bind(fs *pflag.FlagSet) {
	o := &f.given
	fs.StringVar(&o.ClientID, "client-id", "", "what the OpenID provider calls Carnet")
	fs.StringVar(&f.secretFile, "client-secret-file", "", "a file with the client secret; - reads it from standard input")
	fs.StringVar(&o.ClientAuth, "client-auth", "", "how the client secret is sent: basic or post; none for a public client (default basic)")
	fs.StringSliceVar(&o.Scopes, "scopes", nil, "scopes to ask for beside openid (default profile,email)")
	fs.StringVar(&o.UserNameClaim, "user-name-claim", "", "claim with the user name (default preferred_username)")
	fs.StringVar(&o.DisplayNameClaim, "display-name-claim", "", "claim with the name to show (default name)")
	fs.StringVar(&o.MailClaim, "mail-claim", "", "claim with the mail address (default email)")
	fs.StringVar(&o.GroupsClaim, "groups-claim", "", "claim with the group names (default groups); dots lead into objects: realm_access.roles")
	fs.StringVar(&o.RolesClaim, "roles-claim", "", "claim with role ARNs (default: none, roles come from --role-template)")
	fs.StringSliceVar(&o.ACRValues, "acr-values", nil, "want one of these ways to sign in (acr)")
	fs.BoolVar(&o.BackChannelLogout, "back-channel-logout", false, "Carnet's back-channel logout URI is entered there, so that roles are renewed for longer (docs/security/bridge.md)")
	fs.StringVar(&f.maxAge, "max-age", "", "want a sign-in there that is at most so many seconds old; '' for any")
}

// apply puts into an OpenID provider what was given on the command line.
func (f *openIDFlags) apply(cmd *cobra.Command, o *federation.OIDCSettings) error {
	fs, g := cmd.Flags(), &f.given
	for name, put := range map[string]func(){
		"client-id": func() { o.ClientID = g.ClientID }, "client-auth": func() { o.ClientAuth = g.ClientAuth }, "scopes": func() { o.Scopes = g.Scopes },
		"user-name-claim": func() { o.UserNameClaim = g.UserNameClaim }, "display-name-claim": func() { o.DisplayNameClaim = g.DisplayNameClaim },
		"mail-claim": func() { o.MailClaim = g.MailClaim }, "groups-claim": func() { o.GroupsClaim = g.GroupsClaim },
		"roles-claim": func() { o.RolesClaim = g.RolesClaim }, "acr-values": func() { o.ACRValues = g.ACRValues },
		"back-channel-logout": func() { o.BackChannelLogout = g.BackChannelLogout },
	} {
		if fs.Changed(name) {
			put()
		}
	}
	if fs.Changed("max-age") {
		if o.MaxAge = nil; f.maxAge != "" {
			seconds, err := strconv.Atoi(f.maxAge)
			if err != nil {
				return fault.New(fault.Invalid, fmt.Sprintf("--max-age: %q is no number of seconds", f.maxAge)).WithMend("give seconds, such as 43200")
			}
			o.MaxAge = &seconds
		}
	}
	if fs.Changed("client-secret-file") {
		text, err := readLine(cmd, f.secretFile)
		if err != nil {
			return err
		}
		o.ClientSecret = text
	}
	return nil
}

// maxSecretFile bounds what is read for a client secret, in bytes.
const maxSecretFile = 4096

// readLine reads a secret from a file or from standard input, without the end of
// its line.
func readLine(cmd *cobra.Command, file string) (secret.Text, error) {
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return secret.Text{}, fault.Wrap(err, fault.Invalid, "cannot read the client secret file "+file).WithMend("name a file with --client-secret-file, or - for standard input")
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxSecretFile))
	return secret.New(strings.TrimRight(string(b), "\r\n")), err
}

// samlFlags are those that mean nothing to an OpenID provider.
var samlFlags = []string{"metadata", "sign-on-url", "entity-id", "certificate", "logout-url", "metadata-pin", "groups-attribute", "user-name-attribute",
	"display-name-attribute", "mail-attribute", "request-binding", "sign-requests", "force-authn", "authn-context", "allow-unsolicited", "signed",
	"encryption", "allow-cbc", "allow-sha1", "certificate-dates", "map-session-name"}

// only refuses flags of the other protocol, by name.
func (f *openIDFlags) only(cmd *cobra.Command, protocol federation.Protocol) error {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	(&openIDFlags{}).bind(own)
	var foreign []string
	cmd.Flags().Visit(func(given *pflag.Flag) {
		saml := false
		for _, name := range samlFlags {
			saml = saml || name == given.Name
		}
		if protocol == federation.OIDC && saml || protocol == federation.SAML && own.Lookup(given.Name) != nil {
			foreign = append(foreign, "--"+given.Name)
		}
	})
	switch {
	case len(foreign) == 0:
		return nil
	case protocol == federation.OIDC:
		return fault.New(fault.Invalid, strings.Join(foreign, ", ")+": only SAML identity providers have that").
			WithMend("leave it out; an OpenID provider has an issuer, a client and claims")
	}
	return fault.New(fault.Invalid, strings.Join(foreign, ", ")+": only OpenID providers have that").
		WithMend("leave it out, or enter an OpenID provider by its issuer: carnet sso add --oidc https://op.example.com …")
}

// openIDText tells how an OpenID provider is spoken with and read.
func openIDText(b *strings.Builder, p ssodoc.IdentityProvider) {
	o := p.OIDC
	b.WriteString("\nHow it is spoken with\n")
	age := ""
	if o.MaxAge != nil {
		age = fmt.Sprintf("at most %d seconds old", *o.MaxAge)
	}
	lines(b, "client id", o.ClientID, "client secret", onOff(o.ClientSecretSet, "is stored, sent by "+o.ClientAuth, "none, a public client"),
		"scopes", "openid "+strings.Join(o.Scopes, " "), "ways to sign in", strings.Join(o.ACRValues, ", "), "sign-in there", age,
		"back-channel logout", onOff(o.BackChannelLogout, "is entered there", ""))
	b.WriteString("\nWhat is read\n")
	lines(b, "user name", o.UserNameClaim, "display name", o.DisplayNameClaim, "mail", o.MailClaim, "groups", o.GroupsClaim,
		"roles", or(o.RolesClaim, "from templates alone"))
	for _, t := range p.Settings.RoleTemplates {
		lines(b, "role template", fmt.Sprintf("group=%s,account=%s,role=%s", t.Group, t.Account, t.Role))
	}
	for _, w := range p.Warnings {
		b.WriteString("\n! " + w)
	}
}
