package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api/client"
)

// errInterrupted is the end by Ctrl-C.
var errInterrupted = errors.New("interrupted")

// usageError is a command line that can't be meant.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// nextError is an error with the commands that mend it.
type nextError struct {
	error
	next []string
}

func (e *nextError) Unwrap() error { return e.error }

func then(err error, next ...string) error { return &nextError{err, next} }

// exitError passes on the exit code of a command that carnet ran.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// codedError is an error with an exit code of its own.
type codedError struct {
	error
	code int
}

func (e *codedError) Unwrap() error { return e.error }

// WithExitCode makes Run end with this code on err, which is reported as ever.
// It is for commands of the host whose caller is a program; nil stays nil.
func WithExitCode(err error, code int) error {
	if err == nil {
		return nil
	}
	return &codedError{err, code}
}

// failure is an error as --output json shows it.
type failure struct {
	Kind      string   `json:"kind"`
	Code      string   `json:"code,omitempty"`
	Message   string   `json:"message"`
	Hint      string   `json:"hint,omitempty"`
	Next      []string `json:"next,omitempty"`
	RequestID string   `json:"request_id,omitempty"`
}

// report prints err to standard error and gives the exit code.
func (r *run) report(err error) int {
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	if !r.started {
		var u *usageError
		if !errors.As(err, &u) {
			err = &usageError{err.Error()}
		}
	}
	f, code := describe(err)
	if r.output == "json" {
		b, _ := json.Marshal(struct { // a struct of strings always encodes
			Error failure `json:"error"`
		}{f})
		fmt.Fprintf(r.Stderr, "%s\n", b)
		return code
	}
	fmt.Fprintf(r.Stderr, "carnet: %s\n", Clean(f.Message))
	if f.Hint != "" {
		fmt.Fprintf(r.Stderr, "hint: %s\n", Clean(f.Hint))
	}
	for _, n := range f.Next {
		fmt.Fprintf(r.Stderr, "next: %s\n", Clean(n))
	}
	if f.RequestID != "" {
		fmt.Fprintf(r.Stderr, "request id: %s\n", Clean(f.RequestID))
	}
	return code
}

func describe(err error) (failure, int) {
	f := failure{Kind: "failed", Message: err.Error(), RequestID: client.RequestID(err)}
	code := exitFailed
	var next *nextError
	if errors.As(err, &next) {
		f.Next = next.next
		f.Message = next.error.Error()
	}
	var u *usageError
	var known *fault.Fault
	switch {
	case errors.Is(err, errInterrupted):
		f.Kind, code = "interrupted", exitInterrupted
	case errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &known):
		f.Kind, code = fault.Unavailable.String(), exitUnavailable
	case errors.As(err, &u):
		f.Kind, code = "usage", exitUsage
		if f.Next == nil {
			f.Next = []string{"carnet help"}
		}
	case errors.As(err, &known):
		f.Kind, f.Code, f.Message, f.Hint = known.Kind.String(), known.Code, known.Public, known.Mend
		code = exitOf(known.Kind)
		if cause := localCause(known); cause != "" {
			f.Message += ": " + cause
		}
	}
	var coded *codedError
	if errors.As(err, &coded) {
		code = coded.code
	}
	return f, code
}

// localCause gives the cause where it arose on this machine: the person is the
// operator here. That of a server's answer is its request id.
func localCause(f *fault.Fault) string {
	var remote *client.RequestError
	if f.Cause == nil || errors.As(f.Cause, &remote) {
		return ""
	}
	return f.Cause.Error()
}

func exitOf(k fault.Kind) int {
	switch k {
	case fault.Unauthenticated, fault.Expired, fault.Revoked:
		return exitSignIn
	case fault.Denied, fault.NotFound, fault.Conflict:
		return exitRefused
	case fault.Unavailable, fault.Limited:
		return exitUnavailable
	}
	return exitFailed
}

// exitOfCommand gives the code that a shell gives for a command that could not
// be started.
func exitOfCommand(err error) int {
	if errors.Is(err, exec.ErrNotFound) {
		return 127
	}
	return 126
}

// say prints a result: value with --output json, else text.
func (r *run) say(value any, text string) error {
	if r.output == "json" {
		e := json.NewEncoder(r.Stdout)
		e.SetEscapeHTML(false)
		return e.Encode(value)
	}
	_, err := fmt.Fprintln(r.Stdout, Clean(strings.TrimRight(text, "\n")))
	return err
}

// note prints progress for a person; with --output json nothing.
func (r *run) note(format string, args ...any) {
	if r.output != "json" {
		fmt.Fprintln(r.Stderr, Clean(fmt.Sprintf(format, args...)))
	}
}

// Clean takes control characters out of text that came from elsewhere, so that
// a name can't drive the person's terminal.
func Clean(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '\n' || c == '\t' || c >= ' ' && (c < 0x7f || c > 0x9f) {
			return c
		}
		return '?'
	}, s)
}
