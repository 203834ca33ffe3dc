package state

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/edge/sql"
)

// line is one row of both forms: a table begins with its columns, rows follow.
type line struct {
	Table   string   `json:"table,omitempty"`
	Columns []string `json:"columns,omitempty"`
	Row     []value  `json:"row,omitempty"`
	End     int      `json:"end,omitempty"` // rows in all, plus one: the last line
}

// value keeps what JSON would lose: bytes, and whole numbers beyond 2^53.
type value struct{ v any }

type tagged struct {
	Bytes *[]byte `json:"b,omitempty"`
	Int   *int64  `json:"i,omitempty"`
}

// MarshalJSON writes strings, booleans, numbers and null as such.
func (v value) MarshalJSON() ([]byte, error) {
	switch x := v.v.(type) {
	case nil, bool, string, float64:
		return json.Marshal(x)
	case int64:
		if x < 1<<53 && x > -1<<53 {
			return json.Marshal(x)
		}
		return json.Marshal(tagged{Int: &x})
	case []byte:
		x = append([]byte{}, x...) // SQLite gives a nil slice for an empty one; NULL has no type
		return json.Marshal(tagged{Bytes: &x})
	}
	return nil, fmt.Errorf("a column of type %T can't be taken out", v.v)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *value) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '{':
		var t tagged
		if err := json.Unmarshal(b, &t); err != nil {
			return err
		}
		switch {
		case t.Bytes != nil:
			v.v = *t.Bytes
		case t.Int != nil:
			v.v = *t.Int
		default:
			return errors.New("a value of no type")
		}
		return nil
	case '"', 't', 'f', 'n':
		return json.Unmarshal(b, &v.v)
	}
	var n int64
	if err := json.Unmarshal(b, &n); err == nil {
		v.v = n
		return nil
	}
	return json.Unmarshal(b, &v.v)
}

// passing tables say which server is alive now, or count changes: they mean
// nothing in another database.
func passing(table string) bool {
	return slices.Contains([]string{"schema_migration", "topic", "revocation_server", "keyring_server"}, table)
}

var identifier = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// dump writes every table, those that others refer to first.
func dump(t *sql.Tx, w io.Writer) error {
	tables, err := t.Tables()
	if err != nil {
		return err
	}
	out := json.NewEncoder(w)
	total := 0
	for _, table := range tables {
		if passing(table) {
			continue
		}
		n, err := dumpTable(t, table, out)
		if err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
		total += n
	}
	return out.Encode(line{End: total + 1})
}

func dumpTable(t *sql.Tx, table string, out *json.Encoder) (n int, err error) {
	rows, err := t.Query(`SELECT * FROM ` + table)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		return 0, err
	}
	if err := out.Encode(line{Table: table, Columns: columns}); err != nil {
		return 0, err
	}
	for rows.Next() {
		row := make([]value, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i].v
		}
		if err := rows.Scan(into...); err != nil {
			return n, err
		}
		for i := range row { // SQLite keeps booleans as 0 and 1
			if number, ok := row[i].v.(int64); ok && types[i].DatabaseTypeName() == "BOOLEAN" {
				row[i].v = number != 0
			}
		}
		if err := out.Encode(line{Row: row}); err != nil {
			return n, err
		}
		n++
	}
	return n, rows.Err()
}

// maxLine bounds one row.
const maxLine = 16 << 20

// load reads what dump wrote. Rows that migrations made themselves give way.
func load(t *sql.Tx, r io.Reader) error {
	known, err := t.Tables()
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	var insert string
	var width, total int
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return damaged(err)
		}
		switch {
		case l.End > 0:
			if l.End != total+1 || lines.Scan() || lines.Err() != nil {
				return damaged(errors.Join(lines.Err(), errors.New("the number of rows is another")))
			}
			return nil
		case l.Table != "":
			if insert, err = begin(t, l, known); err != nil {
				return err
			}
			width = len(l.Columns)
		default:
			if insert == "" || len(l.Row) != width {
				return damaged(errors.New("a row of another width"))
			}
			args := make([]any, width)
			for i, v := range l.Row {
				args[i] = v.v
			}
			if _, err := t.Exec(insert, args...); err != nil {
				return fmt.Errorf("a row can't be put back: %w", err)
			}
			total++
		}
	}
	return damaged(errors.Join(lines.Err(), io.ErrUnexpectedEOF))
}

// begin empties a table and gives the statement that fills it. Names come from
// a file: only those of this schema get into SQL.
func begin(t *sql.Tx, l line, known []string) (string, error) {
	if !slices.Contains(known, l.Table) || passing(l.Table) || len(l.Columns) == 0 {
		return "", damaged(fmt.Errorf("table %q is not one of this schema", l.Table))
	}
	marks := make([]string, len(l.Columns))
	for i, c := range l.Columns {
		if !identifier.MatchString(c) {
			return "", damaged(fmt.Errorf("column %q", c))
		}
		marks[i] = fmt.Sprintf("$%d", i+1)
	}
	if _, err := t.Exec(`DELETE FROM ` + l.Table); err != nil {
		return "", err
	}
	return `INSERT INTO ` + l.Table + ` (` + strings.Join(l.Columns, ", ") + `) VALUES (` + strings.Join(marks, ", ") + `)`, nil
}
