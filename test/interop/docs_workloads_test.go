//go:build interop

package interop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"carnet.dev/carnet/internal/protocol/oidc"
)

// platforms are the issuers whose tokens workloads get anyway, on loopback: one
// below each path, all with one key.
type platforms struct {
	t   *testing.T
	url string
	key oidc.SigningKey
}

func newPlatforms(t *testing.T) *platforms {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &platforms{t: t, key: oidc.SigningKey{ID: "one", Algorithm: oidc.ES256, Private: key}}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.url = server.URL
	mux.HandleFunc("GET /{platform}/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": p.url + "/" + r.PathValue("platform"), "jwks_uri": p.url + "/keys", "response_types_supported": []string{"id_token"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(p.keys()) })
	// What GitHub's runner offers its steps.
	mux.HandleFunc("GET /github/request", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "bearer of-this-job" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"value": p.token("github", "repo:acme/data:environment:prod", r.FormValue("audience"))})
	})
	return p
}

func (p *platforms) keys() []byte {
	set, err := oidc.WriteKeySet([]oidc.PublicKey{p.key.Public()})
	if err != nil {
		p.t.Error(err)
	}
	return set
}

func (p *platforms) token(platform, subject, audience string) string {
	now := time.Now()
	text, err := p.key.Sign(oidc.TypeIDToken, map[string]any{
		"iss": p.url + "/" + platform, "sub": subject, "aud": audience, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "jti": rand.Text(),
	})
	if err != nil {
		p.t.Error(err)
	}
	return text
}

// reader follows docs/use/workloads.md from its top, on one machine that is the
// server's host too, as carol; what only a person does, as bob.
type reader struct {
	*world
	t          *testing.T
	platforms  *platforms
	carol, bob *person
	ids        map[string]string // what stands in the place of spn_ID and dlg_ID
	did        map[string]int
}

// TestPageOfWorkloads does everything that the page shows, in its order. Names
// of hosts, and ids, are put in the place of those of the page.
func TestPageOfWorkloads(t *testing.T) {
	w := start(t)
	r := &reader{world: w, t: t, platforms: newPlatforms(t), carol: w.arrive(t, "carol"), bob: w.arrive(t, "bob"), ids: map[string]string{}, did: map[string]int{}}
	r.put("jwks.json", string(r.platforms.keys()))
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "use", "workloads.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "\n```")[1:] {
		language, body, _ := strings.Cut(part, "\n")
		body = r.here(body)
		switch {
		case language == "sh" && strings.Contains(body, "carnet delegation "):
			r.shell(r.bob, body, nil)
			r.learn(r.bob, "dlg_ID", `carnet delegation list -o json | jq -r '.delegations[0].id'`)
		case language == "sh" && strings.Contains(body, "--file ") && !strings.Contains(body, "--once"):
			r.kept(exec.Command("bash", "-euc", "exec "+strings.TrimSpace(body)), filepath.Join(r.carol.home, "web-identity", "token"))
		case language == "sh":
			r.shell(r.carol, body, nil)
			if strings.Contains(body, "service-principal add") {
				r.learn(r.carol, "spn_ID", `carnet people service-principal list -o json | jq -r '.service_principals[] | select(.name == "export") | .id'`)
			}
		case language == "python":
			r.python(body, r.tokenFile())
		case language == "ini":
			r.put(".aws/config", strings.Replace(body, "credential_process = carnet ", "credential_process = "+w.binary+" ", 1))
			r.python("import boto3\nprint(boto3.client('s3').list_objects_v2(Bucket='sales')['KeyCount'])", map[string]string{"AWS_PROFILE": "export", "AWS_ENDPOINT_URL_S3": w.AWS, "AWS_ENDPOINT_URL_STS": w.AWS})
		case language == "yaml":
			r.platform(body)
			language = "yaml"
		default:
			continue
		}
		r.did[language]++
	}
	if r.did["sh"] < 9 || r.did["python"] != 1 || r.did["ini"] != 1 || r.did["yaml"] != 3 {
		t.Errorf("the page held %v", r.did)
	}
}

// here puts this world's names in the place of those of the page.
func (r *reader) here(body string) string {
	for _, pair := range [][2]string{
		{"https://carnet.example.com", r.Web}, {"https://s3.example.com:8481", r.AWS}, {"https://token.actions.githubusercontent.com", r.platforms.url + "/github"},
		{"https://gitlab.com", r.platforms.url + "/gitlab"}, {"https://kubernetes.default.svc", r.platforms.url + "/cluster"},
		{"spn_ID", r.ids["spn_ID"]}, {"dlg_ID", r.ids["dlg_ID"]},
	} {
		body = strings.ReplaceAll(body, pair[0], pair[1])
	}
	return body
}

func (r *reader) put(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.carol.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// shell runs a block. The commands of the server's host are told where its
// configuration is, which is not in its usual place.
func (r *reader) shell(p *person, body string, env map[string]string) string {
	r.t.Helper()
	host := `carnet() { case "$1" in people|client|federation-policy) command carnet "$@" --config ` + filepath.Join(r.Data, "carnet.yaml") + ` ;; *) command carnet "$@" ;; esac; }` + "\n"
	o := p.run(env, "bash", "-euo", "pipefail", "-c", host+body)
	if o.code != 0 {
		r.t.Errorf("exit %d for\n%s\n%s%s", o.code, body, o.out, o.err)
	}
	if strings.Contains(body, "carnet client ") || strings.Contains(body, "carnet federation-policy ") {
		time.Sleep(1500 * time.Millisecond) // servers follow within a second
	}
	return strings.TrimSpace(o.out)
}

func (r *reader) learn(p *person, name, command string) {
	r.t.Helper()
	if r.ids[name] = r.shell(p, command, nil); !strings.HasPrefix(r.ids[name], name[:4]) {
		r.t.Fatalf("%s is %q", name, r.ids[name])
	}
}

func (r *reader) python(body string, env map[string]string) {
	r.t.Helper()
	if o := r.carol.run(env, "python", "-c", body); o.code != 0 || len(strings.TrimSpace(o.out)) == 0 {
		r.t.Errorf("exit %d for\n%s\n%s%s", o.code, body, o.out, o.err)
	}
}

// tokenFile is what the page has exported before.
func (r *reader) tokenFile() map[string]string {
	return map[string]string{
		"AWS_WEB_IDENTITY_TOKEN_FILE": filepath.Join(r.carol.home, "web-identity", "token"), "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/export",
		"AWS_ENDPOINT_URL_STS": r.AWS, "AWS_ENDPOINT_URL_S3": r.AWS, "AWS_DEFAULT_REGION": "us-east-1",
	}
}

// kept runs a command that keeps a file until it is ended.
func (r *reader) kept(cmd *exec.Cmd, file string) {
	r.t.Helper()
	_ = os.Remove(file)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd.Env, cmd.Dir = r.carol.env(nil), r.carol.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	for !exists(file) && ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil || !exists(file) {
		r.t.Errorf("%v: %v\n%s", cmd.Args, err, said.String())
	}
}

// platform does what a platform does with its file.
func (r *reader) platform(body string) {
	r.t.Helper()
	var file struct {
		Jobs map[string]struct {
			Steps []struct {
				Run string `yaml:"run"`
			} `yaml:"steps"`
		} `yaml:"jobs"`
		Export struct {
			IDTokens map[string]struct {
				Audience string `yaml:"aud"`
			} `yaml:"id_tokens"`
			Script []string `yaml:"script"`
		} `yaml:"export"`
		Spec struct {
			Init []struct {
				Args []string `yaml:"args"`
			} `yaml:"initContainers"`
			Containers []struct {
				Env []struct{ Name, Value string } `yaml:"env"`
			} `yaml:"containers"`
			Volumes []struct {
				Projected struct {
					Sources []struct {
						Token struct {
							Audience string `yaml:"audience"`
						} `yaml:"serviceAccountToken"`
					} `yaml:"sources"`
				} `yaml:"projected"`
			} `yaml:"volumes"`
		} `yaml:"spec"`
	}
	if err := yaml.Unmarshal([]byte(body), &file); err != nil {
		r.t.Fatalf("%v\n%s", err, body)
	}
	switch {
	case len(file.Jobs) == 1:
		out := r.shell(r.carol, file.Jobs["export"].Steps[0].Run, map[string]string{
			"RUNNER_TEMP": r.t.TempDir(), "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-this-job", "ACTIONS_ID_TOKEN_REQUEST_URL": r.platforms.url + "/github/request?api-version=2",
		})
		r.lists("GitHub", out)
	case len(file.Export.Script) > 0:
		token := r.platforms.token("gitlab", "project_path:acme/data:ref_type:branch:ref:main", file.Export.IDTokens["CARNET_FEDERATED_TOKEN"].Audience)
		r.lists("GitLab", r.shell(r.carol, strings.Join(file.Export.Script, "\n"), map[string]string{"CARNET_FEDERATED_TOKEN": token}))
	case len(file.Spec.Init) == 1:
		mounts := strings.NewReplacer("/var/run/secrets/carnet", filepath.Join(r.carol.home, "proof"), "/web-identity/carnet", filepath.Join(r.carol.home, "pod"))
		r.put("proof/token", r.platforms.token("cluster", "system:serviceaccount:data:export", file.Spec.Volumes[0].Projected.Sources[0].Token.Audience))
		var args []string
		for _, a := range file.Spec.Init[0].Args {
			args = append(args, mounts.Replace(a))
		}
		r.kept(exec.Command(r.binary, args...), filepath.Join(r.carol.home, "pod", "token"))
		env := map[string]string{}
		for _, v := range file.Spec.Containers[0].Env {
			env[v.Name] = mounts.Replace(v.Value)
		}
		r.python("import boto3\nprint(boto3.client('s3').list_objects_v2(Bucket='sales')['KeyCount'])", env)
	default:
		r.t.Errorf("nothing is known of\n%s", body)
	}
}

var listing = regexp.MustCompile(`2025-12\.csv`)

func (r *reader) lists(platform, out string) {
	r.t.Helper()
	if !listing.MatchString(out) {
		r.t.Errorf("%s: %s", platform, out)
	}
}
