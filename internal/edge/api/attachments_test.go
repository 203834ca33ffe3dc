package api_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/login"
)

// attachments knows one, and remembers what was asked.
type attachments struct{ asked []string }

func bound() attachment.Listed {
	return attachment.Listed{Live: true, ClusterName: "lab", NodeName: "n1", Attachment: attachment.Attachment{
		ID: "att_1", Cluster: "cls_1", Place: attachment.Place{Node: "nod_1", UID: 1001, Scope: "/user.slice/session-3.scope", ScopeID: 1 << 63, Account: "ada"},
		Person: "psn_ada", Name: "ada", LoginSession: "lgn_1", How: attachment.Approved, Role: analyst, Made: start, Expires: start.Add(time.Hour)}}
}

func (a *attachments) Decide(_ context.Context, l login.LoginSession, _ netip.Addr, code string, yes bool) (attachment.Review, error) {
	a.asked = append(a.asked, "decide "+code)
	if code != "BBBB-BBBB" || !yes || l.Person.ID == "" {
		return attachment.Review{}, fault.Coded(fault.NotFound, "attachment.code", "no node waits under this code")
	}
	return attachment.Review{Cluster: cluster.Cluster{Name: "lab"}, Node: cluster.Node{Name: "n1"}, UID: 1001, Account: "ada"}, nil
}

func (a *attachments) Review(_ context.Context, _ login.LoginSession, _ netip.Addr, code string) (attachment.Review, error) {
	if code != "BBBB-BBBB" {
		return attachment.Review{}, fault.Coded(fault.NotFound, "attachment.code", "no node waits under this code")
	}
	return attachment.Review{Cluster: cluster.Cluster{Name: "lab"}, Node: cluster.Node{Name: "n1"}, UID: 1001, Account: "ada"}, nil
}

func (a *attachments) Own(context.Context, login.LoginSession) ([]attachment.Listed, error) {
	return []attachment.Listed{bound()}, nil
}

func (a *attachments) EndOwn(_ context.Context, _ login.LoginSession, id identity.AttachmentID) error {
	a.asked = append(a.asked, "end "+string(id))
	return nil
}

func (a *attachments) List(context.Context, login.LoginSession, string) ([]attachment.Listed, error) {
	return []attachment.Listed{bound()}, nil
}

func (a *attachments) EndOne(_ context.Context, _ login.LoginSession, of string, id identity.AttachmentID) error {
	a.asked = append(a.asked, "end "+string(id)+" of "+of)
	return nil
}

func (a *attachments) OnBehalf(_ context.Context, by identity.ServicePrincipalID, of string, n attachment.NewOnBehalf) (attachment.Attachment, error) {
	if by != "spn_hub" || n.UID != 1001 || n.ScopeID != 1<<63 {
		return attachment.Attachment{}, fault.New(fault.Internal, "not what was asked")
	}
	a.asked = append(a.asked, "behalf "+n.Person+" on "+of)
	return bound().Attachment, nil
}

// hubs are the access tokens of service principals.
type hubs struct{}

func (hubs) MachineOf(_ context.Context, token secret.Text) (identity.ServicePrincipalID, error) {
	if token.Reveal() != "a.b.hub" {
		return "", fault.Coded(fault.Unauthenticated, "invalid_token", "the access token is none of ours")
	}
	return "spn_hub", nil
}

func TestAttachments(t *testing.T) {
	t.Parallel()
	w, base, _ := serve(t)
	status, _, body := call(t, "GET", base+"/api/v1/attachments", "", "Cookie", "carnet=admin")
	var got api.AttachmentList
	if err := json.Unmarshal(body, &got); err != nil || status != 200 || len(got.Attachments) != 1 {
		t.Fatal(status, string(body))
	}
	if a := got.Attachments[0]; a.State != "live" || a.RestsOn != "login-session" || a.ClusterName != "lab" || a.UID != 1001 || a.Role != analyst.String() || a.Ended != nil {
		t.Errorf("%+v", a)
	}
	const new = `{"node":"n1","person":"ada","uid":1001,"scope":"/a","scope_id":"9223372036854775808"}`
	for _, c := range []struct {
		method, path, body, header string
		status                     int
	}{
		{"POST", "clusters/lab/attachments", new, "Bearer a.b.hub", 201},
		{"POST", "clusters/lab/attachments", new, "Bearer a.b.person", 401},
		{"POST", "clusters/lab/attachments", new, "", 401}, // a cookie opens it for nobody
		{"POST", "clusters/lab/attachments", strings.Replace(new, "1001", "-1", 1), "Bearer a.b.hub", 400},
		{"POST", "clusters/lab/attachments", strings.Replace(new, "1001", "4294967296", 1), "Bearer a.b.hub", 400},
		{"POST", "clusters/lab/attachments", strings.Replace(new, "92233", "x", 1), "Bearer a.b.hub", 400},
		{"GET", "attachments", "", "Bearer a.b.hub", 401}, // and a service principal's token no row of people
		{"DELETE", "clusters/lab/attachments/att_1", "", "", 204},
		{"DELETE", "attachments/att_1", "", "", 204},
	} {
		header := []string{"Cookie", "carnet=admin"}
		if c.header != "" {
			header = []string{"Authorization", c.header}
		}
		if status, _, body := call(t, c.method, base+"/api/v1/"+c.path, c.body, header...); status != c.status {
			t.Errorf("%s %s %q: %d %s, want %d", c.method, c.path, c.header, status, body, c.status)
		}
	}
	if got := strings.Join(w.attached.asked, ", "); got != "behalf ada on lab, end att_1 of lab, end att_1" {
		t.Errorf("asked %s", got)
	}
}

// TestAttackAProgramAttaches: an access token that a person gave a program approves no
// attachment and ends none of a cluster.
func TestAttackAProgramAttaches(t *testing.T) {
	t.Parallel()
	w, base, _ := serve(t)
	for path, method := range map[string]string{"attachments/approve": "POST", "clusters/lab/attachments": "GET", "clusters/lab/attachments/att_1": "DELETE"} {
		body := ""
		if method == "POST" {
			body = `{"user_code":"BBBB-BBBB"}`
		}
		if status, _, b := call(t, method, base+"/api/v1/"+path, body, "Authorization", "Bearer a.b.admin"); status != 403 || !strings.Contains(string(b), "login.by-a-program") {
			t.Errorf("%s %s: %d %s", method, path, status, b)
		}
	}
	if len(w.attached.asked) != 0 {
		t.Errorf("asked %v", w.attached.asked)
	}
}

// TestAttackCodeOfAnotherLogin: the agent of one machine shows the code of a login on
// another one, which carnet attach --approve would approve without a look.
func TestAttackCodeOfAnotherLogin(t *testing.T) {
	t.Parallel()
	w, base, _ := serve(t)
	for body, want := range map[string]int{
		`{"user_code":"BBBB-BBBB","uids":[1000,100000]}`: 403, `{"user_code":"BBBB-BBBB","uids":[0]}`: 403, `{"user_code":"CCCC-CCCC","uids":[1001]}`: 404,
		`{"user_code":"BBBB-BBBB","uids":[7,1001]}`: 200, `{"user_code":"BBBB-BBBB"}`: 200, `{"user_code":"BBBB-BBBB","uids":[]}`: 200,
	} {
		before := len(w.attached.asked)
		status, _, b := call(t, "POST", base+"/api/v1/attachments/approve", body, "Cookie", "carnet=admin", "Origin", base)
		if status != want || status == 403 && !strings.Contains(string(b), "attachment.other-login") {
			t.Errorf("%s: %d %s", body, status, b)
		}
		if asked := len(w.attached.asked) - before; (asked == 1) != (status == 200) {
			t.Errorf("%s: decided %d times", body, asked)
		}
	}
}
