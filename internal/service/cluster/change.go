package cluster

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/revocation"
)

// Limits of what a cluster says.
const (
	mostEntries = 1000 // of each list
	mostPattern = 2048 // bytes
	longest     = 30 * 24 * time.Hour
	shortest    = 5 * time.Minute
)

// Defaults gives a cluster of a kind as it is where nothing else is said.
func Defaults(name string, kind Kind) Cluster {
	return Cluster{Name: name, Kind: kind, InstanceMetadata: kind == Standard}
}

// Add stores a new cluster; its id, revision and time of making are given here.
// Faults: Invalid, NotFound, Conflict.
func (s *Service) Add(ctx context.Context, c Cluster) (Cluster, error) {
	c.ID, c.Revision, c.Made = identity.NewClusterID(), 1, s.now()
	if err := s.check(ctx, c, Cluster{}); err != nil {
		return Cluster{}, err
	}
	return c, s.recorded(ctx, c.event("cluster.add"), func(ctx context.Context) error { return s.Clusters.AddCluster(ctx, c) })
}

// Update replaces a cluster. c.Revision is the one that was seen: where it was
// changed since, Conflict. Its name and time of making stay. Faults: Invalid,
// NotFound, Conflict.
func (s *Service) Update(ctx context.Context, c Cluster) (Cluster, error) {
	now, ok := s.Cluster(c.ID)
	if !ok {
		return Cluster{}, unknown(string(c.ID))
	}
	if c.Name != now.Name {
		return Cluster{}, fault.Coded(fault.Invalid, "cluster.renamed", "the name of a cluster does not change: gateway keys are bound by it")
	}
	if c.Kind != now.Kind {
		return Cluster{}, fault.Coded(fault.Invalid, "cluster.kind-changed", "the kind of a cluster does not change: who works there counts on it").
			WithMend("add another cluster, and let its nodes join that one")
	}
	if err := s.check(ctx, c, now); err != nil {
		return Cluster{}, err
	}
	c.Revision, c.Made = c.Revision+1, now.Made
	return c, s.recorded(ctx, c.event("cluster.update"), func(ctx context.Context) error {
		done, err := s.Clusters.UpdateCluster(ctx, c)
		if err == nil && !done {
			err = fault.Coded(fault.Conflict, "cluster.changed", "the cluster was changed meanwhile, or removed").WithMend("look at it again: carnet cluster show " + c.Name)
		}
		return err
	})
}

// Assign makes a person the one of a standard cluster; none for an empty id. Who was
// it before has nothing there from then on. Faults: Invalid, NotFound, Conflict.
func (s *Service) Assign(ctx context.Context, id identity.ClusterID, person identity.PersonID) (Cluster, error) {
	c, ok := s.Cluster(id)
	if !ok {
		return Cluster{}, unknown(string(id))
	}
	if c.Kind != Standard {
		return Cluster{}, fault.Coded(fault.Invalid, "cluster.assign", "cluster "+c.Name+" is for many people: nobody is assigned to it").
			WithMend("say who may work there: carnet cluster set " + c.Name + " --people PERSON")
	}
	c.Assigned = person
	return s.Update(ctx, c)
}

// Remove takes a cluster out, with its nodes and join tokens: whoever works there has
// nothing there from then on, and gateway keys that name it work nowhere. Fault:
// NotFound.
func (s *Service) Remove(ctx context.Context, id identity.ClusterID) error {
	c, ok := s.Cluster(id)
	if !ok {
		return unknown(string(id))
	}
	return s.recorded(ctx, c.event("cluster.remove"), func(ctx context.Context) error {
		gone, err := s.Clusters.RemoveCluster(ctx, id)
		if err == nil && !gone {
			err = unknown(string(id))
		}
		if err != nil {
			return err
		}
		_, err = s.Feed.Revoke(ctx, revocation.Cluster, string(id))
		return err
	})
}

// Place adds a high-concurrency cluster that calls the gateway from b, or changes
// where the one of that name calls from. Faults: Invalid, Conflict.
func (s *Service) Place(ctx context.Context, name string, b Binding) (Cluster, error) {
	if b.IsZero() {
		return Cluster{}, fault.Coded(fault.Invalid, "cluster.unbound", "a cluster needs the networks that it calls from, or its client certificates").
			WithMend("give --network CIDR or --certificate FINGERPRINT")
	}
	c, err := s.Find(name)
	if err == nil {
		c.Binding = b
		return s.Update(ctx, c)
	}
	c = Defaults(name, HighConcurrency)
	c.Binding = b
	return s.Add(ctx, c)
}

// Warnings says what of a cluster deserves a second look.
func (c Cluster) Warnings() (out []string) {
	if c.Kind == HighConcurrency && c.InstanceMetadata {
		out = append(out, "instance metadata is offered on a cluster of many people: a program that reaches the agent's address by a detour, such as a proxy of another person's, is that person there")
	}
	if c.LoginNames != "" {
		out = append(out, "the login names of the nodes are taken for user names: whoever makes accounts on a node decides who its people are")
	}
	return out
}

func invalid(field, format string, args ...any) *fault.Fault {
	return fault.Coded(fault.Invalid, "cluster."+field, fmt.Sprintf(format, args...))
}

// check holds a cluster to its form, and whom it names anew to who there is. was is
// what it replaces.
func (s *Service) check(ctx context.Context, c, was Cluster) error {
	if !NameForm(c.Name) {
		return invalid("name", "%q is not a name: want 1 to 64 letters, digits, dots, hyphens and underscores", fault.Clip(c.Name))
	}
	switch c.Kind {
	case Standard:
		if len(c.People) > 0 || len(c.Groups) > 0 {
			return invalid("people", "a standard cluster is for one person: it has no list of people or groups").
				WithMend("assign its person: carnet cluster assign " + c.Name + " PERSON; or make it a high-concurrency one")
		}
	case HighConcurrency:
		if c.Assigned != "" {
			return invalid("assigned", "a high-concurrency cluster is for many people: nobody is assigned to it")
		}
	default:
		return invalid("kind", "%q is not a kind of cluster: want standard or high-concurrency", fault.Clip(string(c.Kind)))
	}
	if c.Longest != 0 && (c.Longest < shortest || c.Longest > longest) {
		return invalid("longest", "an attachment lives for 5 minutes to 30 days at most")
	}
	if len(c.Binding.Networks) > MostBindings || len(c.Binding.Certificates) > MostBindings {
		return invalid("binding", "a cluster has at most %d networks and %d certificates", MostBindings, MostBindings)
	}
	for _, p := range c.Roles {
		if p != "*" && !strings.HasPrefix(p, "arn:") || len(p) > mostPattern || strings.ContainsFunc(p, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
			return invalid("roles", "%q is not a role pattern", fault.Clip(p)).WithMend("give the ARN of a role; * in it stands for any characters")
		}
	}
	for _, n := range []int{len(c.Managers), len(c.People), len(c.Groups), len(c.Orchestrators), len(c.Roles)} {
		if n > mostEntries {
			return invalid("entries", "a list of a cluster has at most %d entries", mostEntries)
		}
	}
	return s.checkWho(ctx, c, was)
}

// checkWho holds a cluster to people, groups, service principals and the identity
// provider that there are. Who was named before may be gone since.
func (s *Service) checkWho(ctx context.Context, c, was Cluster) error {
	people := slices.Concat(c.Managers, c.People)
	if c.Assigned != "" {
		people = append(people, c.Assigned)
	}
	for _, id := range added(people, append(slices.Concat(was.Managers, was.People), was.Assigned)) {
		if _, err := s.Directory.Person(ctx, id); err != nil {
			return missing(err, "person", string(id))
		}
	}
	for _, id := range added(c.Groups, was.Groups) {
		if _, err := s.Directory.Group(ctx, id); err != nil {
			return missing(err, "group", string(id))
		}
	}
	for _, id := range added(c.Orchestrators, was.Orchestrators) {
		if _, err := s.Directory.ServicePrincipal(ctx, id); err != nil {
			return missing(err, "service principal", string(id))
		}
	}
	if c.LoginNames != "" && c.LoginNames != was.LoginNames {
		if _, err := s.Providers.Get(ctx, c.LoginNames); err != nil {
			return missing(err, "identity provider", string(c.LoginNames))
		}
	}
	return nil
}

// added gives what of a list was not in another.
func added[T comparable](list, was []T) (out []T) {
	for _, e := range list {
		if !slices.Contains(was, e) {
			out = append(out, e)
		}
	}
	return out
}

func missing(err error, what, id string) error {
	if fault.KindOf(err) != fault.NotFound {
		return err
	}
	return fault.Coded(fault.NotFound, "cluster.who", fmt.Sprintf("there is no %s %q", what, fault.Clip(id))).WithMend("list who there is: carnet people list")
}

// NameForm reports whether a name of a cluster or node is fit for addresses, logs and
// shells: 1 to 64 letters, digits, dots, hyphens and underscores.
func NameForm(name string) bool {
	if name == "" || len(name) > 64 || strings.HasPrefix(name, "cls_") || strings.HasPrefix(name, "nod_") { // those are ids
		return false
	}
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || i > 0 && strings.IndexByte("._-", c) >= 0) {
			return false
		}
	}
	return true
}

// event begins the record of something that is done with a cluster.
func (c Cluster) event(action string) event.Event {
	d := c.Binding.Detail()
	d["kind"], d["revision"] = string(c.Kind), strconv.FormatInt(c.Revision, 10)
	for name, list := range map[string][]string{"managers": texts(c.Managers), "people": texts(c.People), "groups": texts(c.Groups), "orchestrators": texts(c.Orchestrators), "roles": c.Roles} {
		if len(list) > 0 {
			d[name] = fault.Clip(strings.Join(list, " "))
		}
	}
	for name, set := range map[string]bool{"meta": c.Meta, "instance_metadata": c.InstanceMetadata, "signing_proxy": c.SigningProxy} {
		if set {
			d[name] = "true"
		}
	}
	if c.Assigned != "" {
		d["assigned"] = string(c.Assigned)
	}
	if c.LoginNames != "" {
		d["login_names"] = string(c.LoginNames)
	}
	return event.Event{Action: action, Outcome: event.Done, Cluster: c.Name, Target: string(c.ID), Detail: d}
}

func texts[T ~string](ids []T) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}
