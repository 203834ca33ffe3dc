package state_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	sqlonceonly "carnet.dev/carnet/internal/edge/sql/onceonly"
	sqlrevocation "carnet.dev/carnet/internal/edge/sql/revocation"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/edge/sql/state"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/keyring"
	"carnet.dev/carnet/internal/service/onceonly"
	"carnet.dev/carnet/internal/service/revocation"
)

const sealedSecret = "the secret access key of a role"

func keks(t testing.TB) keyring.KEKs {
	t.Helper()
	return parse(t, keyring.NewKEKFile())
}

func parse(t testing.TB, text []byte) keyring.KEKs {
	t.Helper()
	k, err := keyring.ParseKEKs(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openRing(t testing.TB, db *sql.DB, k keyring.KEKs) *keyring.Keyring {
	t.Helper()
	r, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: k, Server: "s", Now: time.Now})
	must(t, err)
	return r
}

// live is a database with something of everything in it.
func live(t testing.TB, db *sql.DB, k keyring.KEKs) {
	t.Helper()
	ring := openRing(t, db, k)
	box, err := ring.Seal("test", []byte("row"), []byte(sealedSecret))
	must(t, err)
	d := sqldirectory.On(db, time.Now)
	alice, _, err := d.EnsurePerson(t.Context(), "idp_a", "00u1", "Alice", "Ålice \"A\" <a>\n", "a@example.com")
	must(t, err)
	// The sealed value travels in a column for text of any kind.
	must(t, d.SetExternalID(t.Context(), alice.ID, fmt.Sprintf("%x", box)))
	g, err := d.NewGroup(t.Context(), "Analysts", "")
	must(t, err)
	must(t, d.Groups.AddMember(t.Context(), g.ID, string(alice.ID)))
	role, err := arn.ParseRole("arn:aws:iam::111122223333:role/analyst")
	must(t, err)
	must(t, d.MapRole(t.Context(), string(g.ID), role, directory.FromAdmin, ""))
	w, err := audit.Open(t.Context(), audit.Config{Store: sqlaudit.Store{DB: db}, Sealer: ring, Now: time.Now})
	must(t, err)
	must(t, db.Write(t.Context(), func(tx *sql.Tx) error { // an empty value, as a failed role has
		_, err := tx.Exec(`INSERT INTO role_session (login_session, role, place, session_name, assumed_role_arn, access_key_id,
			expiration, sealed, code, message, mend, ends) VALUES ('lgn_a', 'r', 0, '', '', '', 0, $1, 'AccessDenied', '', '', 0)`, []byte{})
		return err
	}))
	for range 3 {
		must(t, w.Record(t.Context(), event.Event{Action: "sign-in", Person: alice.ID}))
	}
	must(t, w.Checkpoint(t.Context()))
	feed, err := revocation.Open(t.Context(), revocation.Config{Store: sqlrevocation.Store{DB: db}, Server: "s", Now: time.Now})
	must(t, err)
	must(t, feed.RevokePeople(t.Context(), []identity.PersonID{"psn_gone"}))
	if won, err := once(db).Consume(t.Context(), "assertion", "used", time.Now().Add(time.Hour)); err != nil || !won {
		t.Fatal(won, err)
	}
}

func once(db *sql.DB) *onceonly.Once {
	return onceonly.New(sqlonceonly.Store{DB: db}, 100, time.Now)
}

// check holds a restored database to what live made.
func check(t *testing.T, db *sql.DB, k keyring.KEKs) {
	t.Helper()
	if pending, err := db.Pending(t.Context()); err != nil || len(pending) != 0 {
		t.Fatalf("the restored schema lacks %v, %v", pending, err)
	}
	ring := openRing(t, db, k)
	d := sqldirectory.On(db, time.Now)
	alice, err := d.Identities.ByUserName(t.Context(), "idp_a", "alice")
	must(t, err)
	if alice.DisplayName != "Ålice \"A\" <a>\n" || !alice.Active || alice.Administrator {
		t.Errorf("%+v", alice)
	}
	var box []byte
	if _, err := fmt.Sscanf(alice.ExternalID, "%x", &box); err != nil {
		t.Fatal(err)
	}
	if got, err := ring.Open("test", []byte("row"), box); err != nil || string(got) != sealedSecret {
		t.Errorf("the sealed secret is %q, %v", got, err)
	}
	if held, err := d.EffectiveRoles(t.Context(), string(alice.ID)); err != nil || len(held) != 1 || held[0].Sources[0].Through[0].Name != "Analysts" {
		t.Errorf("%+v, %v", held, err)
	}
	if rep, err := audit.Verify(t.Context(), sqlaudit.Store{DB: db}, audit.Expect{}); err != nil || rep.Records != 3 || len(rep.Problems) != 0 {
		t.Errorf("%+v, %v", rep, err)
	}
	feed, err := revocation.Open(t.Context(), revocation.Config{Store: sqlrevocation.Store{DB: db}, Server: "s", Now: time.Now})
	must(t, err)
	if refused, err := feed.Refused(revocation.Person, "psn_other", 1_000_000); err != nil || !refused {
		t.Errorf("a token from after the backup is taken (%v)", err)
	}
}

func finish(db *sql.DB) func(context.Context) error {
	return func(ctx context.Context) error { return sqlrevocation.Store{DB: db}.Restored(ctx, time.Now()) }
}

// empty opens a database without a schema.
func empty(t *testing.T, c sql.Config) *sql.DB {
	t.Helper()
	db, err := sql.Open(t.Context(), c)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}

func backup(t *testing.T, db *sql.DB, k keyring.KEKs) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, state.Backup(t.Context(), db, k, time.Now(), &b))
	return b.Bytes()
}

// TestAnyEngineIntoAnyEngine restores and imports from every engine into every
// engine of this build.
func TestAnyEngineIntoAnyEngine(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, from sql.Config) {
		k := keks(t)
		db := sqltest.OpenWith(t, from)
		live(t, db, k)
		sealed := backup(t, db, k)
		var readable bytes.Buffer
		must(t, state.Export(t.Context(), db, time.Now(), &readable))
		if bytes.Contains(sealed, []byte("alice")) || bytes.Contains(sealed, []byte("Alice")) {
			t.Error("the backup isn't sealed")
		}
		if strings.Contains(readable.String(), sealedSecret) {
			t.Error("the export holds an open secret")
		}
		sqltest.Each(t, func(t *testing.T, to sql.Config) {
			into := empty(t, to)
			must(t, state.Restore(t.Context(), into, k, bytes.NewReader(sealed), finish(into)))
			check(t, into, k)
			if won, err := once(into).Consume(t.Context(), "assertion", "used", time.Now().Add(time.Hour)); err != nil || won {
				t.Errorf("an id that was used is free again: %v, %v", won, err)
			}
		})
		sqltest.Each(t, func(t *testing.T, to sql.Config) {
			into := empty(t, to)
			must(t, state.Import(t.Context(), into, bytes.NewReader(readable.Bytes()), finish(into)))
			check(t, into, k)
		})
	})
}

func TestRestoreRefusesAndTouchesNothing(t *testing.T) {
	k := keks(t)
	db := sqltest.Open(t)
	live(t, db, k)
	good := backup(t, db, k)
	headerEnd := bytes.IndexByte(good, '\n') + 1
	change := func(at int) []byte { b := bytes.Clone(good); b[at] ^= 1; return b }
	for _, c := range []struct {
		name string
		file []byte
		keks keyring.KEKs
		kind fault.Kind
		code string
	}{
		{"the wrong key-encryption key", good, keks(t), fault.Misconfigured, "keyring.kek"},
		{"a changed byte in the middle", change(headerEnd + 100), k, fault.Invalid, "state.backup"},
		{"a changed byte at the end", change(len(good) - 1), k, fault.Invalid, "state.backup"},
		{"a changed header", bytes.Replace(good, []byte(`"created":"2`), []byte(`"created":"1`), 1), k, fault.Invalid, "state.backup"},
		{"cut short", good[:len(good)-20], k, fault.Invalid, "state.backup"},
		{"cut after the header", good[:headerEnd], k, fault.Invalid, "state.backup"},
		{"something appended", append(bytes.Clone(good), 'x'), k, fault.Invalid, "state.backup"},
		{"another schema claimed", bytes.Replace(good, []byte(`"0001_root":"`), []byte(`"0001_root":"0`), 1), k, fault.Invalid, "state.backup"},
		{"another file", []byte("hello\n"), k, fault.Invalid, "state.format"},
		{"an empty file", nil, k, fault.Invalid, "state.format"},
	} {
		if _, err := state.Verify(c.keks, bytes.NewReader(c.file)); !errors.Is(err, fault.Coded(c.kind, c.code, "")) {
			t.Errorf("%s, verified alone: %v", c.name, err)
		}
		path := filepath.Join(t.TempDir(), "new.db")
		into := empty(t, sql.Config{SQLite: path})
		err := state.Restore(t.Context(), into, c.keks, bytes.NewReader(c.file), finish(into))
		if !errors.Is(err, fault.Coded(c.kind, c.code, "")) {
			t.Errorf("%s: %v", c.name, err)
		}
		if f := fault.Of(err); f.Mend == "" {
			t.Errorf("%s: %v doesn't say what to do", c.name, err)
		}
		var tables int
		must(t, into.Read(t.Context(), func(tx *sql.Tx) error {
			return tx.QueryRow(`SELECT COUNT(*) FROM sqlite_master`).Scan(&tables)
		}))
		if tables != 0 {
			t.Errorf("%s: the refused restore left %d tables", c.name, tables)
		}
	}
	if _, err := state.Verify(k, bytes.NewReader(good)); err != nil {
		t.Errorf("a whole backup: %v", err)
	}
	before := backupText(t, db)
	err := state.Restore(t.Context(), db, k, bytes.NewReader(good), finish(db))
	if !errors.Is(err, fault.New(fault.Conflict, "")) || backupText(t, db) != before {
		t.Errorf("a database in use was restored over: %v", err)
	}
}

func backupText(t *testing.T, db *sql.DB) string {
	t.Helper()
	var b bytes.Buffer
	must(t, state.Export(t.Context(), db, time.Unix(0, 0), &b))
	return b.String()
}

// TestImportTakesNamesFromNobody: an export is text that someone may have
// edited; its names get into SQL only when they are this schema's.
func TestImportTakesNamesFromNobody(t *testing.T) {
	db := sqltest.Open(t)
	good := backupText(t, db)
	first, _, _ := strings.Cut(good, "\n")
	for name, rows := range map[string]string{
		"a table of the engine":  `{"table":"sqlite_master","columns":["name"]}`,
		"a table with a tail":    `{"table":"topic; DROP TABLE person","columns":["name"]}`,
		"a column with a tail":   `{"table":"person_group","columns":["id) VALUES (1); DROP TABLE person; --"]}`,
		"the list of migrations": `{"table":"schema_migration","columns":["name"]}`,
		"rows before a table":    `{"row":[1]}`,
		"a row of another width": "{\"table\":\"person_group\",\"columns\":[\"id\",\"name\"]}\n{\"row\":[\"a\"]}",
		"no end":                 `{"table":"person_group","columns":["id"]}`,
		"a wrong end":            `{"end":7}`,
		"more after the end":     "{\"end\":1}\n{\"end\":1}",
		"not JSON":               `x`,
	} {
		into := empty(t, sql.Config{SQLite: filepath.Join(t.TempDir(), "new.db")})
		err := state.Import(t.Context(), into, strings.NewReader(first+"\n"+rows+"\n"), finish(into))
		if !errors.Is(err, fault.Coded(fault.Invalid, "state.backup", "")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestImportRefusesASchemaFromTheFuture(t *testing.T) {
	good := backupText(t, sqltest.Open(t))
	for name, bad := range map[string]string{
		"another text of a step": strings.Replace(good, `"0001_root":"`, `"0001_root":"0`, 1),
		"an unknown step":        strings.Replace(good, `"0001_root":`, `"9999_later":"0","0001_root":`, 1),
	} {
		into := empty(t, sql.Config{SQLite: filepath.Join(t.TempDir(), "new.db")})
		if err := state.Import(t.Context(), into, strings.NewReader(bad), finish(into)); !errors.Is(err, fault.New(fault.Misconfigured, "")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWriteFileIsPrivateAndWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backup")
	wrong := errors.New("disk full")
	if err := state.WriteFile(path, func(io.Writer) error { return wrong }); !errors.Is(err, wrong) {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("a failed backup leaves a file")
	}
	write := func(w io.Writer) error { _, err := io.WriteString(w, "x"); return err }
	must(t, state.WriteFile(path, write))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := state.WriteFile(path, write); err == nil {
		t.Error("a file was written over")
	}
}

// TestTheFirstBackupRestores: a sealed backup of the first schema, kept with
// its test key, restores into the newest.
func TestTheFirstBackupRestores(t *testing.T) {
	sealed, err := os.ReadFile("testdata/first.backup")
	must(t, err)
	text, err := os.ReadFile("testdata/first.kek")
	must(t, err)
	k := parse(t, text)
	line, _, _ := bytes.Cut(sealed, []byte("\n"))
	var h struct{ Schema map[string]string }
	must(t, json.Unmarshal(line, &h))
	if len(h.Schema) != 6 {
		t.Fatalf("the first schema has 6 steps, the backup %d", len(h.Schema))
	}
	sqltest.Each(t, func(t *testing.T, to sql.Config) {
		into := empty(t, to)
		must(t, state.Restore(t.Context(), into, k, bytes.NewReader(sealed), finish(into)))
		check(t, into, k)
	})
	other := empty(t, sql.Config{SQLite: filepath.Join(t.TempDir(), "new.db")})
	if err := state.Restore(t.Context(), other, keks(t), bytes.NewReader(sealed), finish(other)); !errors.Is(err, fault.Coded(fault.Misconfigured, "keyring.kek", "")) {
		t.Errorf("another key: %v", err)
	}
}
