package openid

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"

	"carnet.dev/carnet/internal/core/fault"
)

// CodeDocument says that what a provider publishes is not what it must be.
const CodeDocument = "openid.document"

// Provider is what an OpenID provider publishes about itself (OpenID Connect
// Discovery 1.0, section 3), as far as a sign-in asks. Endpoints are absolute
// https URLs; those of an issuer on loopback may be http on loopback.
type Provider struct {
	Issuer        string
	Authorization string
	Token         string
	UserInfo      string // empty: it has none
	EndSession    string // empty: it ends no sign-in for us
	// IssInAnswer: the answer to an authorization request always names the
	// issuer (RFC 9207).
	IssInAnswer bool
	// Algorithms are those that it signs ID tokens with.
	Algorithms []string
}

// discovery is where the document stands below the issuer.
const discovery = "/.well-known/openid-configuration"

// DiscoveryURL is where an issuer publishes its document.
func DiscoveryURL(issuer string) string { return strings.TrimSuffix(issuer, "/") + discovery }

// ParseProvider reads a discovery document, which has to be that of the issuer,
// letter for letter. Faults: Misconfigured CodeDocument.
func ParseProvider(document []byte, issuer string) (*Provider, error) {
	bad := func(format string, args ...any) error {
		return fault.Coded(fault.Misconfigured, CodeDocument, "the OpenID provider "+clip(issuer)+" "+fmt.Sprintf(format, args...))
	}
	doc, err := parseObject(document)
	if err != nil {
		return nil, bad("publishes a discovery document that can't be read: %s", err).(*fault.Fault).
			WithMend("look at " + clip(DiscoveryURL(issuer)))
	}
	c := Claims(doc)
	if got := c.Text("issuer"); got != issuer {
		return nil, bad("calls itself %q in its discovery document", clip(got)).(*fault.Fault).
			WithMend("enter as issuer just what the document names, letter for letter")
	}
	p := &Provider{Issuer: issuer, IssInAnswer: c["authorization_response_iss_parameter_supported"] == true}
	of, err := url.Parse(issuer)
	if err != nil {
		return nil, bad("is not a URL")
	}
	for _, e := range []struct {
		name string
		to   *string
		need bool
	}{
		{"authorization_endpoint", &p.Authorization, true}, {"token_endpoint", &p.Token, true},
		{"userinfo_endpoint", &p.UserInfo, false}, {"end_session_endpoint", &p.EndSession, false},
	} {
		if *e.to = c.Text(e.name); *e.to == "" {
			if e.need {
				return nil, bad("names no %s in its discovery document", e.name)
			}
			continue
		}
		if !usable(*e.to, of) {
			return nil, bad("names as %s what is no https URL: %q", e.name, clip(*e.to))
		}
	}
	if types, ok := c.Texts("response_types_supported"); ok && len(types) > 0 && !slices.Contains(types, "code") {
		return nil, bad("does not offer the authorization code flow (response_types_supported)")
	}
	if methods, ok := c.Texts("code_challenge_methods_supported"); ok && len(methods) > 0 && !slices.Contains(methods, "S256") {
		return nil, bad("takes no PKCE by S256 (code_challenge_methods_supported)")
	}
	p.Algorithms, _ = c.Texts("id_token_signing_alg_values_supported")
	return p, nil
}

// usable holds an endpoint to https, but on loopback for an issuer there.
func usable(text string, issuer *url.URL) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || len(text) > 2048 {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && loopback(u) && loopback(issuer)
}

func loopback(u *url.URL) bool {
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && addr.Unmap().IsLoopback()
}

// parseObject reads one JSON object and nothing after it: letter case of names
// counts, and no name stands twice.
func parseObject(src []byte) (map[string]any, error) {
	if !utf8.Valid(src) {
		return nil, fmt.Errorf("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(src))
	d.SetNumberType(json.UnmarshalJSONNumber)
	var o map[string]any
	if err := d.Decode(&o); err != nil {
		return nil, fmt.Errorf("%s", clip(err.Error()))
	}
	if _, err := d.Token(); o == nil || err != io.EOF {
		return nil, fmt.Errorf("it is no JSON object, or something follows it")
	}
	return o, nil
}

// clip bounds what an error repeats of outside input.
func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
