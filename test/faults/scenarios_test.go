//go:build interop

package faults

import (
	"flag"
	"slices"
	"strings"
	"testing"
	"time"
)

var outage = flag.Duration("outage", 75*time.Second, "how long PostgreSQL, or the way to it, is away in the scenarios that outlast the bound of 60 s")

// scenario is something that breaks, under load, and is mended.
type scenario struct {
	name string // for -only
	says string // for the page
	// breaks breaks it, mends it, and returns then.
	breaks func(t *testing.T, w *world, e *episode)
}

// episode is one run of a scenario, as it is judged.
type episode struct {
	broken span
	// spared reports a failure that must not be.
	spared func(result) bool
	// silent are the spans in which servers must serve nobody: they lost touch with the
	// database longer ago than the bound.
	silent map[int]span
}

var scenarios = []scenario{
	{"server", "each server in turn, `kill -9`", func(t *testing.T, w *world, e *episode) {
		e.spared = func(r result) bool { return !w.watch.isDown(r.server, r.began, r.ended) && !w.tangled(r) }
		for i := range 3 {
			begin(w.watch, &w.watch.down, i)
			w.fleet.Server(i).Kill(t)
			time.Sleep(5 * time.Second)
			w.startServers(i)
			time.Sleep(2 * time.Second)
		}
	}},
	{"servers", "two servers at once, `kill -9`", func(t *testing.T, w *world, e *episode) {
		e.spared = func(r result) bool { return !w.watch.isDown(r.server, r.began, r.ended) && !w.tangled(r) }
		begin(w.watch, &w.watch.down, 0, 2)
		w.fleet.Server(0).Kill(t)
		w.fleet.Server(2).Kill(t)
		time.Sleep(5 * time.Second)
		w.startServers(0, 2)
	}},
	{"postgresql", "PostgreSQL, `kill -9` of all its processes, started again", func(t *testing.T, w *world, e *episode) {
		e.spared = memoryAlone
		begin(w.watch, &w.watch.cut, 0, 1, 2)
		w.fleet.Postgres.Kill(t)
		time.Sleep(2 * time.Second)
		w.fleet.Postgres.Start(t)
		end(w.watch, &w.watch.cut, 0, 1, 2)
	}},
	{"both", "PostgreSQL and a server at once, `kill -9`; the server is started first", func(t *testing.T, w *world, e *episode) {
		e.spared = func(r result) bool { return memoryAlone(r) && !w.watch.isDown(r.server, r.began, r.ended) }
		begin(w.watch, &w.watch.cut, 0, 1, 2)
		begin(w.watch, &w.watch.down, 1)
		w.fleet.Postgres.Kill(t)
		w.fleet.Server(1).Kill(t)
		early := w.fleet.Server(1).Launch(w.t)
		select {
		case <-early.Ended:
			if !strings.Contains(early.Log.String(), "database") {
				t.Errorf("a server that starts without its database says\n%s", &early.Log)
			}
		case <-time.After(patience):
			t.Errorf("a server that starts without its database neither ends nor serves\n%s", &early.Log)
		}
		w.fleet.Postgres.Start(t)
		end(w.watch, &w.watch.cut, 0, 1, 2)
		w.startServers(1)
	}},
	{"stopped", "PostgreSQL stopped for longer than 60 s", func(t *testing.T, w *world, e *episode) {
		w.away(t, e, func() { w.fleet.Postgres.Stop(t) }, func() { w.fleet.Postgres.Start(t) }, 0, 1, 2)
	}},
	{"frozen", "PostgreSQL hangs (`kill -STOP`) for longer than 60 s", func(t *testing.T, w *world, e *episode) {
		w.away(t, e, func() { w.fleet.Postgres.Freeze(t) }, func() { w.fleet.Postgres.Thaw(t) }, 0, 1, 2)
	}},
	{"cut", "one server's way to PostgreSQL swallows everything for longer than 60 s", func(t *testing.T, w *world, e *episode) {
		line := w.fleet.Server(1).Line
		w.away(t, e, line.Silence, line.Heal, 1)
	}},
}

// memoryAlone reports what needs no database, and so must not notice that it is away.
func memoryAlone(r result) bool { return slices.Contains(fromMemory, r.kind) }

// tangled reports a sign-in that was posted to a server that went: nobody knows then who
// took it.
func (w *world) tangled(r result) bool {
	return r.kind == signIn && slices.ContainsFunc([]int{0, 1, 2}, func(i int) bool { return w.watch.isDown(i, r.began, r.ended) })
}

// startServers starts what was killed, to last for all scenarios that follow.
func (w *world) startServers(servers ...int) {
	for _, i := range servers {
		w.fleet.Server(i).Start(w.t)
		end(w.watch, &w.watch.down, i)
	}
}

// away takes the database away from servers for longer than the bound.
func (w *world) away(t *testing.T, e *episode, take, give func(), servers ...int) {
	t.Helper()
	from := time.Now()
	begin(w.watch, &w.watch.cut, servers...)
	take()
	time.Sleep(time.Until(from.Add(*outage)))
	to := time.Now()
	give()
	end(w.watch, &w.watch.cut, servers...)
	within := from.Add(bound - 2*slack) // the last look at the database was a moment before
	e.spared = func(r result) bool {
		if r.server < 0 {
			return len(servers) < 3 // the others are there
		}
		if !slices.Contains(servers, r.server) {
			return r.kind != signIn // it is posted everywhere
		}
		return memoryAlone(r) && r.ended.Before(within)
	}
	e.silent = map[int]span{}
	for _, i := range servers {
		e.silent[i] = span{from.Add(bound + slack), to}
	}
}
