package audit

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/ascii"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
)

// Query is what is looked for. Empty fields ask for anything.
type Query struct {
	From, To time.Time // at or after From, before To
	// Event is an event's name, or with a * at its end the beginning of names.
	Event string
	// Who is a person's id or user name (in any case of ASCII letters), a service
	// principal, an ARN, an access key id or a login session.
	Who       string
	Outcome   string
	Account   string
	Role      string // ARN
	Cluster   string
	Node      string
	Target    string
	RequestID string
	Source    string // address, or network such as 10.0.0.0/8
	// Newest first, or Oldest first.
	Oldest bool
	Most   int    // of one page: 1 to MostFound, else MostFound
	After  string // Found.Next of the page before
}

// Bounds of one page.
const (
	MostFound = 1000
	// mostLooked is how many records one page looks at: then it ends, with Next.
	mostLooked = 200_000
	// lookStep is how many the store looks at in one go.
	lookStep = 50_000
	// readCost is what a record that is read costs beside one that the store only
	// looks at, and readStep how many are read in one go where it can't tell.
	readCost = 5
	readStep = 1000
	// mostText bounds each field of a query.
	mostText = 2048
	// mostTexts bounds all of them, as they stand in the record of the search.
	mostTexts = 16 << 10
)

// Found is one page.
type Found struct {
	Documents []Document `json:"events"`
	// Next continues behind this page; empty: there is no more. A page with few or no
	// events may have one: the search ended at its bound.
	Next string `json:"next,omitempty"`
	// Reached is how far in time the search came, where there is more.
	Reached *time.Time `json:"reached,omitempty"`
}

// Slice is what the store answers of a Query.
type Slice struct {
	From, To time.Time
	Event    string // as in Query
	Person   string // id; empty: any
	Request  string // id; empty: any
	// Has are fields that an event must have, as they stand in a record's body.
	Has []Field
	// Who is one of the names of who acted; empty: any.
	Who    string
	Oldest bool
	Most   int
	Look   int   // at so many records at most
	After  Place // the zero Place: from the start
}

// Field is one member of a body: its name, and its value as JSON.
type Field struct{ Name, Value string }

// Place is where in the order of time a record stands.
type Place struct {
	At     time.Time
	Writer string
	Seq    int64
}

// Looked is what a Slice holds.
type Looked struct {
	Records []Record
	// Reached is the last record that was looked at; zero: there is none behind it.
	Reached Place
}

// Searched reads records in the order of time.
type Searched interface {
	Slice(ctx context.Context, s Slice) (Looked, error)
	// Count counts by time and outcome, newest first, at most s.Look records.
	Count(ctx context.Context, s Slice, step time.Duration) (Counted, error)
}

// Search gives one page of what is looked for. Faults: Invalid.
func Search(ctx context.Context, t Searched, q Query) (Found, error) {
	out := Found{Documents: []Document{}}
	if q.Most < 1 || q.Most > MostFound {
		q.Most = MostFound
	}
	match, s, err := q.plan()
	if err != nil {
		return out, err
	}
	for looked := 0; ; {
		page, err := t.Slice(ctx, s)
		if err != nil {
			return out, err
		}
		for _, r := range page.Records {
			s.After = r.place()
			if d := r.Document(); match(d) {
				if out.Documents = append(out.Documents, d); len(out.Documents) == q.Most {
					return out.until(s.After), nil
				}
			}
		}
		if s.After = page.Reached; s.After == (Place{}) {
			return out, nil
		}
		if len(page.Records) == s.Most {
			looked += readCost * s.Most
		} else {
			looked += s.Look
		}
		if looked >= mostLooked {
			return out.until(s.After), nil
		}
	}
}

func (r Record) place() Place { return Place{At: r.At, Writer: r.Writer, Seq: r.Seq} }

func (f Found) until(p Place) Found {
	f.Next, f.Reached = p.String(), &p.At
	return f
}

// Check refuses what no search can be made of. Faults: Invalid.
func (q Query) Check() error {
	_, _, err := q.plan()
	return err
}

// plan gives what the store is asked, and what an event of its answer must be.
func (q Query) plan() (func(Document) bool, Slice, error) {
	s := Slice{From: q.From, To: q.To, Event: q.Event, Request: q.RequestID, Oldest: q.Oldest, Most: q.Most, Look: lookStep}
	network, err := q.network()
	if err != nil {
		return nil, s, err
	}
	if err := q.texts(); err != nil {
		return nil, s, err
	}
	if s.After, err = placeOf(q.After); err != nil {
		return nil, s, err
	}
	if s.Who = q.Who; strings.HasPrefix(q.Who, "psn_") {
		s.Person, s.Who = q.Who, ""
	}
	single := ""
	if network.IsSingleIP() {
		single = network.Addr().String()
	} else if network.IsValid() {
		s.Most = readStep
	}
	for _, f := range [...]Field{{"outcome", q.Outcome}, {"account", q.Account}, {"role", q.Role}, {"cluster", q.Cluster}, {"node", q.Node}, {"target", q.Target}, {"source", single}} {
		if f.Value != "" {
			s.Has = append(s.Has, Field{f.Name, string(quote(nil, f.Value))})
		}
	}
	is := func(want, have string) bool { return want == "" || want == have }
	return func(d Document) bool {
		u := d.UserIdentity
		from := true
		if network.IsValid() {
			addr, err := netip.ParseAddr(d.SourceIP)
			from = err == nil && network.Contains(addr.Unmap())
		}
		who := q.Who == "" || q.Who == u.Person || ascii.Lower(q.Who) == ascii.Lower(u.UserName) || q.Who == u.ServicePrincipal || q.Who == u.ARN || q.Who == u.AccessKeyID || q.Who == u.LoginSession
		return who && from && is(q.Outcome, string(d.Outcome)) && is(q.Account, d.Account) && is(q.Role, u.Role) && is(q.Cluster, d.Cluster) && is(q.Node, d.Node) &&
			is(q.Target, d.Target) && is(q.RequestID, d.RequestID)
	}, s, nil
}

// network reads Source; the zero Prefix where it is empty.
func (q Query) network() (netip.Prefix, error) {
	if q.Source == "" {
		return netip.Prefix{}, nil
	}
	if network, err := netip.ParsePrefix(q.Source); err == nil {
		return network.Masked(), nil
	}
	addr, err := netip.ParseAddr(q.Source)
	if err != nil {
		return netip.Prefix{}, fault.New(fault.Invalid, fmt.Sprintf("%q is no address and no network", clip(q.Source))).WithCode("audit.source").WithMend("such as 192.0.2.7 or 10.0.0.0/8")
	}
	addr = addr.Unmap().WithZone("")
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

// texts holds what a query's fields may be.
func (q Query) texts() error {
	all := 0
	for _, text := range [...]string{q.Event, q.Who, q.Outcome, q.Account, q.Role, q.Cluster, q.Node, q.Target, q.RequestID} {
		if len(text) > mostText || !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
			return fault.New(fault.Invalid, fmt.Sprintf("%q can't be looked for: it is over %d bytes, or no text", clip(text), mostText)).WithCode("audit.text")
		}
		all += len(quote(nil, text))
	}
	if all > mostTexts {
		return fault.New(fault.Invalid, fmt.Sprintf("what is looked for has over %d bytes in all", mostTexts)).WithCode("audit.text").WithMend("look for less at a time")
	}
	if i := strings.IndexByte(q.Event, '*'); i >= 0 && i != len(q.Event)-1 {
		return fault.New(fault.Invalid, fmt.Sprintf("%q: a * stands at the end alone", clip(q.Event))).WithCode("audit.event").WithMend("such as s3.*")
	}
	switch event.Outcome(q.Outcome) {
	case "", event.Done, event.Denied, event.Failed:
	default:
		return fault.New(fault.Invalid, fmt.Sprintf("%q is no outcome", clip(q.Outcome))).WithCode("audit.outcome").WithMend("one of done, denied, failed")
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return fault.New(fault.Invalid, "the time to search from is not before the time to search to").WithCode("audit.times")
	}
	return nil
}

// String is the text of a place, for Query.After.
func (p Place) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s %d", p.At.UnixMilli(), p.Writer, p.Seq))
}

func placeOf(text string) (Place, error) {
	if text == "" {
		return Place{}, nil
	}
	var plain []byte
	var err error
	if len(text) <= mostText {
		plain, err = base64.RawURLEncoding.DecodeString(text)
	}
	parts := strings.Split(string(plain), " ")
	if err == nil && len(parts) == 3 && utf8.Valid(plain) && strings.IndexByte(parts[1], 0) < 0 {
		at, err1 := strconv.ParseInt(parts[0], 10, 64)
		seq, err2 := strconv.ParseInt(parts[2], 10, 64)
		if err1 == nil && err2 == nil && at >= 0 && seq >= 0 {
			return Place{At: time.UnixMilli(at).UTC(), Writer: parts[1], Seq: seq}, nil
		}
	}
	return Place{}, fault.New(fault.Invalid, fmt.Sprintf("%q is not where a page ended", clip(text))).WithCode("audit.after").WithMend("take it from the page before")
}

func clip(text string) string {
	const most = 80
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
