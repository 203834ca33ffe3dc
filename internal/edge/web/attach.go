package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/login"
)

// Attaching lets people say which logins to nodes work as them.
type Attaching interface {
	Review(ctx context.Context, l login.LoginSession, from netip.Addr, code string) (attachment.Review, error)
	Decide(ctx context.Context, l login.LoginSession, from netip.Addr, code string, yes bool) (attachment.Review, error)
	// Own lists the person's: live ones, and those that ended lately.
	Own(ctx context.Context, l login.LoginSession) ([]attachment.Listed, error)
	EndOwn(ctx context.Context, l login.LoginSession, id identity.AttachmentID) error
}

// attachPage asks for the code that a login to a node shows.
type attachPage struct {
	UserName, Host string
	Refused        *fault.Fault // why the code was not taken
	// Asks is the login that waits under the code that was typed; nil: none was typed
	// yet.
	Asks *attachAsks
	// Decided is set once the person said yes or no.
	Decided, Approved bool
}

// attachAsks is a login that asks, as its person sees it.
type attachAsks struct {
	Code          string
	Cluster, Node string
	Shared        bool // many people work there
	Account       string
	Named         bool // false: the account is a number alone
	UID           uint32
	Scope         string
	Asked, Until  clock
	Roles         []string // usable there
	All           bool     // of all that the person holds
}

// attach asks for the code. What an address brings is not read: a link with a code in
// it is what a thief sends around, so the code is typed here.
func (web *Web) attach(w http.ResponseWriter, r *http.Request) error {
	return web.showAttach(w, r, http.StatusOK, attachPage{})
}

func (web *Web) showAttach(w http.ResponseWriter, r *http.Request, status int, page attachPage) error {
	page.UserName, page.Host = displayName(httpd.CallerOf(r).Session), web.BaseURL.Host
	return web.show(w, r, status, "attach", frame{Title: "Attach a login", Page: page})
}

// reviewAttach shows which login waits under the code that was typed. Nothing is
// granted by it.
func (web *Web) reviewAttach(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	s := httpd.CallerOf(r).Session
	got, err := web.Attaching.Review(r.Context(), s, httpd.Source(r), r.PostForm.Get("user_code"))
	if err != nil {
		return web.refuseAttach(w, r, err)
	}
	return web.showAttach(w, r, http.StatusOK, attachPage{Asks: web.attachAsks(s, got)})
}

func (web *Web) attachAsks(s login.LoginSession, v attachment.Review) *attachAsks {
	now := web.Now()
	until := now.Add(v.Cluster.LongestFor())
	if s.Expires.Before(until) {
		until = s.Expires
	}
	out := &attachAsks{
		Code: v.UserCode, Cluster: v.Cluster.Name, Node: v.Node.Name, Shared: v.Cluster.Kind == cluster.HighConcurrency,
		Account: accountName(v.Account, v.UID), Named: v.Account != "", UID: v.UID, Scope: v.Scope,
		Asked: clock{v.Asked, ago(now.Sub(v.Asked))}, Until: clock{until, left(until.Sub(now))}, All: true,
	}
	for _, st := range s.Roles {
		if web.ClusterCare.Allows(v.Cluster, st.Role) {
			out.Roles = append(out.Roles, roleText(st, s.Roles))
		} else {
			out.All = false
		}
	}
	return out
}

// refuseAttach shows the form again, with the reason above it.
func (web *Web) refuseAttach(w http.ResponseWriter, r *http.Request, err error) error {
	f, again := refusedForm(err)
	if !again {
		return err
	}
	return web.showAttach(w, r, httpd.Status(f.Kind), attachPage{Refused: f})
}

// decideAttach takes the person's word.
func (web *Web) decideAttach(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	word := r.PostForm.Get("decision")
	if word != "approve" && word != "refuse" {
		return badForm()
	}
	s := httpd.CallerOf(r).Session
	got, err := web.Attaching.Decide(r.Context(), s, httpd.Source(r), r.PostForm.Get("user_code"), word == "approve")
	if err != nil {
		return web.refuseAttach(w, r, err)
	}
	return web.showAttach(w, r, http.StatusOK, attachPage{Asks: web.attachAsks(s, got), Decided: true, Approved: word == "approve"})
}

// attached are the logins to nodes that work as a person, as pages show them.
type attached struct {
	Live, Ended []attachmentRow
	Away        *fault.Fault // why the list can't be shown
	Done        string
}

// attachmentRow is one of them.
type attachmentRow struct {
	ID, Cluster, Node, Account string
	Named                      bool // false: the account is a number alone
	UID                        uint32
	Person                     string // for administrators
	Role, How, Why             string
	Made, Until                clock
}

// attachmentWords say what was just done; see doneWords.
var attachmentWords = map[string]string{
	"detached": "The login works as you no more. Keys that were handed out already work until they expire.",
}

// attached lists a person's own. Where they can't be read the rest of the page is
// shown all the same.
func (web *Web) attached(ctx context.Context, s login.LoginSession, done string) attached {
	out := attached{Done: done}
	if s.Person.ID == "" {
		return out
	}
	all, err := web.Attaching.Own(ctx, s)
	if err != nil {
		out.Away = fault.Of(err)
	}
	out.Live, out.Ended = web.attachmentRows(all)
	return out
}

// attachmentRows splits a list into those that are live and those that ended.
func (web *Web) attachmentRows(all []attachment.Listed) (live, ended []attachmentRow) {
	now := web.Now()
	for _, x := range all {
		row := attachmentRow{
			ID: string(x.ID), Cluster: cmp.Or(x.ClusterName, string(x.Cluster)), Node: cmp.Or(x.NodeName, string(x.Place.Node)),
			Account: accountName(x.Place.Account, x.Place.UID), Named: x.Place.Account != "", UID: x.Place.UID, Person: x.Name, Role: roleNameOf(x.Role), How: howAttached(x),
			Made: clock{x.Made, ago(now.Sub(x.Made))}, Until: clock{x.Expires, left(x.Expires.Sub(now))},
		}
		if x.Live {
			live = append(live, row)
			continue
		}
		row.Why = whyEnded(x.Why)
		ended = append(ended, row)
	}
	return live, ended
}

// accountName names an account of a node, which may have none but its number.
func accountName(name string, uid uint32) string {
	return cmp.Or(name, fmt.Sprintf("uid %d", uid))
}

func roleNameOf(role arn.Role) string {
	if role.IsZero() {
		return ""
	}
	return role.Name
}

// howAttached says how an attachment came about, in words of the page.
func howAttached(x attachment.Listed) string {
	switch x.How {
	case attachment.Approved:
		return "approved with a code"
	case attachment.OnBehalf:
		return "by " + cmp.Or(x.Orchestrator, string(x.By))
	case attachment.LoginNamed:
		return "by the account’s name"
	}
	return string(x.How)
}

// whyEnded says why an attachment ended, in words of the page.
func whyEnded(why string) string {
	switch why {
	case attachment.WhyDetached:
		return "detached"
	case attachment.WhyScope:
		return "the login to the machine ended"
	case attachment.WhyUID:
		return "the account of the machine became another one"
	case attachment.WhyReplaced:
		return "attached anew"
	case attachment.WhyManager:
		return "ended by who manages the cluster"
	case attachment.WhyReassign:
		return "the cluster admits its person no more"
	case attachment.WhyGround:
		return "the sign-in or delegation that it rested on ended"
	case attachment.WhyNode:
		return "the machine was removed"
	case attachment.WhyRevoked:
		return "revoked"
	case attachment.WhyExpired, "":
		return "past its end"
	}
	return why
}

// endAttachment ends one of the person's own.
func (web *Web) endAttachment(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	if err := web.Attaching.EndOwn(r.Context(), httpd.CallerOf(r).Session, identity.AttachmentID(r.PostForm.Get("id"))); err != nil {
		return err
	}
	return seeOther(w, "/?done=detached#attachments")
}

// span says a duration that was chosen, such as 12 h.
func span(d time.Duration) string {
	switch {
	case d == 24*time.Hour:
		return "1 day"
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}
