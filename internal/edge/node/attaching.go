package node

import (
	"context"
	"net/http"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/attest"
	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/internal/edge/node/peer"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/service/binding"
)

// Asking is the server's side of attaching; see nodeclient.Client.
type Asking interface {
	Attach(ctx context.Context, in nodedoc.AttachRequest) (nodedoc.AttachBegun, error)
	Poll(ctx context.Context, request string) (nodedoc.AttachState, error)
}

// Live knows and ends attachments; see binding.Service.
type Live interface {
	Await(ctx context.Context, id identity.AttachmentID) (*binding.Attachment, error)
	End(id identity.AttachmentID, why binding.Why)
}

// Leaders keeps the process that leads a login without a scope of its own: when it is
// gone, so is the attachment.
type Leaders interface {
	Follow(id identity.AttachmentID, leader *attest.Process)
}

// Attaching attaches callers.
type Attaching struct {
	Server  Asking
	Live    Live
	Leaders Leaders
	// ScopeID gives the kernel's id of a scope.
	ScopeID func(scope string) (uint64, error)
	// Account is the login name of a uid; empty: it has none.
	Account func(uid uint32) string
	// Reachable reports whether a uid reaches an instance metadata service.
	Reachable func(uid uint32) bool
	Now       func() time.Time

	mu      sync.Mutex
	pending map[string]*request
}

// request is one that a person has yet to approve.
type request struct {
	server string // what the server is polled with
	place  nodedoc.Place
	leader *attest.Process // nil: the scope ends by itself, or the uid's last process ends it
	ends   time.Time
	pause  time.Duration // between two questions to the server
	asked  time.Time     // when the last one is asked
}

// Bounds of what is under way and waits. A person may have thousands of uids without a
// name (subuid(5)): all those together have a part of the places.
const (
	mostPending      = 256
	mostPendingOfUID = 8
	mostNameless     = 64
	// mostBeginning is how long the server may take to begin one.
	mostBeginning = time.Minute
	// mostTurn is how long one waits for the next question to the server.
	mostTurn = 3 * time.Second
	// appears bounds the wait until the watch shows what was just made.
	appears = 10 * time.Second
)

func (s *Socket) attach(r *http.Request) (any, error) {
	var in localdoc.Attach
	if err := read(r, &in); err != nil {
		return nil, err
	}
	p := peer.Of(r.Context())
	caller, err := p.Caller()
	if err != nil {
		return nil, err
	}
	out, a, err := s.Attaching.begin(r.Context(), p.Process(), caller, in.ByLoginName)
	if a != nil {
		out.Attachment = s.document(a)
	}
	return out, err
}

func (s *Socket) poll(r *http.Request) (any, error) {
	var in localdoc.Poll
	if err := read(r, &in); err != nil {
		return nil, err
	}
	caller, err := peer.Of(r.Context()).Caller()
	if err != nil {
		return nil, err
	}
	state, a, err := s.Attaching.poll(r.Context(), caller, in.Request)
	out := localdoc.Polled{State: state}
	if a != nil {
		out.Attachment = s.document(a)
	}
	return out, err
}

func (s *Socket) detach(r *http.Request) (any, error) {
	a, err := s.mine(r)
	if err != nil {
		return nil, err
	}
	s.Attaching.Live.End(a.ID, binding.Detached)
	return nil, nil
}

// place says where a caller would be attached: the scope that its group lies in.
func (t *Attaching) place(c binding.Caller, process *attest.Process) (nodedoc.Place, *attest.Process, error) {
	scope := binding.ScopeOf(c.Group)
	id, err := t.ScopeID(scope)
	if err != nil || scope == "" || id == 0 {
		return nodedoc.Place{}, nil, fault.Wrap(err, fault.Denied, "Your login has no control group that can be found").WithCode("node.scope").WithMend("log in anew, and try again")
	}
	p := nodedoc.Place{UID: c.UID, Scope: scope, ScopeID: id, Account: t.Account(c.UID)}
	if scope != "/" || process == nil {
		return p, nil, nil
	}
	leader, err := process.Leader()
	return p, leader, err
}

func (t *Attaching) begin(ctx context.Context, process *attest.Process, c binding.Caller, byName bool) (out localdoc.Begun, a *binding.Attachment, err error) {
	handle, err := t.reserve(c.UID)
	if err != nil {
		return out, nil, err
	}
	place, leader, err := t.place(c, process)
	kept := false
	defer func() {
		if kept {
			return
		}
		t.forget(handle)
		if leader != nil {
			leader.Close()
		}
	}()
	if err == nil {
		err = t.named(handle, place)
	}
	if err != nil {
		return out, nil, err
	}
	begun, err := t.Server.Attach(ctx, nodedoc.AttachRequest{Place: place, MetadataReachable: t.Reachable(c.UID), ByLoginName: byName})
	if err != nil {
		return out, nil, err
	}
	out = localdoc.Begun{UserCode: begun.UserCode, VerificationURI: begun.VerificationURI, Expires: begun.Expires, Interval: begun.Interval}
	kept = true
	if begun.Attachment != nil {
		t.forget(handle)
		a, err = t.appeared(ctx, begun.Attachment.ID, leader)
		return out, a, err
	}
	out.Request = handle
	t.remember(handle, &request{server: begun.Request, place: place, leader: leader, ends: begun.Expires, pause: time.Duration(begun.Interval) * time.Second / 2})
	return out, nil, nil
}

// appeared waits until an attachment is known here.
func (t *Attaching) appeared(ctx context.Context, id string, leader *attest.Process) (*binding.Attachment, error) {
	if leader != nil {
		t.Leaders.Follow(identity.AttachmentID(id), leader)
	}
	ctx, cancel := context.WithTimeout(ctx, appears)
	defer cancel()
	return t.Live.Await(ctx, identity.AttachmentID(id))
}

func (t *Attaching) poll(ctx context.Context, c binding.Caller, handle string) (string, *binding.Attachment, error) {
	t.mu.Lock()
	q := t.pending[handle]
	t.mu.Unlock()
	// Another uid or scope is told what a stranger is told.
	if q == nil || q.place.UID != c.UID || q.place.Scope != binding.ScopeOf(c.Group) {
		return "", nil, fault.Coded(fault.NotFound, "node.request", "No such request to attach is open").WithMend("begin again: carnet attach")
	}
	if id, err := t.ScopeID(q.place.Scope); err != nil || id != q.place.ScopeID {
		return "", nil, fault.Coded(fault.NotFound, "node.request", "The login that began this has ended").WithMend("begin again: carnet attach")
	}
	const pending = "pending"
	wait, ok := t.turn(q)
	if !ok {
		return pending, nil, nil
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return pending, nil, nil
		}
	}
	state, err := t.Server.Poll(ctx, q.server)
	if err != nil {
		return "", nil, err
	}
	if state.State == pending {
		return state.State, nil, nil
	}
	t.forget(handle)
	if state.Attachment == nil {
		if q.leader != nil {
			q.leader.Close()
		}
		return state.State, nil, nil
	}
	a, err := t.appeared(ctx, state.Attachment.ID, q.leader)
	return state.State, a, err
}

// turn says how long to wait before the server may be asked again about a request, and
// takes that turn. Who asks and asks gets none.
func (t *Attaching) turn(q *request) (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.Now()
	at := q.asked.Add(q.pause)
	if at.Before(now) {
		at = now
	}
	if wait = at.Sub(now); wait > mostTurn {
		return 0, false
	}
	q.asked = at
	return wait, true
}

// reserve takes a place for a request of a uid, before anything is done for it: of many
// at the same time no more come through than have a place.
func (t *Attaching) reserve(uid uint32) (handle string, err error) {
	handle = secret.Random(16).Reveal()
	t.mu.Lock()
	defer t.mu.Unlock()
	now, own := t.Now(), 0
	for other, q := range t.pending {
		switch {
		case !now.Before(q.ends):
			delete(t.pending, other)
			if q.leader != nil {
				q.leader.Close()
			}
		case q.place.UID == uid:
			own++
		}
	}
	if own >= mostPendingOfUID || len(t.pending) >= mostPending {
		return "", tooMany()
	}
	if t.pending == nil {
		t.pending = map[string]*request{}
	}
	t.pending[handle] = &request{place: nodedoc.Place{UID: uid, Account: unknownAccount}, ends: now.Add(mostBeginning)}
	return handle, nil
}

// unknownAccount stands for a name that is yet to be found; no account has it.
const unknownAccount = ":"

// named notes whose a reserved place is. Accounts without a name have a part of them.
func (t *Attaching) named(handle string, place nodedoc.Place) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	nameless := 0
	for _, q := range t.pending {
		if q.place.Account == "" {
			nameless++
		}
	}
	if place.Account == "" && nameless >= mostNameless {
		return tooMany()
	}
	if q := t.pending[handle]; q != nil {
		q.place = place
	}
	return nil
}

func tooMany() error {
	return fault.Coded(fault.Limited, "node.requests", "Too many requests to attach are open").WithMend("approve one of them, or wait ten minutes")
}

// remember puts a request in the place that it has.
func (t *Attaching) remember(handle string, q *request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending[handle] = q
}

func (t *Attaching) forget(handle string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pending, handle)
}
