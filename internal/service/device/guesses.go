package device

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"strconv"
	"strings"
	"time"
	"unicode"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
)

// alphabet holds no vowels, so that no word comes out (RFC 8628 section 6.1).
const (
	alphabet   = "BCDFGHJKLMNPQRSTVWXZ"
	codeLength = 8
)

// NewUserCode makes eight letters, each with equal chance: 34.5 bits.
func NewUserCode() string {
	var out [codeLength]byte
	for i := range out {
		for {
			var b [4]byte
			rand.Read(b[:])
			const most = 1<<32 - 1<<32%uint64(len(alphabet))
			if n := uint64(binary.BigEndian.Uint32(b[:])); n < most {
				out[i] = alphabet[n%uint64(len(alphabet))]
				break
			}
		}
	}
	return string(out[:])
}

// ShownCode is the form for people: XXXX-XXXX.
func ShownCode(code string) string { return code[:codeLength/2] + "-" + code[codeLength/2:] }

// TypedCode reads what a person typed: letter case, spaces and dashes don't matter.
// False where it can't be a code.
func TypedCode(text string) (string, bool) {
	if len(text) > 64 {
		return "", false
	}
	code := strings.Map(func(c rune) rune {
		switch {
		case c == '-' || c == '‐' || c == '–' || unicode.IsSpace(c):
			return -1
		case c >= 'a' && c <= 'z':
			return c - 'a' + 'A'
		}
		return c
	}, text)
	if len(code) != codeLength || strings.Trim(code, alphabet) != "" {
		return "", false
	}
	return code, true
}

// Counts keeps what is counted. Transactions as for Grants.
type Counts interface {
	// Count adds n to what is counted under a key since it began to count, at
	// most until an end that the first count sets, and gives the sum.
	Count(ctx context.Context, key string, n int, now, until time.Time) (sum int, err error)
}

// Guesses bounds how many wrong codes people may type: those of devices and those of
// nodes are counted together.
type Guesses struct {
	Counts Counts
	State  Atomic
	Trail  Trail
	Now    func() time.Time
}

// Look runs find with what somebody typed, in one transaction; find reports whether
// something waits under that code, and a NotFound fault of it says no. Whoever types
// wrong ones is counted, by login session and by address, before they are told
// anything: so guesses at the same time don't outrun the count. Errors: wrong, and
// Limited "device.tries".
func (g Guesses) Look(ctx context.Context, who Approver, text string, wrong *fault.Fault, find func(ctx context.Context, code string) (bool, error)) error {
	code, readable := TypedCode(text)
	var (
		refusal error
		now     = g.Now()
	)
	err := g.State.Atomic(ctx, func(ctx context.Context) (err error) {
		if refusal, err = g.count(ctx, who, now); err != nil || refusal != nil {
			return err
		}
		there := false
		if readable {
			there, err = find(ctx, code)
		}
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		if !there {
			refusal = wrong
			return nil
		}
		return g.forgive(ctx, who, now)
	})
	if err == nil {
		err = refusal
	}
	return err
}

// counted lists what wrong codes are counted under, and how many may be.
func counted(who Approver) map[string]int {
	return map[string]int{"session " + string(who.LoginSession): WrongPerSession, "source " + who.Source.String(): WrongPerSource}
}

// count counts one try. It refuses past the bound, and records the first such.
func (g Guesses) count(ctx context.Context, who Approver, now time.Time) (refusal, err error) {
	for key, most := range counted(who) {
		n, err := g.Counts.Count(ctx, key, 1, now, now.Add(Lifetime))
		if err != nil {
			return nil, err
		}
		if n > most {
			refusal = fault.Coded(fault.Limited, CodeTries, "too many wrong codes were typed here").
				WithMend("wait ten minutes, and type the code that your own device shows")
		}
		if n == most+1 {
			err := g.Trail.Record(ctx, event.Event{Action: "device.guess", Outcome: event.Denied, Code: CodeTries, Person: who.Person, UserName: who.UserName,
				LoginSession: who.LoginSession, Source: who.Source.String(), Detail: map[string]string{"tries": strconv.Itoa(n)}})
			if err != nil {
				return nil, err
			}
		}
	}
	return refusal, nil
}

// forgive takes a try back that was right.
func (g Guesses) forgive(ctx context.Context, who Approver, now time.Time) error {
	for key := range counted(who) {
		if _, err := g.Counts.Count(ctx, key, -1, now, now.Add(Lifetime)); err != nil {
			return err
		}
	}
	return nil
}
