//go:build unix

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
)

// TestAttackRunFolderOfAnother: somebody made the folder of the socket before the agent did,
// or may write in it: they could put a socket of theirs in its place.
func TestAttackRunFolderOfAnother(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "agent.sock")
	listens := func() error {
		l, err := Config{}.listenUnix(path)
		if err == nil {
			_ = l.Close()
		}
		return err
	}
	for _, mode := range []os.FileMode{0o777, 0o1777, 0o775} {
		if err := os.Chmod(folder, mode.Perm()); err != nil {
			t.Fatal(err)
		}
		if err := listens(); fault.KindOf(err) != fault.Misconfigured || !strings.Contains(err.Error(), "others can write") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := listens(); err != nil {
		t.Errorf("its own folder: %v", err)
	}
	if os.Geteuid() != 0 {
		return // giving a folder away is root's
	}
	if err := os.Chown(folder, 70123, -1); err != nil {
		t.Fatal(err)
	}
	if err := listens(); fault.KindOf(err) != fault.Misconfigured || !strings.Contains(err.Error(), "another account") {
		t.Errorf("of another account: %v", err)
	}
}
