//go:build interop

package interop

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRealClients drives every path by which a tool gets its keys, with the
// aws command line and boto3, as the demo accounts.
func TestRealClients(t *testing.T) {
	w := start(t)
	alice, bob, dave := w.arrive(t, "alice"), w.arrive(t, "bob"), w.arrive(t, "dave")

	t.Run("alice by environment", func(t *testing.T) { p := alice.in(t); p.reads(p.keysOf("analyst"), "analyst") })
	t.Run("alice by credential_process", func(t *testing.T) { p := alice.in(t); p.reads(p.processProfile("analyst"), "analyst") })
	t.Run("alice by carnet configure", func(t *testing.T) { p := alice.in(t); p.reads(p.configured("analyst"), "analyst") })
	t.Run("bob by environment", func(t *testing.T) { p := bob.in(t); p.writes(p.keysOf("engineer"), "sales") })
	t.Run("bob by credential_process", func(t *testing.T) { p := bob.in(t); p.writes(p.processProfile("engineer"), "sales") })
	t.Run("bob by carnet configure", func(t *testing.T) { p := bob.in(t); p.writes(p.configured("pipeline"), "lab") })
	t.Run("100 MiB in parts", func(t *testing.T) { bob.in(t).largeObject() })
	t.Run("bob has several roles", func(t *testing.T) { bob.in(t).mustChoose() })
	t.Run("dave has none", func(t *testing.T) { dave.in(t).hasNothing() })
	t.Run("wrong and foreign keys", func(t *testing.T) { bob.in(t).wrongKeys() })
	t.Run("over TLS", func(t *testing.T) {
		p := alice.in(t)
		env := p.keysOf("analyst")
		env["AWS_ENDPOINT_URL_S3"], env["AWS_ENDPOINT_URL_STS"], env["AWS_CA_BUNDLE"], env["tls"] = w.AWSTLS, w.AWSTLS, w.CA, "1"
		p.reads(env, "analyst")
		q := bob.in(t)
		env = q.keysOf("engineer")
		env["AWS_ENDPOINT_URL_S3"], env["AWS_ENDPOINT_URL_STS"], env["AWS_CA_BUNDLE"], env["tls"] = w.AWSTLS, w.AWSTLS, w.CA, "1"
		q.writes(env, "sales")
	})
}

// TestPrintedBlockWorksAsPrinted runs what dev prints for people to copy.
func TestPrintedBlockWorksAsPrinted(t *testing.T) {
	w := start(t)
	alice := w.arrive(t, "alice")
	lines := strings.SplitN(w.Block, "\n", 2)
	if !strings.Contains(lines[0], " login --server "+w.Web) {
		t.Fatalf("the first line is %q", lines[0])
	}
	o := alice.run(nil, "bash", "-euo", "pipefail", "-c", lines[1])
	if o.code != 0 || !strings.Contains(o.out, "assumed-role/analyst/alice") || !strings.Contains(o.out, "2025-12.csv") || !strings.Contains(o.out, "product_id,") {
		t.Fatalf("exit %d\n%s%s", o.code, o.out, o.err)
	}
}

// TestExpiredKeys waits for short-lived keys to end. The sign-in lives on: the
// bridge brings others.
func TestExpiredKeys(t *testing.T) {
	w := start(t, "--key-lifetime", "4s")
	alice := w.arrive(t, "alice")
	env := alice.keysOf("analyst")
	if got := alice.boto3(env, "get", "sales", "products/products.csv"); got["bytes"] == nil {
		t.Fatalf("fresh keys: %v", got)
	}
	time.Sleep(5 * time.Second)
	delete(env, "AWS_CREDENTIAL_EXPIRATION") // else boto3 itself refuses them
	if got := alice.boto3(env, "get", "sales", "products/products.csv"); got["error"] != "ExpiredToken" || got["status"] != 400.0 {
		t.Errorf("expired keys: %v", got)
	}
	o := alice.run(env, "aws", "s3", "cp", "s3://sales/products/products.csv", "-", "--endpoint-url", w.AWS)
	if o.code == 0 || !strings.Contains(o.err, "400") && !strings.Contains(o.err, "ExpiredToken") {
		t.Errorf("aws with expired keys: exit %d %s", o.code, o.err)
	}
	if got := alice.boto3(alice.keysOf("analyst"), "get", "sales", "products/products.csv"); got["bytes"] == nil {
		t.Errorf("renewed keys: %v", got)
	}
	if o := alice.run(nil, alice.binary, "role", "list"); !strings.Contains(o.out, "ready, renewed for ") {
		t.Errorf("carnet role list: %s", o.out)
	}
}

// TestOneBrokenAccount breaks the trust of one of bob's two accounts: he signs
// in, the other account works, and the broken one says why.
func TestOneBrokenAccount(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	ports := freePorts(t, 5)
	flags := []string{"--data", data, "--web-port", ports[0], "--web-tls-port", ports[1], "--aws-port", ports[2], "--aws-tls-port", ports[3], "--idp-port", ports[4]}
	var metadata string
	t.Run("first start", func(t *testing.T) {
		w := startWith(t, flags...)
		resp, err := http.Get(w.IdP + "/metadata")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("metadata: %d %v", resp.StatusCode, err)
		}
		metadata = string(body)
	})
	authority := filepath.Join(t.TempDir(), "authority.yaml")
	if err := os.WriteFile(authority, []byte(brokenAuthority(metadata, "http://127.0.0.1:"+ports[0]+"/saml/consume")), 0o600); err != nil {
		t.Fatal(err)
	}
	w := startWith(t, append(flags, "--authority", authority)...)
	bob := w.arrive(t, "bob")
	if got := bob.boto3(bob.keysOf("engineer"), "listing", "sales", "orders/"); len(got["keys"].([]any)) != 12 {
		t.Errorf("the account that works: %v", got)
	}
	o := bob.run(nil, bob.binary, "credentials", "--role", "pipeline")
	if o.code == 0 || !strings.Contains(o.err, "AccessDenied") {
		t.Errorf("the broken account: exit %d %s", o.code, o.err)
	}
}

func brokenAuthority(metadata, samlURL string) string {
	quoted, _ := json.Marshal(metadata)
	account := func(id, trusted, role, action, bucket string) string {
		return fmt.Sprintf(`  %q:
    saml_providers: [{name: dev-idp, metadata: %s}]
    roles:
      - name: %s
        trust_policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Federated: "arn:aws:iam::%s:saml-provider/%s"}, Action: "sts:AssumeRoleWithSAML", Condition: {StringEquals: {"SAML:aud": %q}}}]}
        policies: [{name: data, document: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: %q, Resource: ["arn:aws:s3:::%s", "arn:aws:s3:::%s/*"]}]}}]
`, id, quoted, role, id, trusted, samlURL, action, bucket, bucket)
	}
	return "accounts:\n" + account("111122223333", "dev-idp", "engineer", "s3:*", "sales") + account("444455556666", "another", "pipeline", "s3:*", "lab")
}

// in gives the same person within a subtest.
func (p *person) in(t *testing.T) *person {
	q := *p
	q.t = t
	return &q
}

// keysOf gives the environment that `carnet env` prints for a role.
func (p *person) keysOf(role string) map[string]string {
	p.t.Helper()
	env := map[string]string{}
	for _, line := range strings.Split(p.carnet("env", "--role", role), "\n") {
		line = strings.TrimPrefix(strings.TrimSuffix(line, ";"), "export ")
		if k, v, ok := strings.Cut(line, "="); ok {
			env[k] = strings.Trim(v, `'"`)
		}
	}
	for _, k := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		if env[k] == "" {
			p.t.Fatalf("carnet env sets no %s: %v", k, env)
		}
	}
	return env
}

// processProfile writes a profile by hand around `carnet credentials`.
func (p *person) processProfile(role string) map[string]string {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), "config")
	text := fmt.Sprintf("[profile hand]\nregion = us-east-1\ncredential_process = %s credentials --role %s\nservices = here\ns3 =\n  addressing_style = path\n  signature_version = s3v4\n[services here]\ns3 =\n  endpoint_url = %s\nsts =\n  endpoint_url = %s\n", p.binary, role, p.AWS, p.AWS)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return map[string]string{"AWS_CONFIG_FILE": path, "AWS_PROFILE": "hand"}
}

// configured has `carnet configure` write the profiles and finds the one of a
// role.
func (p *person) configured(role string) map[string]string {
	p.t.Helper()
	p.carnet("configure")
	text, err := os.ReadFile(filepath.Join(p.home, ".aws", "config"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if name, ok := strings.CutPrefix(strings.TrimSuffix(line, "]"), "[profile "); ok && strings.HasSuffix(name, role) {
			return map[string]string{"AWS_PROFILE": name}
		}
	}
	p.t.Fatalf("carnet configure wrote no profile for %s:\n%s", role, text)
	return nil
}

// aws runs the aws command line. Commands carry the endpoint, since older
// versions ignore the variables and would talk to AWS itself.
func (p *person) aws(env map[string]string, args ...string) outcome {
	p.t.Helper()
	endpoint := p.AWS
	if env["tls"] != "" {
		endpoint = p.AWSTLS
	}
	return p.run(env, "aws", append(args, "--endpoint-url", endpoint)...)
}

// boto3 runs a scenario and reads its answer.
func (p *person) boto3(env map[string]string, args ...string) map[string]any {
	p.t.Helper()
	script, err := filepath.Abs("scenario.py")
	if err != nil {
		p.t.Fatal(err)
	}
	o := p.run(env, "python", append([]string{script}, args...)...)
	var answer map[string]any
	if o.code != 0 || json.Unmarshal([]byte(o.out), &answer) != nil {
		p.t.Fatalf("boto3 %v: exit %d\n%s%s", args, o.code, o.out, o.err)
	}
	return answer
}

// reads is what an analyst does.
func (p *person) reads(env map[string]string, role string) {
	p.t.Helper()
	who := "arn:aws:sts::111122223333:assumed-role/" + role + "/" + p.name
	if got := p.boto3(env, "identity"); got["Arn"] != who || got["Account"] != "111122223333" || !strings.HasSuffix(got["UserId"].(string), ":"+p.name) {
		p.t.Errorf("boto3 get_caller_identity: %v", got)
	}
	if o := p.aws(env, "sts", "get-caller-identity"); o.code != 0 || !strings.Contains(o.out, who) {
		p.t.Errorf("aws sts get-caller-identity: exit %d %s%s", o.code, o.out, o.err)
	}
	if got := p.boto3(env, "listing", "sales", "orders/"); fmt.Sprint(len(got["keys"].([]any))) != "12" {
		p.t.Errorf("boto3 list: %v", got)
	}
	if o := p.aws(env, "s3", "ls", "s3://sales/products/"); o.code != 0 || !strings.Contains(o.out, "products.parquet") {
		p.t.Errorf("aws s3 ls: exit %d %s%s", o.code, o.out, o.err)
	}
	want := p.boto3(env, "get", "sales", "products/products.csv")
	o := p.aws(env, "s3", "cp", "s3://sales/products/products.csv", "-")
	sum := sha256.Sum256([]byte(o.out))
	if o.code != 0 || want["sha256"] != hex.EncodeToString(sum[:]) {
		p.t.Errorf("aws s3 cp and boto3 get differ: %v, exit %d %s", want, o.code, o.err)
	}
	if got := p.boto3(env, "presigned", "sales", "products/products.csv"); got["sha256"] != want["sha256"] {
		p.t.Errorf("boto3 presigned get: %v, want %v", got, want)
	}
	got := p.boto3(env, "get", "hr", "salaries/2025.csv")
	if got["error"] != "AccessDenied" || got["status"] != 403.0 || !strings.Contains(got["message"].(string), "no identity-based policy allows the s3:GetObject action") {
		p.t.Errorf("boto3 at the denied bucket: %v", got)
	}
	if o := p.aws(env, "s3", "ls", "s3://hr/"); o.code == 0 || !strings.Contains(o.err, "AccessDenied") {
		p.t.Errorf("aws at the denied bucket: exit %d %s", o.code, o.err)
	}
	if got := p.boto3(env, "roundtrip", "sales", "alice/x"); got["error"] != "AccessDenied" {
		p.t.Errorf("an analyst writes: %v", got)
	}
}

// writes is what an engineer does.
func (p *person) writes(env map[string]string, bucket string) {
	p.t.Helper()
	for _, key := range []string{"bob/plain.bin", "bob/with space+plus%percent/ünï✓.bin"} {
		got := p.boto3(env, "roundtrip", bucket, key)
		if got["equal"] != true || got["length"] != 70001.0 || len(got["left"].([]any)) != 0 {
			p.t.Errorf("boto3 round trip of %q: %v", key, got)
		}
	}
	file := filepath.Join(p.t.TempDir(), "a file.txt")
	if err := os.WriteFile(file, []byte("written by "+p.name), 0o600); err != nil {
		p.t.Fatal(err)
	}
	target := "s3://" + bucket + "/bob/a file+%.txt"
	if o := p.aws(env, "s3", "cp", file, target); o.code != 0 {
		p.t.Fatalf("aws s3 cp up: exit %d %s", o.code, o.err)
	}
	if o := p.aws(env, "s3", "cp", target, "-"); o.code != 0 || o.out != "written by "+p.name {
		p.t.Errorf("aws s3 cp down: exit %d %q %s", o.code, o.out, o.err)
	}
	o := p.aws(env, "s3", "presign", target, "--expires-in", "60")
	resp, err := http.Get(strings.TrimSpace(o.out))
	if env["tls"] == "" {
		if err != nil {
			p.t.Fatalf("presigned by aws: %v", err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		signed4 := strings.Contains(o.out, "X-Amz-Signature")
		switch {
		case signed4 && (resp.StatusCode != 200 || string(body) != "written by "+p.name):
			p.t.Errorf("presigned by aws: %d %s", resp.StatusCode, body)
		case !signed4 && !strings.Contains(string(body), "Signature Version 2"):
			p.t.Errorf("a URL signed with version 2: %d %s", resp.StatusCode, body)
		}
	}
	if o := p.aws(env, "s3", "rm", target); o.code != 0 {
		p.t.Errorf("aws s3 rm: exit %d %s", o.code, o.err)
	}
}

func (p *person) largeObject() {
	p.t.Helper()
	env := p.keysOf("engineer")
	if got := p.boto3(env, "multipart", "sales", "bob/large.bin", "100"); got["equal"] != true || got["parts"] != true {
		p.t.Errorf("boto3: %v", got)
	}
	file := filepath.Join(p.t.TempDir(), "large.bin")
	make100MiB(p.t, file)
	if o := p.aws(env, "s3", "cp", "--quiet", file, "s3://sales/bob/large-cli.bin"); o.code != 0 {
		p.t.Fatalf("aws s3 cp up: exit %d %s", o.code, o.err)
	}
	if o := p.aws(env, "s3", "cp", "--quiet", "s3://sales/bob/large-cli.bin", file+".back"); o.code != 0 {
		p.t.Fatalf("aws s3 cp down: exit %d %s", o.code, o.err)
	}
	if a, b := digest(p.t, file), digest(p.t, file+".back"); a != b {
		p.t.Errorf("the file changed on the way: %s, %s", a, b)
	}
}

func (p *person) mustChoose() {
	p.t.Helper()
	o := p.run(nil, p.binary, "credentials")
	if o.code == 0 || !strings.Contains(o.err, "analyst") || !strings.Contains(o.err, "engineer") || !strings.Contains(o.err, "pipeline") {
		p.t.Errorf("no role chosen: exit %d %s", o.code, o.err)
	}
	if o := p.run(nil, p.binary, "credentials", "--role", "boss"); o.code == 0 || o.out != "" {
		p.t.Errorf("an unknown role: exit %d %s%s", o.code, o.out, o.err)
	}
	o = p.run(nil, p.binary, "exec", "--role", "pipeline", "--", "env")
	if o.code != 0 || !strings.Contains(o.out, "AWS_SESSION_TOKEN=") {
		p.t.Errorf("carnet exec: exit %d %s", o.code, o.err)
	}
}

func (p *person) hasNothing() {
	p.t.Helper()
	if out := p.carnet("role", "list", "--output", "json"); !strings.Contains(out, `"roles"`) || strings.Contains(out, "arn:aws") {
		p.t.Errorf("carnet role list: %s", out)
	}
	if o := p.run(nil, p.binary, "credentials"); o.code == 0 || o.out != "" {
		p.t.Errorf("carnet credentials: exit %d %s%s", o.code, o.out, o.err)
	}
	if o := p.aws(nil, "s3", "ls"); o.code == 0 {
		p.t.Errorf("aws without keys: %s", o.out)
	}
}

func (p *person) wrongKeys() {
	p.t.Helper()
	one, other := p.keysOf("engineer"), p.keysOf("pipeline")
	mix := func(change func(map[string]string)) map[string]string {
		env := map[string]string{}
		for k, v := range one {
			env[k] = v
		}
		change(env)
		return env
	}
	for name, c := range map[string]struct {
		env    map[string]string
		code   string
		status float64
	}{
		"wrong secret key":        {mix(func(e map[string]string) { e["AWS_SECRET_ACCESS_KEY"] = strings.Repeat("x", 43) }), "SignatureDoesNotMatch", 403},
		"token of another key":    {mix(func(e map[string]string) { e["AWS_SESSION_TOKEN"] = other["AWS_SESSION_TOKEN"] }), "InvalidToken", 400},
		"unknown key id":          {mix(func(e map[string]string) { e["AWS_ACCESS_KEY_ID"] = "AKIAIOSFODNN7EXAMPLE" }), "InvalidAccessKeyId", 403},
		"no token":                {mix(func(e map[string]string) { delete(e, "AWS_SESSION_TOKEN") }), "InvalidToken", 400},
		"role of another account": {other, "AccessDenied", 403},
	} {
		if got := p.boto3(c.env, "get", "sales", "products/products.csv"); got["error"] != c.code || got["status"] != c.status {
			p.t.Errorf("%s: %v, want %s %v", name, got, c.code, c.status)
		}
	}
}

func make100MiB(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for i := range 100 {
		for j := range block {
			block[j] = byte(i*31 + j*7 + j>>8)
		}
		if _, err := f.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func digest(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
