package server

import (
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/service/audit"
)

// TestAttackTerminal: nothing that an event holds, or a server says, drives the terminal
// of who searches.
func TestAttackTerminal(t *testing.T) {
	t.Parallel()
	const evil = "\x1b[2J\u009b31m\u202e\n\r\x07 x"
	d := audit.Document{EventName: evil, Outcome: event.Outcome(evil), ErrorCode: evil, UserIdentity: audit.UserIdentity{UserName: evil, Role: evil}, Target: evil, SourceIP: evil, RequestID: evil}
	text := auditLines(audit.Found{Documents: []audit.Document{d}, Next: evil})
	if strings.ContainsAny(text, "\x1b\u009b\u202e\r\x07") || strings.Count(text, "\n") != 1 {
		t.Errorf("%q", text)
	}
}
