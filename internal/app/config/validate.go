package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
)

// validator holds the rules that reach over more than one value's shape.
type validator struct {
	*reader
	development bool // the file is one of carnet dev
}

// bad notes a problem at path; its line is that of the nearest part of the
// path that stands in the file.
func (v *validator) bad(path, format string, args ...any) {
	at := path
	for at != "" && v.lines[at] == 0 {
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	line := 0
	if at != "" {
		line = v.lines[at]
	}
	v.add(line, path, format, args...)
}

func (v *validator) config(c *Config) {
	v.baseURL(c)
	if c.Data == "" {
		v.bad("data", "missing: name the folder that Carnet keeps its state in")
	}
	v.region("region", c.Region)
	v.listeners(c)
	v.iamListener(c)
	v.faces(c.Faces)
	v.acceptance("same_host", c.SameHost)
	if c.StaticKeys != "" && c.StaticKeys != Allow {
		v.bad("static_keys", "%q: the only value is allow", c.StaticKeys)
	}
	v.database(c.Database)
	v.secrets(c)
	v.durations(c)
	v.oidc(c)
	v.audit(c.Audit)
	v.targets(c)
	v.accessLog(c.AccessLog)
	v.telemetry(c)
	v.accounts(c.Accounts)
	v.upstreams(c.Upstreams)
	v.buckets(c)
	v.delivery(c)
}

func (v *validator) baseURL(c *Config) {
	if c.BaseURL == "" {
		v.bad("base_url", "missing: give the address that people open, such as https://carnet.example.com")
		return
	}
	v.origin("base_url", c.BaseURL)
}

// origin holds an address of ours to scheme, host and port alone. Plain http
// is for loopback: cookies and keys would travel in the open.
func (v *validator) origin(path, raw string) {
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		v.bad(path, "%q is not an address such as https://carnet.example.com", raw)
	case u.User != nil, u.Path != "", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		v.bad(path, "%q: want scheme, host and port only", raw)
	case u.Scheme == "http" && !loopbackHost(u.Hostname()):
		v.bad(path, "%q: http is for loopback only; use https", raw)
	}
}

var regionForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

func (v *validator) region(path, s string) {
	if !regionForm.MatchString(s) {
		v.bad(path, "%q is not a region such as us-east-1", s)
	}
}

func (v *validator) listeners(c *Config) {
	v.listener("listen.web", c.Listen.Web)
	v.listener("listen.aws", Listener{c.Listen.AWS.Address, c.Listen.AWS.TLS})
	if c.Listen.Web.Address == c.Listen.AWS.Address && !strings.HasSuffix(c.Listen.Web.Address, ":0") {
		v.bad("listen.aws.address", "%q is the web listener's address too", c.Listen.AWS.Address)
	}
	if host, _, err := net.SplitHostPort(c.Listen.AWS.Address); err == nil && wildcard(host) && v.lines["listen.aws.url"] == 0 {
		v.bad("listen.aws.url", "missing: the listener answers on every address, so say which one clients are told")
		return
	}
	v.origin("listen.aws.url", c.Listen.AWS.URL)
	for i, n := range c.Listen.Proxies {
		if n.Bits() == 0 {
			v.bad(fmt.Sprintf("listen.proxies[%d]", i), "%s is everybody: whoever sends a header could be anybody; name the proxies", n)
		}
	}
	switch {
	case c.BaseURL == "" || c.SameHost == Accepted:
	case c.WebHost() == c.AWSHost():
		v.bad("listen.aws.url", "has the host name of base_url (%s): cookies ignore ports, so objects could reach sign-ins; "+
			"give the AWS face its own host name, or write same_host: accept", c.WebHost())
	case strings.HasSuffix(c.WebHost(), "."+c.AWSHost()):
		v.bad("base_url", "its host name is the one of a bucket at %s: whoever made that bucket could stand in for the pages; "+
			"move one of the two, or write same_host: accept", c.Listen.AWS.URL)
	}
}

// iamListener holds the optional listener of the IAM face.
func (v *validator) iamListener(c *Config) {
	l := c.IAM.Listen
	switch {
	case l.Address == "" && (l.URL != "" || l.TLS != TLS{}):
		v.bad("iam.listen.address", "missing: give host:port, or leave iam.listen out to serve IAM on the AWS listener")
		return
	case l.Address == "":
		return
	case !c.Serves(FaceIAM):
		v.bad("iam.listen", "iam is not among the faces")
	case !strings.HasSuffix(l.Address, ":0") && (l.Address == c.Listen.Web.Address || l.Address == c.Listen.AWS.Address):
		v.bad("iam.listen.address", "%q is another listener's address too", l.Address)
	}
	v.listener("iam.listen", Listener{l.Address, l.TLS})
	if host, _, err := net.SplitHostPort(l.Address); err == nil && wildcard(host) && v.lines["iam.listen.url"] == 0 {
		v.bad("iam.listen.url", "missing: the listener answers on every address, so say which one clients are told")
		return
	}
	v.origin("iam.listen.url", l.URL)
}

func (v *validator) listener(path string, l Listener) {
	host, port, err := net.SplitHostPort(l.Address)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
		v.bad(path+".address", "%q is not host:port such as 127.0.0.1:8480", l.Address)
		return
	}
	if (l.TLS.Certificate == "") != (l.TLS.Key == "") {
		v.bad(path+".tls", "want both certificate and key")
		return
	}
	if !l.TLS.On() && !loopbackHost(host) {
		v.bad(path+".address", "%q is not on loopback, so it needs tls: certificate and key", l.Address)
	}
}

func (v *validator) faces(list []Face) {
	if len(list) == 0 {
		v.bad("faces", "empty: want some of sts, iam, s3")
	}
	seen := map[Face]bool{}
	for i, f := range list {
		path := fmt.Sprintf("faces[%d]", i)
		switch {
		case f != FaceSTS && f != FaceIAM && f != FaceS3:
			v.bad(path, "%q is not a face: want sts, iam or s3", f)
		case seen[f]:
			v.bad(path, "%q stands twice", f)
		}
		seen[f] = true
	}
}

func (v *validator) acceptance(path string, a Acceptance) {
	if a != "" && a != Accepted {
		v.bad(path, "%q: the only value is accept", a)
	}
}

func (v *validator) database(d Database) {
	if d.SQLite != "" && d.PostgreSQLDSNFile != "" {
		v.bad("database", "want one of sqlite and postgresql_dsn_file, not both")
	}
}

func (v *validator) secrets(c *Config) {
	k := c.Secrets.KeyEncryptionKey
	if k == "" {
		v.bad("secrets.key_encryption_key", "missing: name a file that holds the key; the server makes it at its first start on a new database")
	} else if c.Data != "" && within(c.Data, k) && !v.development {
		v.bad("secrets.key_encryption_key", "%s lies in the data folder: a backup of the data would hold the key that seals it", k)
	}
	own := c.Secrets.AWS
	if (own.AccessKeyFile == "") != (own.SecretKeyFile == "") {
		v.bad("secrets.aws", "access_key_file and secret_key_file stand together, or neither does")
	}
	if own.AccessKeyFile != "" && !c.auditsAtAWS() && !slices.ContainsFunc(c.Accounts, func(a Account) bool { return a.Accepts(ExchangeAssumeRole) }) {
		v.bad("secrets.aws", "no account lists the exchange assume-role, and no audit target is a bucket at AWS, so nothing would use this identity")
	}
}

func (v *validator) durations(c *Config) {
	if d := c.LoginSession.Lifetime; d < 5*time.Minute || d > 24*time.Hour {
		v.bad("login_session.lifetime", "%s: want 5m to 24h", d)
	}
	if c.IAM.LoopbackProviders && !loopbackAddress(c.Listen.AWS.Address) {
		v.bad("iam.loopback_providers", "only when the AWS listener is on loopback")
	}
	q := c.IAM.Quotas
	for _, n := range []int{q.Roles, q.Users, q.Groups, q.Policies, q.InstanceProfiles, q.SAMLProviders, q.OIDCProviders} {
		if n < 0 || n > mostQuota {
			v.bad("iam.quotas", "%d: want 0 to %d", n, mostQuota)
		}
	}
	d := c.IAM.MinimumDuration
	if d < time.Second || d > time.Hour {
		v.bad("iam.minimum_duration", "%s: want 1s to 1h", d)
		return
	}
	open := !loopbackAddress(c.Listen.Web.Address) || !loopbackAddress(c.Listen.AWS.Address)
	if d < DefaultMinimumDuration && open {
		v.bad("iam.minimum_duration", "%s: under 15m only when both listeners are on loopback", d)
	}
}

// mostQuota is what the local authority was measured with.
const mostQuota = 10_000

func (v *validator) accounts(list []Account) {
	ids, names := map[string]bool{}, map[string]bool{}
	for i, a := range list {
		path := fmt.Sprintf("accounts[%d]", i)
		switch {
		case !arn.IsAccount(a.ID):
			v.bad(path+".id", "%q is not an account number: want 12 digits", a.ID)
		case ids[a.ID]:
			v.bad(path+".id", "%s stands twice", a.ID)
		}
		ids[a.ID] = true
		v.name(path+".name", a.Name, names)
		v.account(path, a)
	}
}

func (v *validator) account(path string, a Account) {
	if a.Kind != AccountLocal && a.Kind != AccountAWS {
		v.bad(path+".kind", "%q: want local (Carnet's own authority) or aws", a.Kind)
	}
	v.exchanges(path, a)
	v.deliver(path+".deliver", a.Deliver, a.Kind)
	if a.SAMLDecryption && a.Kind != AccountAWS {
		v.bad(path+".saml_decryption", "only an account of kind aws has a SAML provider at AWS")
	}
	v.region(path+".region", a.Region)
	v.sts(path+".sts", a)
	v.revocationRole(path, a)
	switch a.Partition {
	case "aws", "aws-cn", "aws-us-gov":
	default:
		v.bad(path+".partition", "%q: want aws, aws-cn or aws-us-gov", a.Partition)
	}
}

// sts holds assertions, which are credentials, to encrypted ways.
func (v *validator) sts(path string, a Account) {
	if a.Kind == AccountLocal {
		if a.STS != (STS{}) {
			v.bad(path, "is for kind: aws; the STS of a local account is in this process")
		}
		return
	}
	if n := a.STS.Parallel; n < 1 || n > 128 {
		v.bad(path+".parallel", "%d: want 1 to 128", n)
	}
	v.atAWS(path+".endpoint", a.STS.Endpoint, "https://sts.eu-central-1.amazonaws.com")
}

// atAWS holds the address of a service at AWS to an encrypted way.
func (v *validator) atAWS(path, address, such string) {
	if address == "" {
		return
	}
	switch e, err := url.Parse(address); {
	case err != nil, e.Scheme != "https", e.Hostname() == "":
		v.bad(path, "%q is not an address such as %s", address, such)
	case e.User != nil, e.Path != "", e.RawQuery != "", e.ForceQuery, e.Fragment != "":
		v.bad(path, "%q: want scheme, host and port only", address)
	}
}

// revocationRole holds the role that denies what was taken back to its account: no
// account's role writes to another.
func (v *validator) revocationRole(path string, a Account) {
	v.atAWS(path+".iam.endpoint", a.IAM.Endpoint, "https://iam.amazonaws.com")
	if a.RevocationRole == "" {
		if a.IAM != (Place{}) || a.RevocationMargin != 0 {
			v.bad(path, "iam and revocation_margin go with revocation_role")
		}
		return
	}
	if m := a.RevocationMargin; m < time.Second || m > MostRevocationMargin {
		v.bad(path+".revocation_margin", "%s: want 1s to %s", m, MostRevocationMargin)
	}
	role, err := arn.ParseRole(a.RevocationRole)
	switch {
	case a.Kind != AccountAWS:
		v.bad(path+".revocation_role", "is for kind: aws; keys of a local account are taken back at once")
	case err != nil:
		v.bad(path+".revocation_role", "%v", err)
	case role.Account != a.ID || role.Partition != a.Partition:
		v.bad(path+".revocation_role", "%q is not a role of account %s in partition %s", a.RevocationRole, a.ID, a.Partition)
	}
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$`)

// name holds a name to what is safe in a profile, a path and a log line.
func (v *validator) name(path, s string, seen map[string]bool) {
	folded := strings.ToLower(s)
	switch {
	case !nameForm.MatchString(s):
		v.bad(path, "%q: want 1 to 64 letters, digits, dots, dashes and underscores, with a letter or digit at both ends", s)
	case seen[folded]:
		v.bad(path, "%q stands twice (case does not tell names apart)", s)
	}
	seen[folded] = true
}

func loopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func loopbackAddress(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopbackHost(host)
}

func wildcard(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "" || err == nil && a.IsUnspecified()
}

// within reports whether path lies in folder, both absolute and clean.
func within(folder, path string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
