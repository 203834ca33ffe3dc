package audit

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/audit"
)

var _ audit.Searched = Store{}

// Slice gives records in the order of time, by the index.
func (s Store) Slice(ctx context.Context, q audit.Slice) (all []audit.Record, err error) {
	var where []string
	var args []any
	put := func(text string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			text = strings.Replace(text, "?", fmt.Sprintf("$%d", len(args)), 1)
		}
		where = append(where, text)
	}
	where = append(where, "at >= 0")
	if !q.From.IsZero() {
		put("at >= ?", q.From.UnixMilli())
	}
	if !q.To.IsZero() {
		put("at < ?", q.To.UnixMilli())
	}
	if begin, ok := strings.CutSuffix(q.Event, "*"); ok {
		// Not by LIKE, which has wildcards of its own, and no letter case in one engine.
		put(fmt.Sprintf("substr(action, 1, %d) = ?", utf8.RuneCountInString(begin)), begin)
	} else if q.Event != "" {
		put("action = ?", q.Event)
	}
	if q.Person != "" {
		put("person = ? AND person <> ''", q.Person)
	}
	order, beyond := "DESC", "<"
	if q.Oldest {
		order, beyond = "ASC", ">"
	}
	if a := q.After; a != (audit.Place{}) {
		put("(at, writer, seq) "+beyond+" (?, ?, ?)", a.At.UnixMilli(), a.Writer, a.Seq)
	}
	query := `SELECT writer, seq, at, action, person, body, hash FROM audit_record WHERE ` + strings.Join(where, " AND ") +
		fmt.Sprintf(` ORDER BY at %[1]s, writer %[1]s, seq %[1]s LIMIT %[2]d`, order, q.Most)
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(query, args, func(scan func(...any) error) error {
			var r audit.Record
			var at int64
			var hash []byte
			err := scan(&r.Writer, &r.Seq, &at, &r.Action, &r.Person, &r.Body, &hash)
			r.At = time.UnixMilli(at).UTC()
			copy(r.Hash[:], hash)
			all = append(all, r)
			return err
		})
	})
	return all, err
}
