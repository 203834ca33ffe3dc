//go:build interop

package isolation

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/test/nodes"
)

// TestAttackFiles: others read none of the files that an attachment has, and neither
// they nor its owner can put anything in their place: no link, no other file, no race
// to win while they are made and removed.
func TestAttackFiles(t *testing.T) {
	mallory := stranger(t)
	next := stranger(t)
	// Before: whoever knows which uid comes next prepares the place.
	folder := fmt.Sprintf("/run/carnet/people/%d", next.UID)
	for _, l := range []*nodes.Login{mallory, next} {
		for _, try := range []string{"mkdir " + folder, "ln -s /etc/passwd " + folder, "mkdir /run/carnet/x", "mv /run/carnet/people /run/carnet/away", "rm -f /run/carnet/agent.sock", "ln -sf /tmp/x /run/carnet/agent.sock"} {
			if o := l.Run(t, "sh", "-c", try); o.Code == 0 {
				t.Errorf("uid %d: %s succeeds", l.UID, try)
			}
		}
	}
	// The node's own key.
	for _, try := range []string{"ls " + mallory.Node.State, "cat " + mallory.Node.State + "/*", "cat " + mallory.Node.State + "/node.key", "touch " + mallory.Node.State + "/x"} {
		if o := mallory.Run(t, "sh", "-c", try); o.Code == 0 {
			t.Errorf("%s: %s", try, o)
		}
	}
	all, err := os.ReadDir(mallory.Node.State)
	if err != nil || len(all) == 0 {
		t.Errorf("the agent's state: %v %v", all, err)
	}
	for _, e := range all {
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", e.Name(), info.Mode(), err)
		}
	}
	alice, bob := attach(t, next, "alice"), attached(t, "bob")
	status := alice.Status(t).Attachment
	files := []string{status.TokenFile}
	if status.WebIdentityFile != "" {
		files = append(files, status.WebIdentityFile)
	}
	if filepath.Dir(status.TokenFile) != folder {
		t.Errorf("the second factor is at %s", status.TokenFile)
	}
	for _, file := range files {
		if text := alice.Run(t, "cat", file).OK(t); text == "" || strings.ContainsAny(text, "\n ") {
			t.Errorf("alice reads %q", text)
		}
		for _, other := range []*nodes.Login{bob.Login, mallory} {
			for _, try := range []string{"cat " + file, "cp " + file + " $HOME/x", "ln " + file + " $HOME/x", "cat " + folder + "/*", "ls " + folder} {
				if o := other.Run(t, "sh", "-c", try); o.Code == 0 {
					t.Errorf("uid %d: %s: %s", other.UID, try, o)
				}
			}
		}
		// Also the owner: a link in its place would have the agent write elsewhere.
		for _, try := range []string{"rm -f " + file, "mv " + file + " " + file + "2", "ln -sf /etc/passwd " + file, "echo x > " + file, "touch " + folder + "/new", "rm -rf " + folder, "chmod 777 " + folder} {
			for _, l := range []*nodes.Login{alice.Login, bob.Login, mallory} {
				if o := l.Run(t, "sh", "-c", try); o.Code == 0 {
					t.Errorf("uid %d: %s succeeds", l.UID, try)
				}
			}
		}
		info, err := os.Lstat(filepath.Join(alice.Node.Run, strings.TrimPrefix(file, "/run/carnet")))
		if err != nil || info.Mode() != 0o400 {
			t.Errorf("%s: %v %v", file, info.Mode(), err)
		}
	}
}

// TestAttackFileRace: somebody tries without a pause to win the moment in which the
// files of an attachment are made and removed, with links to what only the agent may
// write.
func TestAttackFileRace(t *testing.T) {
	l, mallory := stranger(t), stranger(t)
	folder := fmt.Sprintf("/run/carnet/people/%d", l.UID)
	victim := filepath.Join(l.Home, "victim")
	l.Run(t, "sh", "-c", "echo unharmed > victim").OK(t)
	for _, who := range []*nodes.Login{l, mallory} {
		cmd := who.Command("sh", "-c", fmt.Sprintf("while :; do ln -s %[2]s %[1]s; ln -sf %[2]s %[1]s/token; mv -f %[1]s/token %[1]s/x; cat %[1]s/token >> $HOME/seen; done 2>/dev/null", folder, victim))
		if err := who.Start(cmd); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	}
	for range 4 {
		o := attach(t, l, "alice")
		p := newPuppet(t, l, nil)
		gets(t, "alice", tcp().ask(p, o.Bearer))
		l.MustLocal(t, "POST", "/v1/detach", struct{}{}, nil)
		nothing(t, "after detaching", tcp().ask(p, o.Bearer))
		p.end()
	}
	if got := l.Run(t, "cat", victim).OK(t); got != "unharmed" {
		t.Errorf("the agent wrote through a link: %q", got)
	}
	if o := mallory.Run(t, "cat", filepath.Join(mallory.Home, "seen")); strings.TrimSpace(o.Out) != "" {
		t.Errorf("mallory saw %q", o.Out)
	}
}
