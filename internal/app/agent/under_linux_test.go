package agent

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// under has a command run under a uid, and in a control group where one is named. Its
// program is passed as an open file, since
// other accounts can't reach the folder of a test's binary.
func under(t *testing.T, cmd *exec.Cmd, uid uint32, group string) {
	t.Helper()
	if int(uid) == os.Getuid() && group == "" {
		return
	}
	program, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	cmd.ExtraFiles = append(cmd.ExtraFiles, program)
	cmd.Path = "/proc/self/fd/3"
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if group != "" {
		folder, err := os.Open(group)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = folder.Close() })
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(folder.Fd())
	}
}
