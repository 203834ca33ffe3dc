package audit_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
)

// lines gives an export of the whole trail.
func lines(t *testing.T, db *sql.DB) string {
	t.Helper()
	found, err := audit.Search(t.Context(), sqlaudit.Store{DB: db}, audit.Query{Oldest: true})
	if err != nil {
		t.Fatal(err)
	}
	text, err := audit.Lines(found.Documents)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func against(t *testing.T, db *sql.DB, copies ...string) audit.Report {
	t.Helper()
	var x audit.Expect
	for i, text := range copies {
		x.Copies = append(x.Copies, audit.ReadCopy(fmt.Sprintf("copy-%d", i), strings.NewReader(text)))
	}
	return verify(t, db, x)
}

// TestAttackHistoryWrittenAnew: whoever owns the database and the signing key can write
// a trail that is whole in itself. A copy kept elsewhere shows that it is another.
func TestAttackHistoryWrittenAnew(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	r := ring(t, db)
	a, b := open(t, db, r, nil), open(t, db, r, nil)
	for range 3 {
		write(t, a, 2)
		write(t, b, 1)
	}
	checkpoint(t, a)
	checkpoint(t, b)
	whole := lines(t, db)
	half := len(whole) / 2
	half += strings.IndexByte(whole[half:], '\n') + 1
	for name, copies := range map[string][]string{"whole": {whole}, "in parts": {whole[half:], whole[:half]}, "twice": {whole + whole}} {
		want := 9
		if name == "twice" {
			want = 18
		}
		if report := against(t, db, copies...); len(report.Problems) > 0 || report.Copied != want || report.Unreadable != 0 {
			t.Errorf("%s: %+v", name, report)
		}
	}

	change := func(statements ...string) {
		t.Helper()
		if err := db.Write(t.Context(), func(tx *sql.Tx) error {
			for _, s := range statements {
				if _, err := tx.Exec(s, a.Chain()); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	// Cut back by two records, head and checkpoint too: the database itself is whole.
	change(`DELETE FROM audit_record WHERE writer = $1 AND seq > 4`, `DELETE FROM audit_checkpoint WHERE writer = $1`,
		`UPDATE audit_chain SET seq = 4, hash = (SELECT hash FROM audit_record r WHERE r.writer = $1 AND r.seq = 4) WHERE writer = $1`)
	if report := verify(t, db, audit.Expect{}); len(report.Problems) > 0 {
		t.Fatalf("%q", report.Problems)
	}
	report := against(t, db, whole)
	if len(report.Problems) != 2 || !strings.Contains(report.Problems[0], "chain "+a.Chain()+" lacks record 5, which stands in line ") {
		t.Errorf("%q", report.Problems)
	}
	// Other records in their place, by the same program and key.
	again, err := audit.Continue(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	write(t, again, 2)
	checkpoint(t, again)
	if report := verify(t, db, audit.Expect{}); len(report.Problems) > 0 {
		t.Fatalf("%q", report.Problems)
	}
	report = against(t, db, whole)
	if len(report.Problems) != 2 || !strings.Contains(report.Problems[0], "record 5 of chain "+a.Chain()+" is another than in line ") {
		t.Errorf("%q", report.Problems)
	}
	// A whole chain gone.
	change(`DELETE FROM audit_record WHERE writer = $1`, `DELETE FROM audit_checkpoint WHERE writer = $1`, `DELETE FROM audit_chain WHERE writer = $1`)
	if report = against(t, db, whole); len(report.Problems) != 6 {
		t.Errorf("%q", report.Problems)
	}
}

// TestCopyChanged: a copy that somebody changed is told from one that was not.
func TestCopyChanged(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t)
	w := open(t, db, ring(t, db), nil)
	write(t, w, 3)
	checkpoint(t, w)
	whole := lines(t, db)
	parts := strings.SplitAfter(whole, "\n")
	for name, x := range map[string]struct{ copy, want string }{
		"a text":      {strings.Replace(whole, "s3://sales", "s3://other", 1), "line 1 of copy-0 says something else than record 1"},
		"a name":      {strings.Replace(whole, `"personId":"psn_a"`, `"personId":"psn_b"`, 1), "line 1 of copy-0 says something else"},
		"added":       {strings.Replace(whole, `"eventName"`, `"more":1,"eventName"`, 1), "line 1 of copy-0 says something else"},
		"a line less": {parts[0] + parts[2], "copy-0 lacks records 2 to 2 of chain"},
		"a foreign":   {whole + strings.ReplaceAll(parts[2], w.Chain(), "aud_other"), "chain aud_other lacks record 3"},
		"beyond":      {whole + strings.Replace(parts[2], `"seq":3`, `"seq":4`, 1), "lacks record 4"},
	} {
		if report := against(t, db, x.copy); len(report.Problems) != 1 || !strings.Contains(report.Problems[0], x.want) {
			t.Errorf("%s: %q", name, report.Problems)
		}
	}
	// What a power cut left, and what a release before did not write yet, are fine.
	older := strings.Replace(whole, `"outcome":"done",`, "", 1)
	if report := against(t, db, older[:len(older)-10]); len(report.Problems) > 0 || report.Copied != 2 || report.Unreadable != 1 {
		t.Errorf("%+v", report)
	}
}

// FuzzReadCopy: no line that somebody wrote breaks the reader.
func FuzzReadCopy(f *testing.F) {
	f.Add([]byte(`{"eventVersion":"1.0","eventID":"aud_a-1","eventTime":"2026-03-04T05:06:07.089Z","eventName":"sign-in","outcome":"done","userIdentity":{"type":"person"},"chain":{"writer":"aud_a","seq":1,"hash":"00"}}` + "\n"))
	f.Add([]byte("{\"chain\":{\"writer\":\"a\",\"seq\":-1}}\n\n[]\nnull\n{\"chain\":null}"))
	f.Add(bytes.Repeat([]byte("a"), 2<<20))
	f.Fuzz(func(t *testing.T, text []byte) {
		before := 0
		for line, err := range audit.ReadCopy("f", bytes.NewReader(text)).Lines {
			if err != nil {
				return
			}
			if line.Number <= before || line.Chain.Writer != "" && line.Chain.Seq < 1 {
				t.Errorf("%+v after line %d", line, before)
			}
			before = line.Number
		}
	})
}
