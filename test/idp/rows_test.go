//go:build interop

package idp

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/devidp"
)

// realIdP is one identity provider that runs.
type realIdP interface {
	name() string
	release() string
	secret() string // alice's password
	signer() devidp.Signer
	log() string
	metadata(testing.TB) []byte
	// set configures it for an installation and a mode.
	set(testing.TB, *carnet, mode)
	// start is the address where a sign-in begins there, leave where a
	// sign-out does; empty where it offers none.
	start(*carnet) string
	leave(*carnet) string
}

// mode is one way to sign in.
type mode struct {
	signed  string // assertion, response or both
	cipher  string // "", GCM or CBC
	theirs  bool   // begun at the identity provider
	request string // "", or how ours goes: signed or post
	browser bool   // in Chromium
	logout  string // "", or who begins it: ours or theirs
}

func (m mode) String() string {
	what := map[string]string{"assertion": "assertion signed", "response": "response signed", "both": "both signed"}[m.signed]
	if m.cipher != "" {
		what += ", encrypted with AES-" + m.cipher
	}
	if m.theirs {
		what += ", begun at the identity provider"
	} else {
		what += ", begun at Carnet"
	}
	switch m.request {
	case "signed":
		what += ", request signed"
	case "post":
		what += ", request by POST"
	}
	switch m.logout {
	case "ours":
		what += ", single logout from Carnet"
	case "theirs":
		what += ", single logout from the identity provider"
	}
	if m.browser {
		what += ", in Chromium"
	}
	return what
}

// modes are what an identity provider that encrypts by a cipher is asked to do.
func modes(cipher string) []mode {
	var all []mode
	for _, cipher := range []string{"", cipher} {
		for _, signed := range []string{"assertion", "response", "both"} {
			for _, theirs := range []bool{false, true} {
				all = append(all, mode{signed: signed, cipher: cipher, theirs: theirs})
			}
		}
	}
	if cipher != "CBC" {
		all = append(all, mode{signed: "both", cipher: "CBC"})
	}
	return append(all,
		mode{signed: "assertion", request: "signed"},
		mode{signed: "assertion", request: "post"},
		mode{signed: "both", logout: "ours"},
		mode{signed: "both", logout: "theirs"},
		mode{signed: "both", browser: true},
		mode{signed: "assertion", theirs: true, browser: true},
	)
}

// product is one identity provider of the table.
type product struct {
	name  string
	begin func(testing.TB, *carnet) realIdP
	// cipher is how it encrypts: this SimpleSAMLphp knows AES-128-CBC alone
	// where the key is that of a certificate.
	cipher string
}

func products() []product {
	return []product{
		{"SimpleSAMLphp", func(tb testing.TB, _ *carnet) realIdP { return startSimpleSAMLphp(tb) }, "CBC"},
		{"samlp on Node.js", func(tb testing.TB, _ *carnet) realIdP { return startSAMLP(tb) }, "GCM"},
		{"Keycloak", func(tb testing.TB, c *carnet) realIdP { return startKeycloak(tb, c) }, "GCM"},
	}
}

// wanted picks the rows that IDP_ROWS names: all when it is empty.
func wanted(tb testing.TB) *regexp.Regexp {
	tb.Helper()
	r, err := regexp.Compile(os.Getenv("IDP_ROWS"))
	must(tb, err)
	return r
}

// TestIdentityProviders: a person signs in through each identity provider, in
// each mode, and reads S3 with the keys of a role.
func TestIdentityProviders(t *testing.T) {
	only := wanted(t)
	table := &report{}
	for _, p := range products() {
		var rows []mode
		for _, m := range modes(p.cipher) {
			if only.MatchString(p.name + ": " + m.String()) {
				rows = append(rows, m)
			}
		}
		if len(rows) > 0 {
			t.Run(p.name, func(t *testing.T) { signInEach(t, p, rows, table) })
		}
	}
	for _, p := range openIDProducts() {
		var rows []openIDMode
		for _, m := range openIDModes() {
			if only.MatchString(p.name + ": " + m.String()) {
				rows = append(rows, m)
			}
		}
		if len(rows) > 0 {
			t.Run(p.name+" by OpenID Connect", func(t *testing.T) { signInEachByOpenID(t, p, rows, table) })
		}
	}
	if len(table.rows) == 0 && !strings.Contains(only.String(), "attacks") {
		t.Fatalf("no row is named %q", only)
	}
	if os.Getenv("IDP_ROWS") == "" {
		table.write(t)
	}
}

func signInEach(t *testing.T, p product, rows []mode, table *report) {
	began := time.Now()
	c := lay(t)
	idp := p.begin(t, c)
	idp.set(t, c, mode{signed: "both"})
	c.begin(t, idp.metadata(t))
	t.Logf("%s %s and Carnet are up after %.1f s", idp.name(), idp.release(), time.Since(began).Seconds())
	idp.set(t, c, mode{signed: "both"}) // again, now that our keys are known
	c.seed(t, idp)
	for _, m := range rows {
		passed := t.Run(m.String(), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("%s says:\n%s\ncarnet says:\n%s", idp.name(), tail(idp.log()), tail(c.server.log.String()))
				}
			}()
			c.set(t, m) // first: our metadata names what the settings ask for
			idp.set(t, c, m)
			signInOnce(t, c, idp, m)
		})
		table.add(idp, m, map[bool]string{true: "pass", false: "FAIL"}[passed])
	}
}

func tail(s string) string {
	if len(s) > 4000 {
		return "…" + s[len(s)-4000:]
	}
	return s
}

// signInOnce is one row.
func signInOnce(t *testing.T, c *carnet, idp realIdP, m mode) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := c.person(t, idp)
	defer p.close()
	if m.browser {
		p.useChromium(t)
	}
	if m.theirs {
		must(t, p.visit(ctx, idp.start(c)))
	} else {
		must(t, p.visit(ctx, c.base+"/"))
	}
	if at := p.at(ctx); at != c.base+"/" {
		t.Fatalf("the sign-in ended at %s:\n%s", at, p.text(ctx))
	}
	p.login(t)
	p.readsS3(t)
	if m.logout != "" {
		p.signsOut(ctx, t, c, idp, m)
	}
}

// report collects the table.
type report struct{ rows []string }

func (r *report) add(idp realIdP, m mode, result string) {
	r.addRow(idp.name(), idp.release(), m.String(), result)
}

func (r *report) addRow(name, release, way, result string) {
	r.rows = append(r.rows, fmt.Sprintf("| %s | %s | %s | %s |", name, release, way, result))
}

const reportHead = `# Identity providers that Carnet was tried with

Made by ` + "`make interop-idp`" + `, which installs each identity provider from public packages, starts it beside the real binary, signs a person in through the
browser flow, and reads an object from S3 with the keys of the role that came with the sign-in. Rows *in Chromium* run in a real browser; the others walk the same
redirects, forms and cookies without one.

| Identity provider | Version | Way | Result |
|---|---|---|---|
`

func (r *report) write(tb testing.TB) {
	tb.Helper()
	must(tb, os.MkdirAll("../../docs/identity-providers", 0o755))
	must(tb, os.WriteFile("../../docs/identity-providers/tested.md", []byte(reportHead+strings.Join(r.rows, "\n")+"\n"), 0o644))
}
