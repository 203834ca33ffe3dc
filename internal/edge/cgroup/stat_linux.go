package cgroup

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// inode gives the number of a folder, which is the kernel's number of the group.
func inode(folder string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Lstat(folder, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: folder, Err: err}
	}
	return st.Ino, nil
}

// glance looks at a group. Thousands are looked at again and again, so it leaves next
// to nothing behind.
type glance struct {
	events [256]byte // two lines of some ten letters
}

// at gives the number of a group's folder (0: it can't be told), and what its file
// cgroup.events says, until the next look.
func (g *glance) at(mount, group string) (number uint64, events []byte, err error) {
	top, err := open(unix.AT_FDCWD, mount, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = unix.Close(top) }()
	own, err := open(top, group[1:], unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err == unix.ENOTDIR || err == unix.ELOOP {
		err = fs.ErrNotExist // something else has that name
	}
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = unix.Close(own) }()
	var st unix.Stat_t
	if err := unix.Fstat(own, &st); err != nil {
		return 0, nil, err
	}
	file, err := open(own, "cgroup.events", unix.O_RDONLY)
	if err != nil {
		return st.Ino, nil, err
	}
	defer func() { _ = unix.Close(file) }()
	for {
		n, err := unix.Read(file, g.events[:])
		if err != unix.EINTR {
			return st.Ino, g.events[:max(0, n)], err
		}
	}
}

func open(in int, path string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(in, path, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func isMount(folder string) bool {
	var s unix.Statfs_t
	return unix.Statfs(folder, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC
}
