package api

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/clusterdoc"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/cluster"
)

// Clusters is what the API asks about clusters.
type Clusters interface {
	List() []cluster.Cluster
	Find(text string) (cluster.Cluster, error)
	Add(ctx context.Context, c cluster.Cluster) (cluster.Cluster, error)
	Update(ctx context.Context, c cluster.Cluster) (cluster.Cluster, error)
	Remove(ctx context.Context, id identity.ClusterID) error
}

// ClusterRules say who may do what with a cluster.
type ClusterRules interface {
	MayAttach(c cluster.Cluster, person identity.PersonID, groups []identity.GroupID) error
	MayManage(c cluster.Cluster, person identity.PersonID) bool
	Assign(ctx context.Context, id identity.ClusterID, person identity.PersonID) (cluster.Cluster, error)
	NewJoinToken(ctx context.Context, id identity.ClusterID, by identity.PersonID, life time.Duration) (secret.Text, error)
}

// ClusterNodes is what the API asks about nodes.
type ClusterNodes interface {
	NodesOf(id identity.ClusterID) []cluster.Node
	ListNodes(ctx context.Context, of identity.ClusterID) ([]cluster.Listed, error)
	FindNode(of identity.ClusterID, text string) (cluster.Node, error)
	RemoveNode(ctx context.Context, id identity.NodeID) error
}

// Names finds who is meant by an id or by a name that only one has, and says what an
// id is called.
type Names interface {
	PersonID(ctx context.Context, text string) (identity.PersonID, error)
	GroupID(ctx context.Context, text string) (identity.GroupID, error)
	ServicePrincipalID(ctx context.Context, text string) (identity.ServicePrincipalID, error)
	ProviderID(text string) (identity.IdPID, error)
	// NameOf gives the name of a person, group, service principal or identity
	// provider; empty where it is gone.
	NameOf(ctx context.Context, id string) (string, error)
}

// maxCluster bounds what is said of a cluster, whose lists may be long.
const maxCluster = 256 << 10

func (a api) clusterRoutes(row rowMaker) []httpd.Route {
	const admin, person = httpd.Administrator, httpd.Person
	return []httpd.Route{
		row(http.MethodGet, "clusters", person, 0, a.clusters),
		row(http.MethodPost, "clusters", admin, maxCluster, a.addCluster),
		row(http.MethodGet, "clusters/{id}", person, 0, a.cluster),
		row(http.MethodPatch, "clusters/{id}", admin, maxCluster, a.changeCluster),
		row(http.MethodDelete, "clusters/{id}", admin, maxSmall, a.removeCluster),
		row(http.MethodPost, "clusters/{id}/assign", person, maxSmall, a.assignCluster),
		row(http.MethodPost, "clusters/{id}/join-tokens", person, maxSmall, a.newJoinToken),
		row(http.MethodGet, "clusters/{id}/nodes", person, 0, a.nodes),
		row(http.MethodDelete, "clusters/{id}/nodes/{node}", person, maxSmall, a.removeNode),
	}
}

// manages reports whether the caller manages a cluster, or administers all.
func (a api) manages(r *http.Request, c cluster.Cluster) bool {
	s := httpd.CallerOf(r).Session
	return s.Administrator || a.ClusterRules.MayManage(c, s.Person.ID)
}

// managed gives the cluster of a request whose caller manages it. change: something
// is about to be changed that outlives an access token, so no program does it.
func (a api) managed(r *http.Request, change bool) (cluster.Cluster, error) {
	c, err := a.Clusters.Find(r.PathValue("id"))
	switch {
	case err != nil:
		return c, err
	case !a.manages(r, c):
		return c, fault.Coded(fault.Denied, "cluster.not-manager", "cluster "+c.Name+" is managed by others").WithMend("ask one of them, or an administrator")
	case change && !httpd.CallerOf(r).AccessToken.IsZero():
		return c, httpd.ByThemselves("Managing a cluster")
	}
	return c, nil
}

func (a api) clusters(w http.ResponseWriter, r *http.Request) error {
	out, around := clusterdoc.ClusterList{Clusters: []clusterdoc.Cluster{}}, a.around(r)
	for _, c := range a.Clusters.List() {
		d, ok, err := a.seen(r, c, around)
		if err != nil {
			return err
		}
		if ok {
			out.Clusters = append(out.Clusters, d)
		}
	}
	return answer(w, http.StatusOK, out)
}

func (a api) cluster(w http.ResponseWriter, r *http.Request) error {
	c, err := a.Clusters.Find(r.PathValue("id"))
	if err != nil {
		return err
	}
	d, ok, err := a.seen(r, c, a.around(r))
	if err == nil && !ok {
		err = fault.Coded(fault.Denied, "cluster.not-manager", "cluster "+c.Name+" is for others, and managed by others").WithMend("ask an administrator")
	}
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, d)
}

// around gives the groups around the caller, who is asked for once.
func (a api) around(r *http.Request) func() ([]identity.GroupID, error) {
	return sync.OnceValues(func() ([]identity.GroupID, error) {
		return a.GroupsAround(r.Context(), string(httpd.CallerOf(r).Session.Person.ID))
	})
}

// seen writes a cluster as the caller may see it; false: not at all.
func (a api) seen(r *http.Request, c cluster.Cluster, around func() ([]identity.GroupID, error)) (clusterdoc.Cluster, bool, error) {
	if a.manages(r, c) {
		d, err := ClusterDocument(r.Context(), a.Names, c, len(a.ClusterNodes.NodesOf(c.ID)))
		d.Manages = true
		return d, true, err
	}
	person := httpd.CallerOf(r).Session.Person.ID
	if person == "" {
		return clusterdoc.Cluster{}, false, nil
	}
	groups, err := around()
	if err != nil {
		return clusterdoc.Cluster{}, false, err
	}
	if a.ClusterRules.MayAttach(c, person, groups) != nil {
		return clusterdoc.Cluster{}, false, nil
	}
	part := cluster.Cluster{ID: c.ID, Name: c.Name, Kind: c.Kind, Roles: c.Roles, Meta: c.Meta, InstanceMetadata: c.InstanceMetadata, SigningProxy: c.SigningProxy,
		Longest: c.Longest, Revision: c.Revision, Made: c.Made}
	d, err := ClusterDocument(r.Context(), a.Names, part, 0)
	return d, true, err
}

func (a api) addCluster(w http.ResponseWriter, r *http.Request) error {
	var in clusterdoc.NewCluster
	if err := read(r, &in); err != nil {
		return err
	}
	c := cluster.Defaults(in.Name, cluster.Kind(in.Kind))
	if err := SetCluster(r.Context(), a.Names, &c, in.Settings); err != nil {
		return err
	}
	c, err := a.Clusters.Add(r.Context(), c)
	return a.answerCluster(w, r, http.StatusCreated, c, err)
}

func (a api) answerCluster(w http.ResponseWriter, r *http.Request, status int, c cluster.Cluster, err error) error {
	if err != nil {
		return err
	}
	d, _, err := a.seen(r, c, a.around(r))
	if err != nil {
		return err
	}
	return answer(w, status, d)
}

func (a api) changeCluster(w http.ResponseWriter, r *http.Request) error {
	var in clusterdoc.ClusterChange
	if err := read(r, &in); err != nil {
		return err
	}
	c, err := a.Clusters.Find(r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := SetCluster(r.Context(), a.Names, &c, in.Settings); err != nil {
		return err
	}
	c.Revision = int64(in.Revision)
	c, err = a.Clusters.Update(r.Context(), c)
	return a.answerCluster(w, r, http.StatusOK, c, err)
}

func (a api) removeCluster(w http.ResponseWriter, r *http.Request) error {
	c, err := a.Clusters.Find(r.PathValue("id"))
	if err != nil {
		return err
	}
	return done(w, a.Clusters.Remove(r.Context(), c.ID))
}

func (a api) assignCluster(w http.ResponseWriter, r *http.Request) error {
	c, err := a.managed(r, true)
	if err != nil {
		return err
	}
	var in clusterdoc.Assignment
	if err := read(r, &in); err != nil {
		return err
	}
	var person identity.PersonID
	if in.Person != "" {
		if person, err = a.Names.PersonID(r.Context(), in.Person); err != nil {
			return err
		}
	}
	c, err = a.ClusterRules.Assign(r.Context(), c.ID, person)
	return a.answerCluster(w, r, http.StatusOK, c, err)
}

func (a api) newJoinToken(w http.ResponseWriter, r *http.Request) error {
	c, err := a.managed(r, true)
	if err != nil {
		return err
	}
	var in clusterdoc.JoinTokenRequest
	if err := read(r, &in); err != nil {
		return err
	}
	if most := int(cluster.LongestJoinLife / time.Second); in.LifetimeSeconds < 0 || in.LifetimeSeconds > most {
		return fault.Coded(fault.Invalid, "join-token.life", "lifetime_seconds must be 60 to 86400").WithMend("leave it out for an hour")
	}
	life := cmp.Or(time.Duration(in.LifetimeSeconds)*time.Second, cluster.DefaultJoinLife)
	expires := seconds(a.now().Add(life))
	token, err := a.ClusterRules.NewJoinToken(r.Context(), c.ID, httpd.CallerOf(r).Session.Person.ID, life)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, clusterdoc.JoinToken{JoinToken: token.Reveal(), Cluster: c.Name, Expires: expires})
}

func (a api) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}

func (a api) nodes(w http.ResponseWriter, r *http.Request) error {
	c, err := a.managed(r, false)
	if err != nil {
		return err
	}
	all, err := a.ClusterNodes.ListNodes(r.Context(), c.ID)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, NodeDocuments(all, a.now()))
}

func (a api) removeNode(w http.ResponseWriter, r *http.Request) error {
	c, err := a.managed(r, true)
	if err != nil {
		return err
	}
	n, err := a.ClusterNodes.FindNode(c.ID, r.PathValue("node"))
	if err != nil {
		return err
	}
	return done(w, a.ClusterNodes.RemoveNode(r.Context(), n.ID))
}

// SetCluster puts into a cluster what a document says; what that leaves out stays.
func SetCluster(ctx context.Context, n Names, c *cluster.Cluster, in clusterdoc.ClusterSettings) (err error) {
	keep := func(e error) {
		if err == nil {
			err = e
		}
	}
	person := func(text string) (identity.PersonID, error) { return n.PersonID(ctx, text) }
	keep(named(&c.Managers, in.Managers, person))
	keep(named(&c.People, in.People, person))
	keep(named(&c.Groups, in.Groups, func(text string) (identity.GroupID, error) { return n.GroupID(ctx, text) }))
	keep(named(&c.Orchestrators, in.Orchestrators, func(text string) (identity.ServicePrincipalID, error) { return n.ServicePrincipalID(ctx, text) }))
	if in.Assigned != nil {
		if c.Assigned = ""; *in.Assigned != "" {
			id, bad := person(*in.Assigned)
			c.Assigned = id
			keep(bad)
		}
	}
	if in.LoginNames != nil {
		if c.LoginNames = ""; *in.LoginNames != "" {
			id, bad := n.ProviderID(*in.LoginNames)
			c.LoginNames = id
			keep(bad)
		}
	}
	set(&c.Roles, in.Roles)
	set(&c.Meta, in.Meta)
	set(&c.InstanceMetadata, in.InstanceMetadata)
	set(&c.SigningProxy, in.SigningProxy)
	if in.LongestSeconds != nil {
		const most = 366 * 24 * 3600 // beyond any bound, and far from an overflow
		c.Longest = time.Duration(max(-1, min(most, *in.LongestSeconds))) * time.Second
	}
	b, bad := cluster.ParseBinding(value(in.Networks), value(in.Certificates))
	keep(bad)
	if in.Networks != nil {
		c.Binding.Networks = b.Networks
	}
	if in.Certificates != nil {
		c.Binding.Certificates = b.Certificates
	}
	return err
}

func value(list *[]string) []string {
	if list == nil {
		return nil
	}
	return *list
}

// named replaces a list by those who are named; nil leaves it.
func named[T comparable](to *[]T, texts *[]string, find func(string) (T, error)) error {
	if texts == nil {
		return nil
	}
	var out []T
	for _, text := range *texts {
		id, err := find(text)
		if err != nil {
			return err
		}
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	*to = out
	return nil
}

// ClusterDocument writes a cluster as the API shows it to who manages it.
func ClusterDocument(ctx context.Context, n Names, c cluster.Cluster, nodes int) (clusterdoc.Cluster, error) {
	d := clusterdoc.Cluster{ID: string(c.ID), Name: c.Name, Kind: string(c.Kind), Revision: int(c.Revision), Roles: append([]string{}, c.Roles...),
		Meta: c.Meta, InstanceMetadata: c.InstanceMetadata, SigningProxy: c.SigningProxy, LongestSeconds: int(c.LongestFor() / time.Second),
		Networks: []string{}, Certificates: []string{}, Nodes: nodes, Made: seconds(c.Made), Warnings: append([]string{}, c.Warnings()...)}
	for _, p := range c.Binding.Networks {
		d.Networks = append(d.Networks, netip.Prefix.String(p))
	}
	for _, f := range c.Binding.Certificates {
		d.Certificates = append(d.Certificates, f.String())
	}
	var err error
	one := func(id string) clusterdoc.ClusterMember {
		name, bad := n.NameOf(ctx, id)
		if err == nil {
			err = bad
		}
		return clusterdoc.ClusterMember{ID: id, Name: name}
	}
	if c.Assigned != "" {
		m := one(string(c.Assigned))
		d.Assigned = &m
	}
	if c.LoginNames != "" {
		m := one(string(c.LoginNames))
		d.LoginNames = &m
	}
	d.Managers, d.People = members(c.Managers, one), members(c.People, one)
	d.Groups, d.Orchestrators = members(c.Groups, one), members(c.Orchestrators, one)
	return d, err
}

func members[T ~string](ids []T, one func(string) clusterdoc.ClusterMember) []clusterdoc.ClusterMember {
	out := make([]clusterdoc.ClusterMember, len(ids))
	for i, id := range ids {
		out[i] = one(string(id))
	}
	return out
}

// NodeDocuments writes nodes as the API shows them.
func NodeDocuments(all []cluster.Listed, now time.Time) clusterdoc.NodeList {
	out := clusterdoc.NodeList{Nodes: []clusterdoc.Node{}}
	for _, n := range all {
		h := n.Health
		out.Nodes = append(out.Nodes, clusterdoc.Node{ID: string(n.ID), Name: n.Name, State: string(n.State(now)), Joined: seconds(n.Joined), Seen: seconds(h.Seen),
			Version: h.Report.Version, Faces: append([]string{}, h.Report.Faces...), Troubles: append([]string{}, h.Report.Troubles...), MetadataReachable: h.Report.MetadataReachable})
	}
	return out
}
