package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/service/audit"
)

// machine is a node as its agent would be.
type machine struct {
	base   string
	id     string
	key    *ecdsa.PrivateKey
	access string
	joined string // the join token that it used
}

// problem is what a refusal says.
type problem struct {
	Status int
	Code   string
	Detail string
	Kind   string
}

// post sends a document and reads the answer into another; nil: none is expected.
func (m *machine) post(t *testing.T, path string, in, out any) problem {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.base+"/api/v1/node/"+path, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if m.access != "" {
		req.Header.Set("Authorization", "Bearer "+m.access)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	p := problem{Status: resp.StatusCode}
	if resp.StatusCode >= 300 {
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, raw)
		}
		return p
	}
	if out != nil {
		if err := json.Unmarshal(raw, out); err != nil {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, raw)
		}
	}
	return p
}

// works is post that has to succeed.
func (m *machine) works(t *testing.T, path string, in, out any) {
	t.Helper()
	if p := m.post(t, path, in, out); p.Status >= 300 {
		t.Fatalf("%s: %+v", path, p)
	}
}

// refused is post that has to fail so. What an attachment rests on refuses at once
// when it has gone; the attachment itself ends a moment later.
func (m *machine) refused(t *testing.T, status int, code, path string, in any) {
	t.Helper()
	p := m.post(t, path, in, nil)
	for deadline := time.Now().Add(20 * time.Second); code == "attachment.ended" && p.Code == "attachment.ground" && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
		p = m.post(t, path, in, nil)
	}
	if p.Status != status || p.Code != code {
		t.Errorf("%s %+v: %+v, want %d %s", path, in, p, status, code)
	}
}

func (m *machine) assertion(t *testing.T, jti, audience string) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	now := time.Now()
	text := part(map[string]string{"alg": "ES256", "kid": m.id, "typ": "JWT"}) + "." +
		part(map[string]any{"iss": m.id, "sub": m.id, "aud": audience, "jti": jti, "iat": now.Unix(), "exp": now.Add(50 * time.Second).Unix()})
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, m.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// join makes a node of a cluster.
func (in *installation) join(t *testing.T, cluster, name string) *machine {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{base: in.base, key: key, joined: in.words(t, "join_token", "cluster", "join-token", cluster)}
	var got nodedoc.Joined
	m.works(t, "join", nodedoc.Join{JoinToken: m.joined, Name: name, PublicKey: base64.StdEncoding.EncodeToString(spki), Version: "1"}, &got)
	m.id = got.Node
	m.prove(t)
	return m
}

// prove buys an access token.
func (m *machine) prove(t *testing.T) {
	t.Helper()
	var got nodedoc.TokenAnswer
	m.works(t, "token", nodedoc.TokenRequest{Assertion: m.assertion(t, rand.Text(), m.base)}, &got)
	m.access = got.AccessToken
}

func (m *machine) view(t *testing.T, revision int64) (v nodedoc.View) {
	t.Helper()
	m.works(t, "watch", nodedoc.Watch{Revision: revision}, &v)
	return v
}

func place(uid uint32) nodedoc.Place {
	return nodedoc.Place{UID: uid, Scope: fmt.Sprintf("/user.slice/user-%d.slice/session-3.scope", uid), ScopeID: 4000 + uint64(uid), Account: "ann"}
}

// attach attaches ann by a code.
func (w *machineWorld) attach(t *testing.T, m *machine, p nodedoc.Place) nodedoc.Attachment {
	t.Helper()
	var begun nodedoc.AttachBegun
	m.works(t, "attach", nodedoc.AttachRequest{Place: p}, &begun)
	var state nodedoc.AttachState
	m.works(t, "attach/poll", nodedoc.AttachPoll{Request: begun.Request}, &state)
	if state.State != "pending" || begun.VerificationURI != w.base+"/attach" {
		t.Fatalf("%+v %+v", begun, state)
	}
	var approved api.ApprovedAttachment
	if status := ask(t, w.ann, http.MethodPost, w.base+"/api/v1/attachments/approve", `{"user_code":"`+strings.ToLower(begun.UserCode)+`"}`, &approved); status != 200 {
		t.Fatal(status)
	}
	if approved.ClusterName != "lab" || approved.UID != int(p.UID) {
		t.Errorf("approved %+v", approved)
	}
	m.works(t, "attach/poll", nodedoc.AttachPoll{Request: begun.Request}, &state)
	if state.State != "attached" || state.Attachment == nil || state.Attachment.UID != p.UID {
		t.Fatalf("%+v", state)
	}
	return *state.Attachment
}

// newLab is a machineWorld with a cluster for many.
func newLab(t *testing.T) *machineWorld {
	t.Helper()
	w := newMachineWorld(t)
	w.must(t, "cluster", "add", "lab", "--kind", "high-concurrency", "--orchestrators", "nightly")
	return w
}

// TestANodeServesWhoIsAttached walks from the join token to keys that STS knows.
func TestANodeServesWhoIsAttached(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	m := w.join(t, "lab", "n1")
	first := m.view(t, 0)
	if first.Revision == 0 || first.Cluster.Name != "lab" || len(first.Attachments) != 0 {
		t.Errorf("first view %+v", first)
	}
	later := make(chan nodedoc.View, 1)
	go func() { later <- m.view(t, first.Revision) }() // wakes when somebody is attached
	a := w.attach(t, m, place(1001))
	if v := <-later; v.Revision == first.Revision || len(v.Attachments) != 1 || v.Attachments[0].ID != a.ID || v.Attachments[0].Name != "ann@example.com" {
		t.Errorf("woke to %+v", v)
	}
	var k nodedoc.Keys
	m.works(t, "credentials", nodedoc.Fetch{Attachment: a.ID}, &k)
	if k.Role != analyst || k.AccountID != "111122223333" || k.S3 != "http://"+w.aws || k.SessionToken == "" {
		t.Errorf("keys %+v", k)
	}
	sts := awssts.New(awssts.Options{Region: k.Region, BaseEndpoint: aws.String(k.STS), Credentials: credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken)})
	who, err := sts.GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	if err != nil || !strings.HasSuffix(aws.ToString(who.Arn), "assumed-role/analyst/ann@example.com") {
		t.Errorf("%v, %v", who, err)
	}
	m.refused(t, 403, "bridge.off", "id-token", nodedoc.Fetch{Attachment: a.ID, Role: "analyst"})
	var roles nodedoc.Roles
	m.works(t, "role", nodedoc.SetRole{Attachment: a.ID, Role: "analyst"}, &roles)
	if len(roles.Roles) != 1 || !roles.Roles[0].Current {
		t.Errorf("%+v", roles)
	}
	if v := m.view(t, 0); len(v.Attachments) != 1 || v.Attachments[0].Role != analyst {
		t.Errorf("view %+v", v)
	}
	m.refused(t, 404, "role.unheld", "credentials", nodedoc.Fetch{Attachment: a.ID, Role: "closed"})
	m.refused(t, 404, "role.unheld", "role", nodedoc.SetRole{Attachment: a.ID, Role: "closed"})

	m.works(t, "end", nodedoc.End{Attachment: a.ID, Why: "detached"}, nil)
	m.refused(t, 404, "attachment.ended", "credentials", nodedoc.Fetch{Attachment: a.ID})
	if v := m.view(t, 0); len(v.Attachments) != 0 {
		t.Errorf("view after the end %+v", v)
	}
}

// person signs somebody in and gives their browser.
func (w *machineWorld) person(t *testing.T, name string) *visitor.Visitor {
	t.Helper()
	v := visitor.New(nil)
	w.signIn(t, v, name)
	return v
}

// code begins to attach and gives what the node asks with, and the code.
func (m *machine) code(t *testing.T, p nodedoc.Place) nodedoc.AttachBegun {
	t.Helper()
	var begun nodedoc.AttachBegun
	m.works(t, "attach", nodedoc.AttachRequest{Place: p}, &begun)
	return begun
}

// approve sends a code in somebody's name.
func (w *machineWorld) approve(t *testing.T, v *visitor.Visitor, code string) problem {
	t.Helper()
	var p problem
	p.Status = ask(t, v, http.MethodPost, w.base+"/api/v1/attachments/approve", `{"user_code":"`+code+`"}`, &p)
	return p
}

// TestAttackForeignAttachments: a node gets nothing of what is attached to another
// node, to another cluster, or to nobody, however it asks.
func TestAttackForeignAttachments(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	w.must(t, "cluster", "add", "other", "--kind", "high-concurrency")
	own, beside, far := w.join(t, "lab", "n1"), w.join(t, "lab", "n2"), w.join(t, "other", "n1")
	a := w.attach(t, own, place(1001))
	for name, m := range map[string]*machine{"a node of the same cluster": beside, "a node of another cluster": far} {
		for path, in := range map[string]any{
			"credentials": nodedoc.Fetch{Attachment: a.ID, Role: analyst}, "id-token": nodedoc.Fetch{Attachment: a.ID}, "roles": nodedoc.Fetch{Attachment: a.ID},
			"role": nodedoc.SetRole{Attachment: a.ID, Role: analyst}, "end": nodedoc.End{Attachment: a.ID, Why: "detached"},
		} {
			m.refused(t, 404, "attachment.unknown", path, in)
		}
		if v := m.view(t, 0); len(v.Attachments) != 0 {
			t.Errorf("%s sees %+v", name, v.Attachments)
		}
	}
	own.refused(t, 404, "attachment.unknown", "credentials", nodedoc.Fetch{Attachment: "att_aaaaaaaaaaaaaaaaaaaaaaaaaa"})
	if v := own.view(t, 0); len(v.Attachments) != 1 {
		t.Errorf("its own node sees %+v", v.Attachments)
	}

	// A request of one node is nobody else's to poll.
	begun := own.code(t, place(1002))
	beside.refused(t, 404, "attachment.request", "attach/poll", nodedoc.AttachPoll{Request: begun.Request})
	own.refused(t, 404, "attachment.request", "attach/poll", nodedoc.AttachPoll{Request: begun.UserCode})
}

// TestAttackReplayedProofs: join token, assertion and access token count for whom and
// as often as they were made for.
func TestAttackReplayedProofs(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	m := w.join(t, "lab", "n1")
	spki, err := x509.MarshalPKIXPublicKey(&m.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	m.refused(t, 403, "join-token.refused", "join", nodedoc.Join{JoinToken: m.joined, Name: "n2", PublicKey: base64.StdEncoding.EncodeToString(spki), Version: "1"})
	proof := m.assertion(t, "once", m.base)
	m.works(t, "token", nodedoc.TokenRequest{Assertion: proof}, nil)
	m.refused(t, 401, "node.unproven", "token", nodedoc.TokenRequest{Assertion: proof})
	m.refused(t, 401, "node.unproven", "token", nodedoc.TokenRequest{Assertion: m.assertion(t, "else", "https://elsewhere.example")})
	stranger := &machine{base: m.base, id: m.id, key: w.join(t, "lab", "n3").key}
	stranger.refused(t, 401, "node.unproven", "token", nodedoc.TokenRequest{Assertion: stranger.assertion(t, "x", m.base)})
	for _, token := range []string{"", "carnet-node-AAAA", m.access[:len(m.access)-2], "carnet-node-" + m.access} {
		(&machine{base: m.base, access: token}).refused(t, 401, map[bool]string{true: "login.authorization", false: "node.token"}[token == ""], "watch", nodedoc.Watch{})
	}
	// A person's browser and CLI token open none of a node's routes, nor a node's
	// token any of theirs.
	var p problem
	if status := ask(t, w.ann, http.MethodPost, w.base+"/api/v1/node/watch", `{}`, &p); status != 401 {
		t.Errorf("a person at a node's route: %d %+v", status, p)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.base+"/api/v1/roles", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+m.access)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("a node at a person's route: %d", resp.StatusCode)
	}
}

// TestAttackCodes: a code is guessed a few times only, counts once, and gives its node
// nothing on a no.
func TestAttackCodes(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	m := w.join(t, "lab", "n1")
	first, second := m.code(t, place(1001)), m.code(t, place(1002))
	if p := w.approve(t, w.ann, first.UserCode); p.Status != 200 {
		t.Fatalf("%+v", p)
	}
	if p := w.approve(t, w.ann, first.UserCode); p.Status != 404 || p.Code != "attachment.code" {
		t.Errorf("a second approval: %+v", p)
	}
	for range 9 {
		if p := w.approve(t, w.ann, "BBBB-BBBB"); p.Status != 404 {
			t.Errorf("a guess: %+v", p)
		}
	}
	for _, code := range []string{"BBBB-BBBB", second.UserCode} { // the tenth was the second approval
		if p := w.approve(t, w.ann, code); p.Status != 429 || p.Code != "device.tries" {
			t.Errorf("after ten wrong codes: %+v", p)
		}
	}
	var state nodedoc.AttachState
	m.works(t, "attach/poll", nodedoc.AttachPoll{Request: second.Request}, &state)
	if state.State != "pending" || state.Attachment != nil {
		t.Errorf("%+v", state)
	}
	for uid, code := range map[uint32]string{0: "attachment.root", 65534: "attachment.root", 4294967295: "attachment.root"} {
		m.refused(t, 403, code, "attach", nodedoc.AttachRequest{Place: place(uid)})
	}
	p := place(1003)
	for _, scope := range []string{"", "user.slice", "/a/../b", "/a//b", "/a\n", "/" + strings.Repeat("x", 2000)} {
		p.Scope = scope
		m.refused(t, 400, "attachment.scope", "attach", nodedoc.AttachRequest{Place: p})
	}
	m.refused(t, 403, "attachment.metadata", "attach", nodedoc.AttachRequest{Place: place(1003), MetadataReachable: true})
	if p := m.post(t, "attach", nodedoc.AttachRequest{Place: place(1003), MetadataReachable: true}, nil); !strings.Contains(p.Detail, "this uid reaches the instance metadata service of the node") {
		t.Errorf("it says %q", p.Detail)
	}
	m.refused(t, 403, "attachment.login-names", "attach", nodedoc.AttachRequest{Place: place(1003), ByLoginName: true})
}

// TestAttackSharedUID: two people never share a uid of a node, however they race.
func TestAttackSharedUID(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	root := w.person(t, "root@example.com")
	m, beside := w.join(t, "lab", "n1"), w.join(t, "lab", "n2")
	a := w.attach(t, m, place(1001))
	if p := w.approve(t, root, m.code(t, place(1001)).UserCode); p.Status != 409 || p.Code != "attachment.uid" {
		t.Errorf("another person of the same scope: %+v", p)
	}
	other := place(1001)
	other.Scope, other.ScopeID = "/user.slice/user-1001.slice/session-4.scope", 77
	if p := w.approve(t, root, m.code(t, other).UserCode); p.Status != 409 {
		t.Errorf("another person of another scope: %+v", p)
	}
	if p := w.approve(t, root, beside.code(t, place(1001)).UserCode); p.Status != 200 {
		t.Errorf("the same uid of another node: %+v", p)
	}
	if p := w.approve(t, w.ann, m.code(t, other).UserCode); p.Status != 200 {
		t.Errorf("the same person, another scope: %+v", p)
	}
	again := w.attach(t, m, place(1001)) // takes the place of the first
	m.refused(t, 404, "attachment.ended", "credentials", nodedoc.Fetch{Attachment: a.ID})
	if v := m.view(t, 0); len(v.Attachments) != 2 {
		t.Errorf("%+v", v.Attachments)
	}
	for _, x := range m.view(t, 0).Attachments {
		m.works(t, "end", nodedoc.End{Attachment: x.ID, Why: "scope-ended"}, nil)
	}
	m.refused(t, 404, "attachment.ended", "roles", nodedoc.Fetch{Attachment: again.ID})

	for round := range uint32(3) { // ann and root race for a uid that is free
		p := place(2000 + round)
		codes := []string{m.code(t, p).UserCode, m.code(t, p).UserCode}
		won := make(chan int, 2)
		for i, v := range []*visitor.Visitor{w.ann, root} {
			go func() { won <- w.approve(t, v, codes[i]).Status }()
		}
		if x, y := <-won, <-won; x+y != 200+409 {
			t.Errorf("the race ended %d and %d", x, y)
		}
	}
}

// TestAttackAfterTheEnd: nothing is given once what an attachment rests on is gone,
// and the node hears of it.
func TestAttackAfterTheEnd(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	m := w.join(t, "lab", "n1")
	w.person(t, "root@example.com")
	for name, end := range map[string]func(t *testing.T, a nodedoc.Attachment){
		"the person signs out": func(t *testing.T, _ nodedoc.Attachment) {
			if status := signOut(t, w); status != 204 {
				t.Fatal(status)
			}
		},
		"the person detaches": func(t *testing.T, a nodedoc.Attachment) { remove(t, w, "/api/v1/attachments/"+a.ID) },
		"the host ends it":    func(t *testing.T, a nodedoc.Attachment) { w.must(t, "attachment", "end", a.ID) },
		"it is revoked":       func(t *testing.T, a nodedoc.Attachment) { w.must(t, "revoke", "attachment", a.ID) },
		"the person is revoked": func(t *testing.T, _ nodedoc.Attachment) {
			w.must(t, "revoke", "person", "ann@example.com")
		},
		"the person is switched off": func(t *testing.T, _ nodedoc.Attachment) {
			w.must(t, "people", "deactivate", "ann@example.com")
		},
		"everything is revoked": func(t *testing.T, _ nodedoc.Attachment) { w.must(t, "revoke", "everything") },
		"the cluster admits others": func(t *testing.T, _ nodedoc.Attachment) {
			w.must(t, "cluster", "set", "lab", "--people", "root@example.com")
		},
	} {
		// One world, one after the other: what a case took away is given back.
		t.Run(name, func(t *testing.T) {
			m.prove(t)
			w.signIn(t, w.ann, "ann@example.com")
			a := w.attach(t, m, place(1001))
			m.works(t, "credentials", nodedoc.Fetch{Attachment: a.ID}, nil)
			before := m.view(t, 0)
			end(t, a)
			soon(t, name, func() bool { return m.post(t, "credentials", nodedoc.Fetch{Attachment: a.ID}, nil).Status != 200 })
			if name == "everything is revoked" {
				m.prove(t) // the node's own token is among it
			}
			m.refused(t, 404, "attachment.ended", "credentials", nodedoc.Fetch{Attachment: a.ID})
			if v := m.view(t, before.Revision); len(v.Attachments) != 0 || v.Revision == before.Revision {
				t.Errorf("the node sees %+v", v)
			}
			switch name {
			case "the person is switched off":
				w.must(t, "people", "activate", "ann@example.com")
			case "the cluster admits others":
				now := m.view(t, 0)
				w.must(t, "cluster", "set", "lab", "--people", "ann@example.com,root@example.com")
				soon(t, "ann is admitted again", func() bool { return m.view(t, 0).Revision != now.Revision })
			}
		})
	}
}

// TestAttackARemovedNode: a node that was taken out gets nothing more, of those who
// were attached there neither, and does not come back by its key.
func TestAttackARemovedNode(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	m, stays := w.join(t, "lab", "n1"), w.join(t, "lab", "n2")
	a := w.attach(t, m, place(1001))
	begun := m.code(t, place(1002))
	w.must(t, "node", "remove", "lab", "n1")
	soon(t, "the node was removed", func() bool { return m.post(t, "watch", nodedoc.Watch{}, nil).Status == 401 })
	m.refused(t, 401, "node.removed", "credentials", nodedoc.Fetch{Attachment: a.ID})
	m.refused(t, 401, "node.unproven", "token", nodedoc.TokenRequest{Assertion: m.assertion(t, "again", m.base)})
	if p := w.approve(t, w.ann, begun.UserCode); p.Status != 404 || p.Code != "attachment.code" {
		t.Errorf("approved for a node that was removed: %+v", p)
	}
	stays.refused(t, 404, "attachment.unknown", "credentials", nodedoc.Fetch{Attachment: a.ID})
	b := w.attach(t, stays, place(1001))
	w.must(t, "cluster", "remove", "lab")
	soon(t, "the cluster was removed", func() bool { return stays.post(t, "watch", nodedoc.Watch{}, nil).Status == 401 })
	stays.refused(t, 401, "node.removed", "credentials", nodedoc.Fetch{Attachment: b.ID})
	var own api.AttachmentList
	if ask(t, w.ann, http.MethodGet, w.base+"/api/v1/attachments", "", &own); len(own.Attachments) != 2 || own.Attachments[0].State != "ended" || own.Attachments[1].State != "ended" {
		t.Errorf("ann sees %+v", own)
	}
}

// TestAttackRolesOfTheCluster: a cluster bounds the roles, whatever somebody holds,
// and from the moment it says so.
func TestAttackRolesOfTheCluster(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	m := w.join(t, "lab", "n1")
	a := w.attach(t, m, place(1001))
	m.works(t, "role", nodedoc.SetRole{Attachment: a.ID, Role: "analyst"}, nil)
	before := m.view(t, 0)
	w.must(t, "cluster", "set", "lab", "--roles", "arn:aws:iam::111122223333:role/lab-*")
	if v := m.view(t, before.Revision); v.Revision == before.Revision {
		t.Error("the node does not hear that the roles changed")
	}
	for _, role := range []string{"", "analyst", analyst} {
		m.refused(t, 404, "role.none", "credentials", nodedoc.Fetch{Attachment: a.ID, Role: role})
		m.refused(t, 404, "role.none", "id-token", nodedoc.Fetch{Attachment: a.ID, Role: role})
	}
	m.refused(t, 404, "role.none", "role", nodedoc.SetRole{Attachment: a.ID, Role: analyst})
}

// TestAnEngineHasTheKeysOfItsPeople: gateway keys of who is attached to the node that
// asks, and of nobody else, until they are not.
func TestAnEngineHasTheKeysOfItsPeople(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	m, beside := w.join(t, "lab", "n1"), w.join(t, "lab", "n2")
	var got nodedoc.Trino
	if m.works(t, "trino", struct{}{}, &got); len(got.Mappings)+len(got.Notes) != 0 {
		t.Errorf("nobody is attached: %+v", got)
	}
	a := w.attach(t, m, place(1001))
	if m.works(t, "trino", struct{}{}, &got); len(got.Mappings) != 0 || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "where cluster lab calls from") {
		t.Errorf("the cluster has no network: %+v", got)
	}
	v := m.view(t, 0)
	w.must(t, "cluster", "set", "lab", "--network", "127.0.0.0/8")
	m.view(t, v.Revision)
	m.works(t, "trino", struct{}{}, &got)
	if len(got.Mappings) != 1 || got.Mappings[0].User != `ann@example\.com` || got.Mappings[0].Endpoint != "http://"+w.aws {
		t.Fatalf("%+v", got)
	}
	key := got.Mappings[0]
	if m.works(t, "trino", struct{}{}, &got); len(got.Mappings) != 1 || got.Mappings[0] != key {
		t.Errorf("asked again: %+v", got)
	}
	if beside.works(t, "trino", struct{}{}, &got); len(got.Mappings) != 0 {
		t.Errorf("another node of the cluster: %+v", got)
	}
	c := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String(key.Endpoint), UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key.AccessKey, key.SecretKey, "")})
	if _, err := c.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("sales")}); err != nil {
		t.Errorf("with the key of the engine: %v", err)
	}
	if _, err := c.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("hr")}); err == nil {
		t.Error("hr is nobody's to list")
	}
	soon(t, "the trail names the node of a gateway key", func() bool {
		var found audit.Found
		if err := json.Unmarshal([]byte(w.must(t, "audit", "search", "--cluster", "lab", "--event", "s3.*", "--output", "json")), &found); err != nil {
			t.Fatal(err)
		}
		for _, d := range found.Documents {
			if d.Attachment != a.ID || d.Node != m.id || d.ProcessOwner != "1001(ann)" || d.UserIdentity.GatewayKey == "" {
				t.Fatalf("%+v", d)
			}
		}
		return len(found.Documents) > 0
	})
	m.works(t, "end", nodedoc.End{Attachment: a.ID, Why: "detached"}, nil)
	soon(t, "the key ends with the attachment", func() bool {
		_, err := c.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("sales")})
		return err != nil
	})
	if m.works(t, "trino", struct{}{}, &got); len(got.Mappings) != 0 {
		t.Errorf("after they left: %+v", got)
	}
}

func signOut(t *testing.T, w *machineWorld) int { return remove(t, w, "/api/v1/session") }

// remove sends a DELETE in ann's name.
func remove(t *testing.T, w *machineWorld, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, w.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.ann.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
