package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// ShipperConfig is what a Shipper stands on.
type ShipperConfig struct {
	Target Target
	Places Places
	// Server names this process among those of the database.
	Server string
	// Most bounds the records of one Put; default DefaultMost.
	Most int
	// MostBytes bounds their bodies, in bytes; default DefaultMostBytes.
	MostBytes int
	// Wait is how long records wait for company, so that they go in fewer and larger
	// parts; 0: not at all.
	Wait time.Duration
	// Patience bounds one Put; default DefaultPatience, and at most that.
	Patience time.Duration
	Now      func() time.Time
	Logger   *slog.Logger
}

// Bounds of what goes at once.
const (
	DefaultMost      = 1000
	DefaultMostBytes = 4 << 20
	DefaultPatience  = 20 * time.Second
)

const (
	// leaseTime is how long a target is a server's own, and leaseRest how much of that
	// there must be before a Put: more than that takes, and than clocks differ.
	leaseTime = 45 * time.Second
	leaseRest = 30 * time.Second
	// looking and standing are how often the server that has a target, and one that
	// has it not, look for what is new.
	looking  = time.Second
	standing = 5 * time.Second
	// mostPause is the longest pause after failures, which double it.
	mostPause = time.Minute
	// warnEvery is how often trouble that lasts is told of again.
	warnEvery = 10 * time.Minute
)

// Shipper takes the trail to one target: each chain in its order, every record at
// least once, from where the target's place is kept in the database. One server at a
// time does so, by a lease; another goes on where it ended. A target that is away is
// tried again and again, and holds nothing else back.
//
// A reader of committed records never skips one: the numbers of a chain are without
// gaps, and each is committed after the one before.
type Shipper struct {
	ShipperConfig
	until  time.Time // of the lease; zero: another has it
	failed int       // rounds in a row
	warned time.Time

	mu    sync.Mutex
	state ShipState
}

// ShipState is how a target does, as this server saw it last.
type ShipState struct {
	Records int64     // that it has not taken
	Oldest  time.Time // of the first of them; zero: none
	Taken   int64     // that this process brought
	Holds   bool      // this server feeds it
	Trouble string    // empty: none
}

// NewShipper makes a Shipper. Nothing happens before Run.
func NewShipper(c ShipperConfig) *Shipper {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("target", c.Target.Name())
	c.Most = cmp.Or(c.Most, DefaultMost)
	c.MostBytes = cmp.Or(c.MostBytes, DefaultMostBytes)
	c.Patience = min(cmp.Or(c.Patience, DefaultPatience), DefaultPatience)
	return &Shipper{ShipperConfig: c}
}

// State tells how the target does.
func (s *Shipper) State() ShipState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Run feeds the target until ctx ends, and then leaves it to other servers.
func (s *Shipper) Run(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-ctx.Done():
			s.leave(ctx)
			return
		}
		next.Reset(s.round(ctx))
	}
}

// leave gives the lease back.
func (s *Shipper) leave(ctx context.Context) {
	if s.until.IsZero() {
		return
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	now := s.Now()
	if _, err := s.Places.Lease(last, s.Target.Name(), s.Server, now, now); err != nil {
		s.Logger.Debug("the audit target's lease was not given back", "error", err)
	}
}

// round brings what the target lacks and says when to look again.
func (s *Shipper) round(ctx context.Context) time.Duration {
	more, err := s.ship(ctx)
	switch {
	case ctx.Err() != nil:
		return looking
	case err != nil:
		s.ail(ctx, err)
		s.failed++
		return min(looking<<min(s.failed-1, 10), mostPause)
	}
	if s.failed > 0 && !s.until.IsZero() {
		s.Logger.Info("the audit target takes records again")
		s.failed, s.warned = 0, time.Time{}
		s.note(func(st *ShipState) { st.Trouble = "" })
	}
	switch {
	case s.until.IsZero():
		s.failed = 0
		return standing
	case more:
		return 0
	}
	return looking
}

// ship brings one part of each chain, the oldest first. more says that there is more
// to bring at once. Where a target refuses some records it still gets those of other
// chains; one that is away is asked no more in this round.
func (s *Shipper) ship(ctx context.Context) (more bool, err error) {
	if err := s.lease(ctx); err != nil {
		return false, err
	}
	behind, err := s.Places.Behind(ctx, s.Target.Name())
	if err != nil {
		return false, err
	}
	s.see(behind)
	if s.until.IsZero() {
		return false, nil
	}
	slices.SortFunc(behind, func(a, b Untaken) int { return a.Oldest.Compare(b.Oldest) })
	var refused error
	for _, u := range behind {
		if !s.due(u) {
			continue
		}
		if err := s.lease(ctx); err != nil || s.until.IsZero() {
			return false, err
		}
		full, err := s.bring(ctx, u)
		if err != nil && !isRefusal(err) {
			return false, err
		}
		if err != nil && refused == nil {
			refused = err
		}
		more = more || full
	}
	return more && refused == nil, refused
}

// due reports whether records of a chain go now: enough are there, or the first
// has waited long enough.
func (s *Shipper) due(u Untaken) bool {
	return s.Wait == 0 || u.Head-u.Taken >= int64(s.Most) || u.Oldest.IsZero() || s.Now().Sub(u.Oldest) >= s.Wait
}

// lease holds the target for long enough for one Put, or finds that another has it.
func (s *Shipper) lease(ctx context.Context) error {
	now := s.Now()
	if s.until.Sub(now) > leaseRest {
		return nil
	}
	until := now.Add(leaseTime)
	ok, err := s.Places.Lease(ctx, s.Target.Name(), s.Server, now, until)
	if err != nil {
		return err
	}
	if !ok {
		until = time.Time{}
	}
	s.until = until
	s.note(func(st *ShipState) {
		if st.Holds = ok; !ok {
			st.Trouble = ""
		}
	})
	return nil
}

// bring puts the next part of a chain and notes that it was taken. full says that
// it was as much as goes at once.
func (s *Shipper) bring(ctx context.Context, u Untaken) (full bool, err error) {
	records, err := s.Places.Records(ctx, u.Writer, u.Taken, s.Most)
	if err != nil {
		return false, err
	}
	if len(records) == 0 {
		s.gap(u.Writer, u.Taken+1, u.Head)
		return false, s.advance(ctx, u.Writer, u.Head, 0)
	}
	if first := records[0].Seq; first != u.Taken+1 {
		s.gap(u.Writer, u.Taken+1, first-1)
	}
	documents := s.part(records)
	n, err := s.put(ctx, documents)
	if n == 0 {
		return false, err
	}
	if err := s.advance(ctx, u.Writer, documents[n-1].Chain.Seq, n); err != nil {
		return false, err
	}
	return n < len(records) || len(records) == s.Most, err
}

// part cuts what goes at once to its bound in bytes.
func (s *Shipper) part(records []Record) []Document {
	var documents []Document
	bytes := 0
	for i, r := range records {
		if bytes += len(r.Body); i > 0 && bytes > s.MostBytes {
			break
		}
		documents = append(documents, r.Document())
	}
	return documents
}

// put puts documents, and of those that the target refuses the first half, so that
// it gets all that come before the one that it can't take.
func (s *Shipper) put(ctx context.Context, documents []Document) (taken int, err error) {
	for n := len(documents); n > 0; n /= 2 {
		within, cancel := context.WithTimeout(ctx, s.Patience)
		err = s.Target.Put(within, documents[:n])
		cancel()
		if err == nil {
			return n, nil
		}
		if !isRefusal(err) {
			return 0, err
		}
		if lease := s.lease(ctx); lease != nil || s.until.IsZero() {
			return 0, errors.Join(err, lease)
		}
	}
	first := documents[0].Chain
	return 0, fault.Wrap(err, fault.KindOf(err), fmt.Sprintf("record %d of chain %s is refused: %s", first.Seq, first.Writer, fault.Of(err).Public))
}

func isRefusal(err error) bool {
	kind := fault.KindOf(err)
	return kind == fault.Invalid || kind == fault.TooLarge
}

func (s *Shipper) advance(ctx context.Context, writer string, seq int64, n int) error {
	ok, err := s.Places.Advance(ctx, s.Target.Name(), s.Server, writer, seq, s.Now())
	if err != nil {
		return err
	}
	if !ok {
		s.until = time.Time{} // another goes on, and brings these once more
	}
	s.note(func(st *ShipState) {
		st.Holds = ok
		st.Taken += int64(n)
		if st.Records = max(0, st.Records-int64(n)); st.Records == 0 {
			st.Oldest = time.Time{}
		}
	})
	return nil
}

// gap tells of records that went before the target took them: pruned, which the
// trail itself records, or removed, which verify finds.
func (s *Shipper) gap(writer string, from, to int64) {
	s.Logger.Error("records are gone from the audit trail that the target never took", "chain", writer, "from", from, "to", to)
}

// see notes what the target lacks.
func (s *Shipper) see(behind []Untaken) {
	var records int64
	var oldest time.Time
	for _, u := range behind {
		records += u.Head - u.Taken
		if !u.Oldest.IsZero() && (oldest.IsZero() || u.Oldest.Before(oldest)) {
			oldest = u.Oldest
		}
	}
	s.note(func(st *ShipState) { st.Records, st.Oldest = records, oldest })
}

// ail tells of trouble: at once, and while it lasts now and then.
func (s *Shipper) ail(ctx context.Context, err error) {
	said := readable(fault.Of(err).Public)
	s.note(func(st *ShipState) { st.Trouble = said })
	now := s.Now()
	if !s.until.IsZero() {
		if err := s.Places.Ail(ctx, s.Target.Name(), s.Server, said, now); err != nil && ctx.Err() == nil {
			s.Logger.Debug("the audit target's trouble can't be noted", "error", err)
		}
	}
	if now.Sub(s.warned) < warnEvery {
		return
	}
	s.warned = now
	st := s.State()
	s.Logger.Warn("an audit target takes no records: they wait in the database", "error", err, "records", st.Records, "oldest", st.Oldest)
}

// mostTrouble bounds what is kept of a target's trouble, in bytes.
const mostTrouble = 512

// readable gives a text that a target's other end may have had its part in: on one line,
// with nothing in it that drives a terminal or turns the writing around.
func readable(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), mostTrouble)], "")
	return strings.Map(func(c rune) rune {
		if strconv.IsPrint(c) {
			return c
		}
		return '\uFFFD'
	}, text)
}

func (s *Shipper) note(fn func(*ShipState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(&s.state)
}
