package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/ascii"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/audit"
)

var _ audit.Searched = Store{}

// conditions are those of one query, with their arguments.
type conditions struct {
	position string // the engine's word for where a text begins in another
	where    []string
	args     []any
}

// put adds a condition, each ? of which is one value.
func (c *conditions) put(text string, values ...any) {
	for _, v := range values {
		c.args = append(c.args, v)
		text = strings.Replace(text, "?", fmt.Sprintf("$%d", len(c.args)), 1)
	}
	c.where = append(c.where, text)
}

func (c *conditions) String() string { return strings.Join(c.where, " AND ") }

// requestKey is what audit_record_request is an index of: the beginning of a request
// id. It has to stand here as in the migration, letter for letter.
const (
	requestKey = `substr(body, %s(body, '"request":"') + 11, 8)`
	keyLength  = 8
)

// hasKey reports whether a request id can be found by the index: one of ours, of capital
// letters and digits. Records without a request stand there by a piece of their time,
// very many by the same.
func hasKey(q audit.Slice) bool {
	if len(q.Request) < keyLength {
		return false
	}
	for _, b := range []byte(q.Request[:keyLength]) {
		if (b < 'A' || b > 'Z') && (b < '0' || b > '9') {
			return false
		}
	}
	return true
}

// byIndex are the conditions that an index answers, and those on times.
func (s Store) byIndex(q audit.Slice) *conditions {
	c := &conditions{position: "instr"}
	if s.DB.Engine() != "sqlite" {
		c.position = "strpos"
	}
	keyed := hasKey(q)
	if keyed {
		c.put(fmt.Sprintf(requestKey, c.position)+" = ?", q.Request[:keyLength])
	}
	if !q.From.IsZero() {
		c.put("at >= ?", q.From.UnixMilli())
	} else if !keyed {
		c.where = append(c.where, "at >= 0")
	}
	if !q.To.IsZero() {
		c.put("at < ?", q.To.UnixMilli())
	}
	if q.Event != "" && !strings.HasSuffix(q.Event, "*") && q.Person == "" {
		c.put("action = ?", q.Event)
	}
	if q.Person != "" {
		c.put("person = ? AND person <> ''", q.Person)
	}
	if a := q.After; a != (audit.Place{}) {
		beyond := "<"
		if q.Oldest {
			beyond = ">"
		}
		// The first half is for the index.
		c.put("at "+beyond+"= ? AND (at, writer, seq) "+beyond+" (?, ?, ?)", a.At.UnixMilli(), a.At.UnixMilli(), a.Writer, a.Seq)
	}
	return c
}

// names are the members of a body that say who acted, letter for letter.
var names = [...]string{"person", "service_principal", "principal", "access_key_id", "login_session"}

// byContent adds the conditions for which a record has to be looked at, and reports
// whether there are any.
func (c *conditions) byContent(q audit.Slice) bool {
	before := len(c.where)
	if q.Person != "" && q.Event != "" && !strings.HasSuffix(q.Event, "*") {
		c.put("action = ?", q.Event) // one index finds the person
	}
	if begin, ok := strings.CutSuffix(q.Event, "*"); ok && begin != "" {
		// Not by LIKE, which has wildcards of its own, and no letter case in one engine.
		c.put(fmt.Sprintf("substr(action, 1, %d) = ?", utf8.RuneCountInString(begin)), begin)
	}
	if q.Request != "" {
		c.has(audit.Field{Name: "request", Value: audit.Quote(q.Request)})
	}
	for _, f := range q.Has {
		c.has(f)
	}
	if q.Who != "" {
		c.who(q.Who)
	}
	return len(c.where) > before
}

// has asks for a member of the event itself. Its details come last and may hold a
// member of that name; within a text no quote stands by itself.
func (c *conditions) has(f audit.Field) {
	const detail = `"detail":{`
	fragment := `"` + f.Name + `":` + f.Value
	c.put(fmt.Sprintf("%[1]s(body, ?) > 0 AND (%[1]s(body, '%[2]s') = 0 OR %[1]s(body, ?) < %[1]s(body, '%[2]s'))", c.position, detail), fragment, fragment)
}

// who asks for one of the names of who acted. A record that holds the text nowhere is
// passed by first.
func (c *conditions) who(name string) {
	const user = `"user_name":`
	quoted := audit.Quote(name)
	either := &conditions{position: c.position, args: c.args}
	for _, n := range names {
		either.has(audit.Field{Name: n, Value: quoted})
	}
	exact := strings.Join(either.where, ") OR (")
	either.where = nil
	either.put(fmt.Sprintf("%s(body, ?) > 0", c.position), quoted)
	either.put(fmt.Sprintf("(%[1]s(body, '%[2]s') > 0 AND lower(substr(body, %[1]s(body, '%[2]s') + %[3]d, %[4]d)%[5]s) = ?)",
		c.position, user, len(user), utf8.RuneCountInString(quoted), c.collation()), ascii.Lower(quoted))
	c.args = either.args
	c.where = append(c.where, fmt.Sprintf("(%s OR %s AND ((%s)))", either.where[1], either.where[0], exact))
}

// collation is the one that lowers A to Z alone.
func (c *conditions) collation() string {
	if c.position == "strpos" {
		return ` COLLATE "C"`
	}
	return ""
}

// order is that of a query; then come how many.
func order(q audit.Slice) string {
	if q.Oldest {
		return " ORDER BY at, writer, seq"
	}
	return " ORDER BY at DESC, writer DESC, seq DESC"
}

// Slice gives records in the order of time, by an index.
func (s Store) Slice(ctx context.Context, q audit.Slice) (out audit.Looked, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		out = audit.Looked{}
		c := s.byIndex(q)
		end, err := c.bound(t, q)
		if err != nil {
			return err
		}
		out.Reached = end
		if out.Records, err = records(t, c.String()+order(q)+fmt.Sprintf(" LIMIT %d", q.Most), c.args...); err == nil && len(out.Records) == q.Most {
			last := out.Records[q.Most-1]
			out.Reached = audit.Place{At: last.At, Writer: last.Writer, Seq: last.Seq}
		}
		return err
	})
	return out, err
}

// bound adds what records are looked at for, and where that ends: at the last of
// q.Look records, or nowhere.
func (c *conditions) bound(t *sql.Tx, q audit.Slice) (end audit.Place, err error) {
	only := *c
	if !c.byContent(q) || hasKey(q) {
		return end, nil
	}
	if end, err = placeOf(t, only.String()+order(q)+fmt.Sprintf(" LIMIT 1 OFFSET %d", q.Look-1), only.args); err != nil || end == (audit.Place{}) {
		return end, err
	}
	up := ">"
	if q.Oldest {
		up = "<"
	}
	c.put("at "+up+"= ? AND (at, writer, seq) "+up+"= (?, ?, ?)", end.At.UnixMilli(), end.At.UnixMilli(), end.Writer, end.Seq)
	return end, nil
}

// placeOf gives the place of the record that the end of a query names; the zero
// Place where there is none.
func placeOf(t *sql.Tx, which string, args []any) (p audit.Place, err error) {
	var at int64
	err = t.QueryRow(`SELECT at, writer, seq FROM audit_record WHERE `+which, args...).Scan(&at, &p.Writer, &p.Seq)
	if errors.Is(err, sql.ErrNoRows) {
		return audit.Place{}, nil
	}
	p.At = time.UnixMilli(at).UTC()
	return p, err
}

// Count counts by time and outcome.
func (s Store) Count(ctx context.Context, q audit.Slice, step time.Duration) (out audit.Counted, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		out = audit.Counted{}
		c := s.byIndex(q)
		if out.Reached, err = c.within(t, q); err != nil {
			return err
		}
		return t.Each(fmt.Sprintf(`SELECT at / %d, outcome, COUNT(*) FROM (SELECT at, CASE substr(body, %[2]s(body, '"outcome":"') + 11, 2) WHEN 'de' THEN '%[3]s' WHEN 'fa' THEN '%[4]s' ELSE '%[5]s' END AS outcome
			FROM audit_record WHERE %[6]s) counted GROUP BY 1, 2 ORDER BY 1, 2`, step.Milliseconds(), c.position, event.Denied, event.Failed, event.Done, c),
			c.args, func(scan func(...any) error) error {
				var one audit.Count
				var at int64
				err := scan(&at, &one.Outcome, &one.Events)
				one.From = time.UnixMilli(at * step.Milliseconds()).UTC()
				out.Counts = append(out.Counts, one)
				return err
			})
	})
	return out, err
}

// within is bound, for a count: it ends at q.Look records in any case.
func (c *conditions) within(t *sql.Tx, q audit.Slice) (end audit.Place, err error) {
	only := *c
	c.byContent(q)
	if end, err = placeOf(t, only.String()+order(q)+fmt.Sprintf(" LIMIT 1 OFFSET %d", q.Look-1), only.args); err == nil && end != (audit.Place{}) {
		c.put("at >= ?", end.At.UnixMilli())
	}
	return end, err
}
