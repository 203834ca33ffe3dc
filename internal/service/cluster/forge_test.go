package cluster_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/revocation"
)

const viewBound = revocation.DefaultBound

func secretOf(text string) secret.Text { return secret.New(text) }

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// noneOf writes a token as if nobody had to sign it.
func noneOf(token string) string {
	return encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + strings.Split(token, ".")[1] + "."
}

// changed flips a bit of a token's signature.
func changed(token string) string {
	i := strings.LastIndexByte(token, '.') + 10
	return token[:i] + string(rune('A'+(token[i]+1)%26)) + token[i+1:]
}

// flip changes one character in the midst.
func flip(text string) string {
	i := len(text) / 2
	c := byte('A')
	if text[i] == c {
		c = 'B'
	}
	return text[:i] + string(c) + text[i+1:]
}

// FuzzNodeOf: whatever a stranger sends as an access token is no node.
func FuzzNodeOf(f *testing.F) {
	w := newWorld(f)
	m := w.join(w.add(cluster.Defaults("lab", cluster.Standard)), "worker-1")
	n, err := w.Prove(f.Context(), m.assert(), audience)
	w.must(err)
	token, _, err := w.IssueNodeToken(n)
	w.must(err)
	for _, text := range []string{token.Reveal(), "carnet-node-", "", "carnet-node-AAAA", m.assert()} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := w.NodeOf(t.Context(), secretOf(text)); err == nil && text != token.Reveal() {
			t.Errorf("%q is %v", text, got)
		}
	})
}

// FuzzProve: only what a node signed proves it.
func FuzzProve(f *testing.F) {
	w := newWorld(f)
	m := w.join(w.add(cluster.Defaults("lab", cluster.Standard)), "worker-1")
	stranger, _ := newKey(f)
	for _, text := range []string{m.sign(stranger, string(m.node.ID)), noneOf(m.assert()), changed(m.assert()), "a.b.c", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := w.Prove(t.Context(), text, audience); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	})
}
