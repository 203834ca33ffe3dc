//go:build !linux

package attest

import "net"

// Process is never made here.
type Process struct {
	PID     int
	Started uint64
}

// Alive is not asked here.
func (p *Process) Alive() error { return unsupported("only Linux does") }

// Close gives nothing back.
func (p *Process) Close() {}

// Unix refuses.
func Unix(*net.UnixConn) (Caller, error) { return Caller{}, unsupported("only Linux does") }

// Unix refuses.
func (Mount) Unix(*net.UnixConn) (Caller, error) { return Unix(nil) }

// Leader is not asked here.
func (p *Process) Leader() (*Process, error) { return nil, unsupported("only Linux does") }

// Again gives one that can't be proven alive.
func Again(pid int, started uint64) *Process { return &Process{PID: pid, Started: started} }

// TCP refuses.
func TCP(*net.TCPConn) (Caller, error) { return Caller{}, unsupported("only Linux does") }

// CgroupID refuses.
func CgroupID(string) (uint64, error) { return 0, unsupported("only Linux does") }
