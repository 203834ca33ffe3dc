package sql_test

import (
	"fmt"
	"testing"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
)

// TestStatementsThatComeAgain: one that is kept takes each run's own arguments,
// survives a failure and a change of the schema, and many kinds don't pile up.
func TestStatementsThatComeAgain(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		insert := func(n int64) error {
			return db.Write(t.Context(), func(x *sql.Tx) error {
				_, err := x.Exec(`INSERT INTO used_once (kind, digest, until) VALUES ($1, $2, $3)`, "again", fmt.Appendf(nil, "%d", n), n)
				return err
			})
		}
		for n := range int64(10) {
			if err := insert(n); err != nil {
				t.Fatal(err)
			}
			if err := insert(n); !sql.IsDuplicate(err) {
				t.Fatalf("twice: %v", err)
			}
		}
		if err := db.Write(t.Context(), func(x *sql.Tx) error {
			_, err := x.Exec(`ALTER TABLE used_once ADD COLUMN more TEXT`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for n := int64(10); n < 15; n++ {
			if err := insert(n); err != nil {
				t.Fatalf("after the schema changed: %v", err)
			}
		}
		for round := range 3 {
			for kind := range 400 {
				err := db.Write(t.Context(), func(x *sql.Tx) error {
					var n int64
					if err := x.QueryRow(fmt.Sprintf(`SELECT until FROM used_once WHERE kind = 'again' AND until = $1 AND until < %d`, 1000+kind), int64(round)).Scan(&n); err != nil || n != int64(round) {
						return fmt.Errorf("%d, %w", n, err)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
