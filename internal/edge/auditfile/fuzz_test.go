package auditfile

import (
	"bytes"
	"strings"
	"testing"
)

const genuine = `{"writer":"aud_5b1c","seq":7,"hash":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","at":1767225600000,"signer":"9f86d081884c7d659a2feaa0c55ad015","signature":"c2lnbmF0dXJl"}`

// FuzzCheckpoints: the place outside is one where others may append. Whatever they do,
// each line is a checkpoint or a damaged one, and those that servers wrote are read.
func FuzzCheckpoints(f *testing.F) {
	for _, seed := range []string{"", "\n", genuine, genuine + "\n" + genuine[:40], `{"hash":"AAEC"}`, `{"seq":-1e400}`, "null", strings.Repeat("x", 10_000), genuine + "\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		all, damaged, err := parse(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(text, []byte("\n")) + 1; len(all)+damaged > lines {
			t.Errorf("%d checkpoints and %d damaged lines of %d", len(all), damaged, lines)
		}
		beside := append(append(append([]byte(genuine+"\n"), text...), '\n'), genuine...)
		more, _, err := parse(bytes.NewReader(beside))
		if err != nil || len(more) < 2 || more[0].Seq != 7 || more[len(more)-1].Seq != 7 || more[0].Writer != "aud_5b1c" {
			t.Errorf("%d checkpoints beside %q, %v", len(more), text, err)
		}
	})
}
