//go:build interop

package nodes

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/edge/node/localdoc"
)

// TestFacesOfANode walks each face once, as a person's programs do, with the real
// server behind it.
func TestFacesOfANode(t *testing.T) {
	site := Start(t, Options{})
	node := site.Node(t, NodeOptions{Addresses: []string{"169.254.170.2", "169.254.169.254"}})
	alice := node.Login(t, 71001)
	alice.Attach(t, "alice")
	st := alice.Status(t)
	if st.Faces.Proxy == "" || st.Faces.Metadata == "" || st.Attachment.TokenFile != "/run/carnet/people/71001/token" {
		t.Fatalf("faces: %+v, %+v\n%s", st.Faces, st.Attachment, node.AgentLog())
	}
	var roles localdoc.Roles
	alice.MustLocal(t, http.MethodGet, "/v1/roles", nil, &roles)
	if len(roles.Roles) == 0 {
		t.Fatal("alice has no roles here")
	}
	role := roles.Roles[0].ARN
	alice.MustLocal(t, http.MethodPut, "/v1/role", localdoc.SetRole{Role: role}, nil)
	name := role[strings.LastIndex(role, "/")+1:]
	curl := func(args ...string) string {
		return alice.Run(t, append([]string{"curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "60"}, args...)...).OK(t)
	}
	t.Run("signing proxy", func(t *testing.T) {
		if out := curl(st.Faces.Proxy + "/sales?list-type=2&max-keys=1"); !strings.Contains(out, "<ListBucketResult") {
			t.Errorf("a list: %s", out)
		}
		if out := alice.Run(t, "curl", "--silent", "--max-time", "60", st.Faces.Proxy+"/"); !strings.Contains(out.Out, "assumed-role/"+name+"/alice is not authorized") {
			t.Errorf("a list that the role may not make: %s", out)
		}
		if out := alice.Run(t, "curl", "--silent", "--max-time", "60", "-H", "Host: attacker.example", st.Faces.Proxy+"/"); !strings.Contains(out.Out, "another host") {
			t.Errorf("another host: %s", out)
		}
		out := alice.Run(t, "curl", "--silent", "--max-time", "60", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "carnet.no-such-role:x", st.Faces.Proxy+"/")
		if !strings.Contains(out.Out, "<Code>AccessDenied</Code>") {
			t.Errorf("a role that alice has not: %s", out)
		}
	})
	t.Run("instance metadata", func(t *testing.T) {
		for _, base := range []string{st.Faces.Metadata, "http://169.254.169.254"} {
			token := curl("-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", base+"/latest/api/token")
			header := "X-aws-ec2-metadata-token: " + strings.TrimSpace(token)
			if got := curl("-H", header, base+"/latest/meta-data/iam/security-credentials/"); got != name {
				t.Errorf("%s: the role is %q, want %q", base, got, name)
			}
			var keys map[string]string
			if err := json.Unmarshal([]byte(curl("-H", header, base+"/latest/meta-data/iam/security-credentials/"+name)), &keys); err != nil || keys["Code"] != "Success" || keys["AccessKeyId"] == "" {
				t.Errorf("%s: %v %v", base, keys, err)
			}
		}
	})
	t.Run("files", func(t *testing.T) {
		token := alice.Run(t, "cat", st.Attachment.TokenFile).OK(t)
		if !strings.HasPrefix(token, "carnet-local-") || strings.HasSuffix(token, "\n") {
			t.Errorf("the token file: %q", token)
		}
		Until(t, "there is a web identity token", func() error {
			_, err := os.Stat(filepath.Join(node.Run, "people", "71001", "web-identity-token"))
			return err
		})
		if jwt := alice.Run(t, "cat", alice.Status(t).Attachment.WebIdentityFile).OK(t); strings.Count(jwt, ".") != 2 {
			t.Errorf("the web identity token: %q", jwt)
		}
		bob := node.Login(t, 71002)
		if out := bob.Run(t, "cat", st.Attachment.TokenFile); out.Code == 0 {
			t.Errorf("another reads it: %s", out)
		}
	})
}

// TestAttackNodesOwnIdentity: while the node's own metadata service answers people, a
// shared cluster takes no attachment there.
func TestAttackNodesOwnIdentity(t *testing.T) {
	site := Start(t, Options{})
	node := site.Node(t, NodeOptions{Addresses: []string{"169.254.169.254"}, Stopped: true})
	var real net.Listener
	if err := node.Inside(func() (err error) { real, err = net.Listen("tcp4", "169.254.169.254:80"); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = real.Close() })
	node.StartAgent(t)
	alice := node.Login(t, 71001)
	status, body := alice.Local(t, http.MethodPost, "/v1/attach", localdoc.Attach{})
	if status < 400 || !bytes.Contains(body, []byte("metadata")) {
		t.Errorf("attached while the node's own identity is open: %d %s", status, body)
	}
	if err := real.Close(); err != nil {
		t.Fatal(err)
	}
	alice.Attach(t, "alice")
}
