package federation

import (
	"bytes"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/ascii"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/saml"
)

// Any is the entry of a domain list or pattern list that restricts nothing.
const Any = "*"

// Limits of what an administrator may enter.
const (
	maxName     = 64        // characters
	maxEntries  = 1000      // of each list
	maxEntry    = 2048      // bytes
	maxMetadata = 1_000_000 // bytes
)

// check brings an entered identity provider into its stored form: trimmed,
// folded where case carries no meaning, without doubles.
func (s *Service) check(p IdP) (IdP, error) {
	p.Name = strings.TrimSpace(p.Name)
	if p.Name == "" || utf8.RuneCountInString(p.Name) > maxName || !printable(p.Name) {
		return IdP{}, fault.New(fault.Invalid, "the name of an identity provider is 1 to 64 printable characters").
			WithMend("give it a name that people recognise, such as the company's")
	}
	for _, l := range []struct {
		list *[]string
		what string
		rule func(string) (string, error)
		need bool
	}{
		{&p.Accounts, "account", s.account, true},
		{&p.RolePatterns, "role pattern", rolePattern, true},
		{&p.UserNameDomains, "user-name domain", domain, true},
		{&p.AdministratorGroups, "administrator group", text, false},
	} {
		checked, err := entries(*l.list, l.what, l.rule)
		if err != nil {
			return IdP{}, err
		}
		if l.need && len(checked) == 0 {
			return IdP{}, fault.New(fault.Invalid, "the identity provider's list has no "+l.what).WithMend(mendList(l.what))
		}
		*l.list = checked
	}
	if p.Protocol == OIDC {
		return s.checkOIDC(p)
	}
	if err := s.checkSettings(&p); err != nil {
		return IdP{}, err
	}
	return s.checkMetadata(p)
}

// checkMetadata reads the metadata, which has to name a place for the binding
// that the settings choose, and takes its entity id.
func (s *Service) checkMetadata(p IdP) (IdP, error) {
	p.Metadata = bytes.Clone(p.Metadata)
	meta, err := s.readMetadata(p)
	if err != nil {
		return IdP{}, err
	}
	p.EntityID = meta.EntityID
	return p, nil
}

// readMetadata reads the metadata of p, which has to be of use now.
func (s *Service) readMetadata(p IdP) (*saml.Metadata, error) {
	if len(p.Metadata) == 0 || len(p.Metadata) > maxMetadata {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("the metadata has %d bytes: want 1 to %d", len(p.Metadata), maxMetadata)).
			WithMend("download the SAML metadata from the identity provider and enter it unchanged")
	}
	meta, err := parse(p.Metadata, p.EntityID)
	if err != nil {
		return nil, err
	}
	if err := signOnPlace(meta, p.RequestBinding); err != nil {
		return nil, err
	}
	if !meta.ValidUntil.IsZero() && !s.now().Before(meta.ValidUntil) {
		return nil, fault.New(fault.Invalid, "the metadata was valid until "+meta.ValidUntil.UTC().Format(time.RFC3339)).
			WithMend("download it anew from the identity provider")
	}
	return meta, nil
}

func mendList(what string) string {
	switch what {
	case "account":
		return "name the accounts whose roles it may assert"
	case "role pattern":
		return `name the roles it may assert, such as arn:aws:iam::111122223333:role/data-*, or "*" for every role of its accounts`
	}
	return `name the domains of its user names, such as example.com, or "*" for no restriction`
}

// signOnPlace refuses metadata that names no place to send a browser to, or
// one that must not be trusted with it.
func signOnPlace(m *saml.Metadata, requestBinding string) error {
	binding, name, other := saml.BindingRedirect, "HTTP-Redirect", BindingPost
	if requestBinding == BindingPost {
		binding, name, other = saml.BindingPOST, "HTTP-POST", BindingRedirect
	}
	place, ok := m.SSOLocation(binding)
	if !ok {
		return fault.New(fault.Invalid, "the metadata names no single sign-on service with the "+name+" binding").
			WithMend("switch that binding on at the identity provider and download its metadata anew, or set the request binding to " + other)
	}
	u, err := url.Parse(place)
	if err != nil || u.Host == "" || u.User != nil {
		return fault.New(fault.Invalid, "the single sign-on URL in the metadata is not a URL: "+quote(place))
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()) {
		return nil
	}
	return fault.New(fault.Invalid, "the single sign-on URL in the metadata is not https: "+quote(place)).
		WithMend("serve the identity provider by https; plain http is for loopback only")
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func entries(list []string, what string, rule func(string) (string, error)) ([]string, error) {
	if len(list) > maxEntries {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("%d entries of kind %s: want at most %d", len(list), what, maxEntries))
	}
	var out []string
	for _, e := range list {
		e = strings.TrimSpace(e)
		if e == "" {
			continue
		}
		got, err := rule(e)
		if err != nil {
			return nil, fault.New(fault.Invalid, what+" "+quote(e)+": "+err.Error())
		}
		if !slices.Contains(out, got) {
			out = append(out, got)
		}
	}
	return out, nil
}

func (s *Service) account(e string) (string, error) {
	if !arn.IsAccount(e) {
		return "", fmt.Errorf("want 12 digits")
	}
	var have []string
	for _, a := range s.accounts {
		if a.ID == e {
			return e, nil
		}
		have = append(have, a.ID)
	}
	if len(have) > 0 {
		return "", fmt.Errorf("the configuration has no such account; it has %s", strings.Join(have, ", "))
	}
	return e, nil
}

func rolePattern(e string) (string, error) {
	if e == Any {
		return e, nil
	}
	if !strings.HasPrefix(e, "arn:") || len(e) > maxEntry {
		return "", fmt.Errorf(`want the ARN of a role, "*" in it standing for any characters`)
	}
	for i := range len(e) {
		if e[i] < 0x21 || e[i] > 0x7e {
			return "", fmt.Errorf("a role ARN has printable ASCII characters only")
		}
	}
	return e, nil
}

func domain(e string) (string, error) {
	if e == Any {
		return e, nil
	}
	d := ascii.Lower(strings.TrimPrefix(e, "@"))
	if d == "" || len(d) > 253 || strings.ContainsAny(d, "*@/: ") || !printable(d) {
		return "", fmt.Errorf(`want a domain such as example.com, or "*" for no restriction`)
	}
	return d, nil
}

func text(e string) (string, error) {
	if len(e) > maxEntry || !printable(e) {
		return "", fmt.Errorf("want at most %d bytes of printable text", maxEntry)
	}
	return e, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func quote(s string) string { return `"` + clip(s) + `"` }
