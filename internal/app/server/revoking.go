package server

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	sqlgatewaykeys "carnet.dev/carnet/internal/edge/sql/gatewaykeys"
	sqloauth "carnet.dev/carnet/internal/edge/sql/oauth"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/withdrawal"
)

// taking is something to take back, and what has to end with it in one transaction;
// nil: nothing.
type taking struct {
	withdrawal.Target
	also func(ctx context.Context) error
}

// Ids as identity makes them: a mistyped one would revoke nothing, silently.
var (
	personID           = regexp.MustCompile(`^psn_[a-z2-7]{26}$`)
	loginSessionID     = regexp.MustCompile(`^lgn_[a-z2-7]{26}$`)
	attachmentID       = regexp.MustCompile(`^att_[a-z2-7]{26}$`)
	servicePrincipalID = regexp.MustCompile(`^spn_[a-z2-7]{26}$`)
	accessKeyID        = regexp.MustCompile(`^ASIA[A-Z0-9]{12,124}$`)
)

// takings says how a text that somebody typed names what is taken back, by kind.
func (s *state) takings() map[string]func(context.Context, string) (taking, error) {
	return map[string]func(context.Context, string) (taking, error){
		revocation.Person: func(ctx context.Context, text string) (taking, error) {
			if personID.MatchString(text) { // also one who is not known any more
				return the(revocation.Person, text, nil)
			}
			p, err := s.findPerson(ctx, text)
			return the(revocation.Person, string(p.ID), err)
		},
		revocation.LoginSession: byID(revocation.LoginSession, loginSessionID, "login session (lgn_…)", "carnet people show NAME lists a person's login sessions"),
		revocation.Attachment:   byID(revocation.Attachment, attachmentID, "attachment (att_…)", "carnet attachment list shows them"),
		revocation.ServicePrincipal: func(ctx context.Context, text string) (taking, error) {
			if servicePrincipalID.MatchString(text) { // also one that is not known any more
				return the(revocation.ServicePrincipal, text, nil)
			}
			p, err := s.findMachine(ctx, text)
			return the(revocation.ServicePrincipal, string(p.ID), err)
		},
		revocation.Delegation: func(ctx context.Context, text string) (taking, error) {
			d, err := s.workload.Delegation(ctx, identity.DelegationID(text))
			return the(revocation.Delegation, string(d.ID), err)
		},
		revocation.Cluster: func(_ context.Context, text string) (taking, error) {
			c, err := s.clusters.Find(text)
			return the(revocation.Cluster, string(c.ID), err)
		},
		revocation.Node: func(_ context.Context, text string) (taking, error) {
			n, ok := s.clusters.Node(identity.NodeID(text))
			if !ok {
				return taking{}, fault.Coded(fault.NotFound, "node.unknown", fmt.Sprintf("there is no node %q (nod_…)", fault.Clip(text))).WithMend("carnet cluster show NAME lists a cluster's nodes")
			}
			return the(revocation.Node, string(n.ID), nil)
		},
		revocation.Role:        s.takeRole,
		revocation.AccessKey:   s.takeAccessKey,
		revocation.GatewayKey:  s.takeGatewayKey,
		revocation.OAuthClient: s.takeClient,
		revocation.Everything: func(_ context.Context, text string) (taking, error) {
			if text != "" && text != revocation.Everything {
				return taking{}, fault.New(fault.Invalid, "everything is of everybody: it has no id").WithMend("to revoke one person, give the kind person")
			}
			return the(revocation.Everything, revocation.Everything, nil)
		},
	}
}

func the(kind, id string, err error) (taking, error) {
	return taking{Target: withdrawal.Target{Kind: kind, ID: id}}, err
}

func byID(kind string, form *regexp.Regexp, what, mend string) func(context.Context, string) (taking, error) {
	return func(_ context.Context, text string) (taking, error) {
		if !form.MatchString(text) {
			return taking{}, fault.New(fault.Invalid, fmt.Sprintf("%q is not the id of a %s", fault.Clip(text), what)).WithMend(mend)
		}
		return the(kind, text, nil)
	}
}

// takeRole finds a role: by ARN in any configured account, or by a name that one local
// account has. Role keys know a role by its stable id, everything else by its ARN, so
// both are revoked.
func (s *state) takeRole(_ context.Context, text string) (taking, error) {
	snapshot, err := s.iam.Current()
	if err != nil {
		return taking{}, err
	}
	role, err := arn.ParseRole(text)
	if err != nil {
		var found []arn.Role
		for _, a := range localAccounts(s.config) {
			if r, ok := snapshot.View().Role(a.ID, text); ok {
				found = append(found, arn.Role{Partition: a.Partition, Account: a.ID, Path: r.Path, Name: r.Name})
			}
		}
		switch len(found) {
		case 1:
			role = found[0]
		case 0:
			return taking{}, fault.New(fault.NotFound, fmt.Sprintf("no local account has a role named %q", fault.Clip(text))).
				WithMend("give the role's ARN; aws iam list-roles shows those of a local account")
		default:
			return taking{}, fault.New(fault.Conflict, fmt.Sprintf("%q is a role of several accounts", fault.Clip(text))).WithMend("give the role's ARN")
		}
	}
	account, ok := s.config.Account(role.Account)
	if !ok || account.Partition != role.Partition {
		return taking{}, fault.New(fault.NotFound, "account "+role.Account+" of partition "+role.Partition+" is not configured here, so nothing of it is ever given").
			WithMend("compare the ARN with the accounts in carnet.yaml")
	}
	if r, ok := snapshot.Role(role); ok {
		out, err := the(revocation.Role, string(r.ID), nil)
		out.also = s.alsoRevoke(revocation.Role, role.String())
		return out, err
	}
	// At AWS, or a local role that is gone: of that one delegations and ID tokens may
	// be out yet.
	return the(revocation.Role, role.String(), nil)
}

func (s *state) alsoRevoke(kind, id string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := s.feed.Revoke(ctx, kind, id)
		return err
	}
}

// takeAccessKey finds temporary keys by their id; a gateway key has one too.
func (s *state) takeAccessKey(ctx context.Context, text string) (taking, error) {
	switch begin := text[:min(4, len(text))]; {
	case begin == identity.GatewayKeyPrefix:
		return s.takeGatewayKey(ctx, text)
	case begin == "AKIA":
		return taking{}, fault.New(fault.Invalid, "keys with AKIA are long-lived ones of an IAM user, which no revocation reaches").
			WithMend("aws iam update-access-key --status Inactive ends one")
	case !accessKeyID.MatchString(text):
		return taking{}, fault.New(fault.Invalid, fmt.Sprintf("%q is not the id of temporary keys (ASIA…)", fault.Clip(text))).
			WithMend("the audit trail names it: carnet audit search")
	}
	return the(revocation.AccessKey, text, nil)
}

// takeGatewayKey finds a gateway key by its id or its access key id. Agents keep keys
// by the latter, so both are revoked.
func (s *state) takeGatewayKey(ctx context.Context, text string) (taking, error) {
	store := sqlgatewaykeys.Store{DB: s.db}
	all, err := store.Keys(ctx, time.Time{})
	if err != nil {
		return taking{}, err
	}
	for _, k := range all {
		if string(k.ID) != text && k.AccessKeyID != text {
			continue
		}
		out, err := the(revocation.GatewayKey, string(k.ID), nil)
		out.also = func(ctx context.Context) error {
			if _, err := store.RevokeKey(ctx, k.ID, s.now().UTC().Truncate(time.Millisecond)); err != nil {
				return err
			}
			return s.alsoRevoke(revocation.AccessKey, k.AccessKeyID)(ctx)
		}
		return out, err
	}
	return taking{}, fault.Coded(fault.NotFound, "gateway-key.unknown", fmt.Sprintf("there is no gateway key %q", fault.Clip(text))).WithMend("list them: carnet gateway-key list")
}

// takeClient finds an OAuth client by its id or its name. Its codes and refresh tokens
// carry no epoch: they are forgotten.
func (s *state) takeClient(ctx context.Context, text string) (taking, error) {
	store := sqloauth.Store{DB: s.db}
	clients, _, err := store.All(ctx)
	if err != nil {
		return taking{}, err
	}
	for _, c := range clients {
		if c.ID == text || c.Name == text {
			out, err := the(revocation.OAuthClient, c.ID, nil)
			out.also = func(ctx context.Context) error { return store.EndClient(ctx, c.ID) }
			return out, err
		}
	}
	return taking{}, fault.Coded(fault.NotFound, "client.unknown", fmt.Sprintf("there is no client %q", fault.Clip(text))).WithMend("list them: carnet client list")
}

// find finds what a text names.
func (s *state) taking(ctx context.Context, kind, text string) (taking, error) {
	find, ok := s.takings()[kind]
	if !ok {
		return taking{}, fault.Coded(fault.Invalid, "revocation.kind", fmt.Sprintf("there is nothing of the kind %q to revoke", fault.Clip(kind))).
			WithMend("the kinds are " + listed(s.takings()))
	}
	return find(ctx, text)
}

func listed[V any](m map[string]V) (text string) {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		if i > 0 {
			text += ", "
		}
		text += name
	}
	return text
}

// revoking takes back for API and pages, and looks back.
type revoking struct{ *state }

// forAll is how long a caller waits for every server to have applied a revocation; it
// holds before that.
const forAll = 3 * time.Second

// Revoke takes back everything of what a text names, and says which servers have
// applied it after a moment.
func (r revoking) Revoke(ctx context.Context, kind, text string) (withdrawal.Target, withdrawal.Result, error) {
	t, err := r.taking(ctx, kind, text)
	if err != nil {
		return t.Target, withdrawal.Result{}, err
	}
	result, err := r.withdrawal.RevokeWith(ctx, t.Target, t.also)
	if err != nil {
		return t.Target, result, err
	}
	// It is done: what can't be asked from here on is left as it was seen last.
	if err := poll(ctx, forAll, func() (bool, error) {
		servers, all, err := r.withdrawal.Applied(ctx, result.Epoch)
		if err == nil {
			result.Servers = servers
		}
		return all, err
	}); err != nil {
		r.log.Warn("which servers have applied a revocation can't be read", "kind", t.Kind, "id", t.ID, "error", err)
	}
	return t.Target, result, nil
}

// mostPast bounds how many revocations are looked back on at a time.
const mostPast = 500

// Recent gives the last revocations that this server knows, newest first, and what
// each server has applied.
func (r revoking) Recent(ctx context.Context, most int) ([]withdrawal.Past, []revocation.View, error) {
	entries := r.feed.Latest()
	slices.Reverse(entries)
	entries = entries[:min(len(entries), min(most, mostPast))]
	var out []withdrawal.Past
	by := map[string]string{}
	if len(entries) > 0 {
		found, err := audit.Search(ctx, sqlaudit.Store{DB: r.db}, audit.Query{Event: "revoke", Outcome: "done", From: entries[len(entries)-1].At.Add(-time.Minute)})
		if err != nil {
			return nil, nil, err
		}
		for _, d := range found.Documents {
			by[d.Detail["epoch"]] = doneBy(d)
		}
	}
	for _, e := range entries {
		out = append(out, withdrawal.Past{Target: withdrawal.Target{Kind: e.Kind, ID: e.ID}, Epoch: e.Epoch, At: e.At, By: by[strconv.FormatUint(e.Epoch, 10)]})
	}
	views, err := r.feed.Who(ctx)
	return out, views, err
}

// doneBy says who did what a record tells of.
func doneBy(d audit.Document) string {
	switch {
	case d.UserIdentity.UserName != "":
		return d.UserIdentity.UserName
	case d.Detail["os_user"] != "":
		return d.Detail["os_user"] + " on the host"
	}
	return d.UserIdentity.Type
}
