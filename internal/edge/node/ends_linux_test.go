package node

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/attest"
	"carnet.dev/carnet/internal/service/binding"
)

// sleeper starts a process, and says when it began.
func sleeper(t *testing.T) (*exec.Cmd, *attest.Process) {
	t.Helper()
	c := exec.Command("sleep", "600")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	started, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	p := attest.Again(c.Process.Pid, started)
	if err := p.Alive(); err != nil {
		t.Fatal(err)
	}
	return c, p
}

// TestAttackLeaderEndsWhileTheAgentIsAway: a login without a control group of its own ends
// while the agent restarts, and another process gets its leader's number. Whoever works
// under the uid later is not who attached.
func TestAttackLeaderEndsWhileTheAgentIsAway(t *testing.T) {
	t.Parallel()
	tb := &table{ended: map[identity.AttachmentID]binding.Why{}, all: []binding.Attachment{
		{ID: "stays", UID: 1000, Scope: "/", ScopeID: 1}, {ID: "ends", UID: 1001, Scope: "/", ScopeID: 1}, {ID: "reused", UID: 1002, Scope: "/", ScopeID: 1},
	}}
	var kept []Leader
	run := func(table Table, from []Leader) *Ends {
		return &Ends{
			Table: table, UIDs: func() map[uint32]bool { return map[uint32]bool{1000: true, 1001: true, 1002: true} }, Now: time.Now,
			Kept: from, Keep: func(all []Leader) error { kept = slices.Clone(all); return nil },
		}
	}
	_, stays := sleeper(t)
	process, ends := sleeper(t)
	before := run(tb, nil)
	before.Follow("stays", stays)
	before.Follow("ends", ends)
	before.Follow("reused", attest.Again(stays.PID, stays.Started))
	before.look()
	if len(tb.ended) != 0 || len(kept) != 3 {
		t.Fatalf("ended: %v; kept: %v", tb.ended, kept)
	}
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait()
	for i := range kept {
		if kept[i].Attachment == "reused" {
			kept[i].Started-- // an earlier process of that number
		}
	}
	late := &table{ended: tb.ended}
	after := run(late, kept)
	after.look() // before the server said who is attached
	late.all = tb.all
	after.look()
	if len(tb.ended) != 2 || tb.ended["ends"] != binding.ScopeEnded || tb.ended["reused"] != binding.ScopeEnded {
		t.Errorf("ended: %v", tb.ended)
	}
	after.look()
	if len(kept) != 1 || kept[0].Attachment != "stays" {
		t.Errorf("kept: %v", kept)
	}
}
