package attachment

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/device"
	"carnet.dev/carnet/internal/service/login"
)

// Begin stores what a process of a node asks and gives its codes. Errors: Invalid,
// Denied "attachment.metadata" and those of the cluster, Limited "attachment.busy".
func (s *Service) Begin(ctx context.Context, n cluster.Node, p Place, metadataReachable bool) (Begun, error) {
	c, err := s.clusterOf(n)
	if err != nil {
		return Begun{}, err
	}
	p.Node = n.ID
	if err := admits(c, p, metadataReachable); err != nil {
		return Begun{}, err
	}
	now := s.now()
	for range 3 {
		code := secret.Random(32)
		r := Request{Digest: code.Digest(), UserCode: device.NewUserCode(), Place: p, Asked: now, Expires: now.Add(Lifetime), State: Pending}
		switch err := s.Requests.Put(ctx, r, MostPerUID, MostPerNode); {
		case err == nil:
			return Begun{Request: code, UserCode: device.ShownCode(r.UserCode), VerificationURI: s.Page, Expires: r.Expires, Interval: Interval}, nil
		case fault.KindOf(err) != fault.Conflict:
			return Begun{}, err
		}
	}
	return Begun{}, fault.Coded(fault.Limited, "attachment.busy", "no code was free").WithMend("try again")
}

// admits holds a place to what may be attached at all.
func admits(c cluster.Cluster, p Place, metadataReachable bool) error {
	if err := p.check(); err != nil {
		return err
	}
	if metadataReachable && c.Kind == cluster.HighConcurrency {
		return metadataOpen(c)
	}
	return nil
}

func metadataOpen(c cluster.Cluster) error {
	return fault.Coded(fault.Denied, "attachment.metadata", "this uid reaches the instance metadata service of the node, whose identity everybody there would share; cluster "+c.Name+" is for many people, so nobody is attached until it can't").
		WithMend("an administrator of the node blocks it, as root there: carnet agent metadata-rule --install")
}

// The uids that are nobody's own: root, and what the kernel shows for users that it
// can't name (/proc/sys/kernel/overflowuid, and -1).
const (
	rootUID     = 0
	overflowUID = 65534
	noUID       = 1<<32 - 1
)

const (
	mostScope   = 1024
	mostAccount = 256
)

func (p Place) check() error {
	switch {
	case p.UID == rootUID || p.UID == overflowUID || p.UID == noUID:
		return fault.Coded(fault.Denied, "attachment.root", fmt.Sprintf("nobody is attached under uid %d: it is not one person's", p.UID)).
			WithMend("log in to the node under an account of your own")
	case !strings.HasPrefix(p.Scope, "/") || path.Clean(p.Scope) != p.Scope || len(p.Scope) > mostScope || !printable(p.Scope):
		return fault.Coded(fault.Invalid, "attachment.scope", "scope is not the path of a control group: want /a/b")
	case p.ScopeID == 0:
		return fault.Coded(fault.Invalid, "attachment.scope", "scope_id is missing: the kernel's id of the control group")
	case len(p.Account) > mostAccount || !printable(p.Account):
		return fault.Coded(fault.Invalid, "attachment.account", "account is not a login name")
	}
	return nil
}

func printable(text string) bool {
	return utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// Review shows what waits under a code that somebody typed. Nothing is granted by
// looking. Errors: NotFound "attachment.code", Limited "device.tries".
func (s *Service) Review(ctx context.Context, l login.LoginSession, from netip.Addr, code string) (Review, error) {
	r, err := s.look(ctx, l, from, code)
	if err != nil {
		return Review{}, err
	}
	return s.review(r)
}

func (s *Service) review(r Request) (Review, error) {
	n, ok := s.Clusters.Node(r.Place.Node)
	c, there := s.Clusters.Cluster(n.Cluster)
	if !ok || !there {
		return Review{}, wrongCode()
	}
	return Review{UserCode: device.ShownCode(r.UserCode), Cluster: c, Node: n, UID: r.Place.UID, Account: r.Place.Account, Scope: r.Place.Scope, Asked: r.Asked, Expires: r.Expires}, nil
}

func wrongCode() *fault.Fault {
	return fault.Coded(fault.NotFound, "attachment.code", "no node waits under this code").
		WithMend("compare it with what carnet attach shows; a code counts for 10 minutes and for one approval, so run it again")
}

// look finds what waits under a code; wrong ones are counted.
func (s *Service) look(ctx context.Context, l login.LoginSession, from netip.Addr, code string) (found Request, err error) {
	if l.Person.ID == "" {
		return Request{}, fault.Coded(fault.Denied, "attachment.nobody", "a set-up link is nobody who could be attached").WithMend("sign in with your identity provider")
	}
	g := device.Guesses{Counts: s.Counts, State: s.State, Trail: s.Trail, Now: s.Now}
	who := device.Approver{Person: l.Person.ID, UserName: l.Person.UserName, LoginSession: l.ID, Source: from}
	err = g.Look(ctx, who, code, wrongCode(), func(ctx context.Context, code string) (there bool, err error) {
		found, err = s.Requests.Typed(ctx, code)
		return err == nil && found.State == Pending && s.Now().Before(found.Expires), err
	})
	return found, err
}

// Decide approves or refuses what waits under a code, once, for the person of a
// login session: they are attached, and it ends with that login session. Errors as
// for Review; Denied where the cluster does not admit them; Conflict
// "attachment.uid".
func (s *Service) Decide(ctx context.Context, l login.LoginSession, from netip.Addr, code string, yes bool) (Review, error) {
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return Review{}, err
	}
	r, err := s.look(ctx, l, from, code)
	if err != nil {
		return Review{}, err
	}
	shown, err := s.review(r)
	if err != nil {
		return Review{}, err
	}
	if !yes {
		return shown, s.refuse(ctx, l, r, shown)
	}
	a := Attachment{ID: identity.NewAttachmentID(), Cluster: shown.Cluster.ID, Place: r.Place, Person: l.Person.ID, IdP: l.Person.IdP, Name: l.Person.UserName,
		LoginSession: l.ID, How: Approved, Epoch: epoch}
	_, err = s.attach(ctx, shown.Cluster, a, 0, l.Expires, func(ctx context.Context) error {
		return s.decide(ctx, r, Attached, a.ID)
	})
	return shown, err
}

func (s *Service) decide(ctx context.Context, r Request, to State, made identity.AttachmentID) error {
	done, err := s.Requests.Decide(ctx, r.UserCode, to, made, s.now())
	if err == nil && !done {
		err = wrongCode()
	}
	return err
}

func (s *Service) refuse(ctx context.Context, l login.LoginSession, r Request, shown Review) error {
	return s.recorded(ctx, func(ctx context.Context) (event.Event, error) {
		return event.Event{Action: "attachment.refuse", Outcome: event.Done, Person: l.Person.ID, UserName: l.Person.UserName, LoginSession: l.ID, Target: string(r.Place.Node),
			Cluster: shown.Cluster.Name, Detail: map[string]string{"node_name": shown.Node.Name, "uid": decimal(r.Place.UID)}}, s.decide(ctx, r, Refused, "")
	})
}

// Poll says what became of a request of this node. Fault: NotFound
// "attachment.request", also for another node's.
func (s *Service) Poll(ctx context.Context, n cluster.Node, request secret.Text) (Polled, error) {
	if _, err := s.clusterOf(n); err != nil {
		return Polled{}, err
	}
	r, err := s.Requests.Asked(ctx, request.Digest())
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return Polled{}, err
	}
	if err != nil || r.Place.Node != n.ID {
		return Polled{}, fault.Coded(fault.NotFound, "attachment.request", "there is no such request of this node").WithMend("begin again: carnet attach")
	}
	switch r.State {
	case Attached:
		a, err := s.Lists.Attachment(ctx, r.Attachment)
		if err != nil {
			return Polled{}, err
		}
		return Polled{State: Attached, Attachment: a}, nil
	case Pending:
		if !s.Now().Before(r.Expires) {
			return Polled{State: Expired}, nil
		}
	}
	return Polled{State: r.State}, nil
}
