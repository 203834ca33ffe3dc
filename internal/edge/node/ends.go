package node

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/attest"
	"carnet.dev/carnet/internal/service/binding"
)

// Table shows and ends attachments; see binding.Service.
type Table interface {
	Each(show func(a *binding.Attachment))
	End(id identity.AttachmentID, why binding.Why)
}

// Ends ends attachments with what they are bound to: a control group that is gone or
// empty; where that is the root group, which never ends, the process that leads the
// login; and where no leader is known, the last process of the uid.
type Ends struct {
	Table Table
	// Live reports whether a scope is still there and holds processes.
	Live func(scope string, scopeID uint64) bool
	// UIDs lists the uids that processes of this machine have; see UIDs.
	UIDs func() map[uint32]bool
	Now  func() time.Time
	// Kept are the leaders that an earlier run of the agent followed. Set it before Run.
	Kept []Leader
	// Keep keeps those that are followed; nil: nowhere.
	Keep func([]Leader) error
	// Logger hears what could not be kept; nil: nobody.
	Logger *slog.Logger

	mu      sync.Mutex
	leaders map[identity.AttachmentID]*attest.Process
	seen    map[identity.AttachmentID]*sighting
	resumed bool // Kept was looked at
	changed bool // since the leaders were kept
}

// Leader is a process that leads the login of an attachment without an own scope: no
// other one has both numbers while the machine runs.
type Leader struct {
	Attachment identity.AttachmentID `json:"attachment"`
	PID        int                   `json:"pid"`
	Started    uint64                `json:"started"`
}

// sighting is what is known of processes of an attachment without a leader.
type sighting struct {
	first time.Time // when it was looked at first
	any   bool      // processes were there once
}

const (
	// look is how often it is looked whether scopes ended. A later scope has another
	// id, so nobody gets anything of it in between.
	look = 2 * time.Second
	// arrive is how long the first process of an attachment may take to start, where
	// nothing but its uid tells it.
	arrive = 2 * time.Minute
)

// Follow has an attachment end with a process, which is closed then.
func (e *Ends) Follow(id identity.AttachmentID, leader *attest.Process) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leaders == nil {
		e.leaders = map[identity.AttachmentID]*attest.Process{}
	}
	if had := e.leaders[id]; had != nil && had != leader {
		had.Close()
	}
	e.leaders[id] = leader
	e.changed = true
	e.keep()
}

// resume follows the leaders of an earlier run again. One that has ended meanwhile is
// followed too: its attachment ends. e is locked.
func (e *Ends) resume() {
	if e.resumed {
		return
	}
	e.resumed = true
	if e.leaders == nil {
		e.leaders = map[identity.AttachmentID]*attest.Process{}
	}
	for _, k := range e.Kept {
		if e.leaders[k.Attachment] == nil {
			e.leaders[k.Attachment] = attest.Again(k.PID, k.Started)
		}
	}
}

// keep writes down who is followed, where that has changed. e is locked.
func (e *Ends) keep() {
	if e.Keep == nil || !e.changed {
		return
	}
	e.resume()
	all := make([]Leader, 0, len(e.leaders))
	for id, p := range e.leaders {
		all = append(all, Leader{id, p.PID, p.Started})
	}
	if err := e.Keep(all); err != nil {
		if e.Logger != nil {
			e.Logger.Error("with whom attachments end can't be noted", "error", err)
		}
		return
	}
	e.changed = false
}

// Run looks again and again, until the context ends.
func (e *Ends) Run(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		e.look()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (e *Ends) look() {
	e.mu.Lock()
	e.resume()
	e.mu.Unlock()
	var uids map[uint32]bool // read when it is first asked for
	e.Table.Each(func(a *binding.Attachment) {
		gone := false
		if a.Scope == "/" {
			if uids == nil {
				uids = e.UIDs()
			}
			gone = e.left(a, uids)
		} else {
			gone = !e.Live(a.Scope, a.ScopeID)
		}
		if gone {
			e.Table.End(a.ID, binding.ScopeEnded)
		}
	})
	e.forget()
}

// forget drops what is known of attachments that are not there any more.
func (e *Ends) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.leaders) == 0 && len(e.seen) == 0 {
		return
	}
	live := map[identity.AttachmentID]bool{}
	e.Table.Each(func(a *binding.Attachment) { live[a.ID] = true })
	for id, p := range e.leaders {
		// One that was just attached may not be in the table yet; and before the first view
		// nobody is.
		if len(live) > 0 && !live[id] && p.Alive() != nil {
			p.Close()
			delete(e.leaders, id)
			e.changed = true
		}
	}
	e.keep()
	for id := range e.seen {
		if !live[id] {
			delete(e.seen, id)
		}
	}
}

// left reports whether the login of an attachment without an own scope is over.
func (e *Ends) left(a *binding.Attachment, uids map[uint32]bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.leaders[a.ID]; p != nil {
		return p.Alive() != nil
	}
	s := e.seen[a.ID]
	if s == nil {
		s = &sighting{first: e.Now()}
		if e.seen == nil {
			e.seen = map[identity.AttachmentID]*sighting{}
		}
		e.seen[a.ID] = s
	}
	if uids[a.UID] {
		s.any = true
		return false
	}
	return s.any || e.Now().Sub(s.first) > arrive
}

// UIDs lists the real uids of this machine's processes.
func UIDs() map[uint32]bool {
	out := map[uint32]bool{}
	all, err := os.ReadDir("/proc")
	if err != nil {
		return out
	}
	for _, entry := range all {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + entry.Name() + "/status")
		if err != nil {
			continue
		}
		if uid, ok := realUID(string(text)); ok {
			out[uid] = true
		}
	}
	return out
}

// realUID reads the first number of the line Uid (proc_pid_status(5)).
func realUID(status string) (uint32, bool) {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			fields := strings.Fields(rest)
			if len(fields) == 0 {
				return 0, false
			}
			v, err := strconv.ParseUint(fields[0], 10, 32)
			if err != nil {
				return 0, false
			}
			return uint32(v), true
		}
	}
	return 0, false
}
