//go:build interop

package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPagesOfGatewayKeys runs every sh block of the two pages, in their order, as
// carol on the server's host, while alice is signed in; then the aws command line
// works with a key, as a tool does that has no field for a session token.
func TestPagesOfGatewayKeys(t *testing.T) {
	w := start(t)
	carol := w.arrive(t, "carol")
	w.arrive(t, "alice")
	host := `carnet() { command carnet "$@" --config ` + filepath.Join(w.Data, "carnet.yaml") + "; }\n"
	shell := func(body string, env map[string]string) string {
		t.Helper()
		body = strings.NewReplacer("10.4.0.0/16", "127.0.0.0/8", "https://s3.example.com:8481", w.AWS).Replace(body)
		o := carol.run(env, "bash", "-euo", "pipefail", "-c", host+body)
		if o.code != 0 {
			t.Errorf("exit %d for\n%s\n%s%s", o.code, body, o.out, o.err)
		}
		return strings.TrimSpace(o.out)
	}
	for _, page := range []string{"operations/gateway-keys.md", "use/trino.md"} {
		want := map[string]int{"operations/gateway-keys.md": 4, "use/trino.md": 2}[page]
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		ran := 0
		for _, part := range strings.Split(string(text), "\n```")[1:] {
			if language, body, _ := strings.Cut(part, "\n"); language == "sh" {
				shell(body, nil)
				ran++
			}
		}
		if ran != want {
			t.Errorf("docs/%s holds %d blocks to run, want %d", page, ran, want)
		}
	}
	var mapping struct {
		Mappings []struct{ User, AccessKey, SecretKey, Endpoint, Region string }
	}
	raw, err := os.ReadFile(filepath.Join(carol.home, "s3-mapping.json"))
	if err != nil || json.Unmarshal(raw, &mapping) != nil || len(mapping.Mappings) == 0 || mapping.Mappings[0].User != "alice" || mapping.Mappings[0].Endpoint != w.AWS {
		t.Fatalf("%v %s", err, raw)
	}
	m := mapping.Mappings[0]
	env := map[string]string{"AWS_ACCESS_KEY_ID": m.AccessKey, "AWS_SECRET_ACCESS_KEY": m.SecretKey, "AWS_DEFAULT_REGION": m.Region, "AWS_ENDPOINT_URL_S3": w.AWS, "AWS_ENDPOINT_URL_STS": w.AWS}
	refused := func(what, code string, args ...string) {
		t.Helper()
		if o := carol.run(env, "aws", args...); o.code == 0 || !strings.Contains(o.err, code) {
			t.Errorf("%s: exit %d\n%s%s", what, o.code, o.out, o.err)
		}
	}
	if o := carol.run(env, "aws", "s3", "cp", "s3://sales/orders/2025-01.csv", "january.csv"); o.code != 0 {
		t.Errorf("exit %d\n%s%s", o.code, o.out, o.err)
	}
	if o := carol.run(env, "python", "-c", "import boto3\nprint(boto3.client('s3').list_objects_v2(Bucket='sales', Prefix='products/')['KeyCount'])"); o.code != 0 || strings.TrimSpace(o.out) != "2" {
		t.Errorf("exit %d\n%s%s", o.code, o.out, o.err)
	}
	refused("what the role may not", "AccessDenied", "s3", "ls", "s3://hr/")
	refused("STS", "InvalidClientTokenId", "sts", "get-caller-identity")
	shell("carnet gateway-key cluster add trino --network 10.1.2.3", nil)
	time.Sleep(1500 * time.Millisecond)
	refused("from another network", "AccessDenied", "s3", "ls", "s3://sales/")
	shell("carnet gateway-key cluster add trino --network 127.0.0.1", nil)
	shell("carnet revoke person alice", nil)
	time.Sleep(1500 * time.Millisecond)
	refused("after alice was revoked", "ExpiredToken", "s3", "ls", "s3://sales/")
	if o := carol.run(nil, "bash", "-c", host+"carnet gateway-key make --person alice --cluster trino"); o.code == 0 {
		t.Errorf("a key of somebody who is not signed in:\n%s", o.out)
	}
}
