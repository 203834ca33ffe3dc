package node

import (
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/binding"
)

// table is a list of attachments from which ended ones go.
type table struct {
	all   []binding.Attachment
	ended map[identity.AttachmentID]binding.Why
}

func (t *table) Each(show func(a *binding.Attachment)) {
	for i := range t.all {
		if t.ended[t.all[i].ID] == "" {
			show(&t.all[i])
		}
	}
}

func (t *table) End(id identity.AttachmentID, why binding.Why) { t.ended[id] = why }

func TestAttachmentsEndWithWhatTheyAreBoundTo(t *testing.T) {
	t.Parallel()
	now := time.Now()
	uids := map[uint32]bool{1001: true}
	gone := map[string]bool{}
	tb := &table{ended: map[identity.AttachmentID]binding.Why{}, all: []binding.Attachment{
		{ID: "scope", UID: 1000, Scope: "/s", ScopeID: 5},
		{ID: "there", UID: 1001, Scope: "/", ScopeID: 1},
		{ID: "late", UID: 1002, Scope: "/", ScopeID: 1},
		{ID: "never", UID: 1003, Scope: "/", ScopeID: 1},
	}}
	e := &Ends{Table: tb, Live: func(scope string, _ uint64) bool { return !gone[scope] }, UIDs: func() map[uint32]bool { return uids }, Now: func() time.Time { return now }}
	step := func(what string, want ...identity.AttachmentID) {
		t.Helper()
		e.look()
		if len(tb.ended) != len(want) {
			t.Fatalf("%s: %v ended, want %v", what, tb.ended, want)
		}
		for _, id := range want {
			if tb.ended[id] != binding.ScopeEnded {
				t.Fatalf("%s: %v ended, want %v", what, tb.ended, want)
			}
		}
	}
	step("all is there")
	uids = map[uint32]bool{1001: true, 1002: true}
	now = now.Add(arrive / 2)
	step("a process came")
	now = now.Add(arrive)
	step("one never came", "never")
	uids = map[uint32]bool{1001: true}
	step("the last process of an account went", "never", "late")
	gone["/s"] = true
	step("a scope went", "never", "late", "scope")
	uids = map[uint32]bool{}
	step("all went", "never", "late", "scope", "there")
	e.look()
	if len(e.seen) != 0 {
		t.Errorf("what ended is remembered: %v", e.seen)
	}
}

func FuzzProcessStatus(f *testing.F) {
	f.Add("Name:\tx\nUid:\t1000\t1000\t1000\t1000\n")
	f.Add("Uid:\n")
	f.Add("Uid:\t-1")
	f.Add("Uid:\t10000010000\t")
	f.Fuzz(func(t *testing.T, text string) {
		if uid, ok := realUID(text); !ok && uid != 0 {
			t.Errorf("%q: not read, and yet %d", text, uid)
		}
	})
}
