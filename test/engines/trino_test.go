//go:build interop

package engines

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// passwordFile gives each person a password, and Trino's file of them.
func passwordFile(t *testing.T) (map[string]string, string) {
	t.Helper()
	passwords, file := map[string]string{}, ""
	for name := range people {
		passwords[name] = random()
		salt := make([]byte, 16)
		_, _ = rand.Read(salt)
		hash, err := pbkdf2.Key(sha1.New, passwords[name], salt, 10_000, 20)
		if err != nil {
			t.Fatal(err)
		}
		file += fmt.Sprintf("%s:10000:%s:%s\n", name, hex.EncodeToString(salt), hex.EncodeToString(hash))
	}
	return passwords, file
}

// tables makes the metastore know each person's two tables. It is a folder: tables are
// made over empty folders beside it, then said to be in S3, since this kind of
// metastore would look there as a user of its own, who has no rule.
func (a asker) tables(t *testing.T, local string) {
	t.Helper()
	lines := []string{"CREATE SCHEMA lake.s"}
	for name := range people {
		lines = append(lines,
			"CREATE TABLE lake.s.own_"+name+" (owner varchar, i varchar) WITH (format = 'CSV', external_location = 'local:///own-"+name+"', skip_header_line_count = 1)",
			"CREATE TABLE lake.s.copy_"+name+" (owner varchar, i varchar) WITH (format = 'PARQUET', external_location = 'local:///copy-"+name+"')")
	}
	for i, got := range a.ask(t, "alice", a.passwords["alice"], "alice", lines...) {
		if got != "[]" {
			t.Fatalf("%s: %s", lines[i], got)
		}
	}
	known, err := filepath.Glob(filepath.Join(local, "metastore", "s", "*", ".trinoSchema"))
	if err != nil || len(known) != 2*len(people) {
		t.Fatalf("the metastore knows %v %v", known, err)
	}
	for _, file := range known {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		said := string(text)
		for name := range people {
			said = strings.NewReplacer("local:///own-"+name, "s3://"+bucketOf(name)+"/own/", "local:///copy-"+name, "s3://"+bucketOf(name)+"/trino/").Replace(said)
		}
		if err := os.WriteFile(file, []byte(said), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// both has each person read and write, and try what is the other's.
func (a asker) both(t *testing.T) {
	t.Helper()
	for name := range people {
		other, all := otherThan(name), fmt.Sprintf("[[%d]]", rows)
		steps := []struct{ sql, want string }{
			{"SELECT count(*) FROM lake.s.own_" + name + " WHERE owner = '" + name + "'", all},
			{"INSERT INTO lake.s.copy_" + name + " SELECT * FROM lake.s.own_" + name, all},
			{"SELECT count(*) FROM lake.s.copy_" + name, all},
			{"SELECT count(*) FROM lake.s.own_" + other, "HIVE_FILESYSTEM_ERROR: Failed to list directory: s3://" + bucketOf(other)},
			{"INSERT INTO lake.s.copy_" + other + " SELECT 'x', 'y'", "HIVE_WRITER_CLOSE_ERROR"},
		}
		var lines []string
		for _, s := range steps {
			lines = append(lines, s.sql)
		}
		for i, got := range a.ask(t, name, a.passwords[name], name, lines...) {
			if !strings.Contains(got, steps[i].want) {
				t.Errorf("%s: %s: %s, want %s", name, steps[i].sql, got, steps[i].want)
			}
		}
		if got := a.ask(t, name, a.passwords[name], other, "SELECT current_user")[0]; !strings.Contains(got, "cannot impersonate") {
			t.Errorf("%s asks as %s: %s", name, other, got)
		}
		if got := a.ask(t, name, "wrong", name, "SELECT 1")[0]; !strings.Contains(got, "401") {
			t.Errorf("%s with a wrong password: %s", name, got)
		}
	}
}
