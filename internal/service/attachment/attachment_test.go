package attachment_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/revocation"
)

// TestRoleChoice: a role by its ARN, its name or account and name, the current one, or
// the only one; anything else is an error that names the choices.
func TestRoleChoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.attach("ann", w.node, 1001)
	twin := arn.Role{Partition: "aws", Account: "444455556666", Path: "/", Name: "hr"}
	w.set(func() { w.held = append(w.held, twin) })
	for text, want := range map[string]string{
		"analyst": "analyst", "analytics/hr": "hr", "111122223333/hr": "hr", twin.String(): "hr",
		"": "role.choose", "hr": "role.ambiguous", "closed": "role.unheld", "other/hr": "role.unheld", "/analyst": "role.unheld", "analyst*": "role.unheld",
	} {
		k, err := w.keys(a.ID, text)
		if err != nil {
			f := fault.Of(err)
			if f.Code != want || !strings.Contains(f.Public, twin.String()) {
				t.Errorf("%q: %v, want %s with the choices", text, err, want)
			}
			if text == "" && !strings.HasPrefix(f.Public, "no role is chosen, and several may be used here: ") {
				t.Errorf("%q: it says %q", text, f.Public)
			}
			continue
		}
		if k.Role.Name != want || k.Gateway || k.AccessKeyID != "ASIA"+want || k.SecretAccessKey.Reveal() != "ann" {
			t.Errorf("%q: %+v", text, k)
		}
	}
	got, err := w.SetRole(t.Context(), w.node, a.ID, "analyst")
	w.must(err)
	if len(got) != 3 || !got[0].Current || got[1].Current {
		t.Errorf("%+v", got)
	}
	if k, err := w.keys(a.ID, ""); err != nil || k.Role != role("analyst") {
		t.Errorf("the current one: %v %v", k.Role, err)
	}
	w.set(func() { w.held = []arn.Role{role("hr")} })
	_, err = w.keys(a.ID, "")
	wants(t, "the current one is held no more", err, "role.unheld") // no other one in its place
	if _, err := w.SetRole(t.Context(), w.node, a.ID, ""); err != nil {
		t.Error(err)
	}
	if k, err := w.keys(a.ID, ""); err != nil || k.Role != role("hr") {
		t.Errorf("the only one: %v %v", k.Role, err)
	}
	on := identity.OnNode{Attachment: a.ID, Node: w.node.ID, Cluster: w.lab.ID, Owner: "1001(ann)"}
	if k, err := w.keys(a.ID, ""); err != nil || k.SessionToken.Reveal() != fmt.Sprint("t ", on) {
		t.Errorf("keys of a local account are bound to %v, %v", k.SessionToken.Reveal(), err)
	}
	e := w.last("attachment.credentials")
	if e.Node != on.Node || e.Attachment != on.Attachment || e.ProcessOwner != on.Owner {
		t.Errorf("recorded on %v, %v, %v", e.Node, e.Attachment, e.ProcessOwner)
	}
	if e.Target != string(a.ID) || e.Role != role("hr").String() || e.AccessKeyID != "ASIAhr" || e.Cluster != "lab" || e.Person != "psn_ann" || e.Detail["uid"] != "1001" || e.Detail["node"] != string(w.node.ID) || e.Source != "10.1.2.3" {
		t.Errorf("recorded %+v", e)
	}
	w.set(func() { w.held = nil })
	_, err = w.keys(a.ID, "hr")
	wants(t, "nothing is held", err, "role.none")
}

// TestRolesThatFailedAreTold, though nobody has them.
func TestRolesThatFailedAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.attach("ann", w.node, 1001)
	w.set(func() {
		l := w.session["lgn_ann"]
		l.Roles = []login.RoleStatus{{Role: role("closed"), State: login.RoleFailed, Error: &login.RoleError{Code: "AccessDenied", Message: "no"}}, {Role: role("hr"), State: login.RoleExpired}}
		w.session["lgn_ann"] = l
	})
	got, err := w.Roles(t.Context(), w.node, a.ID)
	w.must(err)
	var lines []string
	for _, r := range got {
		lines = append(lines, r.Role.Name+" "+r.Trouble)
	}
	if want := []string{"analyst ", "hr its keys have expired: sign in again", "closed AccessDenied: no"}; !slices.Equal(lines, want) {
		t.Errorf("%q", lines)
	}
}

// TestViewWaits: for a change, for its own end, and for the end of an attachment.
func TestViewWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		v, err := w.View(t.Context(), w.node, 0)
		w.must(err)
		began := time.Now()
		same, err := w.View(t.Context(), w.node, v.Revision)
		w.must(err)
		if waited := time.Since(began); waited != attachment.Wait || same.Revision != v.Revision {
			t.Errorf("waited %s", waited)
		}
		w.lab.Longest = 5 * time.Minute
		w.lab, err = w.clusters.Update(t.Context(), w.lab)
		w.must(err)
		a := w.attach("ann", w.node, 1001)
		if life := a.Expires.Sub(a.Made); life > 5*time.Minute || life < 4*time.Minute {
			t.Errorf("it lives for %s", life)
		}
		v, err = w.View(t.Context(), w.node, v.Revision)
		w.must(err)
		if len(v.Attachments) != 1 {
			t.Fatalf("%+v", v)
		}
		k, err := w.keys(a.ID, "hr")
		w.must(err)
		if !k.Expiration.Equal(a.Expires) {
			t.Errorf("keys are said to live until %s, the attachment until %s", k.Expiration, a.Expires)
		}
		time.Sleep(time.Until(a.Expires) - time.Second)
		w.must(w.feed.Confirm(t.Context()))
		began = time.Now()
		v, err = w.View(t.Context(), w.node, v.Revision)
		w.must(err)
		if waited := time.Since(began); len(v.Attachments) != 0 || waited > 2*time.Second {
			t.Errorf("after %s: %+v", waited, v)
		}
		_, err = w.keys(a.ID, "hr")
		wants(t, "its time is over", err, "attachment.ended")
		w.must(w.Tend(t.Context()))
		if e := w.last("attachment.end"); e.Detail["why"] != attachment.WhyExpired {
			t.Errorf("recorded %+v", e)
		}
		w.attach("bob", w.node, 1001) // the uid is free again
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		v, err = w.View(t.Context(), w.node, 0)
		w.must(err)
		other := w.server()
		time.AfterFunc(time.Second, other.Rest)
		began = time.Now()
		if got, err := other.View(t.Context(), w.node, v.Revision); err != nil || got.Revision != v.Revision || time.Since(began) != time.Second {
			t.Errorf("a server that ends keeps a node: %v after %s", err, time.Since(began))
		}
		if _, err := w.View(ctx, w.node, v.Revision); ctx.Err() == nil || err == nil {
			t.Error("it waits on though nobody does")
		}
	})
}

// TestAnUnconfirmedFeedDenies: while this server can't say what was revoked it gives
// nothing.
func TestAnUnconfirmedFeedDenies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.attach("ann", w.node, 1001)
		time.Sleep(revocation.DefaultBound + time.Second)
		_, err := w.keys(a.ID, "hr")
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("keys: %v", err)
		}
		if _, err = w.View(t.Context(), w.node, 0); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("view: %v", err)
		}
		if err := w.Tend(t.Context()); err == nil {
			t.Error("attachments are looked after by an old view")
		}
		w.must(w.feed.Confirm(t.Context()))
		if _, err = w.keys(a.ID, "hr"); err != nil {
			t.Errorf("once it is confirmed: %v", err)
		}
	})
}

// TestWhoLeavesAGroupIsOut: at the next look at groups.
func TestWhoLeavesAGroupIsOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.attach("ann", w.node, 1001)
	w.set(func() { w.groups["psn_ann"] = []identity.GroupID{"grp_x", "grp_lab"} })
	w.lab.Groups = []identity.GroupID{"grp_lab"}
	var err error
	w.lab, err = w.clusters.Update(t.Context(), w.lab)
	w.must(err)
	for { // the cluster asks for groups from now on, and hers are read
		if _, err = w.keys(a.ID, "hr"); fault.KindOf(err) != fault.Unavailable {
			break
		}
		time.Sleep(time.Millisecond)
	}
	w.must(err)
	b, err := w.Begin(t.Context(), w.node, place(1002), false)
	w.must(err)
	_, err = w.Decide(t.Context(), w.session["lgn_bob"], here, b.UserCode, true)
	wants(t, "bob is in no group", err, "cluster.not-listed")
	w.set(func() { w.groups["psn_ann"] = nil })
	w.must(w.Tend(t.Context()))
	_, err = w.keys(a.ID, "hr")
	wants(t, "she left", err, "attachment.ended")
	if e := w.last("attachment.end"); e.Detail["why"] != attachment.WhyReassign {
		t.Errorf("recorded %+v", e)
	}
}

// TestAttackRevokedWhileFetched: what is taken back while keys are fetched is not
// handed out.
func TestAttackRevokedWhileFetched(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(w *world, a attachment.Attachment){
		"the attachment": func(w *world, a attachment.Attachment) { w.must(w.EndAny(w.t.Context(), a.ID)) },
		"the node":       func(w *world, _ attachment.Attachment) { w.must(w.clusters.RemoveNode(w.t.Context(), w.node.ID)) },
		"the person": func(w *world, _ attachment.Attachment) {
			_, err := w.feed.Revoke(w.t.Context(), revocation.Person, "psn_ann")
			w.must(err)
		},
		"the login session": func(w *world, _ attachment.Attachment) {
			_, err := w.feed.Revoke(w.t.Context(), revocation.LoginSession, "lgn_ann")
			w.must(err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := w.attach("ann", w.node, 1001)
			w.set(func() {
				w.during = func() {
					revoke(w, a)
					w.must(w.feed.Confirm(w.t.Context()))
				}
			})
			k, err := w.keys(a.ID, "hr")
			if err == nil || k.AccessKeyID != "" {
				t.Errorf("%+v, %v", k, err)
			}
			if w.last("attachment.credentials").Target != "" {
				t.Error("recorded as handed out")
			}
		})
	}
}

// TestAttackUnrecorded: what the trail does not take does not happen.
func TestAttackUnrecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.attach("ann", w.node, 1001)
	b, err := w.Begin(t.Context(), w.node, place(1002), false)
	w.must(err)
	w.set(func() { w.deaf = true })
	if k, err := w.keys(a.ID, "hr"); err == nil || k.AccessKeyID != "" {
		t.Errorf("keys: %+v, %v", k, err)
	}
	if id, err := w.IDToken(t.Context(), w.node, a.ID, "hr"); err == nil || !id.Token.IsZero() {
		t.Errorf("a token: %v", err)
	}
	if _, err := w.Decide(t.Context(), w.session["lgn_bob"], here, b.UserCode, true); err == nil {
		t.Error("attached without a record")
	}
	if _, err := w.SetRole(t.Context(), w.node, a.ID, "hr"); err == nil {
		t.Error("a role is chosen without a record")
	}
	if err := w.End(t.Context(), w.node, a.ID, attachment.WhyDetached); err == nil {
		t.Error("ended without a record")
	}
	w.set(func() { w.deaf = false })
	v, err := w.View(t.Context(), w.node, 0)
	w.must(err)
	if len(v.Attachments) != 1 || !v.Attachments[0].Role.IsZero() {
		t.Errorf("%+v", v)
	}
	if p, err := w.Poll(t.Context(), w.node, b.Request); err != nil || p.State != attachment.Pending {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestAttackAnotherOwner: what an attachment rests on must be its own person's.
func TestAttackAnotherOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.attach("ann", w.node, 1001)
	w.set(func() { w.swapped = true })
	if _, err := w.keys(a.ID, "hr"); fault.KindOf(err) != fault.Internal {
		t.Errorf("%v", err)
	}
	w.set(func() { w.swapped = false; delete(w.session, "lgn_ann") })
	_, err := w.keys(a.ID, "hr")
	wants(t, "a login session that is gone", err, attachment.CodeGround)
	if fault.KindOf(err) != fault.Denied { // never one that a node takes for its own token's
		t.Errorf("%v", err)
	}
}

// TestByGateway: where the keys of an account stay in the server, a gateway key is
// given and no token that would buy them.
func TestByGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.attach("ann", w.node, 1001)
	w.set(func() { w.gateway = "111122223333" })
	k, err := w.keys(a.ID, "hr")
	w.must(err)
	if !k.Gateway || k.AccessKeyID != "GWKA "+string(a.ID)+" lab hr 10.1.2.3" || !k.SessionToken.IsZero() {
		t.Errorf("%+v", k)
	}
	_, err = w.IDToken(t.Context(), w.node, a.ID, "hr")
	wants(t, "a token", err, "attachment.gateway")
	w.set(func() { w.gateway = "" })
	id, err := w.IDToken(t.Context(), w.node, a.ID, "hr")
	w.must(err)
	if got := id.Token.Reveal(); got != fmt.Sprint("ann ", identity.OnNode{Attachment: a.ID, Node: w.node.ID, Cluster: w.lab.ID, Owner: "1001(ann)"}, " ", role("hr"), " (token)") || w.last("attachment.id-token").Detail["token"] != "jti" {
		t.Errorf("%s", got)
	}
}

// TestOtherServersServeAtOnce what one of them made, changed or ended.
func TestOtherServersServeAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.server()
	a := w.attach("ann", w.node, 1001)
	if _, err := other.Credentials(t.Context(), w.node, a.ID, "hr", here); err != nil {
		t.Errorf("made at another server: %v", err)
	}
	mine, err := w.View(t.Context(), w.node, 0)
	w.must(err)
	theirs, err := other.View(t.Context(), w.node, 0)
	w.must(err)
	if mine.Revision != theirs.Revision {
		t.Errorf("one view has revisions %d and %d", mine.Revision, theirs.Revision)
	}
	if _, err := other.SetRole(t.Context(), w.node, a.ID, "hr"); err != nil {
		t.Error(err)
	}
	changed, err := w.View(t.Context(), w.node, mine.Revision)
	w.must(err)
	if changed.Revision == mine.Revision || changed.Attachments[0].Role != role("hr") {
		t.Errorf("%+v", changed)
	}
	w.must(other.End(t.Context(), w.node, a.ID, attachment.WhyDetached))
	w.must(other.End(t.Context(), w.node, a.ID, attachment.WhyDetached)) // again is none the worse
	if v, err := w.View(t.Context(), w.node, changed.Revision); err != nil || len(v.Attachments) != 0 {
		t.Errorf("%+v, %v", v, err)
	}
	wants(t, "a reason of the node's own", w.End(t.Context(), w.node, a.ID, "bored"), "attachment.why")
}

// TestOwnAndManaged: people see and end their own, managers those of their cluster, and
// to others there is none.
func TestOwnAndManaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.attach("ann", w.node, 1001)
	w.lab.Managers = []identity.PersonID{"psn_bob"}
	var err error
	w.lab, err = w.clusters.Update(t.Context(), w.lab)
	w.must(err)
	ann, bob := w.session["lgn_ann"], w.session["lgn_bob"]
	own, err := w.Own(t.Context(), ann)
	if err != nil || len(own) != 1 || !own[0].Live || own[0].NodeName != "n1" || own[0].ClusterName != "lab" {
		t.Errorf("%+v, %v", own, err)
	}
	if own, err := w.Own(t.Context(), bob); err != nil || len(own) != 0 {
		t.Errorf("%+v, %v", own, err)
	}
	wants(t, "somebody else's", w.EndOwn(t.Context(), bob, a.ID), "attachment.unknown")
	wants(t, "a set-up link's", w.EndOwn(t.Context(), login.LoginSession{Administrator: true}, a.ID), "attachment.unknown")
	_, err = w.List(t.Context(), ann, "lab")
	wants(t, "who manages nothing", err, "cluster.unknown")
	wants(t, "who manages nothing", w.EndOne(t.Context(), ann, "lab", a.ID), "cluster.unknown")
	wants(t, "no such cluster", w.EndOne(t.Context(), ann, "none", a.ID), "cluster.unknown")
	if all, err := w.List(t.Context(), bob, "lab"); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	wants(t, "one that is not there", w.EndOne(t.Context(), bob, "lab", "att_x"), "attachment.unknown")
	w.must(w.EndOne(t.Context(), bob, "lab", a.ID))
	if own, _ := w.Own(t.Context(), ann); own[0].Live || own[0].Why != attachment.WhyManager {
		t.Errorf("%+v", own)
	}
}

// TestRequestsAreBounded: a uid's oldest request makes place, a no gives nothing, and
// time ends what waits.
func TestRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var all []attachment.Begun
		for range attachment.MostPerUID + 1 {
			b, err := w.Begin(t.Context(), w.node, place(1001), false)
			w.must(err)
			all = append(all, b)
			time.Sleep(time.Second)
		}
		_, err := w.Poll(t.Context(), w.node, all[0].Request)
		wants(t, "the oldest", err, "attachment.request")
		r, err := w.Review(t.Context(), w.session["lgn_ann"], here, strings.ToLower(all[1].UserCode))
		if err != nil || r.Cluster.Name != "lab" || r.Node.Name != "n1" || r.UID != 1001 || r.Account != "ann" {
			t.Errorf("%+v, %v", r, err)
		}
		_, err = w.Decide(t.Context(), w.session["lgn_ann"], here, all[1].UserCode, false)
		w.must(err)
		if p, err := w.Poll(t.Context(), w.node, all[1].Request); err != nil || p.State != attachment.Refused {
			t.Errorf("%+v, %v", p, err)
		}
		_, err = w.Review(t.Context(), login.LoginSession{Administrator: true}, here, all[2].UserCode)
		wants(t, "by a set-up link", err, "attachment.nobody")
		time.Sleep(attachment.Lifetime)
		w.must(w.feed.Confirm(t.Context()))
		if p, err := w.Poll(t.Context(), w.node, all[2].Request); err != nil || p.State != attachment.Expired {
			t.Errorf("%+v, %v", p, err)
		}
		_, err = w.Decide(t.Context(), w.session["lgn_ann"], here, all[2].UserCode, true)
		wants(t, "after ten minutes", err, "attachment.code")
		w.must(w.Tend(t.Context()))
		_, err = w.Poll(t.Context(), w.node, all[2].Request)
		wants(t, "swept", err, "attachment.request")
	})
}
