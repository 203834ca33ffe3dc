package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/login"
)

// Managing says who manages clusters, beside administrators, and assigns them.
type Managing interface {
	MayManage(c cluster.Cluster, person identity.PersonID) bool
	Assign(ctx context.Context, id identity.ClusterID, person identity.PersonID) (cluster.Cluster, error)
}

// managedPage lists the clusters that a person manages.
type managedPage struct{ Clusters []clusterCard }

// managedCluster is one of them: what an administrator set is read here, not changed.
type managedCluster struct {
	clusterPage
	Assigned string
	Facts    []clusterFact
}

// clusterFact is one setting of a cluster, in words.
type clusterFact struct {
	Name   string
	Values []string
	None   string // what it means that there are no values
	More   int    // values that are not shown
}

// factValues bounds the values of one setting that are shown.
const factValues = 50

// managed gives the clusters that the person of a login session manages.
func (web *Web) managed(s login.LoginSession) (out []cluster.Cluster) {
	for _, c := range web.Clusters.List() {
		if web.Managing.MayManage(c, s.Person.ID) {
			out = append(out, c)
		}
	}
	return out
}

// findManaged gives the cluster that an address names, to those who manage it. For
// others there is none, whether it is there or not.
func (web *Web) findManaged(r *http.Request) (cluster.Cluster, error) {
	c, ok := web.Clusters.Cluster(identity.ClusterID(r.PathValue("id")))
	if !ok || !web.Managing.MayManage(c, httpd.CallerOf(r).Session.Person.ID) {
		return cluster.Cluster{}, fault.Coded(fault.NotFound, "cluster.unknown", "You manage no such cluster").WithMend("ask an administrator")
	}
	return c, nil
}

// managedClusters lists them. Administrators have a page of all.
func (web *Web) managedClusters(w http.ResponseWriter, r *http.Request) error {
	s := httpd.CallerOf(r).Session
	if s.Administrator {
		return seeOther(w, "/admin/clusters")
	}
	var page managedPage
	for _, c := range web.managed(s) {
		page.Clusters = append(page.Clusters, web.clusterCard(r.Context(), s, c, managedAt(c)))
	}
	return web.show(w, r, http.StatusOK, "managed", frame{Title: "Clusters that you manage", Here: "managed", Page: page})
}

func managedAt(c cluster.Cluster) string { return "/clusters/" + url.PathEscape(string(c.ID)) }

func (web *Web) managedCluster(w http.ResponseWriter, r *http.Request) error {
	if httpd.CallerOf(r).Session.Administrator {
		return seeOther(w, "/admin/clusters/"+url.PathEscape(r.PathValue("id")))
	}
	c, err := web.findManaged(r)
	if err != nil {
		return err
	}
	return web.showManaged(w, r, http.StatusOK, c, clusterPage{Done: clusterWords[r.URL.Query().Get("done")]})
}

func (web *Web) showManaged(w http.ResponseWriter, r *http.Request, status int, c cluster.Cluster, page clusterPage) error {
	ctx, name := r.Context(), web.Subjects.SubjectName
	web.fillCluster(r, c, &page)
	page.Act = managedAt(c)
	out := managedCluster{clusterPage: page}
	if !page.Many {
		out.Assigned = page.Form.Assigned
		if page.Refused == nil {
			out.Assigned = namesOf(ctx, web.Subjects, optional(c.Assigned))
		}
	} else {
		out.Facts = append(out.Facts, factOf(ctx, "People", c.People, name, "none by name"), factOf(ctx, "Groups", c.Groups, name, "none"))
		if len(c.People)+len(c.Groups) == 0 {
			out.Facts = []clusterFact{{Name: "Who may work there", None: "everybody who signs in"}}
		}
	}
	as := func(_ context.Context, text string) string { return text }
	out.Facts = append(out.Facts, factOf(ctx, "Roles that may be used there", c.Roles, as, "every role that a person holds"),
		clusterFact{Name: "An attachment lasts at most", Values: []string{span(c.LongestFor())}},
		factOf(ctx, "Managers", c.Managers, name, "administrators alone"), factOf(ctx, "Orchestrators", c.Orchestrators, name, "none"))
	return web.show(w, r, status, "managed-cluster", frame{Title: page.Name, Here: "managed", Page: out})
}

// factOf says a list of a cluster's in words.
func factOf[T ~string](ctx context.Context, what string, ids []T, name func(context.Context, string) string, none string) clusterFact {
	f := clusterFact{Name: what, None: none, More: max(0, len(ids)-factValues)}
	for _, id := range ids[:len(ids)-f.More] {
		f.Values = append(f.Values, name(ctx, string(id)))
	}
	return f
}

// actOnManaged does one thing that managers may, by a button.
func (web *Web) actOnManaged(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	c, err := web.findManaged(r)
	if err != nil {
		return err
	}
	if r.PostForm.Get("act") == "assign" {
		return web.assign(w, r, c)
	}
	return web.tend(w, r, c, managedAt(c), func(j *joining) error {
		return web.showManaged(w, r, http.StatusOK, c, clusterPage{Joining: j})
	})
}

// assign makes somebody the person of a standard cluster, or nobody.
func (web *Web) assign(w http.ResponseWriter, r *http.Request, c cluster.Cluster) error {
	text := r.PostForm.Get("assigned")
	ids, err := idsOf[identity.PersonID](r.Context(), web.Subjects, "person", text)
	if err == nil && len(ids) > 1 {
		err = fault.Coded(fault.Invalid, "cluster.assigned", "a cluster for one person has one")
	}
	if err == nil {
		_, err = web.Managing.Assign(r.Context(), c.ID, append(ids, "")[0])
	}
	if err == nil {
		return seeOther(w, managedAt(c)+"?done=cluster-assigned")
	}
	f, again := refusedForm(err)
	if !again {
		return err
	}
	if f.Kind == fault.NotFound { // the commands of others are of no use here
		f = fault.Coded(f.Kind, f.Code, f.Public).WithMend("look at how it is written; people are known from their first sign-in on")
	}
	return web.showManaged(w, r, httpd.Status(f.Kind), c, clusterPage{Form: clusterForm{Assigned: text}, Refused: f})
}

// tend does what those who manage a cluster may do to its machines and logins, by a
// button of the page at here. joined shows a new join token, this once.
func (web *Web) tend(w http.ResponseWriter, r *http.Request, c cluster.Cluster, here string, joined func(*joining) error) error {
	s := httpd.CallerOf(r).Session
	switch r.PostForm.Get("act") {
	case "join":
		token, err := web.ClusterCare.NewJoinToken(r.Context(), c.ID, s.Person.ID, cluster.DefaultJoinLife)
		if err != nil {
			return err
		}
		return joined(&joining{token, clock{web.Now().Add(cluster.DefaultJoinLife), span(cluster.DefaultJoinLife)}})
	case "end":
		if err := web.ClusterLogins.EndOne(r.Context(), s, string(c.ID), identity.AttachmentID(r.PostForm.Get("attachment"))); err != nil {
			return err
		}
		return seeOther(w, here+"?done=login-ended#logins")
	case "remove-node":
		return web.removeNode(w, r, c, here)
	}
	return badForm()
}

// Rest says how many values are not shown.
func (f clusterFact) Rest() string { return fmt.Sprintf("and %d more", f.More) }
