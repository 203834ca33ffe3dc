package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// planted writes a ledger of one secret and one file, and searches.
func planted(t *testing.T, secret, name, text string) tally {
	t.Helper()
	place := t.TempDir()
	written, ledger := filepath.Join(place, "written"), filepath.Join(place, "ledger")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(written, filepath.Dir(name)), 0o700),
		os.WriteFile(filepath.Join(written, name), []byte(text), 0o600),
		os.WriteFile(ledger, []byte(base64.StdEncoding.EncodeToString([]byte(secret))+"\n"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	found, err := search(ledger, written, "p", "a constant of tests")
	if err != nil || found.secrets != 1 || found.files != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	return found
}

// TestAttackPlantedSecrets: a secret that was written is found in each form and place, and
// what looks like none is not.
func TestAttackPlantedSecrets(t *testing.T) {
	t.Parallel()
	var long strings.Builder
	for i := range 200 {
		fmt.Fprintf(&long, "%x~", 7919*i)
	}
	for _, secret := range []string{"q7/Rw+zK!pL0vX9s", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYq0x1y2z3A4", long.String()} {
		forms := map[string]string{"raw": secret, "in JSON": `{"x":"` + secret + `"}`, "as a parameter": url.QueryEscape(secret), "in a path": url.PathEscape(secret),
			"as hex": hex.EncodeToString([]byte(secret)), "as HEX": strings.ToUpper(hex.EncodeToString([]byte(secret)))}
		for before := range 5 {
			text := []byte("user:"[:before] + secret + "\n")
			forms[fmt.Sprintf("as base64 behind %d", before)] = base64.StdEncoding.EncodeToString(text)
			forms[fmt.Sprintf("as base64url behind %d", before)] = base64.RawURLEncoding.EncodeToString(text)
		}
		for how, text := range forms {
			for _, name := range []string{"log", "a/b/c.db"} {
				if found := planted(t, secret, name, "before "+text+" after"); len(found.leaks) == 0 {
					t.Errorf("%q %s in %s: %v", secret, how, name, found.leaks)
				}
			}
			if found := planted(t, secret, "tls.key", text); len(found.leaks) != 0 || found.allowed == 0 {
				t.Errorf("%q in a file for secrets: %+v", secret, found)
			}
		}
		if found := planted(t, secret, "log", secret[:len(secret)-1]+" nothing"); len(found.leaks) != 0 {
			t.Errorf("%q: %v", secret, found.leaks)
		}
	}
}

// TestIDsAreNoSecrets: an access key's id may stand anywhere; what only begins like one
// may not.
func TestIDsAreNoSecrets(t *testing.T) {
	t.Parallel()
	place := t.TempDir()
	written, ledger := filepath.Join(place, "written"), filepath.Join(place, "ledger")
	if err := os.MkdirAll(written, 0o700); err != nil {
		t.Fatal(err)
	}
	const id, secret = "AKIAQ7RWZKPL0VX9SJN2", "AKIAQ7RWzKpL0vX9sJn2+"
	line := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) + "\n" }
	for _, err := range []error{
		os.WriteFile(ledger, []byte(line(id)+line(secret)), 0o600),
		os.WriteFile(filepath.Join(written, "log"), []byte(id+" "+secret), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if found, err := search(ledger, written, "p", ""); err != nil || found.secrets != 1 || len(found.leaks) != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestAttackNothingNoted: tests that handled no secret, or wrote nothing, prove nothing,
// whatever others did.
func TestAttackNothingNoted(t *testing.T) {
	t.Parallel()
	good := tally{secrets: leastSecrets, bytes: leastBytes}
	for name, c := range map[string]struct {
		each []tally
		ok   bool
	}{
		"one that looked":           {[]tally{good}, true},
		"no package":                {nil, false},
		"one beside it that didn't": {[]tally{good, {bytes: leastBytes}}, false},
		"little written":            {[]tally{{secrets: leastSecrets, bytes: 10}}, false},
		"a leak":                    {[]tally{{secrets: leastSecrets, bytes: leastBytes, leaks: []string{"x"}}}, false},
	} {
		if err := judge(c.each); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
