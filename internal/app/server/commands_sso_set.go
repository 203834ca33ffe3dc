package server

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/federation"
)

// providerFlags are the flags that say what an identity provider may say and
// how it is spoken with: those of add, and of set.
type providerFlags struct {
	given     federation.IdP
	templates []string
	openID    openIDFlags

	metadata, signOn, entityID, certificate, logout string
}

// bind defines the flags.
func (f *providerFlags) bind(fs *pflag.FlagSet) {
	p := &f.given
	fs.StringVar(&p.Name, "name", "", "the name that people see")
	fs.StringSliceVar(&p.Accounts, "accounts", nil, "AWS accounts whose roles it may assert")
	fs.StringSliceVar(&p.RolePatterns, "roles", nil, "patterns of the role ARNs that it may assert; * stands for any run of characters")
	fs.StringSliceVar(&p.UserNameDomains, "domains", nil, "domains of the user names that it may assert; * for all")
	fs.StringSliceVar(&p.AdministratorGroups, "administrators", nil, "groups whose members administer Carnet")
	fs.StringVar(&p.GroupsAttribute, "groups-attribute", "", `attribute with the group names (default "groups")`)
	fs.StringVar(&p.UserNameAttribute, "user-name-attribute", "", "attribute with the user name (default: the NameID)")
	fs.StringVar(&p.DisplayNameAttribute, "display-name-attribute", "", "attribute with the name to show")
	fs.StringVar(&p.MailAttribute, "mail-attribute", "", "attribute with the mail address")
	fs.StringArrayVar(&f.templates, "role-template", nil, "derive a role from a group: group=PATTERN,account=A,role=R,provider=P; {name} captures. An OpenID provider has no provider=P")
	fs.StringVar(&p.RequestBinding, "request-binding", "", "how requests travel: redirect or post (default redirect)")
	fs.BoolVar(&p.SignRequests, "sign-requests", false, "sign sign-in requests")
	fs.BoolVar(&p.ForceAuthn, "force-authn", false, "want a fresh sign-in at the identity provider")
	fs.StringSliceVar(&p.AuthnContexts, "authn-context", nil, "want one of these ways to sign in, by class reference")
	fs.BoolVar(&p.AllowUnsolicited, "allow-unsolicited", false, "take sign-ins that were begun at the identity provider")
	fs.StringVar(&p.Signed, "signed", "", "what has to be signed: either, response, assertion or both (default either)")
	fs.StringVar(&p.Encryption, "encryption", "", "encrypted assertions: off, allowed or required (default off)")
	fs.BoolVar(&p.AllowCBC, "allow-cbc", false, "take AES-CBC in encrypted assertions")
	fs.BoolVar(&p.AllowSHA1, "allow-sha1", false, "take SHA-1 in signatures")
	fs.StringVar(&p.CertificateDates, "certificate-dates", "", "dates of its signing certificates: enforce or ignore (default enforce)")
	fs.BoolVar(&p.MapSessionName, "map-session-name", false, "take a RoleSessionName that is not the user name")
	f.openID.bind(fs)
	fs.StringSliceVar(&p.MetadataPin, "metadata-pin", nil, "SHA-256 digests of signing certificates that refreshed metadata may bring")
}

// bindMetadata defines the flags that say where its metadata comes from.
func (f *providerFlags) bindMetadata(fs *pflag.FlagSet) {
	fs.StringVar(&f.metadata, "metadata", "", "its SAML metadata: a file, or an https address, which is looked at again by itself")
	fs.StringVar(&f.signOn, "sign-on-url", "", "instead of metadata: its single sign-on URL")
	fs.StringVar(&f.entityID, "entity-id", "", "its entity ID; with --metadata: which of several to take")
	fs.StringVar(&f.certificate, "certificate", "", "instead of metadata: a file with its signing certificates, PEM")
	fs.StringVar(&f.logout, "logout-url", "", "instead of metadata: its single logout URL")
}

// apply puts into p what was given on the command line.
func (f *providerFlags) apply(fs *pflag.FlagSet, p *federation.IdP) {
	g := &f.given
	for name, put := range map[string]func(){
		"name": func() { p.Name = g.Name }, "accounts": func() { p.Accounts = g.Accounts }, "roles": func() { p.RolePatterns = g.RolePatterns },
		"domains": func() { p.UserNameDomains = g.UserNameDomains }, "administrators": func() { p.AdministratorGroups = g.AdministratorGroups },
		"allow-auto-create": func() { p.AllowAutoCreate = g.AllowAutoCreate }, "groups-attribute": func() { p.GroupsAttribute = g.GroupsAttribute },
		"user-name-attribute":    func() { p.UserNameAttribute = g.UserNameAttribute },
		"display-name-attribute": func() { p.DisplayNameAttribute = g.DisplayNameAttribute },
		"mail-attribute":         func() { p.MailAttribute = g.MailAttribute },
		"request-binding":        func() { p.RequestBinding = g.RequestBinding },
		"sign-requests":          func() { p.SignRequests = g.SignRequests },
		"force-authn":            func() { p.ForceAuthn = g.ForceAuthn },
		"authn-context":          func() { p.AuthnContexts = g.AuthnContexts },
		"allow-unsolicited":      func() { p.AllowUnsolicited = g.AllowUnsolicited },
		"signed":                 func() { p.Signed = g.Signed },
		"encryption":             func() { p.Encryption = g.Encryption },
		"allow-cbc":              func() { p.AllowCBC = g.AllowCBC },
		"allow-sha1":             func() { p.AllowSHA1 = g.AllowSHA1 },
		"certificate-dates":      func() { p.CertificateDates = g.CertificateDates },
		"map-session-name":       func() { p.MapSessionName = g.MapSessionName },
		"metadata-pin":           func() { p.MetadataPin = g.MetadataPin },
	} {
		if fs.Changed(name) {
			put()
		}
	}
}

// complete reads what the flags name: templates, and metadata from wherever it
// comes.
func (f *providerFlags) complete(ctx context.Context, s *state, cmd *cobra.Command, p *federation.IdP) error {
	fs := cmd.Flags()
	if err := f.openID.only(cmd, p.Protocol); err != nil {
		return err
	}
	if err := f.openID.apply(cmd, &p.OIDC); err != nil {
		return err
	}
	if fs.Changed("role-template") {
		p.RoleTemplates = nil
		for _, text := range f.templates {
			if text == "" {
				continue // empties the list
			}
			t, err := roleTemplate(text, p.Protocol == federation.OIDC)
			if err != nil {
				return err
			}
			p.RoleTemplates = append(p.RoleTemplates, t)
		}
	}
	byHand := fs.Changed("sign-on-url") || fs.Changed("certificate") || fs.Changed("logout-url")
	switch {
	case byHand && fs.Changed("metadata"):
		return fault.New(fault.Invalid, "--metadata was given beside fields that stand for it").WithMend("give one of them")
	case byHand:
		return f.byHand(p)
	case fs.Changed("metadata") && f.metadata == "": // it stays, and is refreshed no more
		p.MetadataURL = ""
		return nil
	case fs.Changed("metadata"):
		p.MetadataURL, p.EntityID = "", f.entityID
		if isAddress(f.metadata) {
			p.MetadataURL = f.metadata
		}
		var err error
		p.Metadata, err = identityMetadata(ctx, s.config, f.metadata)
		return err
	}
	return nil
}

func (f *providerFlags) byHand(p *federation.IdP) error {
	fields := federation.Fields{SignOnURL: f.signOn, EntityID: f.entityID, LogoutURL: f.logout}
	if f.certificate != "" {
		pem, err := os.ReadFile(f.certificate)
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "cannot read the certificate file "+f.certificate).WithMend("name a PEM file with --certificate")
		}
		fields.Certificates = string(pem)
	}
	var err error
	p.MetadataURL, p.EntityID = "", ""
	p.Metadata, err = fields.Metadata()
	return err
}

// roleTemplate reads group=G,account=A,role=R,provider=P. The name of a group
// may hold commas, so each key is looked for from the end.
func roleTemplate(text string, oidc bool) (federation.RoleTemplate, error) {
	var t federation.RoleTemplate
	rest := text
	for _, k := range []struct {
		key string
		to  *string
	}{{",provider=", &t.Provider}, {",role=", &t.Role}, {",account=", &t.Account}} {
		i := strings.LastIndex(rest, k.key)
		if i < 0 && oidc && k.to == &t.Provider {
			continue
		}
		if i < 0 {
			return t, noTemplate(text)
		}
		*k.to, rest = rest[i+len(k.key):], rest[:i]
	}
	group, ok := strings.CutPrefix(rest, "group=")
	if !ok {
		return t, noTemplate(text)
	}
	t.Group = group
	return t, nil
}

func noTemplate(text string) error {
	return fault.New(fault.Invalid, fmt.Sprintf("%q is no role template", text)).
		WithMend("write it as group=aws-{account}-{name},account={account},role={name},provider=okta")
}
