package audit

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// The parameters of an address that hold no text of a Query to compare with.
const (
	paramFrom, paramTo, paramOrder, paramMost, paramAfter = "from", "to", "order", "most", "after"
	oldestFirst                                           = "oldest"
)

// fields are those that are compared, by their parameter.
func (q *Query) fields() []struct {
	name string
	text *string
} {
	return []struct {
		name string
		text *string
	}{{"event", &q.Event}, {"who", &q.Who}, {"outcome", &q.Outcome}, {"account", &q.Account}, {"role", &q.Role}, {"cluster", &q.Cluster},
		{"node", &q.Node}, {"target", &q.Target}, {"request", &q.RequestID}, {"source", &q.Source}}
}

// ParseQuery reads a query from the parameters of an address. An empty parameter is
// none; one that is unknown or given twice is refused, since the answer would show
// more than was asked for. Faults: Invalid.
func ParseQuery(values url.Values, now time.Time) (q Query, err error) {
	known := map[string]func(string) error{
		paramFrom:  func(text string) error { q.From, err = ParseTime(text, now); return err },
		paramTo:    func(text string) error { q.To, err = ParseTime(text, now); return err },
		paramAfter: func(text string) error { q.After = text; return nil },
		paramOrder: func(text string) error {
			if q.Oldest = text == oldestFirst; q.Oldest || text == "newest" {
				return nil
			}
			return fault.New(fault.Invalid, fmt.Sprintf("%q is no order", clip(text))).WithMend("one of newest, oldest")
		},
		paramMost: func(text string) error {
			if q.Most, err = strconv.Atoi(text); err != nil || q.Most < 1 || q.Most > MostFound {
				return fault.New(fault.Invalid, fmt.Sprintf("%q is not how many events a page may have", clip(text))).WithMend(fmt.Sprintf("1 to %d", MostFound))
			}
			return nil
		},
	}
	for _, f := range q.fields() {
		known[f.name] = func(text string) error { *f.text = text; return nil }
	}
	for name, all := range values {
		read := known[name]
		if read == nil {
			return q, fault.New(fault.Invalid, fmt.Sprintf("there is no filter %q", clip(name))).WithCode("audit.filter").WithMend("one of " + strings.Join(params(), ", "))
		}
		if len(all) > 1 {
			return q, fault.New(fault.Invalid, "the filter "+name+" is given twice").WithCode("audit.filter")
		}
		if text := strings.TrimSpace(all[0]); text != "" {
			if err := read(text); err != nil {
				return q, err
			}
		}
	}
	return q, q.Check()
}

func params() []string {
	all := []string{paramFrom, paramTo, paramOrder, paramMost, paramAfter}
	for _, f := range (&Query{}).fields() {
		all = append(all, f.name)
	}
	slices.Sort(all)
	return all
}

// Values gives a query as the parameters of an address.
func (q Query) Values() url.Values {
	out := url.Values{}
	put := func(name, text string) {
		if text != "" {
			out.Set(name, text)
		}
	}
	for _, f := range q.fields() {
		put(f.name, *f.text)
	}
	if !q.From.IsZero() {
		put(paramFrom, q.From.UTC().Format(time.RFC3339Nano))
	}
	if !q.To.IsZero() {
		put(paramTo, q.To.UTC().Format(time.RFC3339Nano))
	}
	if q.Oldest {
		put(paramOrder, oldestFirst)
	}
	if q.Most != 0 {
		put(paramMost, strconv.Itoa(q.Most))
	}
	put(paramAfter, q.After)
	return out
}

// ParseTime reads a time: a day, a moment (of UTC where it names no zone), or a span
// such as 24h or 7d for that long ago. Faults: Invalid.
func ParseTime(text string, now time.Time) (time.Time, error) {
	span := text
	if days, err := strconv.Atoi(strings.TrimSuffix(text, "d")); err == nil && strings.HasSuffix(text, "d") && days >= 0 && days < 100_000 {
		span = strconv.Itoa(24*days) + "h"
	}
	if ago, err := time.ParseDuration(span); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, form := range [...]string{time.RFC3339, time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(form, text); err == nil && t.Year() >= 1970 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fault.New(fault.Invalid, fmt.Sprintf("%q is no time", clip(text))).WithCode("audit.time").
		WithMend("write 2026-05-01, 2026-05-01T10:00:00Z, or 24h or 7d for that long ago")
}
