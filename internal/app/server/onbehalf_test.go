package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
)

// hub asks, as an orchestrator with an access token, to attach a person.
func (w *machineWorld) hub(t *testing.T, token, cluster, person string, uid int, more string) (a api.Attachment, p problem) {
	t.Helper()
	body := fmt.Sprintf(`{"node":"n1","person":%q,"uid":%d,"scope":"/system.slice/hub-%d.service","scope_id":"%d","account":"u%d"%s}`, person, uid, uid, 9000+uid, uid, more)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+"/api/v1/clusters/"+cluster+"/attachments", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	p.Status = resp.StatusCode
	if p.Status == http.StatusCreated {
		err = json.Unmarshal(raw, &a)
	} else {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil {
		t.Fatalf("%d %s", p.Status, raw)
	}
	return a, p
}

// access gets an access token of the service principal.
func (w *machineWorld) access(t *testing.T, scope string) string {
	t.Helper()
	got := w.token(t, w.sp+":"+w.secret, map[string]string{"grant_type": "client_credentials", "scope": scope})
	if got.AccessToken == "" {
		t.Fatalf("%+v", got)
	}
	return got.AccessToken
}

// TestAnOrchestratorAttachesPeople: whoever is signed in, or delegated to the cluster,
// and nobody else.
func TestAnOrchestratorAttachesPeople(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	m := w.join(t, "lab", "n1")
	token := w.access(t, "all-apis")
	refused := func(status int, code, cluster, person string, uid int, more string) {
		t.Helper()
		if a, p := w.hub(t, token, cluster, person, uid, more); p.Status != status || p.Code != code {
			t.Errorf("%s %s: %+v %+v, want %d %s", cluster, person, a, p, status, code)
		}
	}
	refused(403, "attachment.metadata", "lab", "ann@example.com", 1001, "") // the node has not said that its metadata service is out of reach
	m.works(t, "report", nodedoc.Report{Version: "1", Faces: []string{"container"}}, nil)
	a, p := w.hub(t, token, "lab", "ann@example.com", 1001, `,"role":"analyst","lifetime_seconds":3600`)
	if p.Status != 201 || a.How != "on-behalf" || a.RestsOn != "login-session" || a.Role != analyst || a.Orchestrator != w.sp || a.Expires.Sub(a.Made).Seconds() > 3600 {
		t.Fatalf("%+v %+v", a, p)
	}
	var k nodedoc.Keys
	m.works(t, "credentials", nodedoc.Fetch{Attachment: a.ID}, &k)
	if k.Role != analyst {
		t.Errorf("%+v", k)
	}
	refused(404, "person.unknown", "lab", "nobody@example.com", 1002, "")
	refused(404, "node.unknown", "lab", "ann@example.com", 1002, `,"node":"n9"`)
	refused(404, "role.unheld", "lab", "ann@example.com", 1002, `,"role":"closed"`)
	refused(403, "attachment.root", "lab", "ann@example.com", 0, "")

	// Away: signed out, nothing; with a delegation to the cluster, its role.
	w.must(t, "cluster", "add", "other", "--kind", "high-concurrency")
	delegate := func(cluster string) (d api.Delegation) {
		t.Helper()
		soon(t, "a delegation to "+cluster, func() bool {
			return ask(t, w.ann, http.MethodPost, w.base+"/api/v1/delegations", `{"role":"analyst","cluster":"`+cluster+`","label":"long training","lifetime_seconds":7200}`, &d) == 201
		})
		return d
	}
	delegate("other")
	remove(t, w, "/api/v1/session")
	refused(403, "attachment.ground", "lab", "ann@example.com", 1001, "") // one to another cluster is none here
	w.signIn(t, w.ann, "ann@example.com")
	if d := delegate("lab"); d.ClusterName != "lab" || d.ServicePrincipal != "" {
		t.Errorf("%+v", d)
	}
	remove(t, w, "/api/v1/session")
	m.refused(t, 404, "attachment.ended", "credentials", nodedoc.Fetch{Attachment: a.ID}) // it rested on the sign-in
	b, p := w.hub(t, token, "lab", "ann@example.com", 1001, "")
	if p.Status != 201 || b.RestsOn != "delegation" {
		t.Fatalf("%+v %+v", b, p)
	}
	m.works(t, "credentials", nodedoc.Fetch{Attachment: b.ID}, &k)
	sts := awssts.New(awssts.Options{Region: k.Region, BaseEndpoint: aws.String(k.STS), Credentials: credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken)})
	who, err := sts.GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	if err != nil || !strings.HasSuffix(aws.ToString(who.Arn), "assumed-role/analyst/ann@example.com") {
		t.Errorf("%v, %v", who, err)
	}
	var id nodedoc.IDToken
	m.works(t, "id-token", nodedoc.Fetch{Attachment: b.ID, Role: analyst}, &id)
	if strings.Count(id.Token, ".") != 2 {
		t.Errorf("%+v", id)
	}
	m.refused(t, 404, "role.unheld", "credentials", nodedoc.Fetch{Attachment: b.ID, Role: "closed"})
	w.must(t, "revoke", "delegation", b.RestsOnID)
	soon(t, "the delegation was revoked", func() bool { return m.post(t, "credentials", nodedoc.Fetch{Attachment: b.ID}, nil).Status != 200 })
	m.refused(t, 404, "attachment.ended", "credentials", nodedoc.Fetch{Attachment: b.ID})
	refused(403, "attachment.ground", "lab", "ann@example.com", 1001, "")
}

// TestAttackOrchestrators: nobody attaches people but a service principal that the
// cluster admits, and what people delegated to a cluster serves nothing else.
func TestAttackOrchestrators(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	m := w.join(t, "lab", "n1")
	m.works(t, "report", nodedoc.Report{Version: "1", Faces: []string{"socket"}}, nil)
	w.must(t, "cluster", "add", "other", "--kind", "high-concurrency")
	token := w.access(t, "all-apis")
	for name, c := range map[string]struct {
		token, cluster string
		status         int
		code           string
	}{
		"a cluster that does not admit it": {token, "other", 403, "attachment.orchestrator"},
		"a cluster that is not there":      {token, "none", 403, "attachment.orchestrator"},
		"a node's token":                   {m.access, "lab", 401, "invalid_token"},
		"no token at all":                  {"x", "lab", 401, "invalid_token"},
	} {
		if _, p := w.hub(t, c.token, c.cluster, "ann@example.com", 1001, ""); p.Status != c.status || p.Code != c.code {
			t.Errorf("%s: %+v", name, p)
		}
	}
	var d api.Delegation
	if status := ask(t, w.ann, http.MethodPost, w.base+"/api/v1/delegations", `{"role":"analyst","cluster":"lab","label":"x"}`, &d); status != 201 {
		t.Fatal(status)
	}
	got := w.token(t, w.sp+":"+w.secret, map[string]string{"grant_type": "client_credentials", "scope": "all-apis", "delegation_id": d.ID, "delegation": d.ID, "audience": forAWS})
	if got.IDToken != "" || got.AccessToken != "" {
		t.Errorf("a service principal works under a delegation to a cluster: %+v", got)
	}
	if o := w.carnet(t, "gateway-key", "make", "--delegation", d.ID, "--network", "127.0.0.0/8"); o.code == 0 || !strings.Contains(o.err, "to a cluster") {
		t.Errorf("a gateway key of a delegation to a cluster: %s", o)
	}
	w.must(t, "revoke", "service-principal", "nightly")
	soon(t, "the orchestrator is revoked", func() bool { _, p := w.hub(t, token, "lab", "ann@example.com", 1001, ""); return p.Status >= 400 })
}

// TestAccountNamesAttach: where the administrator says that login names are user
// names, and for who is signed in alone.
func TestAccountNamesAttach(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	m := w.join(t, "lab", "n1")
	w.must(t, "cluster", "set", "lab", "--login-names", "Corp")
	soon(t, "login names count", func() bool { return m.view(t, 0).Cluster.LoginNames })
	p := place(1001)
	for name, code := range map[string]string{"": "attachment.login-names", "nobody": "attachment.login-names", "ANN@example.com": "attachment.login-names", "root@example.com": "attachment.login-names"} {
		p.Account = name
		m.refused(t, 403, code, "attach", nodedoc.AttachRequest{Place: p, ByLoginName: true})
	}
	p.Account = "ann@example.com"
	m.refused(t, 403, "attachment.metadata", "attach", nodedoc.AttachRequest{Place: p, ByLoginName: true, MetadataReachable: true})
	var begun nodedoc.AttachBegun
	m.works(t, "attach", nodedoc.AttachRequest{Place: p, ByLoginName: true}, &begun)
	if begun.Attachment == nil || begun.Attachment.Name != "ann@example.com" || begun.UserCode != "" {
		t.Fatalf("%+v", begun)
	}
	m.works(t, "credentials", nodedoc.Fetch{Attachment: begun.Attachment.ID}, nil)
	remove(t, w, "/api/v1/session")
	m.refused(t, 404, "attachment.ended", "credentials", nodedoc.Fetch{Attachment: begun.Attachment.ID})
	m.refused(t, 403, "attachment.ground", "attach", nodedoc.AttachRequest{Place: p, ByLoginName: true})
}

// TestAStandardClusterIsForOne: the person assigned to it, from the moment they are.
func TestAStandardClusterIsForOne(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	root := w.person(t, "root@example.com")
	w.must(t, "cluster", "add", "lab", "--kind", "standard")
	m := w.join(t, "lab", "n1")
	if p := w.approve(t, w.ann, m.code(t, place(1001)).UserCode); p.Status != 403 || p.Code != "cluster.unassigned" {
		t.Errorf("nobody is assigned: %+v", p)
	}
	w.must(t, "cluster", "assign", "lab", "ann@example.com")
	soon(t, "ann is assigned", func() bool { return w.approve(t, w.ann, m.code(t, place(1001)).UserCode).Status == 200 })
	if p := w.approve(t, root, m.code(t, place(1002)).UserCode); p.Status != 403 || p.Code != "cluster.assigned" || !strings.Contains(p.Detail, " is for one person, and that is somebody else") {
		t.Errorf("an administrator: %+v", p)
	}
	v := m.view(t, 0)
	if len(v.Attachments) != 1 {
		t.Fatalf("%+v", v)
	}
	w.must(t, "cluster", "assign", "lab", "root@example.com")
	if now := m.view(t, v.Revision); len(now.Attachments) != 0 {
		t.Errorf("after it was reassigned: %+v", now)
	}
	m.refused(t, 404, "attachment.ended", "credentials", nodedoc.Fetch{Attachment: v.Attachments[0].ID})
	if p := w.approve(t, root, m.code(t, place(1001)).UserCode); p.Status != 200 { // the uid too is theirs now
		t.Errorf("the person assigned: %+v", p)
	}
}
