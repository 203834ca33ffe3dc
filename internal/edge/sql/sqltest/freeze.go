//go:build interop

package sqltest

import (
	"path/filepath"
	"syscall"
	"testing"
)

// Freeze lets every process of the server stand still: connections stay, new ones are
// taken by the kernel, and nothing is answered. The test's end thaws it.
func (p *Server) Freeze(t testing.TB) {
	t.Helper()
	parent := p.pid(t)
	// The parent first, so that it starts no others meanwhile.
	for _, pid := range append([]int{parent}, children(parent)...) {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && !gone(pid) {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { thaw(parent) }) // so that it can end
}

// Thaw lets a frozen server go on.
func (p *Server) Thaw(t testing.TB) {
	t.Helper()
	thaw(p.pid(t))
}

func thaw(parent int) {
	for _, pid := range append(children(parent), parent) {
		_ = syscall.Kill(pid, syscall.SIGCONT) // one that has ended needs no word
	}
}

// Lay lays a cable to the server.
func (p *Server) Lay(t testing.TB) *Cable {
	t.Helper()
	return lay(t, filepath.Join(p.dir, ".s.PGSQL.5432"))
}
