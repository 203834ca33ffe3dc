// Package fault holds the one error type of the house.
//
// A Fault says, for the person who must act: what failed, on which input, and
// what to do next. The list of kinds is closed; every wire (S3 XML, Query XML,
// problem+json, HTML) maps kinds to statuses in one file at its edge. The
// private cause goes to the server log under the request id and never to a
// client. This package must never know a wire format.
package fault

import (
	"errors"
	"strings"
)

// Kind classifies a fault. The list is closed: adding a kind means adding it
// to every wire mapping, and a test at each edge fails until that is done.
type Kind uint8

// The kinds. Their order is not a promise; their names are.
const (
	Internal        Kind = iota // our own failure: nothing the caller can mend
	Invalid                     // the input is malformed or breaks a rule
	Unauthenticated             // who is asking was not proven
	Denied                      // proven, but not permitted
	NotFound                    // the thing named does not exist
	Conflict                    // the state does not admit the act now
	Expired                     // a proof or credential is past its time
	Revoked                     // a proof or credential was taken back
	TooLarge                    // over a stated size limit
	Limited                     // over a stated rate
	Unavailable                 // a part we need is away; try again
	Unsupported                 // known, and not offered
	Misconfigured               // an administrator has to mend the set-up
)

// Kinds lists every kind, for tests that hold the wire mappings complete.
func Kinds() []Kind {
	return []Kind{
		Internal, Invalid, Unauthenticated, Denied, NotFound, Conflict, Expired,
		Revoked, TooLarge, Limited, Unavailable, Unsupported, Misconfigured,
	}
}

// String gives the name used in problem documents, logs and the API.
func (k Kind) String() string {
	switch k {
	case Invalid:
		return "invalid"
	case Unauthenticated:
		return "unauthenticated"
	case Denied:
		return "denied"
	case NotFound:
		return "not-found"
	case Conflict:
		return "conflict"
	case Expired:
		return "expired"
	case Revoked:
		return "revoked"
	case TooLarge:
		return "too-large"
	case Limited:
		return "limited"
	case Unavailable:
		return "unavailable"
	case Unsupported:
		return "unsupported"
	case Misconfigured:
		return "misconfigured"
	default:
		return "internal"
	}
}

// Fault is an error with a kind, a public text and a way to mend it.
type Fault struct {
	// Kind decides the status on each wire.
	Kind Kind
	// Code is a stable name of the exact check that failed, such as
	// "saml.audience" or an AWS error code such as "InvalidIdentityToken".
	// Empty where the kind says enough.
	Code string
	// Public says what failed and on which input. It is shown to the caller,
	// so it holds no secret and nothing of our insides.
	Public string
	// Mend says what to do next, in the imperative. May be empty.
	Mend string
	// Details are further facts about the input, for wires that have a place for
	// them, such as the ArgumentName of S3's errors. They are shown, as Public is.
	Details []Detail
	// Cause is for the server log only.
	Cause error
}

// Detail is a named fact of a fault. The name is the wire's.
type Detail struct{ Name, Value string }

// New makes a fault of a kind with its public text.
func New(kind Kind, public string) *Fault { return &Fault{Kind: kind, Public: public} }

// Coded makes a fault of a kind with a stable code and its public text.
func Coded(kind Kind, code, public string) *Fault {
	return &Fault{Kind: kind, Code: code, Public: public}
}

// Wrap makes a fault that keeps err as its private cause.
func Wrap(err error, kind Kind, public string) *Fault {
	return &Fault{Kind: kind, Public: public, Cause: err}
}

// WithMend gives a copy that says what to do next.
func (f *Fault) WithMend(mend string) *Fault {
	c := *f
	c.Mend = mend
	return &c
}

// With gives a copy with one more detail. Of a long value the beginning is kept.
func (f *Fault) With(name, value string) *Fault {
	c := *f
	c.Details = append(f.Details[:len(f.Details):len(f.Details)], Detail{name, Clip(value)})
	return &c
}

// WithCode gives a copy with a stable code.
func (f *Fault) WithCode(code string) *Fault {
	c := *f
	c.Code = code
	return &c
}

// WithCause gives a copy that keeps err as its private cause.
func (f *Fault) WithCause(err error) *Fault {
	c := *f
	c.Cause = err
	return &c
}

// Error gives the public text, the way to mend it and the cause: it is for
// logs and for the command line of the operator, never for a remote client.
func (f *Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.Public)
	if f.Mend != "" {
		b.WriteString("; ")
		b.WriteString(f.Mend)
	}
	if f.Cause != nil {
		b.WriteString(": ")
		b.WriteString(f.Cause.Error())
	}
	return b.String()
}

// Unwrap gives the private cause.
func (f *Fault) Unwrap() error { return f.Cause }

// Is reports whether target is a fault of the same kind and, where the target
// has one, the same code. It serves errors.Is(err, fault.New(fault.Denied, "")).
func (f *Fault) Is(target error) bool {
	t, ok := target.(*Fault)
	if !ok {
		return false
	}
	return t.Kind == f.Kind && (t.Code == "" || t.Code == f.Code)
}

// Of gives the fault in err's chain, or an Internal fault around err. The
// public text of that fault is fixed, so that nothing internal leaks. Of(nil)
// is a nil *Fault: ask err == nil first, never return it as an error.
func Of(err error) *Fault {
	if err == nil {
		return nil
	}
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	return &Fault{Kind: Internal, Public: "Carnet failed on this request", Mend: "give the request id to your administrator", Cause: err}
}

// Clip bounds what a text for people repeats of outside input.
func Clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// KindOf gives the kind of err; Internal for errors that are not faults, and
// for nil, so that a caller who forgot to look never takes it for a permission.
func KindOf(err error) Kind {
	if f := Of(err); f != nil {
		return f.Kind
	}
	return Internal
}
