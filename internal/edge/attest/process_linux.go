package attest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"carnet.dev/carnet/internal/core/fault"
)

// Process is a process that was connected to a unix socket of ours. It holds a
// handle (pidfd) of exactly that process: a later one with the same number is
// another. Close it.
type Process struct {
	PID int
	// Started is its start time in clock ticks since the system's own.
	Started uint64

	mu    sync.Mutex
	pidfd int
}

// Unix says who connected to a unix socket. The uid is that of the moment of
// connecting (SO_PEERCRED); the handle is the kernel's own (SO_PEERPIDFD, Linux
// 6.5), so that no number is ever looked up that may belong to another by now.
// Errors are faults. The caller closes the Process.
func Unix(c *net.UnixConn) (Caller, error) {
	m, err := usual()
	if err != nil {
		return Caller{}, err
	}
	return m.Unix(c)
}

// Unix is the function of that name where control groups are mounted elsewhere, or
// nowhere.
func (m Mount) Unix(c *net.UnixConn) (Caller, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Caller{}, gone("%v", err)
	}
	var cred *unix.Ucred
	pidfd := -1
	var failed error
	if err := raw.Control(func(fd uintptr) {
		if cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); failed != nil {
			return
		}
		pidfd, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	}); err != nil {
		return Caller{}, gone("%v", err)
	}
	switch {
	case errors.Is(failed, unix.ENOPROTOOPT):
		return Caller{}, unsupported("SO_PEERPIDFD is missing, which came with Linux 6.5")
	case errors.Is(failed, unix.ESRCH), errors.Is(failed, unix.ENODATA):
		return Caller{}, gone("the process has ended")
	case failed != nil:
		return Caller{}, gone("%v", failed)
	}
	p := &Process{PID: int(cred.Pid), pidfd: pidfd}
	who, err := p.describe(cred, m)
	if err != nil {
		p.Close()
		return Caller{}, err
	}
	return who, nil
}

// describe reads what belongs to the process, and asks last whether it still is
// the one that connected: what was read before is then its own.
func (p *Process) describe(cred *unix.Ucred, m Mount) (Caller, error) {
	if p.PID <= 0 {
		return Caller{}, gone("the process is in another pid namespace")
	}
	who := Caller{UID: cred.Uid, Process: p}
	var err error
	if p.Started, err = startTime(p.PID); err != nil {
		return Caller{}, err
	}
	if who.Group, who.Cgroup, err = m.groupOf(p.PID); err != nil {
		return Caller{}, err
	}
	uid, err := effective(p.PID)
	if err != nil {
		return Caller{}, err
	}
	if err := p.Alive(); err != nil {
		return Caller{}, err
	}
	if uid != cred.Uid {
		return Caller{}, gone("the process has changed its user since it connected")
	}
	return who, nil
}

// Alive reports, as an error, that the process has ended.
func (p *Process) Alive() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd < 0 {
		return gone("the handle is closed")
	}
	// A pidfd is readable once its process has ended.
	poll := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return gone("%v", err)
		}
		if n != 0 {
			return gone("the process has ended")
		}
		return nil
	}
}

// Close gives the handle back.
func (p *Process) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd >= 0 {
		_ = unix.Close(p.pidfd)
		p.pidfd = -1
	}
}

// startTime reads the 22nd field of /proc/PID/stat (proc_pid_stat(5)). The name
// of the command, in brackets, may hold anything, brackets too.
func startTime(pid int) (uint64, error) {
	text, err := procFile(pid, "stat")
	if err != nil {
		return 0, err
	}
	after := bytes.LastIndexByte(text, ')')
	if after < 0 {
		return 0, gone("its state can't be read")
	}
	fields := strings.Fields(string(text[after+1:]))
	const started = 22 - 3 // the third field is the first behind the name
	if len(fields) <= started {
		return 0, gone("its state can't be read")
	}
	v, err := strconv.ParseUint(fields[started], 10, 64)
	if err != nil {
		return 0, gone("its state can't be read")
	}
	return v, nil
}

// effective reads the effective uid that the process has now.
func effective(pid int) (uint32, error) {
	text, err := procFile(pid, "status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			fields := strings.Fields(rest)
			if len(fields) != 4 {
				break
			}
			v, err := strconv.ParseUint(fields[1], 10, 32)
			if err != nil {
				break
			}
			return uint32(v), nil
		}
	}
	return 0, gone("its account can't be read")
}

// rootGroup is the kernel's id of the root group, on every system.
const rootGroup = 1

// groupOf finds the version 2 control group of a process: its path, and its id, which
// is the inode number of its folder. Without a mount there is the root group alone.
func (m Mount) groupOf(pid int) (string, uint64, error) {
	text, err := procFile(pid, "cgroup")
	if err != nil {
		return "", 0, err
	}
	path, err := version2(string(text))
	switch {
	case err != nil && m == "" && fault.Of(err).Code == CodeUnsupported:
		return "/", rootGroup, nil // a system without version 2 is one group
	case err != nil:
		return "", 0, err
	case m == "" && path == "/":
		return path, rootGroup, nil
	case m == "":
		return "", 0, unsupported("control groups of version 2 are in use and not mounted here")
	}
	id, err := m.id(path)
	return path, id, err
}

// version2 reads the path of the version 2 group out of proc_pid_cgroup(5).
func version2(text string) (string, error) {
	for line := range strings.Lines(text) {
		path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok {
			continue
		}
		if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, " (deleted)") || strings.Contains(path, "/..") {
			return "", gone("its control group is not in our view")
		}
		return path, nil
	}
	return "", unsupported("the process is in no control group of version 2")
}

// usual finds the mount in the places where systems have it, alone or beside version 1.
func usual() (Mount, error) {
	for _, root := range [...]string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		if unix.Statfs(root, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			return Mount(root), nil
		}
	}
	return "", unsupported("control groups of version 2 are not mounted")
}

func (m Mount) id(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(string(m), path), &st); err != nil {
		return 0, gone("its control group is gone")
	}
	return st.Ino, nil
}

// CgroupID gives the id of a control group by its path, such as
// /user.slice/user-1000.slice/session-2.scope. A fault of kind Unsupported
// where the system has no version 2.
func CgroupID(path string) (uint64, error) {
	m, err := usual()
	if err != nil {
		return 0, err
	}
	return m.id(path)
}

// Again gives a handle of a process that was known before by its number and its start: no
// other one has both while the machine runs. Of one that has ended it gives one too,
// which says so (Alive).
func Again(pid int, started uint64) *Process {
	p := &Process{PID: pid, Started: started, pidfd: -1}
	if pid <= 0 {
		return p
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return p
	}
	p.pidfd = fd
	if now, err := startTime(pid); err != nil || now != started || p.Alive() != nil {
		p.Close()
	}
	return p
}

// Leader gives a handle of the process that leads the session (setsid(2)) of a process
// that is connected: with it ends the login that has no control group of its own. It is
// nil, without an error, where nobody leads: the leader has ended (work in the background
// outlives it), or is in a pid namespace around ours.
func (p *Process) Leader() (*Process, error) {
	sid, err := unix.Getsid(p.PID)
	if err != nil {
		return nil, gone("its session can't be read: %v", err)
	}
	leader, err := leading(sid)
	if again, failed := unix.Getsid(p.PID); err == nil && (failed != nil || again != sid) {
		err = gone("its session has changed")
	}
	if err == nil {
		err = p.Alive()
	}
	if err != nil && leader != nil {
		leader.Close()
		leader = nil
	}
	return leader, err
}

// leading opens the leader of a session; nil: nobody leads it. While the session has a
// member the kernel gives its number to no other process.
func leading(sid int) (*Process, error) {
	if sid <= 0 {
		return nil, nil
	}
	fd, err := unix.PidfdOpen(sid, 0)
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return nil, nil
	case err != nil:
		return nil, gone("the leader of its session can't be looked at: %v", err)
	}
	leader := &Process{PID: sid, pidfd: fd}
	if leader.Started, err = startTime(sid); err != nil || leader.Alive() != nil {
		leader.Close()
		return nil, nil
	}
	return leader, nil
}

func procFile(pid int, name string) ([]byte, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		return nil, fault.Coded(fault.Denied, CodeGone, "It can't be proven who is calling: the process has ended, or can't be looked at").WithCause(err).
			WithMend("connect again")
	}
	return text, nil
}
