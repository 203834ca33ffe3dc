//go:build interop

package idp

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

func inflate(message string) ([]byte, error) {
	deflated, err := base64.StdEncoding.DecodeString(message)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(flate.NewReader(bytes.NewReader(deflated)))
}

const attacksHead = `# SAML attacks that Carnet was tried with

Made by ` + "`make interop-idp`" + `. Each case is made by our own code from a valid response that the identity provider named sent in the same run, and posted to a running
Carnet over the wire: to its assertion consumer, which has to refuse it by the check named, and to its STS (` + "`AssumeRoleWithSAML`" + `), which has to refuse it too. Where
STS may take it, as AWS does, the column says *taken*: what is wrong there lies between the browser and Carnet, not in the assertion. Cases that need
the identity provider's own key, which no attacker has, show that the form of signatures is fixed. Honest variants have to get in.

`

// writeAttacks writes the table: a row per case, sources with the same answers
// side by side.
func writeAttacks(tb testing.TB, results []result) {
	tb.Helper()
	type key struct{ class, name, want, got, sts string }
	sources := map[key][]string{}
	counts := map[string][2]int{}
	var names []string
	for _, r := range results {
		k := key{r.class, r.name, r.want, r.got, r.sts}
		sources[k] = append(sources[k], r.source)
		if !slices.Contains(names, r.source) {
			names = append(names, r.source)
		}
		n := counts[r.source]
		if r.want == "" {
			n[1]++
		} else {
			n[0]++
		}
		counts[r.source] = n
	}
	var keys []key
	for k := range sources {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.name, b.name), cmp.Compare(a.got, b.got))
	})
	var b strings.Builder
	b.WriteString(attacksHead)
	b.WriteString("| Source | Attacks | Refused by their own check | Honest variants | Taken |\n|---|---|---|---|---|\n")
	for _, name := range names {
		n := counts[name]
		refused, taken := 0, 0
		for _, r := range results {
			if r.source == name && r.want == r.got {
				if r.want == "" {
					taken++
				} else {
					refused++
				}
			}
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", name, n[0], refused, n[1], taken)
	}
	b.WriteString("\n| Class | Case | Made from | Expected | Answer | STS |\n|---|---|---|---|---|---|\n")
	for _, k := range keys {
		from := strings.Join(sources[k], ", ")
		if len(sources[k]) == len(names) {
			from = "all"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", k.class, cell(k.name), from, orTaken(k.want), orTaken(k.got), orTaken(k.sts))
	}
	must(tb, os.MkdirAll("../../docs/security", 0o755))
	must(tb, os.WriteFile("../../docs/security/saml-attacks.md", []byte(b.String()), 0o644))
}

func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "]]>", "]]&gt;").Replace(s)
}

func orTaken(code string) string {
	if code == "" {
		return "taken"
	}
	if code == notAsked {
		return ""
	}
	return "`" + code + "`"
}
