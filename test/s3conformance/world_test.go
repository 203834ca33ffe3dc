//go:build interop

package s3conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/test/running"
)

const (
	account = "111122223333"
	region  = "us-east-1"
	// The upstream's one credential, which is its root.
	rootID, rootKey = "the-root-of-the-store", "a key that only the upstream and its client know"
)

// keys are what a client is given. Token is empty for static keys.
type keys struct{ id, secret, token string }

// upstream is versitygw on a folder.
type upstream struct{ url, folder string }

// process runs a program until the test ends.
func process(t *testing.T, cmd *exec.Cmd) (output *lockedBuffer, ended <-chan struct{}) {
	t.Helper()
	output = &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
		if dir := os.Getenv("CARNET_CONFORMANCE_LOGS"); dir != "" {
			name := filepath.Base(cmd.Path) + "-" + strconv.Itoa(cmd.Process.Pid) + ".log"
			_ = os.WriteFile(filepath.Join(dir, name), []byte(output.String()), 0o600)
		}
	})
	return output, done
}

// startUpstream starts versitygw on an empty folder.
func startUpstream(t *testing.T, versions bool) upstream {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	args := []string{"--port", address, "--access", rootID, "--secret", rootKey, "--region", region, "--iam-dir", filepath.Join(dir, "iam"), "posix"}
	for _, sub := range []string{"iam", "data", "versions"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if versions {
		args = append(args, "--versioning-dir", filepath.Join(dir, "versions"))
	}
	cmd := exec.Command(filepath.Join(running.Need(t, "CARNET_S3_CLIENTS"), "versitygw"), append(args, filepath.Join(dir, "data"))...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + dir}
	output, ended := process(t, cmd)
	await(t, "http://"+address+"/", output, ended)
	return upstream{url: "http://" + address, folder: filepath.Join(dir, "data")}
}

// await waits for any answer over HTTP.
func await(t *testing.T, address string, output *lockedBuffer, ended <-chan struct{}) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get(address); err == nil {
			_ = res.Body.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("nothing serves %s, the program ended:\n%s", address, output)
		default:
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("nothing serves %s after a minute:\n%s", address, output)
		}
	}
}

// gateway is one `carnet server` whose account holds a user with static keys and
// a role that this user may assume. Both may do anything in S3.
type gateway struct {
	url     string
	static  keys
	session keys
}

const authority = `accounts:
  "` + account + `":
    users:
      - name: conformance
        policies: [{name: all, document: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: ["s3:*", "sts:AssumeRole"], Resource: "*"}]}}]
    roles:
      - name: conformance
        max_session_duration: 12h
        trust_policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {AWS: "arn:aws:iam::` + account + `:user/conformance"}, Action: "sts:AssumeRole"}]}
        policies: [{name: all, document: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: "*"}]}}]
`

// startGateway starts Carnet in front of an upstream; nil is the embedded store.
func startGateway(t *testing.T, up *upstream) gateway {
	t.Helper()
	dir, web, front := t.TempDir(), freeAddress(t), freeAddress(t)
	store := "{name: store, kind: embedded}"
	if up != nil {
		store = fmt.Sprintf("{name: store, kind: s3, endpoint: %q, access_key_file: id, secret_key_file: key, keys: filesystem}", up.url)
		// Carnet proves at its start how the store treats keys, and wants a
		// bucket for it. The cases that list buckets expect none but their own.
		probe := filepath.Join(up.folder, "probe")
		if err := os.Mkdir(probe, 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(probe)
	}
	config := fmt.Sprintf(`base_url: http://%s
region: %s
data: data
listen:
  web: {address: "%s"}
  aws: {address: "%s"}
same_host: accept
static_keys: allow
secrets: {key_encryption_key: kek}
accounts:
  - {id: "%s", name: conformance, kind: local}
buckets:
  - {match: "*", account: "%s", upstream: store}
upstreams:
  - %s
`, web, region, web, front, account, account, store)
	for name, text := range map[string]string{"carnet.yaml": config, "authority.yaml": authority, "id": rootID, "key": rootKey} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := running.Need(t, "CARNET_BINARY")
	cmd := exec.Command(binary, "server", "--config", filepath.Join(dir, "carnet.yaml"))
	output, ended := process(t, cmd)
	await(t, "http://"+web+"/healthz", output, ended)
	apply := exec.Command(binary, "authority", "apply", filepath.Join(dir, "authority.yaml"), "--config", filepath.Join(dir, "carnet.yaml"))
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", apply.Args, err, out)
	}
	g := gateway{url: "http://" + front}
	g.static = g.userKey(t, administrator(t, "http://"+web, output))
	g.session = g.roleKeys(t)
	return g
}

// administrator opens the set-up link that the first start prints, as the first
// administrator does, and asks for the keys that manage the account.
func administrator(t *testing.T, web string, output *lockedBuffer) keys {
	t.Helper()
	link := ""
	for began := time.Now(); link == "" && time.Since(began) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
		for lines := bufio.NewScanner(strings.NewReader(output.String())); lines.Scan(); {
			for _, field := range strings.Fields(lines.Text()) {
				if strings.HasPrefix(field, web+"/setup?code=") {
					link = field
				}
			}
		}
	}
	v := visitor.New(nil)
	page, err := v.Open(t.Context(), link)
	if err != nil {
		t.Fatalf("the set-up link: %v\n%s", err, output)
	}
	form, err := page.FormWith("code")
	if err != nil {
		t.Fatal(err)
	}
	if page, err = v.Submit(t.Context(), page, form, nil); err != nil || page.Status != http.StatusOK {
		t.Fatalf("the set-up link leads to %+v, %v", page, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, web+"/api/v1/accounts/"+account+"/administrator-credentials", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", web)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := v.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body bytes.Buffer
	_, _ = body.ReadFrom(res.Body)
	var out struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
		Token  string `json:"session_token"`
	}
	if err := json.Unmarshal(body.Bytes(), &out); err != nil || out.ID == "" {
		t.Fatalf("the administrator's keys: %d %v\n%s", res.StatusCode, err, body.String())
	}
	return keys{out.ID, out.Secret, out.Token}
}

func (g gateway) config(k keys) aws.Config {
	return aws.Config{Region: region, BaseEndpoint: &g.url, Credentials: credentials.NewStaticCredentialsProvider(k.id, k.secret, k.token)}
}

// userKey makes the user's static keys by IAM. The server follows what its host
// applied within a second.
func (g gateway) userKey(t *testing.T, administrator keys) keys {
	t.Helper()
	client := iam.NewFromConfig(g.config(administrator))
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		out, err := client.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("conformance")})
		if err == nil {
			return keys{id: *out.AccessKey.AccessKeyId, secret: *out.AccessKey.SecretAccessKey}
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal(err)
		}
	}
}

// roleKeys are temporary keys of the role, for which the user asks STS.
func (g gateway) roleKeys(t *testing.T) keys {
	t.Helper()
	client := sts.NewFromConfig(g.config(g.static))
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		out, err := client.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + account + ":role/conformance"), RoleSessionName: aws.String("conformance")})
		if err == nil {
			return keys{*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken}
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal(err)
		}
	}
}

// freeAddress finds an address below the ports that systems give to outgoing
// connections, so that nobody takes it before the program does.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(8000)))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no free port in 100 tries")
	return ""
}

// lockedBuffer takes what a program prints.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
