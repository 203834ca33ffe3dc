package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/withdrawal"
	"carnet.dev/carnet/internal/service/workload"
)

// People are those who are known here, for administrators.
type People interface {
	// Find gives people in the order of their user names, most of them from after on,
	// whose names, mail address or id hold a text. next goes on; empty: there are no more.
	Find(ctx context.Context, text, after string, most int) (found []PersonLine, next string, err error)
	// Portrait gives all that is known of one. Fault: NotFound.
	Portrait(ctx context.Context, id identity.PersonID) (Portrait, error)
	// SetActive switches one on, or off and revokes all of them. epoch is 0 where
	// nothing was revoked.
	SetActive(ctx context.Context, id identity.PersonID, on bool) (epoch uint64, err error)
	// Revoke takes back everything of what an id names.
	Revoke(ctx context.Context, kind, id string) (withdrawal.Target, withdrawal.Result, error)
	// Applied gives the live servers, and whether all have applied an epoch.
	Applied(ctx context.Context, epoch uint64) (servers []revocation.View, all bool, err error)
}

// PersonLine is one person in the list.
type PersonLine struct {
	ID                          identity.PersonID
	UserName, DisplayName, Mail string
	IdP                         string // name
	Active, Administrator       bool
}

// Portrait is all that is known of a person.
type Portrait struct {
	PersonLine
	ExternalID  string
	Since       time.Time
	MemberOf    []string
	Roles       []PortraitRole
	Notes       []string
	SignIns     []SignIn
	Attachments []attachment.Listed
	Delegations []workload.Listed
	GatewayKeys []gatewaykeys.Listed
	// Keys are those that AWS handed out and may honour.
	Keys []withdrawal.Key
}

// PortraitRole is one role, and why it is held.
type PortraitRole struct {
	ARN, Name string
	Reasons   []PortraitReason
}

// PortraitReason is one reason why a role is held, in sentences.
type PortraitReason struct {
	Text, TakenAwayBy string
	Since             time.Time
}

// SignIn is an open login session, as pages show it.
type SignIn struct {
	ID, IdP          string
	Started, Expires time.Time
	Roles            []string // ARNs
}

// peoplePage lists people.
type peoplePage struct {
	Query  string
	People []PersonLine
	Next   string // address of what comes after; empty: nothing does
	Later  bool   // not the first page
}

// peopleShown bounds one page of the list.
const peopleShown = 50

func (web *Web) people(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	page := peoplePage{Query: strings.TrimSpace(q.Get("q")), Later: q.Get("after") != ""}
	found, next, err := web.People.Find(r.Context(), page.Query, q.Get("after"), peopleShown)
	if err != nil {
		return err
	}
	page.People = found
	if next != "" {
		page.Next = "/admin/people?" + url.Values{"q": {page.Query}, "after": {next}}.Encode()
	}
	return web.show(w, r, http.StatusOK, "people", frame{Title: "People", Here: "people", Page: page})
}

// personPage is one person.
type personPage struct {
	Portrait
	Known       clock
	SignIns     []signInRow
	Live        []attachmentRow
	Delegations []delegation
	GatewayKeys []gatewayKeyRow
	Keys        []awsKeyRow
	Yourself    bool // it is who looks at it
	Done        string
	Servers     string // which have applied what was just revoked
}

type signInRow struct {
	SignIn
	Began, Until clock
	Here         bool // it is the one that looks
}

// awsKeyRow is one key that AWS handed out.
type awsKeyRow struct {
	AccessKeyID, Role, Account string
	Until                      clock
	State, Text                string // of a badge
	Trouble                    string
}

// personWords say what was just done; see doneWords.
var personWords = map[string]string{
	"revoked":     "Everything of this person that was issued up to now is taken back: Carnet refuses it everywhere within two seconds. They can sign in again.",
	"deactivated": "The person is switched off. They can’t sign in, and everything that was issued to them is refused everywhere within two seconds.",
	"activated":   "The person is switched on, and can sign in again. What was taken back stays taken back.",
	"ended":       "It is ended. What rested on it is refused everywhere within two seconds.",
}

func (web *Web) person(w http.ResponseWriter, r *http.Request) error {
	p, err := web.People.Portrait(r.Context(), identity.PersonID(r.PathValue("id")))
	if err != nil {
		return err
	}
	q, s := r.URL.Query(), httpd.CallerOf(r).Session
	page := web.personPage(p, s.ID)
	page.Yourself, page.Done = s.Person.ID == p.ID, personWords[q.Get("done")]
	if epoch, err := strconv.ParseUint(q.Get("epoch"), 10, 64); err == nil && page.Done != "" {
		page.Servers = web.whoApplied(r.Context(), epoch)
	}
	return web.show(w, r, http.StatusOK, "person", frame{Title: titleOf(p.PersonLine), Here: "people", Page: page})
}

func titleOf(p PersonLine) string { return cmp.Or(p.DisplayName, p.UserName, string(p.ID)) }

// whoApplied says which servers have applied a revocation.
func (web *Web) whoApplied(ctx context.Context, epoch uint64) string {
	servers, all, err := web.People.Applied(ctx, epoch)
	switch {
	case err != nil:
		return "Which servers have applied it can’t be said now."
	case all && len(servers) == 1:
		return "The server has applied it."
	case all:
		return fmt.Sprintf("All %d servers have applied it.", len(servers))
	}
	applied := 0
	for _, v := range servers {
		if v.Epoch >= epoch {
			applied++
		}
	}
	return fmt.Sprintf("%d of %d servers have applied it. One that has lost touch decides nothing any more a minute later at the latest.", applied, len(servers))
}

func (web *Web) personPage(p Portrait, here identity.LoginSessionID) personPage {
	now := web.Now()
	page := personPage{Portrait: p, Known: clock{p.Since, ago(now.Sub(p.Since))}, SignIns: web.signInRows(p.SignIns, here), Keys: web.awsKeyRows(p.Keys)}
	page.Live, _ = web.attachmentRows(p.Attachments)
	page.Delegations, _ = web.delegationRows(p.Delegations)
	page.GatewayKeys = web.gatewayKeyRows(slices.DeleteFunc(slices.Clone(p.GatewayKeys), func(k gatewaykeys.Listed) bool { return k.State != gatewaykeys.Active }))
	return page
}

func (web *Web) signInRows(all []SignIn, here identity.LoginSessionID) (rows []signInRow) {
	now := web.Now()
	for _, s := range all {
		rows = append(rows, signInRow{SignIn: s, Began: clock{s.Started, ago(now.Sub(s.Started))}, Until: clock{s.Expires, left(s.Expires.Sub(now))}, Here: s.ID == string(here)})
	}
	return rows
}

// awsKeyRows show keys of AWS until when they live.
func (web *Web) awsKeyRows(all []withdrawal.Key) (rows []awsKeyRow) {
	now := web.Now()
	for _, k := range all {
		row := awsKeyRow{AccessKeyID: k.AccessKeyID, Role: k.Role.Name, Account: k.Account, Until: clock{k.Until, left(k.Until.Sub(now))}, Trouble: k.Trouble, State: "off", Text: "Lives on"}
		switch k.Deny {
		case withdrawal.DenyQueued:
			row.State, row.Text = "expired", "Deny on its way"
		case withdrawal.DenyWritten:
			row.State, row.Text = "ready", "Denied at AWS"
		case withdrawal.DenyFailed:
			row.State, row.Text = "failed", "Deny not written"
		}
		rows = append(rows, row)
	}
	return rows
}

// actOnPerson does one thing to a person, by a button.
func (web *Web) actOnPerson(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	id := identity.PersonID(r.PathValue("id"))
	p, err := web.People.Portrait(r.Context(), id)
	if err != nil {
		return err
	}
	var epoch uint64
	act, sure := r.PostForm.Get("act"), r.PostForm.Get("sure") == "yes"
	done, at := act+"d", ""
	switch {
	case act == "revoke" && sure:
		epoch, err = web.revokeOne(r.Context(), revocation.Person, string(id))
	case act == "deactivate" && sure, act == "activate":
		epoch, err = web.People.SetActive(r.Context(), id, act == "activate")
	case act == "end" && p.has(r.PostForm.Get("kind"), r.PostForm.Get("id")):
		done, at = "ended", "#"+url.QueryEscape(r.PostForm.Get("kind"))
		epoch, err = web.revokeOne(r.Context(), r.PostForm.Get("kind"), r.PostForm.Get("id"))
	case act == "end":
		return fault.Coded(fault.NotFound, "person.lacks", "This person has no such thing any more").WithMend("go back and load the page anew")
	default:
		return badForm()
	}
	if err != nil {
		return err
	}
	q := url.Values{"done": {done}}
	if epoch != 0 {
		q.Set("epoch", strconv.FormatUint(epoch, 10))
	}
	return seeOther(w, "/admin/people/"+url.PathEscape(string(id))+"?"+q.Encode()+at)
}

func (web *Web) revokeOne(ctx context.Context, kind, id string) (uint64, error) {
	_, result, err := web.People.Revoke(ctx, kind, id)
	return result.Epoch, err
}

// has reports whether something is this person's: a form of one person's page ends
// nothing of another's.
func (p Portrait) has(kind, id string) bool {
	switch kind {
	case revocation.LoginSession:
		return slices.ContainsFunc(p.SignIns, func(s SignIn) bool { return s.ID == id })
	case revocation.Attachment:
		return slices.ContainsFunc(p.Attachments, func(a attachment.Listed) bool { return string(a.ID) == id })
	case revocation.Delegation:
		return slices.ContainsFunc(p.Delegations, func(d workload.Listed) bool { return string(d.ID) == id })
	case revocation.GatewayKey:
		return slices.ContainsFunc(p.GatewayKeys, func(k gatewaykeys.Listed) bool { return string(k.ID) == id })
	}
	return false
}

// ending is the form that ends one thing of a person.
type ending struct {
	Person                 identity.PersonID
	Kind, ID, Button, What string
}

// Ending fills in the form that ends one thing of the person.
func (p personPage) Ending(kind, id, button, what string) ending {
	return ending{p.ID, kind, id, button, what}
}
