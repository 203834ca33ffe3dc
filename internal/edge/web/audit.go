package web

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/audit"
)

// Trail is the audit trail; it records that it is read.
type Trail interface {
	Search(ctx context.Context, q audit.Query) (audit.Found, error)
	Activity(ctx context.Context, q audit.Query) (audit.Activity, error)
}

// auditPage is what is looked for, as it was typed, and what was found.
type auditPage struct {
	Form    map[string]string
	More    bool         // the rarer filters are in use
	Refused *fault.Fault // what can't be looked for
	Events  []auditRow
	Names   []string
	Picture *picture
	// Export, Newest and Older are addresses; empty: not offered.
	Export, Newest, Older string
	// Reached is how far the search came before its bound; nil: it is whole.
	Reached *clock
	Spans   []timeSpan
	Since   bool // the time to search from was not given
}

// timeSpan is one of the times to search.
type timeSpan struct {
	Text, Link string
	Here       bool
}

// auditRow is one event, as pages show it.
type auditRow struct {
	audit.Document
	When clock
}

const (
	auditPageSize = 50
	// auditSpan is how far back the page looks where nobody says.
	auditSpan = "24h"
)

// rarer are the filters that stand behind the others.
var rarer = []string{"role", "account", "cluster", "node", "request", "source", "target"}

func (web *Web) audit(w http.ResponseWriter, r *http.Request) error {
	values := r.URL.Query()
	page := auditPage{Form: map[string]string{}, Names: eventNames()}
	for name := range values {
		page.Form[name] = strings.TrimSpace(values.Get(name))
	}
	page.More = slices.ContainsFunc(rarer, func(name string) bool { return page.Form[name] != "" })
	for _, c := range []struct{ text, from string }{{"24 hours", auditSpan}, {"7 days", "7d"}, {"30 days", "30d"}, {"a year", "365d"}} {
		page.Spans = append(page.Spans, timeSpan{c.text, "/admin/audit?" + with(values, map[string]string{"from": c.from, "to": "", "after": ""}), page.Form["from"] == c.from && page.Form["to"] == ""})
	}
	q, err := audit.ParseQuery(values, web.Now())
	if err == nil {
		err = web.readTrail(r, &page, q, values)
	}
	if f, known := refusedForm(err); known {
		page.Refused, page.Events, page.Picture = f, nil, nil
		return web.show(w, r, httpd.Status(f.Kind), "audit", frame{Title: "Audit", Here: "audit", Page: page})
	}
	if err != nil {
		return err
	}
	return web.show(w, r, http.StatusOK, "audit", frame{Title: "Audit", Here: "audit", Page: page})
}

// readTrail puts what is found on the page.
func (web *Web) readTrail(r *http.Request, page *auditPage, q audit.Query, values url.Values) error {
	now := web.Now()
	if page.Since = q.From.IsZero() && q.RequestID == ""; page.Since {
		q.From, _ = audit.ParseTime(auditSpan, now)
		page.Spans[0].Here = page.Form["to"] == ""
		if !q.To.IsZero() && !q.From.Before(q.To) {
			q.From = q.To.Add(-24 * time.Hour)
		}
	}
	q.Oldest, q.Most = false, auditPageSize
	found, err := web.Trail.Search(r.Context(), q)
	if err != nil {
		return err
	}
	for _, d := range found.Documents {
		page.Events = append(page.Events, auditRow{d, clock{d.EventTime, ago(now.Sub(d.EventTime))}})
	}
	if found.Next != "" {
		page.Older = "/admin/audit?" + with(values, map[string]string{"after": found.Next})
		if len(found.Documents) < q.Most {
			page.Reached = &clock{At: *found.Reached}
		}
	}
	if page.Form["after"] != "" {
		page.Newest = "/admin/audit?" + with(values, map[string]string{"after": ""})
		return nil
	}
	page.Export = "/api/v1/audit/export?" + with(values, map[string]string{"after": "", "order": "", "most": "", "from": spanOf(values, page.Since)})
	if q.RequestID != "" || wide(q.Source) {
		return nil
	}
	if q.To.IsZero() || q.To.After(now) {
		q.To = now
	}
	activity, err := web.Trail.Activity(r.Context(), q)
	if err == nil {
		page.Picture = draw(activity)
	}
	return err
}

func spanOf(values url.Values, none bool) string {
	if none {
		return auditSpan
	}
	return values.Get("from")
}

// wide reports whether a filter is a network: those are not counted.
func wide(source string) bool { return strings.Contains(source, "/") }

// with gives the parameters of an address, some of them changed; empty ones go.
func with(values url.Values, change map[string]string) string {
	out := url.Values{}
	for name := range values {
		if text := strings.TrimSpace(values.Get(name)); text != "" {
			out.Set(name, text)
		}
	}
	for name, text := range change {
		if out.Del(name); text != "" {
			out.Set(name, text)
		}
	}
	return out.Encode()
}

// eventNames are offered while one types.
func eventNames() []string {
	var all []string
	for _, m := range audit.Meanings() {
		all = append(all, m.Name)
	}
	return all
}

// visible gives a text with what can't be seen, or turns the writing around, spelled
// out.
func visible(text string) string {
	if strings.IndexFunc(text, func(c rune) bool { return !strconv.IsPrint(c) }) < 0 {
		return text
	}
	var b strings.Builder
	for _, c := range text {
		if strconv.IsPrint(c) {
			b.WriteRune(c)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(c), "'"))
		}
	}
	return b.String()
}

// Who names the one who acted, in few words.
func (r auditRow) Who() string { return visible(r.Document.Who()) }

// On is what was acted on, and From where from.
func (r auditRow) On() string   { return visible(r.Target) }
func (r auditRow) From() string { return visible(r.SourceIP) }

// Meaning says what an event of this name is.
func (r auditRow) Meaning() string { return audit.MeaningOf(r.EventName).Means }

// Badge is the class of the mark of the outcome.
func (r auditRow) Badge() string {
	switch r.Outcome {
	case "done":
		return "ready"
	case "denied":
		return "failed"
	}
	return "expired"
}

// RoleName is the name of the role alone.
func (r auditRow) RoleName() string {
	return visible(r.UserIdentity.Role[strings.LastIndexByte(r.UserIdentity.Role, '/')+1:])
}

// fact is one field of an event.
type fact struct {
	Name, Value string
	Link        string // to events that share it; empty: none
}

// Facts are all fields that the event has.
func (r auditRow) Facts() []fact {
	u := r.UserIdentity
	link := func(param, value string) string {
		if value == "" {
			return ""
		}
		return "/admin/audit?" + url.Values{param: {value}, "from": {"30d"}}.Encode()
	}
	request := ""
	if r.RequestID != "" {
		request = "/admin/audit?" + url.Values{"request": {r.RequestID}}.Encode()
	}
	all := []fact{
		{"Event", r.EventName, link("event", r.EventName)}, {"Error code", r.ErrorCode, ""}, {"Who acted", u.Type, ""},
		{"User name", u.UserName, link("who", u.UserName)}, {"Person", u.Person, link("who", u.Person)}, {"Identity provider", u.IdentityProvider, ""},
		{"Service principal", u.ServicePrincipal, link("who", u.ServicePrincipal)}, {"ARN", u.ARN, link("who", u.ARN)}, {"Role", u.Role, link("role", u.Role)},
		{"Access key id", u.AccessKeyID, link("who", u.AccessKeyID)}, {"Login session", u.LoginSession, link("who", u.LoginSession)}, {"Delegation", u.Delegation, ""}, {"Gateway key", u.GatewayKey, ""},
		{"From", r.SourceIP, link("source", r.SourceIP)}, {"Request id", r.RequestID, request}, {"Account", r.Account, link("account", r.Account)},
		{"Cluster", r.Cluster, link("cluster", r.Cluster)}, {"Node", r.Node, link("node", r.Node)}, {"Attachment", r.Attachment, ""}, {"Process owner", r.ProcessOwner, ""},
		{"Target", r.Target, link("target", r.Target)},
	}
	for _, name := range sortedKeys(r.Detail) {
		all = append(all, fact{Name: name, Value: r.Detail[name]})
	}
	all = append(all, fact{Name: "Event id", Value: r.EventID})
	for i := range all {
		all[i].Name, all[i].Value = visible(all[i].Name), visible(all[i].Value)
	}
	return slices.DeleteFunc(all, func(f fact) bool { return f.Value == "" })
}

func sortedKeys(m map[string]string) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}
