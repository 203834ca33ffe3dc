// Package systemd takes listening sockets from a service manager and tells it how the
// program does (sd_listen_fds(3), sd_notify(3)).
//
// Sockets that the manager holds are bound as long as it runs, also while the program
// restarts, so nobody else can listen in its place. What it hands over is believed only
// if it is for this very process and is what it has to be: a stream socket that
// listens.
package systemd

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// The variables of the protocol. They are for one process: whoever reads them removes
// them from what it hands on.
const (
	EnvPID    = "LISTEN_PID"
	EnvFDs    = "LISTEN_FDS"
	EnvNames  = "LISTEN_FDNAMES"
	EnvNotify = "NOTIFY_SOCKET"
)

// firstFD is SD_LISTEN_FDS_START.
const firstFD = 3

// mostFDs bounds what is taken.
const mostFDs = 64

// Given is what the environment says was handed over.
type Given struct {
	Count int
	Names []string // one each; "" where none was given
}

// Parse reads the three variables for the process with this number. Nothing, or what is
// for another process, is no error and gives 0.
func Parse(getenv func(string) string, pid int) (Given, error) {
	owner, count := getenv(EnvPID), getenv(EnvFDs)
	if owner == "" && count == "" {
		return Given{}, nil
	}
	process, err := number(owner)
	if err != nil {
		return Given{}, fmt.Errorf("%s: %w", EnvPID, err)
	}
	if process != pid {
		return Given{}, nil
	}
	n, err := number(count)
	if err != nil || n < 1 || n > mostFDs {
		return Given{}, fmt.Errorf("%s is %q: want 1 to %d", EnvFDs, count, mostFDs)
	}
	out := Given{Count: n, Names: make([]string, n)}
	if names := getenv(EnvNames); names != "" {
		out.Names = strings.Split(names, ":")
		if len(out.Names) != n {
			return Given{}, fmt.Errorf("%s has %d names for %d sockets", EnvNames, len(out.Names), n)
		}
	}
	return out, nil
}

// number reads a decimal number as it is written: without a sign, blanks or zeros in
// front.
func number(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || strconv.Itoa(n) != s {
		return 0, fmt.Errorf("%q is no number", s)
	}
	return n, nil
}

// Socket is one listening socket that was handed over.
type Socket struct {
	net.Listener
	Name string
}

// Sockets takes what was handed over to this process. It can be called once: the
// descriptors go over to the listeners.
func Sockets(getenv func(string) string, pid int) (out []Socket, err error) {
	given, err := Parse(getenv, pid)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			for _, s := range out {
				err = errors.Join(err, s.Close())
			}
			out = nil
		}
	}()
	seen := map[string]bool{}
	for i := range given.Count {
		l, err := take(firstFD + i)
		if err != nil {
			return out, fmt.Errorf("descriptor %d (%s): %w", firstFD+i, given.Names[i], err)
		}
		out = append(out, Socket{l, given.Names[i]})
		at := l.Addr().Network() + " " + l.Addr().String()
		if seen[at] {
			return out, fmt.Errorf("two sockets listen at %s", at)
		}
		seen[at] = true
	}
	return out, nil
}

// Notify tells the manager a state, such as READY=1. Where there is none it does
// nothing.
func Notify(getenv func(string) string, state string) error {
	path := getenv(EnvNotify)
	if path == "" {
		return nil
	}
	if path[0] != '/' && path[0] != '@' {
		return fmt.Errorf("%s is %q: want a path or an abstract name", EnvNotify, path)
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	_, err = c.Write([]byte(state))
	return errors.Join(err, c.Close())
}
