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
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
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

// refused is post that has to fail so.
func (m *machine) refused(t *testing.T, status int, code, path string, in any) {
	t.Helper()
	if p := m.post(t, path, in, nil); p.Status != status || p.Code != code {
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
