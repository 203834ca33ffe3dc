package agent

import "golang.org/x/sys/unix"

// guard keeps the process's memory to itself, as far as the system lets it: no core
// dump, no looking in by programs of the same account (PR_SET_DUMPABLE), and no page of
// it on disk, where memory may be locked without a bound. It says what it did.
func guard() (done []string) {
	if unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) == nil {
		done = append(done, "no core dumps")
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err == nil && len(done) == 0 {
		done = append(done, "no core dumps")
	}
	var limit unix.Rlimit
	// A bound would make the runtime's next request for memory fail.
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Cur == unix.RLIM_INFINITY &&
		unix.Mlockall(unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT) == nil {
		done = append(done, "memory never on disk")
	}
	return done
}
