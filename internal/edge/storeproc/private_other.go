//go:build !unix

package storeproc

// private has nothing to do: the folder's access list is inherited.
func private() {}
