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
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/cluster"
)

// clusterPage is one cluster: who may work there, its machines, and who does.
type clusterPage struct {
	ID, Name, Kind string
	Many           bool
	Warnings       []string
	Form           clusterForm
	Refused        *fault.Fault // why the form was not taken
	Nodes          []nodeRow
	Logins, Ended  []attachmentRow
	Away           []string // what can't be shown, and why
	Joining        *joining
	Server         string
	Act            string // address that the buttons post to
	Done           string
}

// clusterForm is what the form of the settings is filled in with. Lists have one
// entry on a line.
type clusterForm struct {
	Revision                       int64
	Assigned, People, Groups       string
	Managers, Orchestrators, Roles string
	InstanceMetadata, SigningProxy bool
	Meta                           bool
	LoginNames                     []choice // identity providers; the first is none
	Longest                        []choice
	IdP                            string // chosen of LoginNames
	Hours                          int    // chosen of Longest; 0: as it is where nothing is said
}

// nodeRow is one machine, as pages show it.
type nodeRow struct {
	ID, Name, Version, State, Text string
	Seen, Joined                   clock
	Faces, Troubles                []string
	MetadataReachable              bool
}

// joining is a new join token, shown this once.
type joining struct {
	token secret.Text
	Until clock
}

// Text is the token itself, for the one page that shows it.
func (j joining) Text() string { return j.token.Reveal() }

func (web *Web) awayFor(n cluster.Listed) bool { return n.State(web.Now()) == cluster.Silent }

func (web *Web) nodeRow(n cluster.Listed) nodeRow {
	now, rep := web.Now(), n.Health.Report
	row := nodeRow{
		ID: string(n.ID), Name: n.Name, Version: rep.Version, State: "ready", Text: "Well", Faces: rep.Faces, Troubles: rep.Troubles,
		MetadataReachable: rep.MetadataReachable, Seen: clock{n.Health.Seen, ago(now.Sub(n.Health.Seen))}, Joined: clock{n.Joined, ago(now.Sub(n.Joined))},
	}
	switch {
	case web.awayFor(n):
		row.State, row.Text = "failed", "Not heard of"
	case rep.MetadataReachable || len(rep.Troubles) > 0:
		row.State, row.Text = "expired", "In trouble"
	}
	return row
}

// findCluster gives the cluster that an address names.
func (web *Web) findCluster(r *http.Request) (cluster.Cluster, error) {
	c, ok := web.Clusters.Cluster(identity.ClusterID(r.PathValue("id")))
	if !ok {
		return c, fault.Coded(fault.NotFound, "cluster.unknown", "There is no such cluster").WithMend("go back to the list of clusters")
	}
	return c, nil
}

func (web *Web) cluster(w http.ResponseWriter, r *http.Request) error {
	c, err := web.findCluster(r)
	if err != nil {
		return err
	}
	return web.showCluster(w, r, http.StatusOK, c, clusterPage{Form: web.clusterForm(r.Context(), c), Done: clusterWords[r.URL.Query().Get("done")]})
}

func (web *Web) showCluster(w http.ResponseWriter, r *http.Request, status int, c cluster.Cluster, page clusterPage) error {
	web.fillCluster(r, c, &page)
	page.Act = "/admin/clusters/" + url.PathEscape(page.ID) + "/act"
	page.Form.choices(web)
	return web.show(w, r, status, "cluster", frame{Title: page.Name, Here: "clusters", Page: page})
}

// fillCluster puts what managers and administrators see alike on the page.
func (web *Web) fillCluster(r *http.Request, c cluster.Cluster, page *clusterPage) {
	page.ID, page.Name, page.Kind, page.Many = string(c.ID), c.Name, kindText(c.Kind), c.Kind == cluster.HighConcurrency
	page.Warnings, page.Server = c.Warnings(), web.BaseURL.Scheme+"://"+web.BaseURL.Host
	nodes, err := web.ClusterCare.ListNodes(r.Context(), c.ID)
	if err != nil {
		page.Away = append(page.Away, "Its machines: "+fault.Of(err).Public)
	}
	for _, n := range nodes {
		page.Nodes = append(page.Nodes, web.nodeRow(n))
	}
	logins, err := web.ClusterLogins.List(r.Context(), httpd.CallerOf(r).Session, page.ID)
	if err != nil {
		page.Away = append(page.Away, "Who works there: "+fault.Of(err).Public)
	}
	page.Logins, page.Ended = web.attachmentRows(logins)
}

// longests are the choices of how long an attachment lives, in hours; 0 is what
// counts where nothing is said.
func longests(chosen int) (all []choice) {
	list := []int{0, 1, 4, 8, 12, 24, 168, 720}
	if !slices.Contains(list, chosen) {
		list = append(list, chosen)
	}
	for _, h := range list {
		text := span(time.Duration(h) * time.Hour)
		if h == 0 {
			text = "As usual: " + span(cluster.DefaultLongest)
		}
		all = append(all, choice{strconv.Itoa(h), text, h == chosen})
	}
	return all
}

// choices fills in what the form lets choose from.
func (f *clusterForm) choices(web *Web) {
	f.Longest = longests(f.Hours)
	f.LoginNames = []choice{{"", "No: a name proves nothing", f.IdP == ""}}
	for _, p := range web.Providers.List() {
		f.LoginNames = append(f.LoginNames, choice{string(p.ID), "Yes: user names of " + p.Name, f.IdP == string(p.ID)})
	}
}

func (web *Web) clusterForm(ctx context.Context, c cluster.Cluster) clusterForm {
	return clusterForm{
		Revision: c.Revision, Assigned: namesOf(ctx, web.Subjects, optional(c.Assigned)), People: namesOf(ctx, web.Subjects, c.People),
		Groups: namesOf(ctx, web.Subjects, c.Groups), Managers: namesOf(ctx, web.Subjects, c.Managers),
		Orchestrators: namesOf(ctx, web.Subjects, c.Orchestrators), Roles: strings.Join(c.Roles, "\n"),
		InstanceMetadata: c.InstanceMetadata, SigningProxy: c.SigningProxy, Meta: c.Meta,
		IdP: string(c.LoginNames), Hours: int(c.Longest / time.Hour),
	}
}

func optional[T ~string](id T) []T {
	if id == "" {
		return nil
	}
	return []T{id}
}

// namesOf gives names, one on a line. A name that does not lead back to its id stays
// an id.
func namesOf[T ~string](ctx context.Context, s Subjects, ids []T) string {
	var lines []string
	for _, id := range ids {
		name := s.SubjectName(ctx, string(id))
		if back, err := s.FindSubject(ctx, kindOfID(string(id)), name); err != nil || back != string(id) {
			name = string(id)
		}
		lines = append(lines, name)
	}
	return strings.Join(lines, "\n")
}

// kindOfID is the kind of a subject, by the prefix of its id.
func kindOfID(id string) string {
	switch {
	case strings.HasPrefix(id, "psn_"):
		return "person"
	case strings.HasPrefix(id, "spn_"):
		return "service-principal"
	}
	return "group"
}

// idsOf reads a list of a form: one name or id on a line.
func idsOf[T ~string](ctx context.Context, s Subjects, kind, text string) (ids []T, err error) {
	for _, line := range lines(text) {
		id, err := s.FindSubject(ctx, kind, line)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, T(id)) {
			ids = append(ids, T(id))
		}
	}
	return ids, nil
}

// saveCluster replaces the settings of a cluster by what the form says. A form that
// is refused comes back with the reason above it.
func (web *Web) saveCluster(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	c, err := web.findCluster(r)
	if err != nil {
		return err
	}
	form, err := readClusterForm(r.PostForm)
	if err != nil {
		return err
	}
	next, err := web.asForm(r.Context(), c, form)
	if err == nil {
		_, err = web.Clusters.Update(r.Context(), next)
	}
	if err == nil {
		return seeOther(w, "/admin/clusters/"+url.PathEscape(string(c.ID))+"?done=cluster-saved")
	}
	f, again := refusedForm(err)
	if !again {
		return err
	}
	return web.showCluster(w, r, httpd.Status(f.Kind), c, clusterPage{Form: form, Refused: f})
}

func readClusterForm(v url.Values) (clusterForm, error) {
	revision, err := strconv.ParseInt(v.Get("revision"), 10, 64)
	hours, err2 := strconv.Atoi(v.Get("longest"))
	if err != nil || err2 != nil || hours < 0 {
		return clusterForm{}, badForm()
	}
	return clusterForm{
		Revision: revision, Assigned: v.Get("assigned"), People: v.Get("people"), Groups: v.Get("groups"), Managers: v.Get("managers"),
		Orchestrators: v.Get("orchestrators"), Roles: v.Get("roles"), InstanceMetadata: v.Get("instance_metadata") == "on",
		SigningProxy: v.Get("signing_proxy") == "on", Meta: v.Get("meta") == "on", IdP: v.Get("login_names"), Hours: hours,
	}, nil
}

// asForm gives the cluster as a form wants it.
func (web *Web) asForm(ctx context.Context, c cluster.Cluster, f clusterForm) (_ cluster.Cluster, err error) {
	c.Revision, c.Roles, c.LoginNames = f.Revision, lines(f.Roles), identity.IdPID(f.IdP)
	c.InstanceMetadata, c.SigningProxy, c.Meta = f.InstanceMetadata, f.SigningProxy, f.Meta
	if hours := time.Duration(f.Hours) * time.Hour; hours != c.Longest.Truncate(time.Hour) {
		c.Longest = hours
	}
	if c.Kind == cluster.Standard {
		assigned, err := idsOf[identity.PersonID](ctx, web.Subjects, "person", f.Assigned)
		if err != nil {
			return c, err
		}
		if len(assigned) > 1 {
			return c, fault.Coded(fault.Invalid, "cluster.assigned", "a cluster for one person has one")
		}
		c.Assigned = ""
		if len(assigned) == 1 {
			c.Assigned = assigned[0]
		}
	} else {
		if c.People, err = idsOf[identity.PersonID](ctx, web.Subjects, "person", f.People); err != nil {
			return c, err
		}
		if c.Groups, err = idsOf[identity.GroupID](ctx, web.Subjects, "group", f.Groups); err != nil {
			return c, err
		}
	}
	if c.Managers, err = idsOf[identity.PersonID](ctx, web.Subjects, "person", f.Managers); err != nil {
		return c, err
	}
	c.Orchestrators, err = idsOf[identity.ServicePrincipalID](ctx, web.Subjects, "service-principal", f.Orchestrators)
	return c, err
}

// actOnCluster does one thing to a cluster, by a button.
func (web *Web) actOnCluster(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	c, err := web.findCluster(r)
	if err != nil {
		return err
	}
	if r.PostForm.Get("act") == "remove" && r.PostForm.Get("sure") == "yes" {
		if err := web.Clusters.Remove(r.Context(), c.ID); err != nil {
			return err
		}
		return seeOther(w, "/admin/clusters?done=cluster-removed")
	}
	return web.tend(w, r, c, "/admin/clusters/"+url.PathEscape(string(c.ID)), func(j *joining) error {
		return web.showCluster(w, r, http.StatusOK, c, clusterPage{Form: web.clusterForm(r.Context(), c), Joining: j})
	})
}

// removeNode takes a machine of this cluster out, and of no other.
func (web *Web) removeNode(w http.ResponseWriter, r *http.Request, c cluster.Cluster, here string) error {
	nodes, err := web.ClusterCare.ListNodes(r.Context(), c.ID)
	if err != nil {
		return err
	}
	id := identity.NodeID(r.PostForm.Get("node"))
	if !slices.ContainsFunc(nodes, func(n cluster.Listed) bool { return n.ID == id }) {
		return fault.Coded(fault.NotFound, "node.unknown", "The cluster has no such machine").WithMend("go back to the page and try again")
	}
	if err := web.ClusterCare.RemoveNode(r.Context(), id); err != nil {
		return err
	}
	return seeOther(w, here+"?done=node-removed#nodes")
}
