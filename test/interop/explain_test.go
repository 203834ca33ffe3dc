//go:build interop

package interop

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var requestID = regexp.MustCompile(`(?i)'x-amz-request-id': '([A-Z0-9]{16})'`)

// firstPolicy is where the first inline policy of an exported role begins.
var firstPolicy = regexp.MustCompile(`\n( +)- name: read-sales\n`)

// TestExplain goes from the error of the aws command line to the statement that
// decided: the person sees AWS's sentence and an id, the host says the rest.
func TestExplain(t *testing.T) {
	w := start(t)
	alice := w.arrive(t, "alice")
	config := filepath.Join(w.Data, "carnet.yaml")
	host := func(args ...string) outcome { return alice.run(nil, w.binary, append(args, "--config", config)...) }
	exported := host("authority", "export")
	if exported.code != 0 || !firstPolicy.MatchString(exported.out) {
		t.Fatalf("authority export: exit %d\n%s%s", exported.code, exported.out, exported.err)
	}
	at := firstPolicy.FindStringSubmatchIndex(exported.out) // of the analyst, who comes first
	never := exported.out[at[2]:at[3]] + `- {name: salaries, document: {Version: "2012-10-17", Statement: [{Sid: Never, Effect: Deny, Action: "s3:Get*", Resource: "arn:aws:s3:::*/salaries/*"}]}}`
	file := filepath.Join(t.TempDir(), "authority.yaml")
	if err := os.WriteFile(file, []byte(exported.out[:at[0]]+"\n"+never+exported.out[at[0]:]), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := host("authority", "apply", file); o.code != 0 {
		t.Fatalf("authority apply: exit %d\n%s%s", o.code, o.out, o.err)
	}
	time.Sleep(2 * time.Second) // until the server has read it
	env := alice.keysOf("analyst")
	env["AWS_ENDPOINT_URL_S3"] = w.AWS
	o := alice.run(env, "aws", "s3api", "get-object", "--bucket", "hr", "--key", "salaries/2025.csv", "--debug", "/dev/null")
	id := requestID.FindStringSubmatch(o.err)
	if o.code == 0 || !strings.Contains(o.err, "(AccessDenied) when calling the GetObject operation") || id == nil {
		t.Fatalf("exit %d, id %v\n%.3000s", o.code, id, o.err)
	}
	if strings.Contains(o.err, "salaries#Never") {
		t.Error("the public answer names a statement")
	}
	var said outcome
	for range 50 {
		if said = host("explain", id[1]); said.code == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, want := range []string{"GetObject was denied", "arn:aws:s3:::hr/salaries/2025.csv: denied by salaries#Never, with an explicit deny", "Deny  salaries#Never (identity-based policy): applies", "Allow read-sales#Read (identity-based policy)", "assumed-role/analyst/alice", id[1]} {
		if !strings.Contains(said.out, want) {
			t.Errorf("the explanation lacks %q: %s%s", want, said.out, said.err)
		}
	}
}
