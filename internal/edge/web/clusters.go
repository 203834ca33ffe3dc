package web

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/login"
)

// Clusters are the machines that people share.
type Clusters interface {
	List() []cluster.Cluster
	Cluster(id identity.ClusterID) (cluster.Cluster, bool)
	Add(ctx context.Context, c cluster.Cluster) (cluster.Cluster, error)
	Update(ctx context.Context, c cluster.Cluster) (cluster.Cluster, error)
	Remove(ctx context.Context, id identity.ClusterID) error
}

// ClusterCare is what is asked of a cluster beside its settings.
type ClusterCare interface {
	Allows(c cluster.Cluster, role arn.Role) bool
	ListNodes(ctx context.Context, of identity.ClusterID) ([]cluster.Listed, error)
	NewJoinToken(ctx context.Context, id identity.ClusterID, by identity.PersonID, life time.Duration) (secret.Text, error)
	RemoveNode(ctx context.Context, id identity.NodeID) error
}

// ClusterLogins are the attachments of a whole cluster.
type ClusterLogins interface {
	List(ctx context.Context, l login.LoginSession, cluster string) ([]attachment.Listed, error)
	EndOne(ctx context.Context, l login.LoginSession, cluster string, id identity.AttachmentID) error
}

// Subjects names people, groups and service principals, and finds them.
type Subjects interface {
	// SubjectName is what one is called; the id itself where there is none.
	SubjectName(ctx context.Context, id string) string
	// FindSubject gives the one of a kind (person, group, service-principal) that a
	// text names: an id, or a name that one of them has. Faults: NotFound, Conflict.
	FindSubject(ctx context.Context, kind, text string) (id string, err error)
}

// clustersPage lists clusters, with the form for one more.
type clustersPage struct {
	Clusters []clusterCard
	Refused  *fault.Fault // why the form was not taken
	Done     string
	Name     string // as the form was filled in
	Kinds    []choice
}

// clusterCard is one cluster in the list.
type clusterCard struct {
	Link, Name, Kind, Whom string // Link is the address of its page
	Nodes, Away, Logins    int
	Trouble                string // why the numbers can't be shown
}

// clusterWords say what was just done; see doneWords.
var clusterWords = map[string]string{
	"cluster-added":    "The cluster is there. Say who may work on it, then let its machines join.",
	"cluster-saved":    "The settings are saved, and hold from now on. Who may not work here any more has nothing here within two seconds.",
	"cluster-removed":  "The cluster is removed. Whoever worked there has nothing there any more.",
	"cluster-assigned": "It is assigned. Who had it before has nothing there within two seconds.",
	"node-removed":     "The machine is removed. Whoever worked there has nothing there any more.",
	"login-ended":      "The login is ended. Keys that were handed out already work until they expire.",
}

// kindText names a kind of clusters.
func kindText(k cluster.Kind) string {
	if k == cluster.HighConcurrency {
		return "For many people"
	}
	return "For one person"
}

func kinds(chosen string) []choice {
	return []choice{
		{string(cluster.HighConcurrency), "Many people, each apart from the others", chosen != string(cluster.Standard)},
		{string(cluster.Standard), "One person at a time", chosen == string(cluster.Standard)},
	}
}

func (web *Web) clusters(w http.ResponseWriter, r *http.Request) error {
	return web.showClusters(w, r, http.StatusOK, clustersPage{Done: clusterWords[r.URL.Query().Get("done")], Kinds: kinds("")})
}

func (web *Web) showClusters(w http.ResponseWriter, r *http.Request, status int, page clustersPage) error {
	s := httpd.CallerOf(r).Session
	for _, c := range web.Clusters.List() {
		page.Clusters = append(page.Clusters, web.clusterCard(r.Context(), s, c, "/admin/clusters/"+url.PathEscape(string(c.ID))))
	}
	return web.show(w, r, status, "clusters", frame{Title: "Clusters", Here: "clusters", Page: page})
}

// clusterCard shows a cluster in short.
func (web *Web) clusterCard(ctx context.Context, s login.LoginSession, c cluster.Cluster, link string) clusterCard {
	card := clusterCard{Link: link, Name: c.Name, Kind: kindText(c.Kind), Whom: web.whom(ctx, c)}
	nodes, err := web.ClusterCare.ListNodes(ctx, c.ID)
	logins, err2 := web.ClusterLogins.List(ctx, s, string(c.ID))
	for _, e := range []error{err, err2} {
		if e != nil {
			card.Trouble = fault.Of(e).Public
		}
	}
	for _, n := range nodes {
		card.Nodes++
		if web.awayFor(n) {
			card.Away++
		}
	}
	live, _ := web.attachmentRows(logins)
	card.Logins = len(live)
	return card
}

// whom says in a few words who may work on a cluster.
func (web *Web) whom(ctx context.Context, c cluster.Cluster) string {
	switch {
	case c.Kind == cluster.Standard && c.Assigned == "":
		return "nobody is assigned"
	case c.Kind == cluster.Standard:
		return web.Subjects.SubjectName(ctx, string(c.Assigned))
	case len(c.People)+len(c.Groups) == 0:
		return "everybody who signs in"
	}
	return "its people and groups alone"
}

// addCluster makes a cluster as it is where nothing else is said, and leads to it.
func (web *Web) addCluster(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	kind := cluster.Kind(r.PostForm.Get("kind"))
	if kind != cluster.Standard && kind != cluster.HighConcurrency {
		return badForm()
	}
	c, err := web.Clusters.Add(r.Context(), cluster.Defaults(r.PostForm.Get("name"), kind))
	if err == nil {
		return seeOther(w, "/admin/clusters/"+url.PathEscape(string(c.ID))+"?done=cluster-added")
	}
	page := clustersPage{Name: r.PostForm.Get("name"), Kinds: kinds(string(kind))}
	var again bool
	if page.Refused, again = refusedForm(err); !again {
		return err
	}
	return web.showClusters(w, r, httpd.Status(page.Refused.Kind), page)
}
