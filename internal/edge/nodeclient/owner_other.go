//go:build !unix

package nodeclient

import "io/fs"

// foreign knows no owners here: access lists decide.
func foreign(fs.FileInfo) bool { return false }
