package audit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
)

// tables are those of the trail, with their keys. A table audit_… that is in neither
// list fails the test: nobody has said what changing it does.
var tables = map[string][]string{
	"audit_record":     {"writer", "seq"},
	"audit_chain":      {"writer"},
	"audit_checkpoint": {"writer", "seq"},
	"audit_signer":     {"id"},
}

// beside are tables that prove nothing, and why.
var beside = map[string]string{
	"audit_target":       "who feeds a target; what it read is proven where it lies",
	"audit_target_place": "says how far a target has read; what it read is proven where it lies",
}

// notFound are the columns that verify can't prove, by design, and why that does no
// harm. docs/operations/audit.md says the same.
var notFound = map[string]string{
	"audit_signer.sealed":  "verify has no key to open it; a server that starts proves it, and refuses",
	"audit_signer.created": "orders several keys; each checkpoint names its own",
}

// trail is a realistic one: two servers at once, one that was killed, checkpoints in the
// database and outside, aggregated noise, and a beginning that was pruned.
type trail struct {
	db     *sql.DB
	kept   *outside
	signer string
	// chains by what they are: long was pruned, killed ends without a signature, plain
	// has its last two records under a checkpoint that lies in the database alone.
	long, killed, plain string
	old                 map[string][]row // what the database held before the last hour
}

type row map[string]any

func newTrail(t *testing.T, c sql.Config) *trail {
	t.Helper()
	db := sqltest.OpenWith(t, c)
	x := &trail{db: db, kept: &outside{}}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ring := ring(t, db)
	begin := func(out audit.Outside) *audit.Writer {
		w, err := audit.Open(t.Context(), audit.Config{Store: sqlaudit.Store{DB: db}, Sealer: ring, Outside: out, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	write := func(w *audit.Writer, n int) {
		for i := range n {
			e := event.Event{Action: "exchange", Person: "psn_a", UserName: "ann", Target: "arn:aws:iam::111122223333:role/analyst", Source: "192.0.2.7"}
			if i%3 == 1 { // noise, and how often it was
				e = event.Event{Action: "s3.GetObject", Outcome: event.Denied, Code: "AccessDenied", Target: "s3://hr", Detail: map[string]string{"repeated": "812", "since": "2026-01-01T00:00:00Z"}}
			}
			if err := w.Record(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			now = now.Add(40 * time.Second)
		}
	}
	long, killed := begin(x.kept), begin(x.kept)
	x.signer, x.long, x.killed = long.Signer(), long.Chain(), killed.Chain()
	for range 3 {
		write(long, 3)
		checkpoint(t, long)
		now = now.Add(24 * time.Hour)
	}
	write(killed, 3)
	checkpoint(t, killed)
	if cut, err := long.Prune(t.Context(), sqlaudit.Store{DB: db}, audit.Retention{Before: now.Add(-36 * time.Hour)}); err != nil || cut.Records != 6 {
		t.Fatalf("pruned %+v, %v", cut, err)
	}
	write(long, 2)
	checkpoint(t, long)
	x.old = x.dump(t)
	plain := begin(x.kept)
	x.plain = plain.Chain()
	write(plain, 4)
	checkpoint(t, plain)
	plain.Outside = nil
	write(plain, 2)
	checkpoint(t, plain)
	write(killed, 1) // and it is killed
	write(long, 3)
	checkpoint(t, long)
	return x
}

// columns gives the columns of each table of the trail, as the engine has them.
func (x *trail) columns(t *testing.T) map[string][]string {
	t.Helper()
	query := `SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' AND m.name LIKE 'audit_%' ORDER BY 1, p.cid`
	if x.db.Engine() != "sqlite" {
		query = `SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = current_schema() AND table_name LIKE 'audit_%' ORDER BY 1, ordinal_position`
	}
	all := map[string][]string{}
	if err := x.db.Read(t.Context(), func(tx *sql.Tx) error {
		clear(all)
		return tx.Each(query, nil, func(scan func(...any) error) error {
			var table, column string
			err := scan(&table, &column)
			all[table] = append(all[table], column)
			return err
		})
	}); err != nil {
		t.Fatal(err)
	}
	for table := range all {
		if _, ok := tables[table]; !ok {
			if beside[table] == "" {
				t.Errorf("table %s: nobody has said whether it is part of the proof", table)
			}
			delete(all, table)
		}
	}
	if len(all) != len(tables) {
		t.Fatalf("the tables are %v", slices.Collect(maps.Keys(all)))
	}
	return all
}

// dump gives everything that is stored.
func (x *trail) dump(t *testing.T) map[string][]row {
	t.Helper()
	out := map[string][]row{}
	for table, columns := range x.columns(t) {
		out[table] = nil
		if err := x.db.Read(t.Context(), func(tx *sql.Tx) error {
			out[table] = nil
			return tx.Each(`SELECT `+strings.Join(columns, ", ")+` FROM `+table+` ORDER BY `+strings.Join(tables[table], ", "), nil, func(scan func(...any) error) error {
				values := make([]any, len(columns))
				into := make([]any, len(columns))
				for i := range values {
					into[i] = &values[i]
				}
				if err := scan(into...); err != nil {
					return err
				}
				r := row{}
				for i, c := range columns {
					if b, ok := values[i].([]byte); ok {
						values[i] = bytes.Clone(b)
					}
					r[c] = values[i]
				}
				out[table] = append(out[table], r)
				return nil
			})
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

var errBack = errors.New("rolled back")

// after gives what verify says once change was done, and undoes it. refused is whether
// the engine takes no such value.
func (x *trail) after(t *testing.T, expect audit.Expect, change func(exec func(query string, args ...any) error) error) (problems []string, report audit.Report, refused bool) {
	t.Helper()
	err := x.db.Atomic(t.Context(), func(ctx context.Context) error {
		if err := x.db.Write(ctx, func(tx *sql.Tx) error {
			return change(func(query string, args ...any) error { _, err := tx.Exec(query, args...); return err })
		}); err != nil {
			refused = true
			return errBack
		}
		var err error
		if report, err = audit.Verify(ctx, sqlaudit.Store{DB: x.db}, expect); err != nil {
			report.Problems = append(report.Problems, "can't be read: "+err.Error())
		}
		return errBack
	})
	if !errors.Is(err, errBack) && !refused {
		t.Fatal(err)
	}
	return report.Problems, report, refused
}

func (x *trail) expect() audit.Expect {
	return audit.Expect{Signers: []string{x.signer}, Outside: x.kept.kept, Unsigned: audit.MostUnsigned}
}

// values gives others than v, one for each way in which a value can be another.
func values(v, next any) map[string]any {
	out := map[string]any{"null": nil}
	switch v := v.(type) {
	case string:
		out["one letter more"], out["empty"], out["last letter"] = v+"x", "", v[:max(0, len(v)-1)]+"~"
		if up := strings.ToUpper(v); up != v {
			out["letter case"] = up
		}
		out["a blank before"] = " " + v
	case int64:
		out["one more"], out["one less"], out["nothing"], out["negative"], out["largest"] = v+1, v-1, int64(0), -v-1, int64(1)<<62
	case []byte:
		first, last := bytes.Clone(v), bytes.Clone(v)
		first[0] ^= 0x80
		last[len(last)-1] ^= 1
		out["first bit"], out["last bit"], out["one byte more"], out["one byte less"] = first, last, append(bytes.Clone(v), 0), v[:len(v)-1]
		out["empty"], out["zeroes"] = []byte{}, make([]byte, len(v))
	}
	if next != nil && fmt.Sprint(next) != fmt.Sprint(v) {
		out["another row's"] = next
	}
	return out
}

// TestAttackEveryColumn changes each column of each row of each table in each way.
func TestAttackEveryColumn(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		x := newTrail(t, c)
		if rep := verify(t, x.db, x.expect()); len(rep.Problems) != 0 || rep.Cut != 1 || rep.Unsigned != 1 || len(rep.Open) != 1 {
			t.Fatalf("untouched: %+v", rep)
		}
		all, tried := x.dump(t), 0
		for table, columns := range x.columns(t) {
			for _, column := range columns {
				took := 0
				for i, r := range all[table] {
					var next any
					if len(all[table]) > 1 {
						next = all[table][(i+1)%len(all[table])][column]
					}
					for how, v := range values(r[column], next) {
						if i%4 != 0 && !slices.Contains([]string{"one letter more", "one more", "first bit", "another row's"}, how) {
							continue // every way in every fourth row, four ways in each
						}
						problems, _, refused := x.after(t, x.expect(), func(exec func(string, ...any) error) error {
							args, where := []any{v}, []string{}
							for _, k := range tables[table] {
								args = append(args, r[k])
								where = append(where, fmt.Sprintf("%s = $%d", k, len(args)))
							}
							return exec(`UPDATE `+table+` SET `+column+` = $1 WHERE `+strings.Join(where, " AND "), args...)
						})
						if refused || fmt.Sprint(v) == fmt.Sprint(r[column]) {
							continue
						}
						took++
						if name := table + "." + column; len(problems) == 0 && notFound[name] == "" {
							t.Errorf("%s of row %d, %s: not found", name, i, how)
						} else if len(problems) > 0 && notFound[name] != "" {
							t.Errorf("%s, %s: found, though it is listed as what can't be: %v", name, how, problems)
						}
					}
				}
				if took < 3 {
					t.Errorf("%s.%s: %d changes were tried", table, column, took)
				}
				tried += took
			}
		}
		t.Logf("%d changes", tried)
	})
}

// link is the hash of a record, by the form that the documents describe.
func link(prev []byte, r row) []byte {
	b := append([]byte("carnet audit v1\x00"), prev...)
	b = binary.BigEndian.AppendUint64(b, uint64(r["seq"].(int64)))
	b = binary.BigEndian.AppendUint64(b, uint64(r["at"].(int64)))
	for _, c := range []string{"writer", "action", "person", "body"} {
		s := fmt.Sprint(r[c])
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// of gives the records of a chain.
func of(all map[string][]row, writer string) (records []row) {
	for _, r := range all["audit_record"] {
		if r["writer"] == writer {
			records = append(records, maps.Clone(r))
		}
	}
	return records
}

// rewrite puts records in the place of a chain's, linked anew from the one before at on,
// and moves the head, as one does who knows how it is done and has no key.
func rewrite(exec func(string, ...any) error, writer string, prev []byte, records []row) error {
	if err := exec(`DELETE FROM audit_record WHERE writer = $1`, writer); err != nil {
		return err
	}
	if len(records) == 0 {
		return exec(`DELETE FROM audit_chain WHERE writer = $1`, writer)
	}
	for _, r := range records {
		r["hash"] = link(prev, r)
		prev = r["hash"].([]byte)
		if err := exec(`INSERT INTO audit_record (writer, seq, at, action, person, body, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			r["writer"], r["seq"], r["at"], r["action"], r["person"], r["body"], r["hash"]); err != nil {
			return err
		}
	}
	return exec(`UPDATE audit_chain SET seq = $2, hash = $3 WHERE writer = $1`, writer, records[len(records)-1]["seq"], prev)
}

// covered tells the last record of a chain that a checkpoint is over: one that is kept
// outside, and one of any kind.
func (x *trail) covered(all map[string][]row, writer string) (kept, either int64) {
	for _, c := range x.kept.kept {
		if c.Writer == writer {
			kept = max(kept, c.Seq)
		}
	}
	for _, c := range all["audit_checkpoint"] {
		if c["writer"] == writer {
			either = max(either, c["seq"].(int64))
		}
	}
	return kept, max(kept, either)
}

// TestAttackRewriting removes, reorders, adds and cuts at every place, by one who links
// the chain anew: found up to the last checkpoint, and after it listed as open.
func TestAttackRewriting(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		x := newTrail(t, c)
		all := x.dump(t)
		signed, open := 0, 0
		for _, writer := range []string{x.long, x.killed, x.plain} {
			kept, either := x.covered(all, writer)
			begin := make([]byte, 32) // before the first record that is there
			first := of(all, writer)[0]["seq"].(int64)
			for _, m := range all["audit_checkpoint"] {
				if m["writer"] == writer && m["seq"] == first-1 {
					begin = m["hash"].([]byte)
				}
			}
			for _, forget := range []bool{false, true} { // the checkpoints in the database, too
				last := either
				if forget {
					last = kept
				}
				n := len(of(all, writer))
				for i := range n {
					for name, change := range map[string]func(r []row) []row{
						"changed": func(r []row) []row {
							r[i]["body"] = strings.Replace(fmt.Sprint(r[i]["body"]), "ann", "eve", 1) + " "
							return r
						},
						"removed":   func(r []row) []row { return renumber(slices.Delete(r, i, i+1), first) },
						"reordered": func(r []row) []row { r[i], r[(i+1)%n] = r[(i+1)%n], r[i]; return renumber(r, first) },
						"inserted":  func(r []row) []row { return renumber(slices.Insert(r, i, maps.Clone(r[i])), first) },
						"cut":       func(r []row) []row { return r[:i] },
					} {
						r := of(all, writer)
						at := min(r[i]["seq"].(int64), r[(i+1)%n]["seq"].(int64))
						switch name {
						case "reordered":
						case "inserted": // a copy, before itself: what it is put before is another one
							at = r[i]["seq"].(int64) + 1
						default:
							at = r[i]["seq"].(int64)
						}
						problems, report, refused := x.after(t, x.expect(), func(exec func(string, ...any) error) error {
							if forget {
								if err := exec(`DELETE FROM audit_checkpoint WHERE writer = $1 AND seq >= $2`, writer, at); err != nil {
									return err
								}
							}
							return rewrite(exec, writer, begin, change(r))
						})
						if refused {
							t.Fatalf("%s: the engine refuses", name)
						}
						switch {
						case at <= last && len(problems) == 0:
							t.Errorf("record %d of %s %s, checkpoints of the database gone %v: not found", at, writer, name, forget)
						case at <= last:
							signed++
						case name != "cut" && name != "removed" && !slices.ContainsFunc(report.Open, func(o audit.Stretch) bool { return o.Writer == writer }) && len(problems) == 0:
							t.Errorf("record %d of %s %s: neither found nor open: %+v", at, writer, name, report)
						default:
							open++
						}
					}
				}
			}
		}
		if signed < 100 || open < 5 {
			t.Errorf("%d signed and %d open places were tried", signed, open)
		}
	})
}

func renumber(r []row, first int64) []row {
	for i := range r {
		r[i]["seq"] = first + int64(i)
	}
	return r
}

// TestAttackWholeRows: what one does without linking anew.
func TestAttackWholeRows(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		x := newTrail(t, c)
		all := x.dump(t)
		type exec = func(string, ...any) error
		find := func(name, want string, e audit.Expect, change func(exec) error) {
			t.Helper()
			problems, report, refused := x.after(t, e, change)
			if got := strings.Join(problems, "\n"); refused || (want == "") != (got == "") || !strings.Contains(got, want) {
				t.Errorf("%s: %q, want %q (%+v)", name, got, want, report)
			}
		}
		for i, r := range all["audit_record"] {
			find(fmt.Sprintf("record %d gone", i), "chain "+fmt.Sprint(r["writer"]), x.expect(), func(exec exec) error {
				return exec(`DELETE FROM audit_record WHERE writer = $1 AND seq = $2`, r["writer"], r["seq"])
			})
		}
		forged := func(writer string, seq int64) func(exec) error {
			return func(exec exec) error {
				return exec(`INSERT INTO audit_record (writer, seq, at, action, person, body, hash) VALUES ($1, $2, 1, 'sign-in', '', '{"action":"sign-in"}', $3)`, writer, seq, make([]byte, 32))
			}
		}
		last := of(all, x.plain)
		find("a record beyond the head", "beyond its head", x.expect(), forged(x.plain, last[len(last)-1]["seq"].(int64)+1))
		find("a record far beyond the head", "beyond its head", x.expect(), forged(x.plain, 1<<40))
		find("record 0", "which no server wrote", x.expect(), forged(x.plain, 0))
		find("record -1", "which no server wrote", x.expect(), forged(x.plain, -1))
		find("records of no chain", "records and no head", x.expect(), forged("aud_forged", 1))
		find("a head alone gone", "records and no head", x.expect(), func(exec exec) error { return exec(`DELETE FROM audit_chain WHERE writer = $1`, x.killed) })
		find("a chain gone", "which is gone", x.expect(), func(exec exec) error {
			return errors.Join(exec(`DELETE FROM audit_record WHERE writer = $1`, x.plain), exec(`DELETE FROM audit_chain WHERE writer = $1`, x.plain), exec(`DELETE FROM audit_checkpoint WHERE writer = $1`, x.plain))
		})
		find("everything gone", "which is gone", x.expect(), func(exec exec) error {
			return errors.Join(exec(`DELETE FROM audit_record`), exec(`DELETE FROM audit_chain`), exec(`DELETE FROM audit_checkpoint`))
		})
		find("one more cut, that nobody recorded", "nothing says that it was cut there", x.expect(), func(exec exec) error {
			return exec(`DELETE FROM audit_record WHERE writer = $1 AND seq <= 4`, x.plain)
		})
		alone := audit.Expect{Signers: []string{x.signer}, Unsigned: audit.MostUnsigned}
		find("all checkpoints gone, none outside", "has no checkpoint after record", alone, func(exec exec) error { return exec(`DELETE FROM audit_checkpoint`) })
		find("the signer gone", "is not there", x.expect(), func(exec exec) error { return exec(`DELETE FROM audit_signer`) })
		find("a signer more", "is not one of the trusted ones", x.expect(), func(exec exec) error {
			public := bytes.Repeat([]byte{7}, 32)
			return exec(`INSERT INTO audit_signer (id, public, sealed, created) VALUES ($1, $2, $2, 1)`, audit.SignerID(public), public)
		})
		find("a signer with a short key", "is not the key of that id", x.expect(), func(exec exec) error {
			return exec(`INSERT INTO audit_signer (id, public, sealed, created) VALUES ($1, $2, $2, 1)`, audit.SignerID([]byte{1}), []byte{1})
		})
		find("an old copy", "which is gone", x.expect(), func(exec exec) error { return x.replay(exec) })

		// By design: what is not under a signature, and what no place outside knows of.
		find("one checkpoint that a later one covers", "", x.expect(), func(exec exec) error {
			return exec(`DELETE FROM audit_checkpoint WHERE writer = $1 AND seq = 4`, x.plain)
		})
		find("an old copy, with nothing outside", "", alone, func(exec exec) error { return x.replay(exec) })
		find("the end cut off with its checkpoint, with nothing outside", "", alone, func(exec exec) error {
			if err := exec(`DELETE FROM audit_checkpoint WHERE writer = $1 AND seq > 4`, x.plain); err != nil {
				return err
			}
			return rewrite(exec, x.plain, make([]byte, 32), of(all, x.plain)[:4])
		})
		find("a whole chain, with nothing outside", "", alone, func(exec exec) error {
			return errors.Join(exec(`DELETE FROM audit_record WHERE writer = $1`, x.plain), exec(`DELETE FROM audit_chain WHERE writer = $1`, x.plain), exec(`DELETE FROM audit_checkpoint WHERE writer = $1`, x.plain))
		})
		_, report, _ := x.after(t, x.expect(), func(exec exec) error {
			r := row{"writer": "aud_forged", "seq": int64(1), "at": int64(1), "action": "sign-in", "person": "", "body": `{"action":"sign-in"}`}
			if err := exec(`INSERT INTO audit_chain (writer, seq, hash) VALUES ('aud_forged', 1, $1)`, make([]byte, 32)); err != nil {
				return err
			}
			return rewrite(exec, "aud_forged", make([]byte, 32), []row{r})
		})
		if !slices.ContainsFunc(report.Open, func(o audit.Stretch) bool { return o.Writer == "aud_forged" && o.From == 1 && o.To == 1 }) {
			t.Errorf("a forged chain under no signature is not listed as open: %+v", report)
		}
	})
}

// replay puts the rows of an old copy in the place of all.
func (x *trail) replay(exec func(string, ...any) error) error {
	for table, rows := range x.old {
		if err := exec(`DELETE FROM ` + table); err != nil {
			return err
		}
		for _, r := range rows {
			var names, places []string
			var args []any
			for c, v := range r {
				args = append(args, v)
				names, places = append(names, c), append(places, fmt.Sprintf("$%d", len(args)))
			}
			if err := exec(`INSERT INTO `+table+` (`+strings.Join(names, ", ")+`) VALUES (`+strings.Join(places, ", ")+`)`, args...); err != nil {
				return err
			}
		}
	}
	return nil
}
