//go:build interop

package agents

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/test/nodes"
	"carnet.dev/carnet/test/running"
)

const (
	region = "us-east-1"
	bucket = "sales"
	role   = "arn:aws:iam::111122223333:role/engineer" // bob's, who writes to sales
)

// world is a site with one node, on which bob is attached.
type world struct {
	site    *nodes.Site
	node    *nodes.Node
	bob     *nodes.Login
	files   string // what clients upload
	ca      string // the server's authority, where every account reads it
	content []byte
}

func start(t *testing.T) *world {
	w := &world{site: nodes.Start(t, nodes.Options{})}
	w.node = w.site.Node(t, nodes.NodeOptions{})
	w.prepare(t, 71001)
	w.bob = w.node.Login(t, 71001)
	w.bob.Attach(t, "bob")
	w.bob.MustLocal(t, http.MethodPut, "/v1/role", localdoc.SetRole{Role: role}, nil)
	return w
}

// prepare makes of the node a machine on which the clients run under a uid: it reaches
// them, has a name (Hadoop wants one), and files to upload.
func (w *world) prepare(t *testing.T, uid uint32) {
	t.Helper()
	clients, err := filepath.Abs("../clients")
	if err != nil {
		t.Fatal(err)
	}
	reach := []string{clients, running.Need(t, "CARNET_CLIENTS"), filepath.Join(running.Need(t, "CARNET_VENV"), "bin", "python")}
	pythons, err := filepath.Glob(filepath.Join(running.Need(t, "CARNET_CLIENTS"), "*", "bin", "python"))
	if err != nil {
		t.Fatal(err)
	}
	w.node.Reach(t, append(reach, pythons...)...)
	names, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.node.Folder, "passwd")
	if err := os.WriteFile(file, fmt.Appendf(names, "bob:x:%d:%d::/:/bin/sh\n", uid, uid), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.node.Inside(func() error { return unix.Mount(file, "/etc/passwd", "", unix.MS_BIND, "") }); err != nil {
		t.Fatal(err)
	}
	w.makeFiles(t)
}

func (w *world) makeFiles(t *testing.T) {
	t.Helper()
	authority, err := os.ReadFile(w.site.CA)
	if err != nil {
		t.Fatal(err)
	}
	w.ca = filepath.Join(w.site.Folder, "ca.pem")
	if err := os.WriteFile(w.ca, authority, 0o644); err != nil {
		t.Fatal(err)
	}
	w.files = filepath.Join(w.site.Folder, "files")
	if err := os.Mkdir(w.files, 0o755); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString("i\n")
	for i := range 20_000 {
		fmt.Fprintf(&b, "%d\n", i)
	}
	w.content = b.Bytes()
	if err := os.WriteFile(filepath.Join(w.files, "small.csv"), w.content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// environment is what a driver knows besides what every process of the sign-in does.
func (r *run) environment(t *testing.T, l *nodes.Login) []string {
	t.Helper()
	s := l.Status(t)
	if s.Attachment == nil {
		t.Fatalf("uid %d is not attached", l.UID)
	}
	endpoint := r.site.AWS
	var env []string
	switch r.way {
	case "container":
		env = []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + s.Faces.Container, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=" + s.Attachment.TokenFile}
	case "imds":
		env = []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + s.Faces.Metadata, "AWS_EC2_METADATA_V1_DISABLED=true", "AWS_METADATA_ENDPOINT=" + s.Faces.Metadata, "CLIENT_CHAIN=instance"}
	case "process":
		command := r.site.Carnet + " " + process
		config := filepath.Join(r.out, "config")
		if err := os.WriteFile(config, []byte("[default]\ncredential_process = "+command+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		env = []string{"AWS_CONFIG_FILE=" + config, "CLIENT_PROCESS=" + command, "CLIENT_CHAIN=process", "CLIENT_PROVIDER=" + javaProfile}
	case "web-identity":
		env = []string{"AWS_WEB_IDENTITY_TOKEN_FILE=" + s.Attachment.WebIdentityFile, "AWS_ROLE_ARN=" + role, "AWS_ROLE_SESSION_NAME=bob", "CLIENT_CHAIN=web_identity", "ARROW_S3_LOG_LEVEL=ERROR", "CLIENT_PROVIDER=" + javaWebIdentity}
	case "proxy":
		// Whatever signs, signs with keys of nobody: the proxy takes that away.
		endpoint = s.Faces.Proxy
		env = []string{"AWS_ACCESS_KEY_ID=carnet", "AWS_SECRET_ACCESS_KEY=carnet"}
	}
	if r.way != "imds" {
		env = append(env, "AWS_EC2_METADATA_DISABLED=true")
	}
	return append(r.common(endpoint), env...)
}

// common is what a driver knows however it finds keys.
func (r *run) common(endpoint string) []string {
	env := []string{
		"LC_ALL=C.UTF-8", "TMPDIR=" + r.out, "PYTHONDONTWRITEBYTECODE=1", "AWS_PAGER=", "AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region,
		"AWS_ENDPOINT_URL_S3=" + endpoint, "AWS_ENDPOINT_URL_STS=" + r.site.AWS, "CLIENT_ENDPOINT=" + endpoint, "CLIENT_BUCKET=" + bucket, "CLIENT_PREFIX=" + r.prefix(),
		"CLIENT_SOURCE=", "CLIENT_MANY=", "CLIENT_FILES=" + r.files, "CLIENT_OUT=" + r.out,
	}
	if r.client == "polars" {
		// object_store speaks with STS over TLS alone.
		env = append(env, "AWS_ENDPOINT_URL_STS="+r.site.AWSTLS, "SSL_CERT_FILE="+r.ca)
	}
	if r.client == "polars-boto3" {
		env = append(env, "CLIENT_BOTO3=1")
	}
	return env
}

const (
	// process is what a profile's credential_process calls.
	process         = "credentials --agent"
	javaProfile     = "software.amazon.awssdk.auth.credentials.ProfileCredentialsProvider"
	javaWebIdentity = "software.amazon.awssdk.auth.credentials.WebIdentityTokenFileCredentialsProvider"
)
