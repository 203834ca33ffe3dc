package audit_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
)

// TestSearch: each field of a query alone, both orders, and pages that neither lose
// nor repeat an event, on each engine.
func TestSearch(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		store := sqlaudit.Store{DB: db}
		now := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
		w, err := audit.Open(t.Context(), audit.Config{Store: store, Sealer: ring(t, db), Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range []event.Event{
			{Action: "sign-in", Person: "psn_a", UserName: "Ann", Source: "10.1.2.3", IdP: "idp_x", Request: "R1"},
			{Action: "s3.GetObject", Outcome: event.Denied, Code: "AccessDenied", Person: "psn_a", UserName: "Ann", Role: "arn:aws:iam::1:role/a", Account: "1", Target: "s3://hr/x", Source: "10.1.2.4"},
			{Action: "s3.PutObject", ServicePrincipal: "spn_n", Account: "2", Cluster: "lab", Source: "192.0.2.7"},
			{Action: "sign-in", Outcome: event.Failed, Code: "saml.signature", Source: "2001:db8::1"},
			{Action: "authority.apply", Detail: map[string]string{"actor": "host", "os_user": "root"}},
			// Texts that an attacker chooses, and details by the name of a field.
			{Action: "s3.PutObject", UserName: `Zo"ë%_'\<b>`, Target: `s3://x/"role":"arn:forged"`, Request: "ABCDEFGHIJKLMNOP", Node: "nod_1", AccessKeyID: "ASIA1", Principal: "arn:aws:sts::1:assumed-role/a/Ann",
				LoginSession: "lgn_1", Detail: map[string]string{"role": "arn:detail", "person": "Ann", "x": `","cluster":"forged`}},
			{Action: "s3.PutObject", Outcome: event.Failed, Request: "ABCDEFGHIJKLMNOQRSTU", Role: "arn:real", Detail: map[string]string{"role": "arn:detail"}},
		} {
			now = now.Add(time.Duration(i%2) * time.Minute) // some at the same moment
			if err := w.Record(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		for name, c := range map[string]struct {
			q    audit.Query
			want string // numbers in the chain, in order
		}{
			"everything, newest first": {audit.Query{}, "[7 6 5 4 3 2 1]"},
			"everything, oldest first": {audit.Query{Oldest: true}, "[1 2 3 4 5 6 7]"},
			"a name":                   {audit.Query{Event: "sign-in"}, "[4 1]"},
			"the beginning of names":   {audit.Query{Event: "s3.*"}, "[7 6 3 2]"},
			"a person's id":            {audit.Query{Who: "psn_a"}, "[2 1]"},
			"a user name":              {audit.Query{Who: "ann"}, "[2 1]"},
			"a machine":                {audit.Query{Who: "spn_n"}, "[3]"},
			"an outcome":               {audit.Query{Outcome: "denied"}, "[2]"},
			"an account":               {audit.Query{Account: "2"}, "[3]"},
			"a role":                   {audit.Query{Role: "arn:aws:iam::1:role/a"}, "[2]"},
			"a cluster":                {audit.Query{Cluster: "lab"}, "[3]"},
			"a target":                 {audit.Query{Target: "s3://hr/x"}, "[2]"},
			"a request":                {audit.Query{RequestID: "R1"}, "[1]"},
			"an address":               {audit.Query{Source: "10.1.2.4"}, "[2]"},
			"a network":                {audit.Query{Source: "10.0.0.0/8"}, "[2 1]"},
			"a network of version 6":   {audit.Query{Source: "2001:db8::/32"}, "[4]"},
			"from a time":              {audit.Query{From: time.Date(2026, 5, 1, 10, 2, 0, 0, time.UTC)}, "[7 6 5 4]"},
			"up to a time":             {audit.Query{To: time.Date(2026, 5, 1, 10, 1, 0, 0, time.UTC)}, "[1]"},
			"a name with signs":        {audit.Query{Who: `ZO"ë%_'\<B>`}, "[6]"},
			"another letter":           {audit.Query{Who: `zo"Ë%_'\<b>`}, "[]"},
			"a wildcard is a letter":   {audit.Query{Who: `zo"ë%'\<b>`}, "[]"},
			"a key":                    {audit.Query{Who: "ASIA1"}, "[6]"},
			"an ARN":                   {audit.Query{Who: "arn:aws:sts::1:assumed-role/a/Ann"}, "[6]"},
			"a login session":          {audit.Query{Who: "lgn_1"}, "[6]"},
			"a node":                   {audit.Query{Node: "nod_1"}, "[6]"},
			"a detail is no role":      {audit.Query{Role: "arn:detail"}, "[]"},
			"a field beside a detail":  {audit.Query{Role: "arn:real"}, "[7]"},
			"a text is no field":       {audit.Query{Role: "arn:forged"}, "[]"},
			"nor is one in a detail":   {audit.Query{Cluster: "forged"}, "[]"},
			"a whole request id":       {audit.Query{RequestID: "ABCDEFGHIJKLMNOP"}, "[6]"},
			"a longer one":             {audit.Query{RequestID: "ABCDEFGHIJKLMNOQRSTU"}, "[7]"},
			"the beginning of one":     {audit.Query{RequestID: "ABCDEFGHIJKLMNOQ"}, "[]"},
			"a request of an outcome":  {audit.Query{RequestID: "ABCDEFGHIJKLMNOQRSTU", Outcome: "failed"}, "[7]"},
			"a request of another":     {audit.Query{RequestID: "ABCDEFGHIJKLMNOQRSTU", Outcome: "done"}, "[]"},
			"everything at once": {audit.Query{Event: "s3.*", Who: "ann", Outcome: "denied", Account: "1", Role: "arn:aws:iam::1:role/a", Target: "s3://hr/x", Source: "10.1.2.4",
				From: time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC), To: time.Date(2026, 5, 1, 11, 0, 0, 0, time.UTC)}, "[2]"},
			"nothing": {audit.Query{Event: "s3.*", Account: "9"}, "[]"},
		} {
			found, err := audit.Search(t.Context(), store, c.q)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(numbers(found)); got != c.want || found.Next != "" {
				t.Errorf("%s: %s, next %q, want %s", name, got, found.Next, c.want)
			}
		}
		for _, oldest := range []bool{false, true} {
			var all []int64
			q := audit.Query{Most: 2, Oldest: oldest}
			for range 9 {
				found, err := audit.Search(t.Context(), store, q)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, numbers(found)...)
				if q.After = found.Next; q.After == "" {
					break
				}
			}
			slices.Sort(all)
			if fmt.Sprint(all) != "[1 2 3 4 5 6 7]" {
				t.Errorf("pages give %v", all)
			}
		}
		for name, q := range map[string]audit.Query{"a source": {Source: "here"}, "a star inside": {Event: "s3.*x"}, "a place": {After: "x"}, "another place": {After: "MSAyIDM0IDU"},
			"an outcome": {Outcome: "none"}, "bytes": {Who: "\xff"}, "a NUL": {Target: "a\x00"}, "a long text": {Role: strings.Repeat("a", 3000)}, "times": {From: now, To: now}} {
			if _, err := audit.Search(t.Context(), store, q); fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s is taken: %v", name, err)
			}
		}
	})
}

func numbers(f audit.Found) []int64 {
	all := []int64{}
	for _, d := range f.Documents {
		all = append(all, d.Chain.Seq)
	}
	return all
}

// TestDocument: every field of an event has its place, and what can't be read is
// shown as such.
func TestDocument(t *testing.T) {
	t.Parallel()
	body, err := json.Marshal(event.Event{
		At: time.Unix(0, 0).UTC(), Action: "a", Outcome: "o", Code: "c", Person: "p", UserName: "u", IdP: "i", LoginSession: "l", Request: "r", Source: "s", Account: "acc", Role: "ro",
		AccessKeyID: "k", Principal: "pr", ServicePrincipal: "sp", Delegation: "d", GatewayKey: "g", Cluster: "cl", Node: "n", Attachment: "att", ProcessOwner: "1(o)",
		Target: "t", Detail: map[string]string{"x": "y"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(audit.Record{Writer: "w", Seq: 7, Body: string(body)}.Document())
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"eventVersion":"1.0","eventID":"w-7","eventTime":"1970-01-01T00:00:00Z","eventName":"a","outcome":"o","errorCode":"c","userIdentity":{"type":"person","personId":"p","userName":"u","identityProvider":"i",` +
		`"servicePrincipal":"sp","arn":"pr","roleArn":"ro","accessKeyId":"k","loginSession":"l","delegation":"d","gatewayKey":"g"},"sourceIPAddress":"s","requestID":"r","recipientAccountId":"acc","cluster":"cl","node":"n","attachment":"att","processOwner":"1(o)","target":"t",` +
		`"additionalEventData":{"x":"y"},"chain":{"writer":"w","seq":7,"hash":"0000000000000000000000000000000000000000000000000000000000000000"}}`
	if string(got) != want {
		t.Errorf("a record is shown as\n%s, want\n%s", got, want)
	}
	if d := (audit.Record{Action: "a", Person: "p", Body: "{"}).Document(); d.Outcome != "unreadable" || d.EventName != "a" || d.UserIdentity.Person != "p" {
		t.Errorf("a damaged record is shown as %+v", d)
	}
}
