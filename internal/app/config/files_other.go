//go:build !unix

package config

import "io/fs"

// exposed can't be told from mode bits here: the access list of the folder
// guards the file.
func exposed(fs.FileMode) bool { return false }
