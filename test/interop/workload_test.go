//go:build interop

package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const nightly = "arn:aws:iam::111122223333:role/nightly"

// machine is an account of the machine whose programs have no person: nobody
// signed in here.
func (w *world) machine(t *testing.T) *person {
	t.Helper()
	return &person{world: w, t: t, name: "nightly", home: t.TempDir()}
}

// proof is what the demo's workload has: a client id and a key.
func (w *world) proof() []string {
	return []string{"--server", w.Web, "--client-id", w.WorkloadID, "--client-key-file", w.WorkloadKey}
}

// TestWorkloadReadsS3: a workload with nothing but a client id and a key reads
// S3 through the whole chain, by every way that its tools may get keys.
func TestWorkloadReadsS3(t *testing.T) {
	w := start(t)
	t.Run("as printed", func(t *testing.T) {
		o := w.machine(t).run(nil, "bash", "-euo", "pipefail", "-c", w.WorkloadBlock+"\naws sts get-caller-identity --endpoint-url "+w.AWS)
		if o.code != 0 || !strings.Contains(o.out, "2025-12.csv") || !strings.Contains(o.out, "assumed-role/nightly/") {
			t.Errorf("exit %d\n%s%s", o.code, o.out, o.err)
		}
	})
	t.Run("boto3 by a token file that is kept fresh", func(t *testing.T) {
		m := w.machine(t)
		file := filepath.Join(m.home, "web-identity", "token")
		defer m.keep(file)()
		m.readsAsNightly(map[string]string{
			"AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": nightly, "AWS_ROLE_SESSION_NAME": "tonight",
			"AWS_ENDPOINT_URL_STS": w.AWS, "AWS_ENDPOINT_URL_S3": w.AWS, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
		}, "tonight")
	})
	t.Run("boto3 by a credential process", func(t *testing.T) {
		m := w.machine(t)
		config := filepath.Join(m.home, "config")
		text := fmt.Sprintf("[profile nightly]\nregion = us-east-1\ncredential_process = %s credentials %s --role %s\nservices = here\n[services here]\ns3 =\n  endpoint_url = %s\nsts =\n  endpoint_url = %s\n",
			w.binary, strings.Join(w.proof(), " "), nightly, w.AWS, w.AWS)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		m.readsAsNightly(map[string]string{"AWS_CONFIG_FILE": config, "AWS_PROFILE": "nightly"}, w.WorkloadID)
	})
	t.Run("the aws command line by hand", func(t *testing.T) {
		m := w.machine(t)
		token := strings.TrimSpace(m.carnet(append([]string{"token", "--role", nightly}, w.proof()...)...))
		keys := m.assume(token, nightly)
		if keys.code != 0 || !strings.Contains(keys.out, `"Audience": "sts.amazonaws.com"`) || !strings.Contains(keys.out, `"SubjectFromWebIdentityToken": "sp:`+w.WorkloadID+`"`) {
			t.Errorf("exit %d %s%s", keys.code, keys.out, keys.err)
		}
		// The token is for one role, whatever other roles trust.
		if o := m.assume(token, "arn:aws:iam::111122223333:role/analyst"); o.code == 0 || !strings.Contains(o.err, "InvalidIdentityToken") {
			t.Errorf("another role: exit %d %s%s", o.code, o.out, o.err)
		}
	})
	t.Run("what it may not have", func(t *testing.T) {
		m := w.machine(t)
		o := m.run(nil, m.binary, append([]string{"token", "--role", "arn:aws:iam::111122223333:role/analyst"}, w.proof()...)...)
		if o.code != 4 || o.out != "" || !strings.Contains(o.err, "does not hold role") {
			t.Errorf("a role that it doesn't hold: exit %d %s%s", o.code, o.out, o.err)
		}
		o = m.run(nil, m.binary, append([]string{"token", "--audience", "https://elsewhere.example.com"}, w.proof()...)...)
		if o.code == 0 || o.out != "" {
			t.Errorf("an audience that nobody listed: exit %d %s%s", o.code, o.out, o.err)
		}
	})
}

// keep runs carnet token --file until the test ends it.
func (p *person) keep(file string) (end func()) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, p.binary, append([]string{"token", "--role", nightly, "--file", file}, p.proof()...)...)
	cmd.Env = p.env(nil)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); !exists(file); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("no token after 30 s: %s", said.String())
		}
	}
	return func() {
		defer cancel()
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			p.t.Error(err)
		}
		if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), "export AWS_ROLE_ARN='"+nightly+"'") {
			p.t.Errorf("%v\n%s", err, said.String())
		}
	}
}

// assume trades a token by the aws command line.
func (p *person) assume(token, role string) outcome {
	p.t.Helper()
	return p.aws(map[string]string{"AWS_DEFAULT_REGION": "us-east-1"}, "sts", "assume-role-with-web-identity", "--role-arn", role, "--role-session-name", "tonight", "--web-identity-token", token)
}

func (p *person) readsAsNightly(env map[string]string, session string) {
	p.t.Helper()
	if got := p.boto3(env, "identity"); got["Arn"] != "arn:aws:sts::111122223333:assumed-role/nightly/"+session {
		p.t.Errorf("identity: %v", got)
	}
	if got := p.boto3(env, "listing", "sales", "orders/"); fmt.Sprint(len(got["keys"].([]any))) != "12" {
		p.t.Errorf("listing: %v", got)
	}
	if got := p.boto3(env, "get", "sales", "products/products.csv"); got["bytes"] == nil {
		p.t.Errorf("get: %v", got)
	}
	if got := p.boto3(env, "get", "hr", "salaries/2025.csv"); got["error"] != "AccessDenied" {
		p.t.Errorf("a bucket that the role does not read: %v", got)
	}
}

// TestPersonBesideTheirSignIn: a person's tools may go by web identity too,
// within what the sign-in brought.
func TestPersonBesideTheirSignIn(t *testing.T) {
	w := start(t)
	alice := w.arrive(t, "alice")
	script := `eval "$(carnet token --role analyst --file "$HOME/web-identity/token" --once)"` +
		"\naws sts get-caller-identity --endpoint-url \"$AWS_ENDPOINT_URL_STS\"\naws s3 ls s3://sales/orders/ --endpoint-url \"$AWS_ENDPOINT_URL_S3\""
	o := alice.run(map[string]string{"PATH": filepath.Join(w.venv, "bin") + ":" + filepath.Dir(w.binary) + ":/usr/bin:/bin"}, "bash", "-euo", "pipefail", "-c", script)
	if o.code != 0 || !strings.Contains(o.out, "assumed-role/analyst/") || !strings.Contains(o.out, "2025-12.csv") {
		t.Errorf("exit %d\n%s%s", o.code, o.out, o.err)
	}
	if o := alice.run(nil, alice.binary, "token", "--role", nightly); o.code != 4 {
		t.Errorf("a role of a workload: exit %d %s%s", o.code, o.out, o.err)
	}
	var doc struct{ Subject, Role, Issuer string }
	if err := json.Unmarshal([]byte(alice.carnet("token", "--role", "analyst", "-o", "json")), &doc); err != nil || !strings.HasPrefix(doc.Subject, "user:psn_") || doc.Issuer != w.Issuer {
		t.Errorf("%+v, %v", doc, err)
	}
}
