package web_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/web"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/withdrawal"
	"carnet.dev/carnet/internal/service/workload"
)

// folk are people for tests. What is taken back is noted, and gone.
type folk struct {
	mu    sync.Mutex
	all   []web.Portrait
	taken []string
	keys  []gatewaykeys.Listed
	away  error
}

// populate knows 60 people, and of the first of them everything.
func (f *folk) populate() {
	now := time.Now().UTC()
	for i := range 60 {
		f.all = append(f.all, web.Portrait{PersonLine: web.PersonLine{ID: identity.PersonID(fmt.Sprintf("psn_%02d", i)), UserName: fmt.Sprintf("user%02d@example.com", i), IdP: "Dev IdP", Active: true}, Since: now})
	}
	analyst := role("111122223333", "analyst")
	p := &f.all[0]
	p.DisplayName, p.Mail, p.Administrator, p.ExternalID, p.MemberOf = "Ada <b>Example</b>", "ada@example.com", true, "00u1", []string{"Analysts", "Everybody"}
	p.Roles = []web.PortraitRole{{ARN: analyst.String(), Name: "analyst", Reasons: []web.PortraitReason{{Text: "stored by an administrator for the group Analysts", TakenAwayBy: "carnet people unmap Analysts", Since: now}}}}
	p.Notes = []string{"the keys of nightly have expired"}
	p.SignIns = []web.SignIn{{ID: "lgn_1", IdP: "Dev IdP", Started: now.Add(-time.Hour), Expires: now.Add(5 * time.Hour), Roles: []string{analyst.String()}}}
	p.Attachments = []attachment.Listed{{Attachment: attachment.Attachment{ID: "att_1", Name: p.UserName, Made: now, Expires: now.Add(time.Hour), How: attachment.Approved, Place: attachment.Place{Node: "nod_1", UID: 1000, Account: "ada"}}, ClusterName: "research", NodeName: "login-1", Live: true}}
	p.Delegations = []workload.Listed{{Delegation: workload.Delegation{ID: "dlg_1", Label: "nightly report", Role: analyst, Created: now, Expires: now.Add(72 * time.Hour)}, MachineName: "nightly", State: workload.Active}}
	p.GatewayKeys = []gatewaykeys.Listed{{Key: gatewaykeys.Key{ID: "gwk_1", AccessKeyID: "GWKAEXAMPLE000000001", Roles: []arn.Role{analyst}, Cluster: "trino", Expires: now.Add(time.Hour)}, State: gatewaykeys.Active},
		{Key: gatewaykeys.Key{ID: "gwk_2", AccessKeyID: "GWKAEXAMPLE000000002"}, State: gatewaykeys.Ended}}
	p.Keys = someKeys(now)
	f.all[1].Active = false
}

func someKeys(now time.Time) (all []withdrawal.Key) {
	reader := role("777788889999", "reader")
	for i, state := range []withdrawal.DenyState{withdrawal.DenyNone, withdrawal.DenyQueued, withdrawal.DenyWritten, withdrawal.DenyFailed} {
		all = append(all, withdrawal.Key{Account: reader.Account, Role: reader, AccessKeyID: fmt.Sprintf("ASIAEXAMPLE00000000%d", i), Until: now.Add(40*time.Minute + 30*time.Second), Deny: state})
	}
	all[3].AccessKeyID, all[3].Trouble = "", "AccessDenied: Carnet may not write the role's policy"
	return all
}

func (f *folk) Find(_ context.Context, text, after string, most int) (found []web.PersonLine, next string, err error) {
	for _, p := range f.all {
		if p.UserName <= after || !strings.Contains(p.UserName+p.DisplayName, text) {
			continue
		}
		if len(found) == most {
			return found, found[most-1].UserName, nil
		}
		found = append(found, p.PersonLine)
	}
	return found, "", f.away
}

func (f *folk) Portrait(_ context.Context, id identity.PersonID) (web.Portrait, error) {
	for _, p := range f.all {
		if p.ID == id {
			return p, f.away
		}
	}
	return web.Portrait{}, fault.Coded(fault.NotFound, "directory.unknown", "there is no such person")
}

func (f *folk) note(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken = append(f.taken, text)
}

func (f *folk) SetActive(_ context.Context, id identity.PersonID, on bool) (uint64, error) {
	f.note(fmt.Sprint("active ", id, " ", on))
	for i := range f.all {
		if f.all[i].ID == id {
			f.all[i].Active = on
		}
	}
	return map[bool]uint64{false: 7}[on], nil
}

func (f *folk) Revoke(_ context.Context, kind, id string) (withdrawal.Target, withdrawal.Result, error) {
	f.note(kind + " " + id)
	return withdrawal.Target{Kind: kind, ID: id}, withdrawal.Result{Epoch: 7}, nil
}

func (f *folk) Applied(_ context.Context, epoch uint64) ([]revocation.View, bool, error) {
	return []revocation.View{{Server: "a", Epoch: 7}, {Server: "b", Epoch: 6}}, epoch <= 6, nil
}

func (f *folk) Own(_ context.Context, l login.LoginSession) ([]web.SignIn, error) {
	return append([]web.SignIn{{ID: string(l.ID), IdP: l.IdPName, Started: l.Started, Expires: l.Expires}}, f.all[0].SignIns...), f.away
}

func (f *folk) OwnKeys(context.Context, login.LoginSession) ([]withdrawal.Key, error) {
	return f.all[0].Keys, f.away
}

func (f *folk) EndOwn(_ context.Context, _ login.LoginSession, id string) error {
	if id != "lgn_1" {
		return fault.Coded(fault.NotFound, "sign-in.unknown", "You have no such sign-in any more")
	}
	f.note("own " + id)
	return nil
}

// TestPeople: administrators find people and see all of one; what came from outside is
// text.
func TestPeople(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	contains(t, b.get(w.base+"/admin/people"), "Nobody yet")
	w.folk.populate()
	p := b.get(w.base + "/admin/people")
	contains(t, p, "user00@example.com", "Administrator", "Switched off", "user49@example.com", "/admin/people?after=user49%40example.com&amp;q=")
	if strings.Contains(p.body, "user50@") {
		t.Error("the page does not end")
	}
	contains(t, b.get(w.base+"/admin/people?after=user49%40example.com&q="), "user50@example.com", "user59@example.com", "From the beginning")
	contains(t, b.get(w.base+"/admin/people?q=user17"), "user17@example.com", "Show everybody")
	contains(t, b.get(w.base+"/admin/people?q=%3Ci%3E"), "Nobody", "&lt;i&gt;")
	p = b.get(w.base + "/admin/people/psn_00")
	contains(t, p, "Ada &lt;b&gt;Example", "00u1", "Analysts, Everybody", "Stored by an administrator for the group Analysts.", "Taken away by carnet people unmap Analysts", "The keys of nightly have expired.",
		"lgn_1", "login-1", "nightly report", "GWKAEXAMPLE000000001", "trino", "ASIAEXAMPLE000000000", "Lives on", "Deny on its way", "Denied at AWS", "Deny not written", "may not write the role", "An ID token, good for keys")
	if strings.Contains(p.body, "GWKAEXAMPLE000000002") {
		t.Error("a key that ended is shown as one that stands")
	}
	contains(t, b.get(w.base+"/admin/people/psn_01"), "Switched off", "Switch on", "Not signed in", "None are out", "no group")
	if p := b.get(w.base + "/admin/people/psn_zz"); p.status != 404 {
		t.Error(p.status)
	}
	w.folk.away = fault.New(fault.Unavailable, "the database doesn't answer")
	if p := b.get(w.base + "/admin/people/psn_00"); p.status != 503 {
		t.Error(p.status)
	}
}

// TestActOnPerson: each button does what it says to this person alone, and nothing
// without the yes that it asks for.
func TestActOnPerson(t *testing.T) {
	t.Parallel()
	w, b := administrator(t, nil)
	w.folk.populate()
	at := w.base + "/admin/people/psn_00"
	for _, c := range []struct {
		form, done, noted string
		status            int
	}{
		{"act=revoke", "", "", 400},
		{"act=deactivate", "", "", 400},
		{"act=revoke&sure=yes", "revoked&epoch=7", "person psn_00", 303},
		{"act=deactivate&sure=yes", "deactivated&epoch=7", "active psn_00 false", 303},
		{"act=activate", "activated", "active psn_00 true", 303},
		{"act=end&kind=login-session&id=lgn_1", "ended&epoch=7#login-session", "login-session lgn_1", 303},
		{"act=end&kind=attachment&id=att_1", "ended&epoch=7#attachment", "attachment att_1", 303},
		{"act=end&kind=delegation&id=dlg_1", "ended&epoch=7#delegation", "delegation dlg_1", 303},
		{"act=end&kind=gateway-key&id=gwk_1", "ended&epoch=7#gateway-key", "gateway-key gwk_1", 303},
		{"act=end&kind=login-session&id=lgn_2", "", "", 404},
		{"act=end&kind=person&id=psn_01", "", "", 404},
		{"act=end&kind=everything&id=everything", "", "", 404},
		{"act=delete&sure=yes", "", "", 400},
	} {
		w.folk.taken = nil
		form, err := url.ParseQuery(c.form)
		if err != nil {
			t.Fatal(err)
		}
		p := b.post(at, form, "Sec-Fetch-Site", "same-origin")
		if p.status != c.status || c.done != "" && p.to() != "/admin/people/psn_00?done="+c.done || strings.Join(w.folk.taken, ",") != c.noted {
			t.Errorf("%s: %d to %q, noted %q", c.form, p.status, p.to(), w.folk.taken)
		}
	}
	contains(t, b.get(at+"?done=revoked&epoch=7"), "is taken back", "1 of 2 servers have applied it")
	contains(t, b.get(at+"?done=revoked&epoch=6"), "All 2 servers have applied it")
	if p := b.get(at + "?done=made-up&epoch=6"); strings.Contains(p.body, "have applied it") {
		t.Error("a stranger's link says that something was done")
	}
	if p := b.post(at, url.Values{"act": {"revoke"}, "sure": {"yes"}}, "Sec-Fetch-Site", "cross-site"); p.status != 403 {
		t.Errorf("from another site: %d", p.status)
	}
}

// TestAttackPeopleOfOthers: who is no administrator sees and does nothing of others,
// and of themselves only what is their own.
func TestAttackPeopleOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.folk.populate()
	b := newBrowser(t)
	b.signIn(w, "/")
	for _, path := range []string{"/admin/people", "/admin/people/psn_00"} {
		if p := b.get(w.base + path); p.status != 403 {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	if p := b.post(w.base+"/admin/people/psn_00", url.Values{"act": {"revoke"}, "sure": {"yes"}}, "Sec-Fetch-Site", "same-origin"); p.status != 403 || len(w.folk.taken) != 0 {
		t.Errorf("%d, %v", p.status, w.folk.taken)
	}
	p := b.get(w.base + "/sign-ins")
	contains(t, p, "Your sign-ins", "This one", "lgn_1", "ASIAEXAMPLE000000000", "Lives on", "40 min")
	if p := b.post(w.base+"/sign-ins/end", url.Values{"id": {"lgn_2"}}, "Sec-Fetch-Site", "same-origin"); p.status != 404 {
		t.Errorf("of somebody else: %d", p.status)
	}
	if p := b.post(w.base+"/sign-ins/end", url.Values{"id": {"lgn_1"}}, "Sec-Fetch-Site", "cross-site"); p.status != 403 || len(w.folk.taken) != 0 {
		t.Errorf("from another site: %d", p.status)
	}
	if p := b.post(w.base+"/sign-ins/end", url.Values{"id": {"lgn_1"}}, "Sec-Fetch-Site", "same-origin"); p.to() != "/sign-ins?done=ended" || len(w.folk.taken) != 1 {
		t.Errorf("%d to %q", p.status, p.to())
	}
	contains(t, b.get(w.base+"/sign-ins?done=ended"), "The sign-in is ended")
	w.folk.away = fault.New(fault.Unavailable, "the database doesn't answer")
	contains(t, b.get(w.base+"/sign-ins"), "Not everything can be shown now. The database doesn&#39;t answer.")
}

// TestSignInsOfNobody: who came with a set-up link has none to end.
func TestSignInsOfNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.person = "setup" })
	b := newBrowser(t)
	b.signIn(w, "/")
	contains(t, b.get(w.base+"/sign-ins"), "You came with a set-up link")
}

func (f *folk) List(context.Context) ([]gatewaykeys.Listed, error) { return f.keys, f.away }

func (f *folk) OwnGatewayKeys(_ context.Context, l login.LoginSession) (own []gatewaykeys.Listed, err error) {
	for _, k := range f.keys {
		if k.Owner.Person == l.Person.ID && k.State == gatewaykeys.Active {
			own = append(own, k)
		}
	}
	return own, f.away
}

func (f *folk) RevokeOwnGatewayKey(ctx context.Context, l login.LoginSession, id identity.GatewayKeyID) error {
	own, err := f.OwnGatewayKeys(ctx, l)
	if err == nil && !slices.ContainsFunc(own, func(k gatewaykeys.Listed) bool { return k.ID == id }) {
		err = fault.Coded(fault.NotFound, "gateway-key.unknown", "You have no such gateway key any more")
	}
	if err == nil {
		f.note("own " + string(id))
	}
	return err
}
