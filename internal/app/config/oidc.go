package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Defaults of the issuer.
const (
	DefaultSigning      = "RS256"
	DefaultKeyLife      = 90 * 24 * time.Hour
	DefaultPrepublish   = 24 * time.Hour
	DefaultGrace        = 24 * time.Hour
	DefaultBridgeCap    = 12 * time.Hour
	leastRotation       = time.Second // for tests on loopback
	leastRotationServed = 10 * time.Minute
)

// Switch is a setting with a default of its own: On or Off.
type Switch string

// The two positions.
const (
	On  Switch = "on"
	Off Switch = "off"
)

// Refusal switches off what is on: "refuse" or nothing.
type Refusal string

// Refuse is the one word that refuses.
const Refuse Refusal = "refuse"

// OIDC says how Carnet is an OpenID issuer.
type OIDC struct {
	// PublicURL is where the world reaches discovery and keys, when that is not
	// base_url: scheme, host and perhaps a path, without a trailing slash. The
	// issuers are below it.
	PublicURL string `yaml:"public_url"`
	// AccountID names the account level instead of the organisation's UUID, and
	// AccountURL puts it on another host.
	AccountID  string `yaml:"account_id"`
	AccountURL string `yaml:"account_url"`
	// Signing is the algorithm of ID tokens: RS256 or ES256.
	Signing string `yaml:"signing"`
	// Audiences are those that ID tokens may be asked for beside AWS STS.
	Audiences []string `yaml:"audiences"`
	// DeviceFlow is Refuse where the device authorization grant is off.
	DeviceFlow Refusal  `yaml:"device_flow"`
	Publish    Publish  `yaml:"publish"`
	Rotation   Rotation `yaml:"rotation"`
}

// Publish says where discovery and keys are written, so that whoever can't
// reach this server can read them: a folder, or a bucket of an upstream. Empty:
// nowhere.
type Publish struct {
	Folder   string `yaml:"folder"`
	Upstream string `yaml:"upstream"`
	Bucket   string `yaml:"bucket"`
	Prefix   string `yaml:"prefix"` // without slashes at its ends
}

// On reports whether anything is published.
func (p Publish) On() bool { return p.Folder != "" || p.Upstream != "" }

// Rotation says how the issuer's keys change.
type Rotation struct {
	Every      time.Duration `yaml:"every"`      // how long a key is used
	Prepublish time.Duration `yaml:"prepublish"` // how long it is published before
	Grace      time.Duration `yaml:"grace"`      // how long after
}

// Bridge bounds the renewal of roles that were traded by SAML. Whoever holds
// our issuer's key can act as anyone in roles that trust it: so it is off until
// that is accepted.
type Bridge struct {
	Renew Acceptance    `yaml:"renew"`
	Cap   time.Duration `yaml:"cap"` // longest time since the sign-in; default 12 h
	// AuthnContexts are class references of which the sign-in must have had one.
	AuthnContexts []string `yaml:"authn_contexts"`
}

func (o *OIDC) complete() {
	o.PublicURL, o.AccountURL = plainOrigin(o.PublicURL), plainOrigin(o.AccountURL)
	fill(&o.Signing, DefaultSigning)
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&o.Rotation.Every, DefaultKeyLife}, {&o.Rotation.Prepublish, DefaultPrepublish}, {&o.Rotation.Grace, DefaultGrace}} {
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
}

func (a *Account) completeWebIdentity() {
	if a.Tags == "" {
		a.Tags = On
	}
	if a.SourceIdentity == "" {
		a.SourceIdentity = On
	}
	if a.Bridge.Cap == 0 {
		a.Bridge.Cap = DefaultBridgeCap
	}
}

var (
	accountIDForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$`)
	prefixForm    = regexp.MustCompile(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`)
)

func (v *validator) oidc(c *Config) {
	o := c.OIDC
	for path, raw := range map[string]string{"oidc.public_url": o.PublicURL, "oidc.account_url": o.AccountURL} {
		v.issuerBase(path, raw)
	}
	if o.AccountID != "" && !accountIDForm.MatchString(o.AccountID) {
		v.bad("oidc.account_id", "%q: want 1 to 64 letters, digits, dots, dashes and underscores, with a letter or digit at both ends", o.AccountID)
	}
	if o.Signing != "RS256" && o.Signing != "ES256" {
		v.bad("oidc.signing", "%q: want RS256 or ES256", o.Signing)
	}
	if o.DeviceFlow != "" && o.DeviceFlow != Refuse {
		v.bad("oidc.device_flow", "%q: the only value is refuse", o.DeviceFlow)
	}
	for i, a := range o.Audiences {
		if path := fmt.Sprintf("oidc.audiences[%d]", i); a == "" || len(a) > 255 || strings.ContainsAny(a, " \t\r\n\"\\") {
			v.bad(path, "%q is not an audience: want up to 255 characters without spaces", a)
		} else if slices.Contains(o.Audiences[:i], a) {
			v.bad(path, "%q stands twice", a)
		}
	}
	v.publish(c)
	v.rotation(c)
}

// issuerBase holds an address below which issuers lie. It may have a path: a
// bucket or a folder of a web site.
func (v *validator) issuerBase(path, raw string) {
	if raw == "" {
		return
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		v.bad(path, "%q is not an address such as https://issuer.example.com", raw)
	case strings.Contains(raw, "/.well-known"):
		v.bad(path, "%q is a discovery address: give what stands before /oidc in the issuer", raw)
	case u.Path != "" && !prefixForm.MatchString(strings.TrimPrefix(u.Path, "/")):
		v.bad(path, "%q: the path may have letters, digits, dots, dashes and underscores", raw)
	case u.Scheme == "http" && !loopbackHost(u.Hostname()):
		v.bad(path, "%q: http is for loopback only; use https", raw)
	}
}

func (v *validator) publish(c *Config) {
	p := c.OIDC.Publish
	switch {
	case !p.On() && (p.Bucket != "" || p.Prefix != ""):
		v.bad("oidc.publish", "want folder, or upstream and bucket")
	case p.Folder != "" && (p.Upstream != "" || p.Bucket != "" || p.Prefix != ""):
		v.bad("oidc.publish", "want folder, or upstream and bucket, not both")
	case p.Folder != "" && c.Data != "" && within(c.Data, p.Folder):
		v.bad("oidc.publish.folder", "%s lies in the data folder, which nobody else should read", p.Folder)
	case p.Folder != "" && slices.ContainsFunc(c.Upstreams, func(u Upstream) bool { return u.Folder != "" && within(u.Folder, p.Folder) }):
		v.bad("oidc.publish.folder", "%s lies in the folder of an upstream, where roles can write", p.Folder)
	case p.Upstream != "":
		if u, ok := c.Upstream(p.Upstream); !ok {
			v.bad("oidc.publish.upstream", "there is no upstream %q", p.Upstream)
		} else if u.Kind == UpstreamEmbedded {
			v.bad("oidc.publish.upstream", "nobody but this server reaches the embedded store %q: want one of kind s3, or a folder", p.Upstream)
		}
		if p.Bucket == "" {
			v.bad("oidc.publish.bucket", "missing: name the bucket that the world reads")
		}
		if p.Prefix != "" && !prefixForm.MatchString(p.Prefix) {
			v.bad("oidc.publish.prefix", "%q: want letters, digits, dots, dashes and underscores between single slashes", p.Prefix)
		}
	}
	if p.On() && c.OIDC.PublicURL == "" {
		v.bad("oidc.public_url", "missing: say where the world reads what oidc.publish writes")
	}
}

func (v *validator) rotation(c *Config) {
	least := leastRotationServed
	if loopbackAddress(c.Listen.Web.Address) && loopbackAddress(c.Listen.AWS.Address) {
		least = leastRotation
	}
	r := c.OIDC.Rotation
	for path, d := range map[string]time.Duration{"every": r.Every, "prepublish": r.Prepublish, "grace": r.Grace} {
		if d < least || d > 2*365*24*time.Hour {
			v.bad("oidc.rotation."+path, "%s: want %s to 2 years", d, least)
		}
	}
	if r.Every <= r.Prepublish {
		v.bad("oidc.rotation.every", "%s: want more than prepublish, %s", r.Every, r.Prepublish)
	}
}

// exchanges holds the ways to trade an identity.
func (v *validator) exchanges(path string, a Account) {
	if len(a.Exchanges) == 0 {
		v.bad(path+".exchanges", "empty: without an exchange nobody can get keys; want some of saml, web-identity")
	} else if !a.Accepts(ExchangeSAML) && !a.Accepts(ExchangeWebIdentity) {
		v.bad(path+".exchanges", "assume-role serves jobs and JDBC connections alone: list saml or web-identity beside it")
	}
	for i, x := range a.Exchanges {
		at := fmt.Sprintf("%s.exchanges[%d]", path, i)
		switch {
		case x != ExchangeSAML && x != ExchangeWebIdentity && x != ExchangeAssumeRole:
			v.bad(at, "%q is not an exchange of this release: want saml, web-identity or assume-role", x)
		case x == ExchangeAssumeRole && a.Kind == AccountLocal:
			v.bad(at, "Carnet has no identity of its own in a local account, and needs none: list web-identity")
		case slices.Contains(a.Exchanges[:i], x):
			v.bad(at, "%q stands twice", x)
		}
	}
	v.acceptance(path+".bridge.renew", a.Bridge.Renew)
	if a.Bridge.Renew == Accepted && (!a.Accepts(ExchangeSAML) || !a.Accepts(ExchangeWebIdentity)) {
		v.bad(path+".bridge.renew", "the bridge renews by web-identity what was traded by saml: list both under exchanges")
	}
	if d := a.Bridge.Cap; d < time.Second || d > 24*time.Hour {
		v.bad(path+".bridge.cap", "%s: want up to 24h", d)
	}
	for name, s := range map[string]Switch{"tags": a.Tags, "source_identity": a.SourceIdentity} {
		if s != On && s != Off {
			v.bad(path+"."+name, "%q: want on or off", s)
		}
	}
}
