//go:build unix

package keyfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// owned is a file as it would be with another owner: only root can make one.
type owned struct {
	fs.FileInfo
	uid uint32
}

func (o owned) Sys() any { return &syscall.Stat_t{Uid: o.uid} }

// TestKeyFileOfAnotherUser: whoever owns the file can read it whatever its
// mode says, and a server that runs as root could read it too.
func TestKeyFileOfAnotherUser(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	if err := Create(path, Rules{}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	us := uint32(os.Geteuid())
	for uid, want := range map[uint32]bool{us: true, 0: true, us + 1: false} {
		if what, _ := (Rules{}).Exposed(path, owned{info, uid}); (what == "") != want {
			t.Errorf("a file of user %d, read by %d: %q", uid, us, what)
		}
	}
}
