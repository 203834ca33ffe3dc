package servers

import (
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

// pageStep turns one command of a page into lines of a script.
func pageStep(line string) string {
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
