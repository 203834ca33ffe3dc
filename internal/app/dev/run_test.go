package dev_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/app/dev"
	"carnet.dev/carnet/internal/core/fault"
)

// check runs `carnet dev --check` and wants every hop to work.
func check(t *testing.T, o dev.Options) {
	t.Helper()
	out := &log{}
	if err := dev.Run(t.Context(), o, out, out); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	said := out.String()
	if strings.Count(said, "✓") != 8 || strings.Contains(said, "✗") || !strings.Contains(said, "denied: User: ") || !strings.Contains(said, "All hops work.") {
		t.Errorf("the walk says:\n%s", said)
	}
}

// TestTakenPortNamesItsFlag: nothing is started, nothing stays.
func TestTakenPortNamesItsFlag(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	for flag, ports := range map[string]dev.Ports{
		"--web-port": {Web: taken}, "--web-tls-port": {WebTLS: taken}, "--aws-port": {AWS: taken}, "--aws-tls-port": {AWSTLS: taken}, "--idp-port": {IdP: taken},
	} {
		o := options(t, filepath.Join(t.TempDir(), "data"))
		o.Ports = ports
		out := &log{}
		err := dev.Run(t.Context(), o, out, out)
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Of(err).Mend, flag+",") {
			t.Errorf("%s on a taken port: %v, mend %q", flag, err, fault.Of(err).Mend)
		}
		if out.String() != "" {
			t.Errorf("%s: it printed %q", flag, out)
		}
	}
}

// TestResetEmptiesOnlyItsOwn: a folder that somebody uses for something else
// stays as it is.
func TestResetEmptiesOnlyItsOwn(t *testing.T) {
	data := t.TempDir()
	letter := filepath.Join(data, "letter.txt")
	if err := os.WriteFile(letter, []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := options(t, data)
	o.Reset, o.Check = true, true
	err := dev.Run(context.Background(), o, &log{}, &log{})
	if err == nil || !strings.Contains(err.Error(), "is not a data folder of carnet dev") {
		t.Errorf("--reset on a foreign folder: %v", err)
	}
	if entries, err := os.ReadDir(data); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}
