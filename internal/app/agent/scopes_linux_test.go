package agent

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"carnet.dev/carnet/internal/edge/cgroup"
	"carnet.dev/carnet/internal/edge/node/localdoc"
)

// scopes makes control groups below one of this test's own; none where the machine
// lets us make none.
func scopes(t *testing.T, names ...string) []string {
	t.Helper()
	tree, err := cgroup.Open("")
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 || tree.Mount == "" {
		return nil
	}
	root, err := os.MkdirTemp(tree.Mount, "carnet-test-")
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	made := []string{root}
	t.Cleanup(func() {
		for i := len(made) - 1; i >= 0; i-- {
			_ = os.WriteFile(filepath.Join(made[i], "cgroup.kill"), []byte("1"), 0)
			for unix.Rmdir(made[i]) == syscall.EBUSY {
			}
		}
	})
	var out []string
	for _, name := range names {
		at := root
		for part := range strings.SplitSeq(name, "/") {
			if at = filepath.Join(at, part); os.Mkdir(at, 0o755) == nil {
				made = append(made, at)
			}
		}
		out = append(out, at)
	}
	return out
}

// TestTwoLoginsOfOneUid: each is attached for itself, and a container under the same
// uid gets nothing.
func TestTwoLoginsOfOneUid(t *testing.T) {
	t.Parallel()
	at := scopes(t, "session-1.scope/inner", "session-2.scope", "other")
	if at == nil {
		t.Log("this account can't make control groups: make isolation does")
		return
	}
	w := newWorld(t)
	w.group = filepath.Dir(at[0])
	hold(t, w.uid, w.group)
	first := w.attach(w.uid)
	w.group = at[1]
	hold(t, w.uid, w.group)
	if a := w.keys(w.uid, first); a.Status != http.StatusForbidden || !strings.Contains(a.Body, "binding.scope") {
		t.Errorf("another login of the same uid, with the token: %+v", a)
	}
	second := w.attach(w.uid)
	if first == second {
		t.Fatal("one token for two attachments")
	}
	for group, x := range map[string]struct {
		token string
		want  string
	}{
		filepath.Dir(at[0]): {first, "secret-of-att_CODE-1"},
		at[0]:               {first, "secret-of-att_CODE-1"},
		at[1]:               {second, "secret-of-att_CODE-2"},
	} {
		w.group = group
		if a := w.keys(w.uid, x.token); a.Status != http.StatusOK || !strings.Contains(a.Body, x.want) {
			t.Errorf("%s: %+v", group, a)
		}
		if k := into[localdoc.Keys]([]byte(w.local(w.uid, http.MethodGet, "/v1/keys", nil).Body)); k.SecretAccessKey != x.want {
			t.Errorf("%s over the socket: %+v", group, k)
		}
	}
	w.group = at[1]
	if a := w.keys(w.uid, first); a.Status != http.StatusUnauthorized {
		t.Errorf("the token of the other login: %+v", a)
	}
	for _, group := range []string{at[2], filepath.Dir(at[2])} {
		w.group = group
		for _, token := range []string{first, second} {
			if a := w.keys(w.uid, token); a.Status != http.StatusForbidden {
				t.Errorf("from %s: %+v", group, a)
			}
		}
		if a := w.local(w.uid, http.MethodGet, "/v1/keys", nil); a.Status != http.StatusNotFound {
			t.Errorf("from %s over the socket: %+v", group, a)
		}
	}
}

// hold keeps a process in a group, as a login does, and gives it.
func hold(t *testing.T, uid uint32, group string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "600")
	folder, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, UseCgroupFD: true, CgroupFD: int(folder.Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// TestEndsWithItsScope: the login ends, and with it the attachment; a later login of the
// same uid, in a scope of the same name, inherits nothing.
func TestEndsWithItsScope(t *testing.T) {
	t.Parallel()
	at := scopes(t, "session-1.scope")
	if at == nil {
		t.Log("this account can't make control groups: make isolation does")
		return
	}
	w := newWorld(t)
	w.group = at[0]
	login := hold(t, w.uid, w.group)
	bearer := w.attach(w.uid)
	if a := w.keys(w.uid, bearer); a.Status != http.StatusOK {
		t.Fatalf("the ground of this test: %+v", a)
	}
	if err := login.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = login.Wait()
	w.until("the attachment ends", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.ended["att_CODE-1"] == "scope-ended" })
	w.until("the group is gone", func() bool { return unix.Rmdir(w.group) == nil })
	if err := os.Mkdir(w.group, 0o755); err != nil {
		t.Fatal(err)
	}
	if a := w.keys(w.uid, bearer); a.Status != http.StatusForbidden {
		t.Errorf("a later login: %+v", a)
	}
}
