package withdrawal

import "time"

// Past is one revocation, looked back on: the last of its target.
type Past struct {
	Target
	Epoch uint64
	At    time.Time
	// By is who revoked it, for people: a user name, an account "on the
	// host", or empty where it came with another act (a sign-out, a person switched off, …).
	By string
}
