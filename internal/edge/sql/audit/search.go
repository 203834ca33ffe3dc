package audit

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"carnet.dev/carnet/internal/service/audit"
)

var _ audit.Searched = Store{}

// Slice gives records in the order of time, by the index.
func (s Store) Slice(ctx context.Context, q audit.Slice) ([]audit.Record, error) {
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
	return s.records(ctx, strings.Join(where, " AND ")+
		fmt.Sprintf(` ORDER BY at %[1]s, writer %[1]s, seq %[1]s LIMIT %[2]d`, order, q.Most), args...)
}
