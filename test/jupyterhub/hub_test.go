//go:build interop

// Package jupyterhub runs JupyterHub as the page docs/use/jupyterhub.md says, with two
// people on one machine: each one's notebooks read their own data in S3, and not the
// other's.
//
// make interop-jupyterhub starts it. The hub, its proxy, the notebooks and their kernels
// are the real ones, under accounts of their own on a node of test/nodes.
package jupyterhub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sys/unix"

	"carnet.dev/carnet/test/nodes"
	"carnet.dev/carnet/test/running"
)

// The accounts of the machine. dave has one, and is not signed in to Carnet.
var accounts = map[string]uint32{"alice": 71001, "bob": 71002, "dave": 71003}

// place is where the programs are on the node, for every account.
const place = "/run/jupyter"

// hubToken opens the hub's own API to the driver.
const hubToken = "0123456789abcdef0123456789abcdef"

func TestTwoPeopleOnOneHost(t *testing.T) {
	site := nodes.Start(t, nodes.Options{})
	fill(t, site)
	node := site.Node(t, nodes.NodeOptions{})
	furnish(t, node)
	hub := startHub(t, site, node)

	// What a cell prints is the whole of it. The other's token file is taken along.
	cells := func(own, other string) map[string]string {
		read := `
import boto3, carnet_credentials as credentials
s3 = boto3.client("s3")
def read(name):
    try:
        return s3.get_object(Bucket="sales", Key="of-%s/own.txt" % name)["Body"].read().decode()
    except Exception as e:
        return getattr(e, "response", {}).get("Error", {}).get("Code") or type(e).__name__
print(read("` + own + `"), read("` + other + `"))
`
		return map[string]string{
			"1 reads":          read,
			"2 environment":    `import os; print(sorted(v for v in os.environ.values() if v.startswith("ASIA")), os.getuid(), "AWS_SECRET_ACCESS_KEY" in os.environ)`,
			"3 others' token":  fmt.Sprintf("try:\n    print(open('/run/carnet/people/%d/token').read())\nexcept OSError as e:\n    print(type(e).__name__)", accounts[other]),
			"4 helper":         `import carnet_credentials as c; print(c.showCurrentRole(), len(c.showRoles()), sorted(c.getCurrentCredentials()))`,
			"5 unknown role":   "import carnet_credentials as c\ntry:\n    c.assumeRole('arn:aws:iam::111122223333:role/nobody')\nexcept ValueError as e:\n    print(type(e).__name__)",
			"6 assumes":        "import carnet_credentials as c\nprint(c.assumeRole('arn:aws:iam::111122223333:role/analyst'), c.showCurrentRole())",
			"restart 7":        read,
			"restart 8 helper": `import carnet_credentials as c; print(c.showCurrentRole())`,
		}
	}
	got := drive(t, site, hub, map[string]any{
		"people":  map[string]any{"alice": cells("alice", "bob"), "bob": cells("bob", "alice")},
		"refused": []string{"dave"},
	})
	for name, other := range map[string]string{"alice": "bob", "bob": "alice"} {
		roles := map[string]string{"alice": "1", "bob": "3"}[name]
		for step, want := range map[string]string{
			"1 reads":          "own data of " + name + " AccessDenied\n",
			"2 environment":    fmt.Sprintf("[] %d False\n", accounts[name]),
			"3 others' token":  "PermissionError\n",
			"4 helper":         "['arn:aws:iam::111122223333:role/analyst'] " + roles + " ['aws_access_key_id', 'aws_secret_access_key', 'aws_session_token']\n",
			"5 unknown role":   "UnknownRoleError\n",
			"6 assumes":        "True ['arn:aws:iam::111122223333:role/analyst']\n",
			"restart 7":        "own data of " + name + " AccessDenied\n",
			"restart 8 helper": "['arn:aws:iam::111122223333:role/analyst']\n",
		} {
			if got.People[name][step] != want {
				t.Errorf("%s beside %s, %s: %q, want %q", name, other, step, got.People[name][step], want)
			}
		}
		if failed := got.People[name]["failed"]; failed != "" {
			t.Errorf("%s: %s", name, failed)
		}
	}
	if !strings.Contains(got.Refused["dave"], "sign") {
		t.Errorf("notebooks of somebody who is not signed in: %q", got.Refused["dave"])
	}
	// The servers were stopped: nothing of theirs is attached any more.
	nodes.Until(t, "attachments end with their notebooks", func() error {
		var list struct {
			Attachments []struct{ State, Account string }
		}
		site.Must(t, "carol", http.MethodGet, "clusters/"+site.Cluster+"/attachments", nil, &list)
		for _, a := range list.Attachments {
			if a.State == "live" {
				return errors.New(a.Account + " is still attached")
			}
		}
		if len(list.Attachments) < 2 {
			return fmt.Errorf("%d attachments were made", len(list.Attachments))
		}
		return nil
	})
	if t.Failed() {
		t.Logf("the hub says:\n%s\nthe agent says:\n%s", hub.log(t), node.AgentLog())
	}
}

// fill gives alice and bob an object each, which the other may not read in the same role.
func fill(t *testing.T, site *nodes.Site) {
	t.Helper()
	as := func(name string, args ...string) aws.CredentialsProvider {
		var k struct{ AccessKeyID, SecretAccessKey, SessionToken string }
		if err := json.Unmarshal([]byte(site.Person(t, name).Carnet(t, append([]string{"credentials"}, args...)...)), &k); err != nil {
			t.Fatal(err)
		}
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, SessionToken: k.SessionToken}, nil
		})
	}
	site.Person(t, "alice") // is signed in at the server from here on
	site.Person(t, "dave")  // and dave is no more
	site.Host(t, "revoke", "person", "dave")
	store := s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &site.AWS, UsePathStyle: true, Credentials: as("bob", "--role", "engineer")})
	var denied []string
	for _, name := range []string{"alice", "bob"} {
		if _, err := store.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("sales"), Key: aws.String("of-" + name + "/own.txt"), Body: bytes.NewReader([]byte("own data of " + name))}); err != nil {
			t.Fatal(err)
		}
		denied = append(denied, `{"Effect":"Deny","Action":"s3:GetObject","Resource":"arn:aws:s3:::sales/of-`+name+`/*","Condition":{"StringNotLike":{"aws:userid":"*:`+name+`"}}}`)
	}
	policy := `{"Version":"2012-10-17","Statement":[` + strings.Join(denied, ",") + `]}`
	_, err := iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &site.AWS, Credentials: as("carol", "--administrator", "analytics")}).
		PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("analyst"), PolicyName: aws.String("own"), PolicyDocument: &policy})
	if err != nil {
		t.Fatal(err)
	}
}

// furnish puts accounts and programs on the node: the folder of make, where every
// account reaches it.
func furnish(t *testing.T, node *nodes.Node) {
	t.Helper()
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(node.Folder, "passwd")
	for name, uid := range accounts {
		passwd = append(bytes.TrimRight(passwd, "\n"), fmt.Sprintf("\n%s:x:%d:%d::%s:/bin/sh\n", name, uid, uid, home(name))...)
	}
	if err := os.WriteFile(file, passwd, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := node.Inside(func() error {
		for name, uid := range accounts {
			if err := errors.Join(os.MkdirAll(filepath.Dir(home(name)), 0o755), os.Mkdir(home(name), 0o700), os.Chown(home(name), int(uid), int(uid))); err != nil {
				return err
			}
		}
		return errors.Join(os.Mkdir(place, 0o755), unix.Mount(running.Need(t, "CARNET_JUPYTERHUB"), place, "", unix.MS_BIND, ""), unix.Mount(file, "/etc/passwd", "", unix.MS_BIND, ""))
	}); err != nil {
		t.Fatal(err)
	}
}

// home is short, as homes are: the sockets of kernels are in it.
func home(name string) string { return "/run/home/" + name }

// runningHub is JupyterHub on a node.
type runningHub struct {
	login *nodes.Login
	url   string
	file  string // of its log
}

func (h *runningHub) log(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(h.file)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-8000):])
}

// startHub starts JupyterHub as root in a unit's group, with what carnet configure
// writes for it, as an orchestrator of the cluster.
func startHub(t *testing.T, site *nodes.Site, node *nodes.Node) *runningHub {
	t.Helper()
	var principal, secret struct {
		ID     string `json:"id"`
		Secret string `json:"secret"`
	}
	site.HostJSON(t, &principal, "people", "service-principal", "add", "jupyterhub")
	site.HostJSON(t, &secret, "client", "secret", "add", "jupyterhub")
	site.Must(t, "carol", http.MethodPatch, "clusters/"+site.Cluster, map[string]any{"revision": 1, "settings": map[string]any{"orchestrators": []string{"jupyterhub"}}}, nil)
	root := node.LoginIn(t, 0, "system.slice/jupyterhub.service")
	folder := filepath.Join(node.Folder, "jupyterhub")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("carnet_spawner.py", root.Run(t, "carnet", "configure", "--for", "jupyterhub").OK(t), 0o644)
	write("carnet_credentials.py", root.Run(t, "carnet", "configure", "--for", "python").OK(t), 0o644)
	key := write("carnet-secret", secret.Secret, 0o600)
	config := write("jupyterhub_config.py", fmt.Sprintf(`
import sys
sys.path.insert(0, %[1]q)
import carnet_spawner

carnet_spawner.setup(
    c,
    server=%[2]q,
    cluster=%[3]q,
    node=%[4]q,
    client_id=%[5]q,
    client_secret_file=%[6]q,
    s3=%[7]q,
    sts=%[7]q,
    region="us-east-1",
    role="arn:aws:iam::111122223333:role/analyst",
)
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allowed_users = {"alice", "bob", "dave"}
c.JupyterHub.services = [{"name": "driver", "api_token": %[8]q}]
c.JupyterHub.load_roles = [{"name": "driver", "services": ["driver"], "scopes": ["admin:users", "admin:servers", "tokens", "access:servers"]}]
c.Spawner.cmd = [%[9]q, "-m", "jupyterhub.singleuser"]
c.Spawner.environment = {"PYTHONPATH": %[1]q}
c.ConfigurableHTTPProxy.command = ["node", %[10]q]
`, folder, site.Web, site.Cluster, node.Name, principal.ID, key, site.AWS, hubToken, place+"/venv/bin/python",
		place+"/node/node_modules/configurable-http-proxy/bin/configurable-http-proxy"), 0o600)
	h := &runningHub{login: root, url: "http://127.0.0.1:8000", file: filepath.Join(folder, "log")}
	log, err := os.Create(h.file)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := root.Command(place+"/venv/bin/python", "-m", "jupyterhub", "--config", config)
	cmd.Dir, cmd.Stdout, cmd.Stderr = folder, log, log
	if err := root.Start(cmd); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		<-ended
	})
	nodes.Until(t, "the hub answers", func() error {
		o := root.Run(t, "curl", "--silent", "--fail", h.url+"/hub/health")
		if o.Code != 0 {
			return fmt.Errorf("%s\n%s", o, h.log(t))
		}
		return nil
	})
	return h
}

// driven is what came of the driver's work.
type driven struct {
	People  map[string]map[string]string
	Refused map[string]string
}

func drive(t *testing.T, site *nodes.Site, hub *runningHub, work map[string]any) (got driven) {
	t.Helper()
	b, err := json.Marshal(work)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(site.Folder, "work.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := filepath.Abs("drive.py")
	if err != nil {
		t.Fatal(err)
	}
	o := hub.login.Run(t, place+"/venv/bin/python", program, hub.url, hubToken, file)
	if o.Code != 0 {
		t.Fatalf("the driver: %s\n%s", o, hub.log(t))
	}
	if err := json.Unmarshal([]byte(o.Out), &got); err != nil {
		t.Fatalf("%v\n%s", err, o)
	}
	return got
}
