//go:build interop

// Package sdk has AWS's SDKs assume a role with a token of Carnet's own issuer at
// Carnet's STS, and read S3 through the gateway. Each gets the variables that
// `carnet token --file` prints, and knows nothing else: neither keys nor
// endpoints stand in its code. It is started by make interop-oidc, which picks
// rows; what is missing fails. With -update the table of all rows is written.
package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/test/running"
)

var update = flag.Bool("update", false, "write docs/use/sdk-matrix.md")

const (
	table = "../../docs/use/sdk-matrix.md"
	role  = "arn:aws:iam::111122223333:role/nightly"
)

// row is one SDK.
type row struct {
	name string // of the subtest too
	code string // where its program stands
	run  func(t *testing.T) (dir string, argv []string)
}

func rows() []row {
	return []row{
		{"Go v2", "test/sdk/go/main.go", func(t *testing.T) (string, []string) {
			program := filepath.Join(t.TempDir(), "read")
			if out, err := exec.Command("go", "build", "-o", program, "./go").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			return "", []string{program}
		}},
		{"Python (boto3)", "test/sdk/python/read.py", func(t *testing.T) (string, []string) {
			return "", []string{filepath.Join(running.Need(t, "CARNET_VENV"), "bin", "python"), "python/read.py"}
		}},
		{"JavaScript v3", "test/sdk/node/read.mjs", func(t *testing.T) (string, []string) {
			return running.Need(t, "CARNET_SDK_NODE"), []string{"node", "read.mjs"}
		}},
		{"Java 2.x", "test/sdk/java/Read.java", func(t *testing.T) (string, []string) {
			dir := running.Need(t, "CARNET_SDK_JAVA")
			return dir, []string{"java", "-cp", filepath.Join(dir, "jars", "*") + ":" + filepath.Join(dir, "classes"), "Read"}
		}},
	}
}

// read is what each program prints.
type read struct {
	Version string
	ARN     string
	Keys    int
	Bytes   int
	Refused string
}

// TestSDK runs the rows. The environment alone is enough for each of them; one
// for which it is not needs a column of its own in the table.
func TestSDK(t *testing.T) {
	w := running.Dev(t)
	var lines []string
	for _, r := range rows() {
		t.Run(r.name, func(t *testing.T) {
			dir, argv := r.run(t)
			session := "sdk-" + strings.ToLower(strings.Fields(r.name)[0])
			got := program(t, dir, argv, environment(t, w, session))
			want := read{Version: got.Version, ARN: "arn:aws:sts::111122223333:assumed-role/nightly/" + session, Keys: 12, Bytes: got.Bytes, Refused: "AccessDenied"}
			if got != want || got.Version == "" || got.Bytes == 0 {
				t.Fatalf("got %+v, want %+v", got, want)
			}
			line := fmt.Sprintf("| %s | %s | `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`, `AWS_ENDPOINT_URL_STS` | `AWS_ENDPOINT_URL_S3` | [%s](../../%s) |", r.name, got.Version, filepath.Base(r.code), r.code)
			lines = append(lines, line)
			if *update {
				return
			}
			if text, err := os.ReadFile(table); err != nil || !strings.Contains(string(text), line+"\n") {
				t.Errorf("%s does not say: %s\nWrite it anew: make interop-oidc SDK_FLAGS=-update (%v)", table, line, err)
			}
		})
	}
	if *update && !t.Failed() && len(lines) == len(rows()) {
		if err := os.WriteFile(table, []byte(head+strings.Join(lines, "\n")+"\n"+foot), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// environment is what carnet token --file prints for the demo's workload, which
// has a key and no person, with a session name of the row's own.
func environment(t *testing.T, w *running.World, session string) []string {
	t.Helper()
	dir := t.TempDir()
	home := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	cmd := exec.CommandContext(t.Context(), w.Binary, "token", "--server", w.Web, "--client-id", w.WorkloadID, "--client-key-file", w.WorkloadKey,
		"--role", role, "--file", filepath.Join(dir, "web-identity", "token"), "--once", "--output", "json")
	cmd.Env = home
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("carnet token: %v\n%s%s", err, out, said.String())
	}
	var printed struct{ Variables map[string]string }
	if err := json.Unmarshal(out, &printed); err != nil || printed.Variables["AWS_ENDPOINT_URL_STS"] != w.AWS {
		t.Fatalf("carnet token printed %s (%v)", out, err)
	}
	printed.Variables["AWS_ROLE_SESSION_NAME"] = session
	for name, value := range printed.Variables {
		home = append(home, name+"="+value)
	}
	return home
}

func program(t *testing.T, dir string, argv, env []string) (got read) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, env
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || json.Unmarshal(out, &got) != nil {
		t.Fatalf("%v: %v\n%s%s", argv, err, out, said.String())
	}
	return got
}

const head = `# AWS SDKs with Carnet's tokens

Made by ` + "`make interop-oidc SDK_FLAGS=-update`" + `. Each SDK got what ` + "`carnet token --role nightly --file FILE`" + ` prints for a workload that has a key and no person, and nothing else: it read
the token file, assumed the role by ` + "`AssumeRoleWithWebIdentity`" + ` at Carnet's STS, asked who it is, listed and read a bucket through the gateway, and was refused another one. No program names an endpoint or a key.

| SDK | Release tried | The role, by | S3, by | Program |
|---|---|---|---|---|
`

const foot = `
Older releases do not read ` + "`AWS_ENDPOINT_URL_STS`" + ` and ask AWS, which does not know the token: update, or give the client of STS its endpoint in code. The SDK for Java needs its module ` + "`sts`" + ` beside
` + "`s3`" + `, or it passes the token file over. Buckets are addressed by path, since names like ` + "`sales.localhost`" + ` are not found everywhere; boto3 does so by itself for loopback addresses.
`
