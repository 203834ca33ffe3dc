package server

import (
	"fmt"
	"strings"
	"time"

	"carnet.dev/carnet/internal/edge/api/ssodoc"
)

// brief tells an identity provider in a few lines.
func brief(p ssodoc.IdentityProvider) string {
	var b strings.Builder
	b.WriteString(p.Name)
	if !p.Enabled {
		b.WriteString(" (switched off)")
	}
	b.WriteString("\n")
	lines(&b, onOff(p.OIDC == nil, "entity ID", "OpenID issuer"), p.EntityID, "accounts", strings.Join(p.Accounts, ", "),
		"roles", strings.Join(p.RolePatterns, ", "), "domains", strings.Join(p.UserNameDomains, ", "))
	for _, r := range p.Metadata.Remarks {
		b.WriteString("  ! " + r + "\n")
	}
	return b.String()
}

// lines writes pairs of name and value; those without a value are left out.
func lines(b *strings.Builder, pairs ...string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(b, "  %-20s%s\n", pairs[i], pairs[i+1])
		}
	}
}

// whole tells all of an identity provider.
func whole(p ssodoc.IdentityProvider) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s\n", p.Name, onOff(p.Enabled, "people sign in by it", "switched off"))
	lines(&b, "id", p.ID, onOff(p.OIDC == nil, "entity ID", "OpenID issuer"), p.EntityID, "entered", stamp(p.Created))
	b.WriteString("\nWhat it may say\n")
	lines(&b, "accounts", strings.Join(p.Accounts, ", "), "roles", strings.Join(p.RolePatterns, ", "),
		"domains", strings.Join(p.UserNameDomains, ", "), "administrators", strings.Join(p.AdministratorGroups, ", "),
		"unknown people", onOff(p.AllowAutoCreate, "are admitted", "are refused"))
	if p.OIDC != nil {
		openIDText(&b, p)
		return b.String()
	}
	s := p.Settings
	b.WriteString("\nHow it is spoken with\n")
	lines(&b, "requests", "by "+s.RequestBinding+onOff(s.SignRequests, ", signed", ", not signed")+onOff(s.ForceAuthn, ", for a fresh sign-in", ""),
		"ways to sign in", strings.Join(s.AuthnContexts, ", "),
		"signed has to be", s.Signed, "encryption", s.Encryption+onOff(s.AllowCBC, ", AES-CBC too", ""),
		"certificate dates", s.CertificateDates, "SHA-1", onOff(s.AllowSHA1, "accepted", "refused"),
		"unsolicited", onOff(s.AllowUnsolicited, "accepted", "refused"),
		"session name", onOff(s.MapSessionName, "may differ from the user name", "has to be the user name"))
	b.WriteString("\nWhat is read\n")
	lines(&b, "user name", or(s.UserNameAttribute, "NameID"), "display name", s.DisplayNameAttribute, "mail", s.MailAttribute,
		"groups", or(p.GroupsAttribute, "groups"))
	for _, t := range s.RoleTemplates {
		lines(&b, "role template", fmt.Sprintf("group=%s,account=%s,role=%s,provider=%s", t.Group, t.Account, t.Role, t.Provider))
	}
	b.WriteString("\nMetadata\n")
	m := p.Metadata
	lines(&b, "sign-on URL", m.SignOnURL, "logout URL", or(m.LogoutURL, "none: no single logout"), "refreshed from", s.MetadataURL,
		"had on", stamp(m.Fetched), "valid until", when(m.ValidUntil))
	certificates(&b, m.Certificates)
	if pending := m.Pending; pending != nil {
		b.WriteString("\nPending metadata, not used until it is accepted\n")
		lines(&b, "why", pending.Why, "since", stamp(pending.Since), "entity ID", pending.EntityID, "sign-on URL", pending.SignOnURL)
		certificates(&b, pending.Certificates)
	}
	for _, r := range append(append([]string{}, m.Remarks...), p.Warnings...) {
		b.WriteString("\n! " + r)
	}
	return b.String()
}

func certificates(b *strings.Builder, all []ssodoc.Certificate) {
	for _, c := range all {
		lines(b, "certificate", fmt.Sprintf("%s, until %s%s", c.Subject, stamp(c.NotAfter), onOff(c.New, ", new", "")), "", c.SHA256)
	}
}

func onOff(on bool, yes, no string) string {
	if on {
		return yes
	}
	return no
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func when(t *time.Time) string {
	if t == nil {
		return ""
	}
	return stamp(*t)
}
