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

func isMount(folder string) bool {
	var s unix.Statfs_t
	return unix.Statfs(folder, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC
}
