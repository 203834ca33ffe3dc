package audit

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// Query is what is looked for. Empty fields ask for anything.
type Query struct {
	From, To time.Time // at or after From, before To
	// Event is an event's name, or with a * at its end the beginning of names.
	Event string
	// Who is a person's id or user name, a service principal, an ARN, an access key
	// id or a login session.
	Who       string
	Outcome   string
	Account   string
	Role      string // ARN
	Cluster   string
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
	mostLooked = 50_000
	lookPage   = 1000
)

// Found is one page.
type Found struct {
	Documents []Document `json:"events"`
	// Next continues behind this page; empty: there is no more.
	Next string `json:"next,omitempty"`
}

// Slice is what the index answers of a Query.
type Slice struct {
	From, To time.Time
	Event    string // as in Query
	Person   string // id; empty: any
	Oldest   bool
	Most     int
	After    Place // the zero Place: from the start
}

// Place is where in the order of time a record stands.
type Place struct {
	At     time.Time
	Writer string
	Seq    int64
}

// Searched reads records in the order of time.
type Searched interface {
	Slice(ctx context.Context, s Slice) ([]Record, error)
}

// Search gives one page of what is looked for. Faults: Invalid.
func Search(ctx context.Context, t Searched, q Query) (Found, error) {
	out := Found{Documents: []Document{}}
	if q.Most < 1 || q.Most > MostFound {
		q.Most = MostFound
	}
	match, err := q.matcher()
	if err != nil {
		return out, err
	}
	s := Slice{From: q.From, To: q.To, Event: q.Event, Oldest: q.Oldest, Most: lookPage}
	if strings.HasPrefix(q.Who, "psn_") {
		s.Person = q.Who
	}
	if s.After, err = placeOf(q.After); err != nil {
		return out, err
	}
	for looked := 0; ; {
		page, err := t.Slice(ctx, s)
		if err != nil {
			return out, err
		}
		for _, r := range page {
			s.After = Place{At: r.At, Writer: r.Writer, Seq: r.Seq}
			looked++
			if d := r.Document(); match(d) {
				if out.Documents = append(out.Documents, d); len(out.Documents) == q.Most {
					out.Next = s.After.String()
					return out, nil
				}
			}
		}
		if len(page) < lookPage {
			return out, nil
		}
		if looked >= mostLooked {
			out.Next = s.After.String()
			return out, nil
		}
	}
}

func (q Query) matcher() (func(Document) bool, error) {
	var network netip.Prefix
	if q.Source != "" {
		var err error
		if network, err = netip.ParsePrefix(q.Source); err != nil {
			addr, err := netip.ParseAddr(q.Source)
			if err != nil {
				return nil, fault.New(fault.Invalid, fmt.Sprintf("%q is no address and no network", clip(q.Source))).WithMend("such as 192.0.2.7 or 10.0.0.0/8")
			}
			network = netip.PrefixFrom(addr, addr.BitLen())
		}
	}
	if i := strings.IndexByte(q.Event, '*'); i >= 0 && i != len(q.Event)-1 {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("%q: a * stands at the end alone", clip(q.Event)))
	}
	is := func(want, have string) bool { return want == "" || want == have }
	return func(d Document) bool {
		u := d.UserIdentity
		from := true
		if network.IsValid() {
			addr, err := netip.ParseAddr(d.SourceIP)
			from = err == nil && network.Contains(addr.Unmap())
		}
		who := q.Who == "" || q.Who == u.Person || strings.EqualFold(q.Who, u.UserName) || q.Who == u.ServicePrincipal || q.Who == u.ARN || q.Who == u.AccessKeyID || q.Who == u.LoginSession
		return who && from && is(q.Outcome, string(d.Outcome)) && is(q.Account, d.Account) && is(q.Role, u.Role) && is(q.Cluster, d.Cluster) &&
			is(q.Target, d.Target) && is(q.RequestID, d.RequestID)
	}, nil
}

// String is the text of a place, for Query.After.
func (p Place) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s %d", p.At.UnixMilli(), p.Writer, p.Seq))
}

func placeOf(text string) (Place, error) {
	if text == "" {
		return Place{}, nil
	}
	plain, err := base64.RawURLEncoding.DecodeString(text)
	parts := strings.Split(string(plain), " ")
	if err == nil && len(parts) == 3 {
		at, err1 := strconv.ParseInt(parts[0], 10, 64)
		seq, err2 := strconv.ParseInt(parts[2], 10, 64)
		if err1 == nil && err2 == nil && at >= 0 && seq >= 0 {
			return Place{At: time.UnixMilli(at).UTC(), Writer: parts[1], Seq: seq}, nil
		}
	}
	return Place{}, fault.New(fault.Invalid, fmt.Sprintf("%q is not where a page ended", clip(text))).WithMend("take it from the page before")
}

func clip(text string) string {
	const most = 80
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
