//go:build !unix

package jsonlines

import "io/fs"

const (
	noFollow    = 0
	permissions = false
)

func isLink(error) bool { return false }

func foreign(fs.FileInfo) string { return "" }

func syncFolder(string) error { return nil }
