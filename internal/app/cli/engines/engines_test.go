package engines_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/app/cli/engines"
	"carnet.dev/carnet/internal/core/fault"
)

var update = flag.Bool("update", false, "write the golden files anew")

func facts() map[string]engines.Facts {
	onNode := engines.Facts{
		Container: "http://127.0.0.1:1018/v1/credentials", TokenFile: "/run/carnet/people/1000/token", Region: "us-east-1",
		S3: "https://s3.example.com:8481", STS: "https://s3.example.com:8481", Role: "arn:aws:iam::111122223333:role/analyst",
		Server: "https://carnet.example.com", Node: "login-1", Socket: "/run/carnet/agent.sock",
	}
	atAWS := onNode
	atAWS.S3, atAWS.STS, atAWS.Region = "", "", "eu-west-1"
	profile := onNode
	profile.Container, profile.TokenFile, profile.Node, profile.Socket, profile.Profile = "", "", "", "", "analytics-analyst"
	plain := onNode
	plain.S3 = "http://127.0.0.1:8481"
	return map[string]engines.Facts{"node": onNode, "node-aws": atAWS, "node-http": plain, "profile": profile}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	for _, name := range engines.Names() {
		for place, f := range facts() {
			if (name == "python" || name == "jupyterhub") && place != "node" {
				continue
			}
			t.Run(name+"/"+place, func(t *testing.T) {
				t.Parallel()
				got, err := engines.Render(name, f)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(got, "<no value>") || strings.Contains(got, "{{") {
					t.Errorf("it has holes:\n%s", got)
				}
				if name == "python" || name == "jupyterhub" {
					return // they are files of this package
				}
				golden := filepath.Join("testdata", name+"."+place+".golden")
				if *update {
					if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("go test ./internal/app/cli/engines -update writes %s anew; now it is\n%s", golden, got)
				}
			})
		}
	}
}

// TestAttackTextOfAServer: what a server or agent says of itself can't become more
// than a value.
func TestAttackTextOfAServer(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a'; DROP", "a\nspark.jars http://evil.example/x.jar", "<!--", `a"`, "a`id`", "a b", `a\`} {
		f := facts()["node"]
		f.S3 = "https://s3.example.com/" + text
		for _, name := range []string{"duckdb", "hadoop", "polars", "spark", "trino"} {
			if got, err := engines.Render(name, f); fault.KindOf(err) != fault.Internal {
				t.Errorf("%s with %q: %v\n%s", name, text, err, got)
			}
		}
	}
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	if _, err := engines.Render("excel", facts()["node"]); fault.Of(err).Code != "engine.unknown" || !strings.Contains(fault.Of(err).Mend, "spark, trino") {
		t.Errorf("%v", err)
	}
}
