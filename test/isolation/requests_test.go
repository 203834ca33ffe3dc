//go:build interop

package isolation

import "testing"

// written asks every face as the owner, once plainly and then with requests that
// somebody else wrote.
func written(t *testing.T, more map[string][]string) {
	t.Helper()
	alice := attached(t, "alice")
	p := newPuppet(t, alice.Login, nil)
	for _, f := range faces() {
		t.Run(f.name, func(t *testing.T) {
			gets(t, "alice", f.ask(p, alice.Bearer))
			for name, lines := range more {
				nothing(t, name, f.ask(p, alice.Bearer, lines...))
			}
		})
	}
}

// TestAttackBrowserOrigin: a page in alice's own browser on the node asks with
// everything that a browser adds.
func TestAttackBrowserOrigin(t *testing.T) {
	written(t, map[string][]string{
		"another origin":      {"Origin: https://attacker.example"},
		"the face's own":      {"Origin: http://127.0.0.1:1018"},
		"an opaque one":       {"Origin: null"},
		"an empty one":        {"Origin:"},
		"fetch metadata":      {"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"},
		"a preflight":         {"Access-Control-Request-Method: GET"},
		"an image, same-site": {"Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: image"},
	})
}

// TestAttackForwardedHeaders: a server of alice's on the node is made to fetch for
// others, and says so, as proxies do.
func TestAttackForwardedHeaders(t *testing.T) {
	written(t, map[string][]string{
		"X-Forwarded-For":   {"X-Forwarded-For: 203.0.113.9"},
		"an empty one":      {"X-Forwarded-For:"},
		"X-Forwarded-Host":  {"X-Forwarded-Host: attacker.example"},
		"X-Forwarded-Proto": {"X-Forwarded-Proto: https"},
		"Forwarded":         {"Forwarded: for=203.0.113.9;host=attacker.example"},
		"Via":               {"Via: 1.1 proxy"},
		"X-Real-IP":         {"X-Real-IP: 203.0.113.9"},
	})
}

// TestAttackDNSRebinding: a name of the attacker's resolves to loopback, so the request
// names the attacker's host.
func TestAttackDNSRebinding(t *testing.T) {
	alice := attached(t, "alice")
	p := newPuppet(t, alice.Login, nil)
	for _, f := range faces() {
		t.Run(f.name, func(t *testing.T) {
			gets(t, "alice", f.ask(p, alice.Bearer))
			for _, host := range []string{"attacker.example", "attacker.example:1018", "127.0.0.1.attacker.example", "127.0.0.2:1018", "0.0.0.0:1018", "[::]:1018", "127.1:1018", "sales.localhost:1018", ""} {
				other := f
				other.lines = func(bearer string, more ...string) []string {
					lines := f.lines(bearer, more...)
					lines[1] = "Host: " + host
					return lines
				}
				nothing(t, "host "+host, other.ask(p, alice.Bearer))
			}
			two := f
			two.lines = func(bearer string, more ...string) []string {
				return append(f.lines(bearer, more...), "Host: attacker.example")
			}
			nothing(t, "two hosts", two.ask(p, alice.Bearer))
		})
	}
}
