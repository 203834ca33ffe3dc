//go:build !linux

package cgroup

import "io/fs"

func inode(string) (uint64, error) { return 0, fs.ErrNotExist }

func isMount(string) bool { return false }
