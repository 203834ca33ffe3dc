package web_test

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/keyring"
)

// newTrail opens a real trail.
func newTrail(t *testing.T) (*audit.Writer, *audit.Reader) {
	t.Helper()
	db := sqltest.Open(t)
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: keks, Server: "s", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now
	store := sqlaudit.Store{DB: db}
	w, err := audit.Open(t.Context(), audit.Config{Store: store, Sealer: ring, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return w, audit.NewReader(audit.ReaderConfig{Trail: store, Recorder: w, Now: now})
}

// attackers are what somebody may call themselves, a file or a program.
var attackers = []string{
	`</title><script>alert(1)</script>`, `"><svg onload=alert(1)>`, `'"--><img src=x onerror=alert(1)>`, `javascript:alert(1)`, `{{.}}`, "\u202egnp.exe", "a\x00b\x1b[2J\u009b31m", `?who=x&amp;from=1#<b>`,
}

// fillTrail writes a day of events, the newest last.
func (w *world) fillTrail(t *testing.T) {
	t.Helper()
	for i := range 120 {
		e := event.Event{Action: "s3.GetObject", Outcome: event.Done, Person: "psn_bob", UserName: "bob@example.com", Role: "arn:aws:iam::111122223333:role/team/analyst", Account: "111122223333",
			Source: "192.0.2.7", Request: identity.NewRequestID(), Target: "arn:aws:s3:::sales/2026/orders.parquet", AccessKeyID: "ASIAEXAMPLE"}
		switch {
		case i%17 == 3:
			e.Outcome, e.Code, e.Detail = event.Denied, "AccessDenied", map[string]string{"reason": "no identity-based policy allows the s3:GetObject action"}
		case i%40 == 5:
			e.Outcome, e.Code, e.Action = event.Failed, "saml.signature", "exchange"
		}
		if err := w.trail.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range attackers {
		if err := w.trail.Record(t.Context(), event.Event{Action: "sign-in", UserName: a, Source: a, Target: a, Cluster: a, Role: a, ProcessOwner: a, Code: a, Outcome: event.Denied, Request: "AAAAAAAAAAAAAAAA", Detail: map[string]string{"user_agent": a, a: a}}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAuditPage: what was asked for is what is shown, the address holds all of it,
// pages follow each other, and what can't be looked for is said above the form.
func TestAuditPage(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	empty := b.get(w.base + "/admin/audit?who=nobody")
	contains(t, empty, "Nothing was found", "No event of the last 24 hours")
	w.fillTrail(t)
	p := b.get(w.base + "/admin/audit")
	contains(t, p, "events</h2>", `<svg class="bars" role="img"`, "As a table", "Older", "/api/v1/audit/export?from=24h", `href="/admin/audit?from=7d"`)
	if n := strings.Count(p.body, "<summary>\n"); n != 50 {
		t.Errorf("%d events on the page", n)
	}
	p = b.get(w.base + "/admin/audit?outcome=denied&event=s3.*&who=BOB%40example.com")
	contains(t, p, "no identity-based policy allows", "/admin/denials?request=", `value="s3.*"`, "<option selected>denied</option>", "7 events", "as analyst", "from 192.0.2.7", "/admin/audit?from=30d&amp;source=192.0.2.7",
		"/api/v1/audit/export?event=s3.%2A&amp;from=24h&amp;outcome=denied&amp;who=BOB%40example.com")
	if strings.Contains(p.body, "sign-in</strong>") || strings.Contains(p.body, "Older") {
		t.Error("other events are shown")
	}
	seen := map[string]bool{}
	for at := "/admin/audit?who=bob%40example.com"; at != ""; {
		p := b.get(w.base + at)
		for _, m := range eventIDs.FindAllStringSubmatch(p.body, -1) {
			if seen[m[1]] {
				t.Errorf("%s stands on two pages", m[1])
			}
			seen[m[1]] = true
		}
		at = ""
		if m := olderLink.FindStringSubmatch(p.body); m != nil {
			at = html.UnescapeString(m[1])
		}
	}
	if len(seen) != 120 {
		t.Errorf("the pages hold %d events", len(seen))
	}
	for query, want := range map[string]string{"from=never": "is no time", "source=x": "is no address", "event=a*b": "stands at the end", "colour=red": "there is no filter", "who=a&who=b": "twice", "after=x": "is not where a page ended",
		"from=1h&to=2h": "is not before", "outcome=%3Cb%3E": "is no outcome", "who=%ff": "looked for"} {
		p := b.get(w.base + "/admin/audit?" + query)
		if p.status != 400 || strings.Contains(p.body, "<b>") || strings.Contains(p.body, "bob@example.com") {
			t.Errorf("%s: %d", query, p.status)
		}
		if !strings.Contains(strings.ToLower(p.body), strings.ToLower(want)) {
			t.Errorf("%s: the page doesn't say %q", query, want)
		}
	}
	if p := b.get(w.base + "/admin/audit?event=audit.read"); strings.Count(p.body, "<summary>\n") < 3 {
		t.Error("the trail doesn't say that it is read")
	}
}

var (
	eventIDs  = regexp.MustCompile(`(aud_[0-9a-f]+-[0-9]+)</dd>`)
	olderLink = regexp.MustCompile(`rel="next" href="([^"]+)"`)
)

// Nobody but administrators reads the trail.
func TestAuditIsForAdministrators(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.person = "bob" })
	w.fillTrail(t)
	b := newBrowser(t)
	b.signIn(w, "/")
	if p := b.get(w.base + "/admin/audit"); p.status != 403 || strings.Contains(p.body, "192.0.2.7") {
		t.Errorf("%d", p.status)
	}
	if p := b.get(w.base + "/"); strings.Contains(p.body, "/admin/audit") {
		t.Error("the navigation offers the page")
	}
}

// TestAttackMarkupInTheTrail: names, targets and programs that are markup, addresses of
// script or control characters are text on the page, in its links and in its picture.
func TestAttackMarkupInTheTrail(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	w.fillTrail(t)
	for _, query := range append([]string{""}, attackers...) {
		p := b.get(w.base + "/admin/audit?" + url.Values{"who": {query}}.Encode())
		if strings.ContainsRune(query, 0) {
			if p.status != 400 {
				t.Errorf("%q: %d", query, p.status)
			}
			continue
		}
		contains(t, p, "sign-in")
		for _, bad := range []string{"<script>alert", "<svg onload", "<img src=x", `href="javascript`, "\x00", "\x1b", "\u009b", "\u202e"} {
			// The form holds what was typed.
			if strings.Contains(strings.Replace(p.body, `value="`+query, "", 1), bad) {
				t.Errorf("%q: the page holds %q", query, bad)
			}
		}
		if query != "" && !strings.Contains(p.body, "1 event</h2>") {
			t.Errorf("%q isn't found", query)
		}
	}
}
