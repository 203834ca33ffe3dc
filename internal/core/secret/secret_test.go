package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/secret"
)

func TestASecretNeverPrints(t *testing.T) {
	const word = "hunter2-and-more"
	s := secret.New(word)
	nested := struct {
		Key  secret.Text
		Many []secret.Text
		Ptr  *secret.Text
	}{s, []secret.Text{s}, &s}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb, s)
		fmt.Fprintf(&out, verb, &s)
		fmt.Fprintf(&out, verb, nested)
	}
	j, err := json.Marshal(nested)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	x, err := xml.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(x)
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "s", s, "n", nested)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "s", s, "n", nested)
	if err := gob.NewEncoder(&out).Encode(s); err == nil {
		t.Error("gob wrote a secret")
	}
	if strings.Contains(out.String(), word) || strings.Contains(out.String(), fmt.Sprintf("%x", word)) {
		t.Fatalf("the secret got out:\n%s", out.String())
	}
	if !strings.Contains(out.String(), secret.Mask) {
		t.Fatal("nothing was masked: the test prints nothing")
	}
}

func TestRevealAndEqual(t *testing.T) {
	a, b := secret.New("x"), secret.New("x")
	if !a.Equal(b) || a.Equal(secret.New("y")) || a.Equal(secret.Text{}) {
		t.Error("Equal is wrong")
	}
	if a.Reveal() != "x" || a.IsZero() || !(secret.Text{}).IsZero() {
		t.Error("Reveal or IsZero is wrong")
	}
	if r := secret.Random(32); len(r.Reveal()) != 43 || r.Equal(secret.Random(32)) {
		t.Error("Random is wrong")
	}
}
