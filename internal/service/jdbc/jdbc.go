// Package jdbc lets people connect to a shared engine of a cluster by user name and
// password, and gives the engine their own rights for that connection.
//
// The password is an ID token of our own for the audience jdbc, short, and made in the
// person's login session (carnet token --audience jdbc). The engine's node presents both;
// what comes back is keys of one role that the person holds and the cluster allows, and
// a connection: a sealed text by which this node has fresh keys for as long as the
// login session lives. An account that is delivered by the gateway gives gateway keys,
// one that takes assume-role is taken by Carnet's own AWS identity, any other gives the
// login session's own keys. It must never take a token that was made for anybody else,
// nor say which part of a proof was wrong, nor serve a connection at another node.
package jdbc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/entitlement"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/holder"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/meta"
	"carnet.dev/carnet/internal/service/revocation"
)

// Proofs proves tokens of our own.
type Proofs interface {
	// VerifyID proves an ID token for an audience; revocations are the caller's.
	VerifyID(token secret.Text, audience string) (issuer.ProvenID, error)
}

// Sessions are login sessions.
type Sessions interface {
	// ResumeID gives a login session that neither ended nor was revoked.
	ResumeID(ctx context.Context, id identity.LoginSessionID) (login.LoginSession, error)
}

// Clusters are the clusters, in memory.
type Clusters interface {
	Cluster(id identity.ClusterID) (cluster.Cluster, bool)
	MayAttach(c cluster.Cluster, person identity.PersonID, groups []identity.GroupID) error
	Allows(c cluster.Cluster, role arn.Role) bool
}

// Groups says which groups somebody is in.
type Groups interface {
	GroupsAround(ctx context.Context, subject string) ([]identity.GroupID, error)
}

// Holders says what somebody holds, and has the keys of it.
type Holders interface {
	Standing(ctx context.Context, o holder.Owner, of []arn.Role) (holder.Standing, error)
	Keys(ctx context.Context, o holder.Owner, role arn.Role, why string) (credential.Temporary, error)
}

// GatewayKeys makes them.
type GatewayKeys interface {
	DeliverAttached(ctx context.Context, a gatewaykeys.Attached, role arn.Role, from netip.Addr) (gatewaykeys.Made, error)
}

// Entitled says whether a person is entitled to a role by what their identity provider
// said last, and signed in as the account asks for it. Fault: Denied.
type Entitled interface {
	StillEntitled(ctx context.Context, person identity.PersonID, idp identity.IdPID, role arn.Role) error
}

// Meta takes roles by Carnet's own AWS identity.
type Meta interface {
	Keys(ctx context.Context, a meta.Ask) (credential.Temporary, error)
}

// Binder binds keys of local accounts to where they are used (see attachment.Binder).
type Binder interface {
	Bind(ctx context.Context, keys credential.Temporary, on identity.OnNode, ends time.Time) (credential.Temporary, error)
}

// Sealer seals connections. Purpose and aad must be the same on opening.
type Sealer interface {
	Seal(purpose string, aad, plain []byte) ([]byte, error)
	Open(purpose string, aad, sealed []byte) ([]byte, error)
}

// Revocations is the feed of what no longer holds.
type Revocations interface {
	Epoch() (uint64, error)
	Refused(kind, id string, epoch uint64) (bool, error)
}

// Atomic makes one transaction of what fn does with its context. fn may run
// more than once.
type Atomic interface {
	Atomic(ctx context.Context, fn func(context.Context) error) error
}

// Trail records in the transaction that ctx carries: what can't be recorded
// doesn't happen.
type Trail interface {
	Record(ctx context.Context, e event.Event) error
}

// Config is what a Service stands on.
type Config struct {
	Proofs      Proofs
	Sessions    Sessions
	Clusters    Clusters
	Groups      Groups
	Holders     Holders
	GatewayKeys GatewayKeys
	Binder      Binder
	Meta        Meta
	Entitled    Entitled // asked before Meta
	Accounts    entitlement.Accounts
	// ByGateway reports whether the keys of an account are delivered as gateway keys.
	ByGateway func(account string) bool
	Sealer    Sealer
	Feed      Revocations
	State     Atomic
	Trail     Trail
	Now       func() time.Time
}

// Service connects. Safe for concurrent use.
type Service struct{ Config }

// New makes a Service.
func New(c Config) *Service { return &Service{c} }

// Connection is one person's connection to an engine.
type Connection struct {
	Keys attachment.Keys
	// Secret is what the node has fresh keys by; Expires is its end, that of the
	// login session.
	Secret  secret.Text
	Expires time.Time
	Name    string // the person's user name
}

// sealed is what a connection's secret holds.
type sealed struct {
	Session identity.LoginSessionID `json:"s"`
	Person  identity.PersonID       `json:"p"`
	Cluster identity.ClusterID      `json:"c"`
	Node    identity.NodeID         `json:"n"`
	Role    string                  `json:"r"`
	Epoch   uint64                  `json:"e"`
}

const (
	purpose       = "jdbc-connection"
	prefix        = "carnet-jdbc-"
	mostSecret    = 2 << 10 // characters
	mostPassword  = 8 << 10
	mostUser      = 1 << 10
	userSubject   = "user:"
	mostListed    = 20
	codeRefused   = "jdbc.refused"
	whyConnection = "jdbc"
)

// refused is the one answer to every proof that does not hold. It is no fault of the
// node's own proof.
func refused(why string) *fault.Fault {
	return fault.Coded(fault.Denied, codeRefused, "user name and password prove nobody who is signed in").
		WithMend("give your user name as carnet whoami shows it, and a fresh password: carnet token --audience jdbc").
		WithCause(fault.New(fault.Denied, why))
}

// away keeps what is not about the person: a part that is away, or a failure of ours.
func away(err error) bool {
	k := fault.KindOf(err)
	return k == fault.Unavailable || k == fault.Internal || k == fault.Limited
}

// Connect gives a node of a cluster the keys of somebody who connects to its engine.
// role is an ARN or a name among their roles there; empty: the only one. from is where
// the node asks from. Errors: Denied (jdbc.refused, jdbc.off and those of who may work on
// the cluster), NotFound and Invalid for the role, and those of the exchange.
func (s *Service) Connect(ctx context.Context, n cluster.Node, user string, password secret.Text, role string, from netip.Addr) (Connection, error) {
	c, err := s.serving(n)
	if err != nil {
		return Connection{}, err
	}
	if user == "" || len(user) > mostUser || len(password.Reveal()) > mostPassword {
		return Connection{}, refused("no user name, or something too long")
	}
	// What is revoked from here on refuses the connection.
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return Connection{}, err
	}
	id, err := s.Proofs.VerifyID(password, issuer.AudienceJDBC)
	if err != nil {
		if away(err) {
			return Connection{}, err
		}
		return Connection{}, refused("the token does not hold").WithCause(err)
	}
	person, ok := strings.CutPrefix(id.Subject, userSubject)
	if !ok || id.LoginSession == "" {
		return Connection{}, refused("the token is of no login session of a person")
	}
	t := sealed{Session: id.LoginSession, Person: identity.PersonID(person), Cluster: c.ID, Node: n.ID, Epoch: id.Epoch}
	l, err := s.live(ctx, t)
	if err != nil {
		return Connection{}, err
	}
	if l.Person.UserName != user {
		return Connection{}, refused("the token is of another user")
	}
	st, err := s.usable(ctx, c, l, nil)
	if err != nil {
		return Connection{}, err
	}
	r, err := choose(st.Held, role)
	if err != nil {
		return Connection{}, err
	}
	k, err := s.keys(ctx, c, n, l, st.Owner, r, from)
	if err != nil {
		return Connection{}, plain(err)
	}
	if err := s.still(ctx, n, t); err != nil {
		return Connection{}, err
	}
	t.Epoch, t.Role = epoch, r.String()
	text, err := s.seal(t)
	if err != nil {
		return Connection{}, err
	}
	out := Connection{Keys: k, Secret: text, Expires: l.Expires, Name: l.Person.UserName}
	return out, s.hand(ctx, "jdbc.connect", c, n, l, k, from, map[string]string{"token": id.ID})
}

// Renew gives a node fresh keys for a connection that it has. Errors as for Connect.
func (s *Service) Renew(ctx context.Context, n cluster.Node, connection secret.Text, from netip.Addr) (Connection, error) {
	c, err := s.serving(n)
	if err != nil {
		return Connection{}, err
	}
	t, err := s.open(connection)
	if err != nil {
		return Connection{}, err
	}
	if t.Node != n.ID || t.Cluster != c.ID {
		return Connection{}, refused("the connection is of another node")
	}
	l, err := s.live(ctx, t)
	if err != nil {
		return Connection{}, err
	}
	role, err := arn.ParseRole(t.Role)
	if err != nil {
		return Connection{}, err
	}
	st, err := s.usable(ctx, c, l, []arn.Role{role})
	if err != nil {
		return Connection{}, err
	}
	if !slices.Contains(st.Held, role) {
		return Connection{}, fault.Coded(fault.Denied, "role.unheld", fmt.Sprintf("role %s is not held any more, or may not be used here", role)).WithMend("connect again, in another role")
	}
	k, err := s.keys(ctx, c, n, l, st.Owner, role, from)
	if err != nil {
		return Connection{}, plain(err)
	}
	if err := s.still(ctx, n, t); err != nil {
		return Connection{}, err
	}
	return Connection{Keys: k, Secret: connection, Expires: l.Expires, Name: l.Person.UserName}, s.hand(ctx, "jdbc.credentials", c, n, l, k, from, map[string]string{})
}

// serving gives the cluster of a node, where connections are served.
func (s *Service) serving(n cluster.Node) (cluster.Cluster, error) {
	c, ok := s.Clusters.Cluster(n.Cluster)
	if !ok {
		return c, fault.Coded(fault.Denied, "jdbc.off", "the cluster of this node is gone")
	}
	if !c.Meta {
		return c, fault.Coded(fault.Denied, "jdbc.off", "cluster "+c.Name+" serves no JDBC connections").WithMend("an administrator lets it: carnet cluster set " + c.Name + " --meta")
	}
	return c, nil
}

// live gives the login session behind a proof, as it is now.
func (s *Service) live(ctx context.Context, t sealed) (login.LoginSession, error) {
	for _, r := range [...]struct{ kind, id string }{{revocation.Everything, revocation.Everything}, {revocation.LoginSession, string(t.Session)}, {revocation.Person, string(t.Person)},
		{revocation.Cluster, string(t.Cluster)}, {revocation.Node, string(t.Node)}} {
		gone, err := s.Feed.Refused(r.kind, r.id, t.Epoch)
		if err != nil {
			return login.LoginSession{}, err
		}
		if gone {
			return login.LoginSession{}, refused("the " + r.kind + " was revoked")
		}
	}
	l, err := s.Sessions.ResumeID(ctx, t.Session)
	switch {
	case err != nil && away(err):
		return l, err
	case err != nil:
		return l, refused("the login session has ended").WithCause(err)
	case l.Person.ID == "" || l.Person.ID != t.Person:
		return l, refused("the login session is of somebody else")
	}
	return l, nil
}

// still looks once more before keys are handed out: what was taken back while they were
// fetched gives none.
func (s *Service) still(ctx context.Context, n cluster.Node, t sealed) error {
	c, err := s.serving(n)
	if err != nil {
		return err
	}
	l, err := s.live(ctx, t)
	if err != nil {
		return err
	}
	groups, err := s.Groups.GroupsAround(ctx, string(l.Person.ID))
	if err != nil {
		return err
	}
	return s.Clusters.MayAttach(c, l.Person.ID, groups)
}

// usable gives what a person holds now and may use on a cluster that they may work on.
func (s *Service) usable(ctx context.Context, c cluster.Cluster, l login.LoginSession, of []arn.Role) (holder.Standing, error) {
	groups, err := s.Groups.GroupsAround(ctx, string(l.Person.ID))
	if err != nil {
		return holder.Standing{}, err
	}
	if err := s.Clusters.MayAttach(c, l.Person.ID, groups); err != nil {
		return holder.Standing{}, err
	}
	st, err := s.Holders.Standing(ctx, holder.Owner{LoginSession: l.ID}, of)
	if err != nil {
		return st, plain(err)
	}
	if st.Owner.Person != l.Person.ID {
		return st, fault.New(fault.Internal, "what the login session holds is not its person's")
	}
	st.Held = slices.DeleteFunc(slices.Clone(st.Held), func(r arn.Role) bool { return !s.Clusters.Allows(c, r) })
	return st, nil
}

// plain makes a fault about a person's proof one that is not about the node's.
func plain(err error) error {
	switch f := fault.Of(err); f.Kind {
	case fault.Unauthenticated, fault.Expired, fault.Revoked:
		return fault.Coded(fault.Denied, codeRefused, "the connection can't have this now: "+f.Public).WithMend(f.Mend).WithCause(err)
	}
	return err
}

func (s *Service) keys(ctx context.Context, c cluster.Cluster, n cluster.Node, l login.LoginSession, o holder.Owner, r arn.Role, from netip.Addr) (attachment.Keys, error) {
	switch {
	case s.ByGateway(r.Account):
		m, err := s.GatewayKeys.DeliverAttached(ctx, gatewaykeys.Attached{Owner: o, Cluster: c, Node: n.ID}, r, from)
		k := attachment.Keys{Role: r, Gateway: true}
		k.AccessKeyID, k.SecretAccessKey, k.Expiration = m.AccessKeyID, m.Secret, m.Expires
		return k, err
	case s.Accounts[r.Account].AssumeRole:
		// It gives keys that the sign-in did not buy: what an account asks of sign-ins
		// before our own tokens count, counts for these too.
		epoch, err := s.Feed.Epoch() // from before the login session is asked about
		if err != nil {
			return attachment.Keys{}, err
		}
		if _, err := s.Sessions.ResumeID(ctx, l.ID); err != nil {
			return attachment.Keys{}, plain(err)
		}
		if err := s.Entitled.StillEntitled(ctx, l.Person.ID, l.Person.IdP, r); err != nil {
			return attachment.Keys{}, err
		}
		t, err := s.Meta.Keys(ctx, meta.Ask{Cluster: c.ID, Role: r, Person: l.Person.ID, IdP: l.Person.IdP, Name: l.Person.UserName, Ends: l.Expires, LoginSession: l.ID, Epoch: epoch, Why: whyConnection})
		return attachment.Keys{Temporary: t, Role: r}, err
	}
	t, err := s.Holders.Keys(ctx, o, r, whyConnection)
	if err == nil && s.Accounts[r.Account].Local {
		t, err = s.Binder.Bind(ctx, t, identity.OnNode{Node: n.ID, Cluster: c.ID}, time.Time{})
	}
	return attachment.Keys{Temporary: t, Role: r}, err
}

// hand records what is handed out: otherwise nothing is.
func (s *Service) hand(ctx context.Context, action string, c cluster.Cluster, n cluster.Node, l login.LoginSession, k attachment.Keys, from netip.Addr, detail map[string]string) error {
	detail["node"] = string(n.ID)
	e := event.Event{Action: action, Outcome: event.Done, Person: l.Person.ID, UserName: l.Person.UserName, IdP: l.Person.IdP, LoginSession: l.ID, Cluster: c.Name, Node: n.ID,
		Role: k.Role.String(), Account: k.Role.Account, AccessKeyID: k.AccessKeyID, Source: from.String(), Target: string(c.ID), Detail: detail}
	return s.State.Atomic(ctx, func(ctx context.Context) error { return s.Trail.Record(ctx, e) })
}

func (s *Service) seal(t sealed) (secret.Text, error) {
	plain, err := json.Marshal(t)
	if err != nil {
		return secret.Text{}, err
	}
	box, err := s.Sealer.Seal(purpose, nil, plain)
	if err != nil {
		return secret.Text{}, err
	}
	return secret.New(prefix + base64.RawURLEncoding.EncodeToString(box)), nil
}

func (s *Service) open(connection secret.Text) (t sealed, err error) {
	text, ok := strings.CutPrefix(connection.Reveal(), prefix)
	if !ok || len(text) > mostSecret {
		return t, refused("that is no connection")
	}
	box, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return t, refused("that is no connection")
	}
	plain, err := s.Sealer.Open(purpose, nil, box)
	if err == nil {
		err = json.Unmarshal(plain, &t)
	}
	if err != nil {
		return t, refused("the connection can't be opened").WithCause(err)
	}
	return t, nil
}

// choose finds the one role that a text names among those usable: an ARN, a name or
// account/name; none means the only one.
func choose(usable []arn.Role, text string) (arn.Role, error) {
	var found []arn.Role
	for _, r := range usable {
		if text == "" || text == r.String() || text == r.Name || text == r.Account+"/"+r.Name {
			found = append(found, r)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(usable) == 0:
		return arn.Role{}, fault.Coded(fault.NotFound, "role.none", "you hold no role that may be used on this cluster").WithMend("ask for one at your identity provider, or ask who manages the cluster")
	case len(found) == 0:
		return arn.Role{}, fault.Coded(fault.NotFound, "role.unheld", fmt.Sprintf("there is no role %q that you hold and may use here; there are %s", fault.Clip(text), list(usable)))
	case text == "":
		return arn.Role{}, fault.Coded(fault.Invalid, "role.choose", "no role is named, and several may be used here: "+list(usable)).WithMend("name one in the connection's settings")
	}
	return arn.Role{}, fault.Coded(fault.Invalid, "role.ambiguous", fmt.Sprintf("role name %q is held in several accounts: %s", fault.Clip(text), list(found))).WithMend("give the role's ARN")
}

func list(roles []arn.Role) string {
	var names []string
	for i, r := range roles {
		if i == mostListed {
			names = append(names, "…")
			break
		}
		names = append(names, r.String())
	}
	return strings.Join(names, ", ")
}
