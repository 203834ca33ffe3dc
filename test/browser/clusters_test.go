//go:build interop

package browser

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/edge/nodeclient"
)

// TestBrowserCluster: an administrator adds a cluster and has a machine join by the
// token that is shown once; somebody's login on it is attached by its code, stands on
// both pages, and ends by a press of the person's.
func TestBrowserCluster(t *testing.T) {
	w := start(t)
	b := w.browser(t, false)
	b.signIn("carol")
	b.click(`nav a[href="/admin/clusters"]`)
	b.await(".empty")
	b.look("clusters-none")
	b.write("#c-name", "notebooks")
	b.click(".panel form button")
	b.await("#nodes")
	b.reads("main", "The cluster is there", "No machine has joined")
	cluster := strings.TrimSuffix(b.at(), "?done=cluster-added")
	b.click(`button[value="join"]`)
	b.await("#joining")
	b.look("cluster-joining")
	pieces := strings.Fields(b.text("section.note"))
	token := ""
	for _, p := range pieces {
		if strings.HasPrefix(p, "carnet-join-") {
			token = p
		}
	}
	folder := state(t)
	join := exec.Command(w.binary, "agent", "join", "--server", w.Web, "--state", folder, "--name", "login-1")
	join.Stdin = strings.NewReader(token + "\n")
	if out, err := join.CombinedOutput(); err != nil {
		t.Fatalf("carnet agent join: %v\n%s", err, out)
	}
	again := exec.Command(w.binary, "agent", "join", "--server", w.Web, "--state", state(t), "--name", "login-2")
	again.Stdin = strings.NewReader(token + "\n")
	if out, err := again.CombinedOutput(); err == nil {
		t.Errorf("the join token was good twice:\n%s", out)
	}
	node, err := nodeclient.Open(nodeclient.Config{Folder: nodeclient.Folder{Path: folder}, Server: w.Web, Now: time.Now, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	b.open(cluster)
	b.reads("main", "login-1", "Well")

	place := nodedoc.Place{UID: 71001, Scope: "/user.slice/user-71001.slice/session-3.scope", ScopeID: 4711, Account: "alice"}
	begun, err := node.Attach(t.Context(), nodedoc.AttachRequest{Place: place})
	if err != nil {
		t.Fatal(err)
	}
	alice := w.browser(t, false)
	alice.signIn("alice")
	alice.attach(begun)
	if state, err := node.Poll(t.Context(), begun.Request); err != nil || state.Attachment == nil || state.Attachment.Name != "alice" {
		t.Fatalf("the machine hears %+v, %v", state, err)
	}
	alice.open(w.Web)
	alice.reads("#attachments", "alice on login-1", "Live", "Cluster notebooks, uid 71001, approved with a code")
	alice.look("access-attached")
	b.open(cluster)
	b.reads("main", "alice as alice on login-1")
	b.look("cluster-working")

	alice.click("#attachments .danger")
	alice.await("#attachments .note.good")
	alice.reads("#attachments", "works as you no more", "None now")
	b.open(cluster)
	b.reads("main", "Nobody.")
	b.click("#logins ~ details summary")
	b.reads("main", "alice as alice on login-1", "detached")
	b.look("cluster-ended")
	b.click(`button[value="remove-node"]`)
	b.await(".note.good")
	b.reads("main", "The machine is removed", "No machine has joined")
}

// attach types the code of a login, one that is none before it, and says yes.
func (b *tab) attach(begun nodedoc.AttachBegun) {
	b.t.Helper()
	b.open(begun.VerificationURI)
	b.look("attach")
	b.write("#user_code", "BBBB-BBBB")
	b.click(".door form button")
	b.await(`[role="alert"]`)
	b.forgive("status of 404")
	b.write("#user_code", begun.UserCode)
	b.click(".door form button")
	b.await(`button[value="approve"]`)
	b.reads(".door", "notebooks", "login-1", "alice", "uid 71001", "session-3.scope", "analyst")
	b.look("attach-review")
	b.click(`button[value="approve"]`)
	b.await(".door .button")
	b.reads(".door", "The login is attached")
}

// state makes a folder that its owner alone reaches.
func state(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return folder
}
