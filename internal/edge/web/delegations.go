package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/workload"
)

// delegated is what a person lets service principals do as them, with the form
// for one more.
type delegated struct {
	Offered bool
	Roles   []choice // that may be delegated
	Given   []delegation
	Ended   []delegation
	Refused *fault.Fault // why the form was not taken
	Away    *fault.Fault // why the list can't be shown
	Done    string
	// What the form was filled in with.
	Role, ServicePrincipal, Cluster, Label string
	Lifetimes                              []choice
}

// delegationWords say what was just done; see doneWords.
var delegationWords = map[string]string{
	"delegated":   "It may work as you now. A job’s service principal asks for tokens with the id below; on a cluster you may be attached while you are away.",
	"undelegated": "The delegation is revoked, and what was issued by it has ended wherever Carnet decides.",
}

// choice is one option of a form.
type choice struct {
	Value, Text string
	Chosen      bool
}

// delegation is one, as pages show it.
type delegation struct {
	ID, Label, Role, ARN, Account string
	ServicePrincipal, UserName    string
	Cluster                       string // instead of a service principal: the cluster's name
	Created, Until                clock
	State, Text                   string // badge and its words
}

func (web *Web) delegation(d workload.Listed) delegation {
	now := web.Now()
	out := delegation{
		ID: string(d.ID), Label: d.Label, Role: d.Role.Name, ARN: d.Role.String(), Account: d.Role.Account, UserName: d.Evidence.UserName,
		ServicePrincipal: cmp.Or(d.MachineName, string(d.ServicePrincipal)), Cluster: cmp.Or(d.ClusterName, string(d.Cluster)),
		Created: clock{d.Created, ago(now.Sub(d.Created))}, Until: clock{d.Expires, left(d.Expires.Sub(now))}, State: "ready", Text: "Stands",
	}
	switch {
	case d.State == workload.Revoked:
		out.State, out.Text = "off", "Revoked"
	case d.State != workload.Active:
		out.State, out.Text = "off", "Over"
	case d.Expires.Sub(now) < 7*24*time.Hour:
		out.State, out.Text = "expired", "Ends soon"
	}
	return out
}

// delegations splits a list into those that stand and those that don't, newest
// first.
func (web *Web) delegations(ctx context.Context, of workload.Of) (stand, ended []delegation, err error) {
	all, err := web.Delegations.ListNamed(ctx, of)
	stand, ended = web.delegationRows(all)
	return stand, ended, err
}

// delegationRows splits a list into those that stand and those that ended.
func (web *Web) delegationRows(all []workload.Listed) (stand, ended []delegation) {
	for _, d := range slices.Backward(all) {
		if out := web.delegation(d); out.State == "off" {
			ended = append(ended, out)
		} else {
			stand = append(stand, out)
		}
	}
	return stand, ended
}

// delegated lists the delegations of a login session's person. Where they can't
// be read the rest of the page is shown all the same.
func (web *Web) delegated(ctx context.Context, s login.LoginSession, form delegated) delegated {
	if s.Person.ID == "" {
		return delegated{}
	}
	var err error
	if form.Given, form.Ended, err = web.delegations(ctx, workload.Of{Person: s.Person.ID}); err != nil {
		form.Away = fault.Of(err)
	}
	for _, st := range s.Roles {
		if st.State != login.RoleFailed {
			form.Roles = append(form.Roles, choice{st.Role.String(), roleText(st, s.Roles), st.Role.String() == form.Role})
		}
	}
	if len(form.Lifetimes) == 0 {
		form.Lifetimes = lifetimes(30)
	}
	form.Offered = len(form.Roles)+len(form.Given)+len(form.Ended) > 0 || form.Away != nil || form.Refused != nil
	return form
}

// roleText names a role of one's own among the others.
func roleText(st login.RoleStatus, all []login.RoleStatus) string {
	if shortName(st, all) == st.Role.Name {
		return st.Role.Name
	}
	return st.Role.Name + " of " + cmp.Or(st.AccountName, st.Account)
}

// lifetimes are the choices of the form, in days.
func lifetimes(chosen int) (all []choice) {
	for _, c := range []struct {
		days int
		text string
	}{{1, "1 day"}, {7, "7 days"}, {30, "30 days"}, {90, "90 days"}, {365, "1 year"}} {
		all = append(all, choice{strconv.Itoa(c.days), c.text, c.days == chosen})
	}
	return all
}

// delegate makes a delegation. A form that is refused comes back with the reason
// above it.
func (web *Web) delegate(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	get := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }
	days, err := strconv.Atoi(get("days"))
	if err != nil || days < 1 || days > 365 {
		return badForm()
	}
	form := delegated{Role: get("role"), ServicePrincipal: get("service_principal"), Cluster: get("cluster"), Label: get("label"), Lifetimes: lifetimes(days)}
	if (form.ServicePrincipal == "") == (form.Cluster == "") {
		form.Refused = fault.Coded(fault.Invalid, "delegation.to", "A delegation is to one service principal, or to one cluster").WithMend("fill in one of the two")
		return web.showAccess(w, r, httpd.Status(form.Refused.Kind), form)
	}
	_, err = web.Delegations.Delegate(r.Context(), httpd.CallerOf(r).Session, workload.NewDelegation{
		Role: form.Role, ServicePrincipal: form.ServicePrincipal, Cluster: form.Cluster, Label: form.Label, Lifetime: time.Duration(days) * 24 * time.Hour,
	})
	if err == nil {
		return seeOther(w, "/?done=delegated#delegations")
	}
	var again bool
	if form.Refused, again = refusedForm(err); !again {
		return err
	}
	return web.showAccess(w, r, httpd.Status(form.Refused.Kind), form)
}

// endDelegation revokes one of the person's own.
func (web *Web) endDelegation(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	if err := web.Delegations.EndOwn(r.Context(), httpd.CallerOf(r).Session, identity.DelegationID(r.PostForm.Get("id"))); err != nil {
		return err
	}
	return seeOther(w, "/?done=undelegated#delegations")
}
