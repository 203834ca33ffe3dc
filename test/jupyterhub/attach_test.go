//go:build interop

package jupyterhub

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"carnet.dev/carnet/test/nodes"
)

// TestAttachByHand runs the commands of docs/use/attach.md in a login to a node, as a
// person does: the code that is printed is typed on the page, in a browser.
func TestAttachByHand(t *testing.T) {
	site := nodes.Start(t, nodes.Options{})
	node := site.Node(t, nodes.NodeOptions{})
	furnish(t, node)
	alice := node.Login(t, accounts["alice"])
	alice.Env = append(alice.Env, "PATH="+place+"/venv/bin:"+site.Folder+":"+os.Getenv("PATH"), "AWS_ACCESS_KEY_ID=AKIASTALE")
	// The sign-in that says yes by itself is the person's own on that machine.
	signIn(t, site, alice, "alice")
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "use", "attach.md"))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, part := range strings.Split(string(page), "\n```sh\n")[1:] {
		body, _, _ := strings.Cut(part, "\n```")
		blocks = append(blocks, body)
	}
	if len(blocks) < 5 || blocks[0] != "carnet attach" {
		t.Fatalf("the page has other blocks than this test knows: %q", blocks)
	}
	said := attachByPage(t, site, alice, "alice")
	for _, want := range []string{"Attached: alice works here as alice until", "cluster shared-1 (high-concurrency)", `next: eval "$(carnet attach env)"`} {
		if !strings.Contains(said, want) {
			t.Errorf("carnet attach lacks %q:\n%s", want, said)
		}
	}
	for _, how := range []string{"", "--role analyst", "--web-identity"} {
		o := alice.Run(t, "bash", "-euc", `eval "$(carnet attach env `+how+` 2>/dev/null)"; aws sts get-caller-identity`)
		if o.Code != 0 || !strings.Contains(o.Out, ":assumed-role/analyst/") {
			t.Errorf("by carnet attach env %s: %s", how, o)
		}
	}
	alice.Run(t, "carnet", "detach").OK(t)
	for _, block := range blocks[1:] {
		o := alice.Run(t, "bash", "-euc", `eval "$(carnet attach env 2>/dev/null || true)"`+"\n"+block)
		if o.Code != 0 {
			t.Errorf("exit %d for\n%s\n%s", o.Code, block, o)
		}
		if strings.Contains(block, "aws s3 ls") && !strings.Contains(o.Out, "orders/") {
			t.Errorf("the list of s3://sales/ is %s", o)
		}
	}
	if o := alice.Run(t, "carnet", "attach", "status"); o.Code != 3 || !strings.Contains(o.Err, "not attached") {
		t.Errorf("after the last block, carnet detach: %s", o)
	}
	if o := alice.Run(t, "bash", "-euc", "AWS_ACCESS_KEY_ID= carnet credentials --agent"); o.Code == 0 {
		t.Errorf("keys after detaching: %s", o)
	}
}

var codeForm = regexp.MustCompile(`(?m)^  ([B-Z]{4}-[B-Z]{4})$`)

// attachByPage runs carnet attach and types its code on the page that it names.
func attachByPage(t *testing.T, site *nodes.Site, login *nodes.Login, person string) string {
	t.Helper()
	cmd := login.Command("carnet", "attach")
	read, write := io.Pipe()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, write
	if err := login.Start(cmd); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(cmd.Wait(), write.Close()) }()
	var text []byte
	buf := make([]byte, 4096)
	for codeForm.Find(text) == nil {
		n, err := read.Read(buf)
		if text = append(text, buf[:n]...); err != nil {
			t.Fatalf("carnet attach ended: %v\n%s%s", <-ended, text, out.String())
		}
	}
	go func() { _, _ = io.Copy(io.Discard, read) }()
	if !strings.Contains(string(text), "  "+site.Web+"/attach\n") {
		t.Errorf("another page is named:\n%s", text)
	}
	browser, asks := site.SignIn(t, site.Web+"/attach", person)
	form, err := asks.FormWith("user_code")
	if err != nil {
		t.Fatal(err)
	}
	review, err := browser.Submit(t.Context(), asks, form, map[string]string{"user_code": string(codeForm.FindSubmatch(text)[1])})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{login.Node.Name, "uid 71001", login.Scope, "analyst"} {
		if !strings.Contains(review.Body, want) {
			t.Errorf("the page lacks %q:\n%s", want, review.Body)
		}
	}
	if form, err = review.FormWith("decision"); err != nil {
		t.Fatal(err)
	}
	done, err := browser.Submit(t.Context(), review, form, map[string]string{"decision": "approve"})
	if err != nil || done.Status != http.StatusOK || !strings.Contains(done.Body, "The login is attached") {
		t.Fatalf("the page says %v %+v", err, done)
	}
	if err := <-ended; err != nil {
		t.Fatalf("carnet attach: %v\n%s%s", err, text, out.String())
	}
	return out.String()
}

// signIn signs a person in on the node itself: their CLI profile, as carnet login leaves
// it in their runtime folder.
func signIn(t *testing.T, site *nodes.Site, login *nodes.Login, name string) {
	t.Helper()
	from := filepath.Join(site.Person(t, name).Home, "carnet")
	to := filepath.Join(login.Node.Folder, "user", filepath.Base(login.Runtime), "carnet")
	all, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(to, 0o700), os.Chown(to, int(login.UID), int(login.UID))); err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(to, e.Name())
		if err := errors.Join(os.WriteFile(file, b, 0o600), os.Chown(file, int(login.UID), int(login.UID))); err != nil {
			t.Fatal(err)
		}
	}
}
