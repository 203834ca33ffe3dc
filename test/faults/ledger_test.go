//go:build interop

package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/test/fleet"
)

// Kinds of acts whose acknowledgement is a promise.
const (
	anObject   = "object"
	aUser      = "IAM user"
	aPolicy    = "policy of an IAM user"
	aSCIMUser  = "person by SCIM"
	aKey       = "gateway key"
	aRevokedGK = "revoked gateway key"
)

// ledger holds what was acknowledged.
type ledger struct {
	mu   sync.Mutex
	acts map[string]map[string]string // kind, id: what it holds
	// recorded are the request ids of acts of which the trail has to speak; any of
	// those that belong to one act.
	recorded map[string][]string
	revoked  []revoked
	wins     map[string]int // one-use things: how often one was used
	used     []usedUp
	broken   []string // what must never happen and did
}

// revoked is what was taken back.
type revoked struct {
	what string
	keys fleet.Keys
	at   time.Time // when that was acknowledged
}

func newLedger() *ledger {
	return &ledger{acts: map[string]map[string]string{}, recorded: map[string][]string{}, wins: map[string]int{}}
}

// keep notes an act that was acknowledged, and the ids of its requests.
func (l *ledger) keep(kind, id, holds string, requests ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acts[kind] == nil {
		l.acts[kind] = map[string]string{}
	}
	l.acts[kind][id] = holds
	l.recordedAs(kind+" "+id, requests)
}

// record notes an act that leaves nothing but its record.
func (l *ledger) record(what string, requests ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recordedAs(what, requests)
}

func (l *ledger) recordedAs(what string, requests []string) {
	if len(requests) > 0 {
		l.recorded[what] = requests
	}
}

func (l *ledger) revoke(what string, k fleet.Keys) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revoked = append(l.revoked, revoked{what, k, time.Now()})
}

// someRevoked picks one of what was taken back, often a late one.
func (l *ledger) someRevoked() (revoked, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.revoked)
	if n == 0 {
		return revoked{}, false
	}
	if late := min(n, 8); rand.IntN(2) == 0 {
		return l.revoked[n-1-rand.IntN(late)], true
	}
	return l.revoked[rand.IntN(n)], true
}

// win notes that a one-use thing was used, and fails where that is the second time.
func (l *ledger) win(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wins[id]++; l.wins[id] > 1 {
		l.broken = append(l.broken, "used twice: "+id)
	}
}

func (l *ledger) violated(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = append(l.broken, fmt.Sprintf(format, args...))
}

// faults gives what was broken since it was asked last.
func (l *ledger) faults() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.broken
	l.broken = nil
	return out
}

// copyOf gives what was acknowledged of a kind until now.
func (l *ledger) copyOf(kind string) map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]string{}
	for id, holds := range l.acts[kind] {
		out[id] = holds
	}
	return out
}

// numbers says how much was acknowledged, for the report.
func (l *ledger) numbers() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b bytes.Buffer
	for _, kind := range []string{anObject, aUser, aPolicy, aSCIMUser, aKey, aRevokedGK} {
		fmt.Fprintf(&b, "%d × %s, ", len(l.acts[kind]), kind)
	}
	fmt.Fprintf(&b, "%d × taken back, %d × used once, %d × to be in the trail", len(l.revoked), len(l.wins), len(l.recorded))
	return b.String()
}

// lost compares what was acknowledged with what is there. Acts that were acknowledged
// while this looks may be missing from what was read: the copies are made first.
func (w *world) lost(t *testing.T) (missing []string) {
	t.Helper()
	objects, users, policies, people, keys, gone := w.ledger.copyOf(anObject), w.ledger.copyOf(aUser), w.ledger.copyOf(aPolicy),
		w.ledger.copyOf(aSCIMUser), w.ledger.copyOf(aKey), w.ledger.copyOf(aRevokedGK)
	w.ledger.mu.Lock()
	recorded := map[string][]string{}
	for what, ids := range w.ledger.recorded {
		recorded[what] = ids
	}
	w.ledger.mu.Unlock()
	lose := func(kind, id, why string) { missing = append(missing, fmt.Sprintf("%s %s: %s", kind, id, why)) }

	for key, content := range objects {
		if w.proven[key] {
			continue // an object is not changed again
		}
		if got, err := w.fleet.Store.Get(t.Context(), key); err != nil || got != content {
			lose(anObject, key, fmt.Sprintf("%v, %d bytes of %d", err, len(got), len(content)))
			continue
		}
		w.proven[key] = true
	}
	have := w.usersAndPolicies(t)
	for id := range users {
		if _, ok := have[id]; !ok {
			lose(aUser, id, "missing")
		}
	}
	for id, holds := range policies {
		if !bytes.Contains([]byte(have[id]), []byte(holds)) {
			lose(aPolicy, id, "missing")
		}
	}
	known := w.peopleBySCIM(t)
	for id := range people {
		if !known[id] {
			lose(aSCIMUser, id, "missing")
		}
	}
	states := w.gatewayKeys(t)
	for id := range keys {
		if _, ok := states[id]; !ok {
			lose(aKey, id, "missing")
		}
	}
	for id := range gone {
		if states[id] == "active" {
			lose(aRevokedGK, id, "active")
		}
	}
	trail := w.trail(t)
	for what, ids := range recorded {
		found := false
		for _, id := range ids {
			found = found || trail[id]
		}
		if !found {
			lose("the record of", what, fmt.Sprintf("none under %v", ids))
		}
	}
	return missing
}

// trail gives the request ids of all records, by the host's own command.
func (w *world) trail(t *testing.T) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for line := range bytes.Lines([]byte(w.fleet.Host(t, "audit", "export", "--from", "3h"))) {
		var d struct {
			Request string `json:"requestID"`
		}
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatal(err)
		}
		ids[d.Request] = true
	}
	return ids
}
