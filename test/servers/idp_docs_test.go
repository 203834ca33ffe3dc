package servers

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var metadataFile = regexp.MustCompile(`--metadata ([a-z-]+\.xml)`)

// TestTheIdentityProviderPages runs every command of the pages on identity
// providers and on moving to Carnet, each page on a configuration of its own.
// The account number is the test's own; the metadata is that of an identity
// provider which runs, under the name that the page gives to it.
func TestTheIdentityProviderPages(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/identity-providers/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	dir := t.TempDir()
	for _, page := range append(pages, "../../docs/migrate-from-databricks.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		blocks := strings.Split(string(text), "```sh\n")[1:]
		if len(blocks) == 0 && name != "tested" { // that one is generated
			t.Errorf("%s holds no command", page)
		}
		var script strings.Builder
		for _, b := range blocks {
			block, _, _ := strings.Cut(b, "```")
			for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
				script.WriteString(pageStep(strings.ReplaceAll(line, "777788889999", account)))
			}
		}
		script.WriteString("-- trust-now.json --\n" + trustNow + "\n")
		if err := os.WriteFile(filepath.Join(dir, name+".txtar"), []byte(script.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, scripts(t, dir))
}

var openIDIssuer = regexp.MustCompile(`--oidc (https://\S+)`)

// throughOpenID enters an OpenID provider as a page says, at a place of the
// test's own: discovery is looked at when one is entered.
func throughOpenID(line string) string {
	return "openid\nexec " + openIDIssuer.ReplaceAllString(line, "--oidc $$OPENID") + " --config carnet.yaml\nstdout 'redirect URI'\n"
}

// openID starts an OpenID provider, as far as entering it goes, and lets the
// configuration reach it. Its issuer is in $OPENID.
func openID(ts *testscript.TestScript, _ bool, _ []string) {
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":"%[1]s/a","token_endpoint":"%[1]s/t","jwks_uri":"%[1]s/k"}`, s.URL)
	}))
	ts.Defer(s.Close)
	ts.Setenv("OPENID", s.URL)
	config, secret := ts.MkAbs("carnet.yaml"), ts.MkAbs("secret.txt")
	text, err := os.ReadFile(config)
	ts.Check(err)
	if !strings.Contains(string(text), "egress:") {
		text = append(text, "egress: {allow: [127.0.0.1]}\n"...)
		ts.Check(os.WriteFile(config, text, 0o600))
	}
	ts.Check(os.WriteFile(secret, []byte("the client secret\n"), 0o600))
}

// pageStep turns one command of a page into lines of a script.
func pageStep(line string) string {
	if openIDIssuer.MatchString(line) {
		return throughOpenID(line)
	}
	file := ""
	if m := metadataFile.FindStringSubmatch(line); m != nil {
		file = "cp idp.xml " + m[1] + "\n"
	}
	if strings.HasPrefix(line, "carnet sso ") {
		return file + "exec " + line + " --config carnet.yaml\nstdout .\n"
	}
	return file + "exec " + line + "\nstdout .\n"
}

const trustNow = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:saml-provider/corp"},` +
	`"Action":"sts:AssumeRoleWithSAML","Condition":{"StringEquals":{"SAML:aud":"https://dbc.example.com/saml/consume"}}}]}`
