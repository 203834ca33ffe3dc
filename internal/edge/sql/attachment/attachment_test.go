package attachment_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqlattachment "carnet.dev/carnet/internal/edge/sql/attachment"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/attachment"
)

func at(s int64) time.Time { return time.Unix(s, 0).UTC() }

func role(t *testing.T, name string) arn.Role {
	t.Helper()
	r, err := arn.ParseRole("arn:aws:iam::111122223333:role/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func made(id string, person identity.PersonID, uid uint32) attachment.Attachment {
	return attachment.Attachment{ID: identity.AttachmentID(id), Cluster: "cls_1", Person: person, IdP: "idp_1", Name: string(person) + "@example.com", LoginSession: "lgn_1", How: attachment.Approved,
		Place: attachment.Place{Node: "nod_1", UID: uid, Scope: "/user.slice/ÿ.scope", ScopeID: 1<<63 + 5, Account: "ann"}, Made: at(1000), Expires: at(2000), Epoch: 7}
}

// TestAttachments is the conformance suite of attachment.Changes and attachment.Lists.
func TestAttachments(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		s, other := sqlattachment.Store{DB: sqltest.OpenWith(t, c)}, sqlattachment.Store{DB: sqltest.OpenWith(t, c)}
		ctx := t.Context()
		heard := make(chan struct{}, 100)
		if err := other.Watch(ctx, func() { heard <- struct{}{} }); err != nil {
			t.Fatal(err)
		}
		add := func(a attachment.Attachment, code string) {
			t.Helper()
			if err := s.Add(ctx, a); err != nil && fault.Of(err).Code != code || err == nil && code != "" {
				t.Errorf("Add(%s) = %v, want %q", a.ID, err, code)
			}
		}
		a := made("att_a", "psn_ann", 4294967294)
		a.Role = role(t, "analyst")
		add(a, "")
		<-heard
		got, err := other.Attachment(ctx, "att_a")
		if diff := cmp.Diff(a, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		if _, err := s.Attachment(ctx, "att_none"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("one that is not there: %v", err)
		}
		d := made("att_d", "psn_ann", 1001)
		d.LoginSession, d.Delegation, d.How, d.By, d.Cluster = "", "dlg_1", attachment.OnBehalf, "spn_hub", "cls_2"
		add(d, "")
		add(made("att_x", "psn_bob", 1001), "attachment.uid") // whatever the cluster
		second := made("att_e", "psn_ann", 1001)
		second.Place.Scope, second.Made = "/other", at(1001)
		add(second, "")

		ids := func(all []attachment.Attachment, err error) (out []string) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range all {
				out = append(out, string(x.ID))
			}
			return out
		}
		is := func(what string, got []string, want ...string) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		is("live", ids(other.Live(ctx)), "att_a", "att_d", "att_e")
		is("at", ids(other.At(ctx, "nod_1", 1001)), "att_d", "att_e")
		is("of ann", ids(other.Of(ctx, "psn_ann", "", 2)), "att_e", "att_a")
		is("of a cluster", ids(other.Of(ctx, "", "cls_2", 10)), "att_d")

		end := func(id identity.AttachmentID, want bool) {
			t.Helper()
			if done, err := s.End(ctx, id, attachment.WhyDetached, at(1500)); err != nil || done != want {
				t.Errorf("End(%s) = %v, %v", id, done, err)
			}
		}
		end("att_d", true)
		end("att_d", false)
		add(made("att_x", "psn_bob", 1001), "attachment.uid") // another of ann's lives on
		end("att_e", true)
		x := made("att_x", "psn_bob", 1001)
		x.Made, x.Expires = at(1600), at(1700)
		add(x, "")
		late := made("att_y", "psn_ann", 1001)
		late.Made, late.Expires = at(1700), at(3000)
		add(late, "") // bob's is past its time, though nobody ended it
		if got, _ := s.Attachment(ctx, "att_d"); got.Why != attachment.WhyDetached || !got.Ended.Equal(at(1500)) {
			t.Errorf("ended: %+v", got)
		}
		for id, want := range map[identity.AttachmentID]bool{"att_y": true, "att_d": false, "att_none": false} {
			if done, err := s.SetRole(ctx, id, role(t, "hr")); err != nil || done != want {
				t.Errorf("SetRole(%s) = %v, %v", id, done, err)
			}
		}
		if got, _ := other.Attachment(ctx, "att_y"); got.Role != role(t, "hr") {
			t.Errorf("role %v", got.Role)
		}
		if _, err := s.SetRole(ctx, "att_y", arn.Role{}); err != nil {
			t.Error(err)
		}
		if got, _ := other.Attachment(ctx, "att_y"); !got.Role.IsZero() {
			t.Errorf("role %v", got.Role)
		}
		if err := s.SweepEnded(ctx, at(1501)); err != nil {
			t.Fatal(err)
		}
		is("after the sweep", ids(s.Of(ctx, "", "", 10)), "att_y", "att_x", "att_a")
	})
}

// TestAttackRaceForAUID: of many people who are attached under one uid at the same
// time, through several servers, one wins.
func TestAttackRaceForAUID(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		servers := []sqlattachment.Store{{DB: sqltest.OpenWith(t, c)}, {DB: sqltest.OpenWith(t, c)}}
		for round := range uint32(4) {
			var wg sync.WaitGroup
			var mu sync.Mutex
			won := map[identity.PersonID]int{}
			for i := range 8 {
				wg.Go(func() {
					person := identity.PersonID("psn_" + string(rune('a'+i%4)))
					a := made(string(identity.NewAttachmentID()), person, 1000+round)
					err := servers[i%2].Add(t.Context(), a)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won[person]++
					} else if fault.Of(err).Code != "attachment.uid" {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if len(won) != 1 {
				t.Errorf("round %d: %v share a uid", round, won)
			}
		}
	})
}

// TestRequests is the conformance suite of attachment.Requests.
func TestRequests(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		s, other := sqlattachment.Store{DB: sqltest.OpenWith(t, c)}, sqlattachment.Store{DB: sqltest.OpenWith(t, c)}
		ctx := t.Context()
		request := func(n byte, uid uint32, asked int64) attachment.Request {
			return attachment.Request{Digest: [32]byte{n, 31: 0xff}, UserCode: "BBBBBBB" + string(rune('A'+n)), Asked: at(asked), Expires: at(asked + 600), State: attachment.Pending,
				Place: attachment.Place{Node: "nod_1", UID: uid, Scope: "/a", ScopeID: 1<<64 - 1, Account: "ann"}}
		}
		put := func(r attachment.Request, code string) {
			t.Helper()
			if err := s.Put(ctx, r, 2, 4); err != nil && fault.Of(err).Code != code || err == nil && code != "" {
				t.Errorf("Put(%s) = %v, want %q", r.UserCode, err, code)
			}
		}
		first := request(1, 1001, 100)
		put(first, "")
		for name, find := range map[string]func() (attachment.Request, error){
			"asked": func() (attachment.Request, error) { return other.Asked(ctx, first.Digest) },
			"typed": func() (attachment.Request, error) { return other.Typed(ctx, first.UserCode) },
		} {
			got, err := find()
			if diff := cmp.Diff(first, got); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
			}
		}
		twin := request(2, 1002, 100)
		twin.UserCode = first.UserCode
		put(twin, "attachment.code")
		put(request(2, 1001, 101), "")
		put(request(3, 1001, 102), "") // the oldest of its uid makes place
		if _, err := s.Asked(ctx, first.Digest); fault.KindOf(err) != fault.NotFound {
			t.Errorf("the oldest: %v", err)
		}
		put(request(4, 1002, 103), "")
		put(request(5, 1003, 103), "")
		put(request(6, 1004, 104), "attachment.busy")
		put(request(7, 1004, 703), "") // when those of before are over

		decide := func(n byte, when int64, want bool) {
			t.Helper()
			if done, err := other.Decide(ctx, request(n, 0, 0).UserCode, attachment.Attached, "att_1", at(when)); err != nil || done != want {
				t.Errorf("Decide(%d) = %v, %v", n, done, err)
			}
		}
		decide(2, 701, false)
		decide(2, 700, true)
		decide(2, 300, false)
		decide(1, 300, false)
		if got, _ := s.Asked(ctx, request(2, 0, 0).Digest); got.State != attachment.Attached || got.Attachment != "att_1" {
			t.Errorf("decided: %+v", got)
		}
		// Those that were decided take nobody's place, and are kept for a while: two of a uid.
		for n, asked := range map[byte]int64{3: 300, 4: 301, 5: 301} {
			decide(n, asked, true)
		}
		for n := byte(10); n < 16; n++ {
			put(request(n, 1005, 300+int64(n)), "")
			decide(n, 400, true)
		}
		for n, there := range map[byte]bool{10: false, 12: false, 13: true, 14: true, 15: true, 2: true} {
			if _, err := s.Asked(ctx, request(n, 0, 0).Digest); (err == nil) != there {
				t.Errorf("request %d, which was decided: %v", n, err)
			}
		}
		if err := s.Sweep(ctx, at(702)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Asked(ctx, request(2, 0, 0).Digest); fault.KindOf(err) != fault.NotFound {
			t.Errorf("one that ended is kept: %v", err)
		}
		if _, err := s.Asked(ctx, request(7, 0, 0).Digest); err != nil {
			t.Errorf("one that waits is gone: %v", err)
		}
	})
}
