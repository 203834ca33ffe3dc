package nodeapi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/edge/nodeapi"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/login"
)

var (
	start = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	node1 = cluster.Node{ID: "nod_1", Cluster: "cls_1", Name: "n1"}
	lab   = cluster.Cluster{ID: "cls_1", Name: "lab", Kind: cluster.HighConcurrency, LoginNames: "idp_1", Revision: 3}
)

func role(account string) arn.Role {
	return arn.Role{Partition: "aws", Account: account, Name: "analyst", Path: "/"}
}

func bound() attachment.Attachment {
	return attachment.Attachment{ID: "att_1", Cluster: "cls_1", Name: "ann", Place: attachment.Place{Node: "nod_1", UID: 1001, Scope: "/s", ScopeID: 1<<64 - 1, Account: "ann"}, Expires: start}
}

// server answers every question, and remembers the last.
type server struct {
	asked   string
	gateway bool
}

func (s *server) Join(_ context.Context, token secret.Text, name string, spki []byte, version string) (cluster.Node, cluster.Cluster, error) {
	s.asked = "join " + token.Reveal() + " " + name + " " + string(spki) + " " + version
	return node1, lab, nil
}

func (s *server) Prove(_ context.Context, assertion, audience string) (cluster.Node, error) {
	s.asked = "prove " + assertion + " " + audience
	return node1, nil
}

func (s *server) IssueNodeToken(cluster.Node) (secret.Text, time.Time, error) {
	return secret.New("carnet-node-1"), start, nil
}

func (s *server) NewKey(_ context.Context, n cluster.Node, spki []byte, proof, audience string) error {
	s.asked = "key " + string(n.ID) + " " + string(spki) + " " + proof + " " + audience
	return nil
}

func (s *server) Reported(_ context.Context, n cluster.Node, r cluster.Report) error {
	s.asked = "report " + string(n.ID) + " " + r.Version + " " + strings.Join(r.Faces, ",")
	return nil
}

func (s *server) Begin(_ context.Context, n cluster.Node, p attachment.Place, reachable bool) (attachment.Begun, error) {
	if reachable {
		return attachment.Begun{}, fault.Coded(fault.Denied, "attachment.metadata", "it is reachable")
	}
	s.asked = "begin " + string(n.ID) + " " + string(p.Node) + " " + p.Scope
	return attachment.Begun{Request: secret.New("rq"), UserCode: "BBBB-BBBB", VerificationURI: "http://x/attach", Expires: start, Interval: 2 * time.Second}, nil
}

func (s *server) ByLoginName(_ context.Context, n cluster.Node, p attachment.Place, _ bool) (attachment.Attachment, error) {
	s.asked = "login-name " + string(n.ID) + " " + p.Account
	return bound(), nil
}

func (s *server) Poll(_ context.Context, n cluster.Node, request secret.Text) (attachment.Polled, error) {
	s.asked = "poll " + string(n.ID) + " " + request.Reveal()
	return attachment.Polled{State: attachment.Attached, Attachment: bound()}, nil
}

func (s *server) End(_ context.Context, n cluster.Node, id identity.AttachmentID, why string) error {
	s.asked = "end " + string(n.ID) + " " + string(id) + " " + why
	return nil
}

// unchanged is a revision that is still the last one.
const unchanged = 9

func (s *server) View(_ context.Context, n cluster.Node, revision int64) (attachment.View, error) {
	s.asked = "view " + string(n.ID)
	if revision != unchanged {
		revision++
	}
	return attachment.View{Revision: revision, Cluster: lab, Attachments: []attachment.Attachment{bound()}}, nil
}

func (s *server) Credentials(_ context.Context, n cluster.Node, id identity.AttachmentID, r string, from netip.Addr) (attachment.Keys, error) {
	s.asked = "credentials " + string(n.ID) + " " + string(id) + " " + r + " " + from.String()
	k := attachment.Keys{Role: role("111122223333"), Gateway: s.gateway}
	if r == "cloud" {
		k.Role = role("444455556666")
	}
	k.AccessKeyID, k.SecretAccessKey, k.Expiration = "AK", secret.New("SK"), start
	if !s.gateway {
		k.SessionToken = secret.New("ST")
	}
	return k, nil
}

func (s *server) IDToken(_ context.Context, n cluster.Node, id identity.AttachmentID, r string) (attachment.IDToken, error) {
	s.asked = "id-token " + string(n.ID) + " " + string(id) + " " + r
	return attachment.IDToken{Token: secret.New("a.b.c"), Expires: start, Role: role("444455556666")}, nil
}

func (s *server) Roles(_ context.Context, n cluster.Node, id identity.AttachmentID) ([]attachment.RoleStatus, error) {
	s.asked = "roles " + string(n.ID) + " " + string(id)
	return []attachment.RoleStatus{{Role: role("111122223333"), Current: true}}, nil
}

func (s *server) SetRole(_ context.Context, n cluster.Node, id identity.AttachmentID, r string) ([]attachment.RoleStatus, error) {
	s.asked = "role " + string(n.ID) + " " + string(id) + " " + r
	return nil, nil
}

func (s *server) TrinoRules(_ context.Context, n cluster.Node) (gatewaykeys.TrinoRules, error) {
	s.asked = "trino " + string(n.ID)
	return gatewaykeys.TrinoRules{Rules: []gatewaykeys.TrinoRule{{UserPattern: "ann", AccessKeyID: "GWKA", Secret: secret.New("SK")}}}, nil
}

func (s *server) NodeOf(_ context.Context, token secret.Text) (cluster.Node, error) {
	if token.Reveal() != "carnet-node-1" {
		return cluster.Node{}, fault.Coded(fault.Unauthenticated, "node.token", "no access token of a node")
	}
	return node1, nil
}

func (s *server) Resume(context.Context, secret.Text) (login.LoginSession, error) {
	return login.LoginSession{ID: "lgn_1", Administrator: true}, nil
}

func (s *server) ResumeCLI(ctx context.Context, t secret.Text) (login.LoginSession, error) {
	return s.Resume(ctx, t)
}

func (s *server) NeedsSetup(context.Context) (bool, error) { return false, nil }

// handler is the real table in front of s.
func handler(t testing.TB, s *server) *httpd.Site {
	t.Helper()
	base, err := url.Parse("http://127.0.0.1:8480")
	if err != nil {
		t.Fatal(err)
	}
	site, err := httpd.New(httpd.Config{BaseURL: base, Sessions: s, Nodes: s, Page: httpd.Problem, Now: time.Now, Logger: slog.New(slog.DiscardHandler)},
		nodeapi.Routes(nodeapi.Config{Nodes: s, Attaching: s, Serving: s, Trino: s, Web: base.String(), Home: nodeapi.Place{Region: "us-east-1", S3: "http://s3", STS: "http://sts"},
			Elsewhere: map[string]nodeapi.Place{"444455556666": {Region: "eu-west-1"}}}))
	if err != nil {
		t.Fatal(err)
	}
	return site
}

func post(h http.Handler, path, body, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/node/"+path, strings.NewReader(body))
	r.Host, r.RemoteAddr = "127.0.0.1:8480", "10.1.2.3:4000"
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestDocuments walks every route: what the service is asked, for the node that proved
// itself, and what the node is told.
func TestDocuments(t *testing.T) {
	t.Parallel()
	s := &server{}
	h := handler(t, s)
	key := base64.StdEncoding.EncodeToString([]byte("SPKI"))
	const attached = `{"id":"att_1","uid":1001,"scope":"/s","scope_id":"18446744073709551615","account":"ann","name":"ann","expires":"2026-03-01T09:00:00Z"}`
	const inLab = `{"id":"cls_1","name":"lab","kind":"high-concurrency","instance_metadata":false,"signing_proxy":false,"login_names":true,"meta":false}`
	const at = `"uid":1001,"scope":"/s","scope_id":"18446744073709551615","account":"ann"`
	for _, c := range []struct{ path, in, asked, out string }{
		{"join", `{"join_token":"t","name":"n1","public_key":"` + key + `","version":"1"}`, "join t n1 SPKI 1", `{"node":"nod_1","cluster":` + inLab + `}`},
		{"token", `{"assertion":"x"}`, "prove x http://127.0.0.1:8480", `{"access_token":"carnet-node-1","expires":"2026-03-01T09:00:00Z"}`},
		{"key", `{"public_key":"` + key + `","proof":"p"}`, "key nod_1 SPKI p http://127.0.0.1:8480/api/v1/node/key", ""},
		{"report", `{"version":"1","faces":["socket","imds"]}`, "report nod_1 1 socket,imds", ""},
		{"watch", `{"revision":6,"of_a_later_release":1}`, "view nod_1", `{"revision":7,"node_name":"n1","cluster":` + inLab + `,"attachments":[` + attached + `]}`},
		{"watch", `{"revision":9}`, "view nod_1", `{"revision":9,"node_name":"n1","cluster":` + inLab + `,"attachments":[]}`},
		{"attach", `{` + at + `}`, "begin nod_1 nod_1 /s", `{"request":"rq","user_code":"BBBB-BBBB","verification_uri":"http://x/attach","expires":"2026-03-01T09:00:00Z","interval":2}`},
		{"attach", `{` + at + `,"by_login_name":true}`, "login-name nod_1 ann", `{"expires":"2026-03-01T09:00:00Z","attachment":` + attached + `}`},
		{"attach/poll", `{"request":"rq"}`, "poll nod_1 rq", `{"state":"attached","attachment":` + attached + `}`},
		{"credentials", `{"attachment":"att_1","role":"r"}`, "credentials nod_1 att_1 r 10.1.2.3", `{"access_key_id":"AK","secret_access_key":"SK","session_token":"ST","expiration":"2026-03-01T09:00:00Z","role":"arn:aws:iam::111122223333:role/analyst","account_id":"111122223333","region":"us-east-1","s3":"http://s3","sts":"http://sts"}`},
		{"credentials", `{"attachment":"att_1","role":"cloud"}`, "credentials nod_1 att_1 cloud 10.1.2.3", `{"access_key_id":"AK","secret_access_key":"SK","session_token":"ST","expiration":"2026-03-01T09:00:00Z","role":"arn:aws:iam::444455556666:role/analyst","account_id":"444455556666","region":"eu-west-1"}`},
		{"id-token", `{"attachment":"att_1"}`, "id-token nod_1 att_1 ", `{"token":"a.b.c","expires":"2026-03-01T09:00:00Z","role":"arn:aws:iam::444455556666:role/analyst","region":"eu-west-1"}`},
		{"roles", `{"attachment":"att_1"}`, "roles nod_1 att_1", `{"roles":[{"arn":"arn:aws:iam::111122223333:role/analyst","current":true}]}`},
		{"role", `{"attachment":"att_1","role":"r"}`, "role nod_1 att_1 r", `{"roles":[]}`},
		{"end", `{"attachment":"att_1","why":"detached"}`, "end nod_1 att_1 detached", ""},
		{"trino", `{}`, "trino nod_1", `{"mappings":[{"user":"ann","accessKey":"GWKA","secretKey":"SK","endpoint":"http://s3","region":"us-east-1"}]}`},
	} {
		token := "carnet-node-1"
		if c.path == "join" || c.path == "token" {
			token = ""
		}
		w := post(h, c.path, c.in, token)
		if got := strings.TrimSpace(w.Body.String()); s.asked != c.asked || got != c.out || w.Code/100 != 2 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: %d asked %q, want %q; answered\n%s, want\n%s", c.path, c.in, w.Code, s.asked, c.asked, got, c.out)
		}
		if token == "" {
			continue
		}
		s.asked = ""
		if w := post(h, c.path, c.in, "carnet-node-2"); w.Code != http.StatusUnauthorized || s.asked != "" {
			t.Errorf("%s by a stranger: %d, asked %q", c.path, w.Code, s.asked)
		}
	}
	s.gateway = true
	if w := post(h, "credentials", `{"attachment":"att_1","role":"cloud"}`, "carnet-node-1"); !strings.Contains(w.Body.String(), `"region":"us-east-1","s3":"http://s3"}`) || strings.Contains(w.Body.String(), "sts") {
		t.Errorf("a gateway key: %s", w.Body)
	}
	if w := post(h, "attach", `{`+at+`,"metadata_reachable":true}`, "carnet-node-1"); w.Code != http.StatusForbidden || w.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(w.Body.String(), "attachment.metadata") {
		t.Errorf("a refusal: %d %s", w.Code, w.Body)
	}
}

// FuzzDocuments: whatever a node sends, it is answered by a document or by a problem,
// and no secret of its own comes back in one.
func FuzzDocuments(f *testing.F) {
	for _, body := range []string{
		`{"join_token":"carnet-join-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","name":"n1","public_key":"U1BLSQ==","version":"1"}`, `{"assertion":"a.b.c"}`,
		`{"uid":1001,"scope":"/user.slice","scope_id":"18446744073709551615","account":"ann"}`, `{"uid":-1}`, `{"uid":4294967296}`, `{"scope_id":1}`, `{"scope_id":"-1"}`,
		`{"attachment":"att_1","role":"analyst"}`, `{"revision":9223372036854775808}`, `{"faces":null}`, `{} {}`, `[`, ``, `null`,
	} {
		f.Add("attach", body)
		f.Add("join", body)
		f.Add("watch", body)
	}
	h := handler(f, &server{})
	f.Fuzz(func(t *testing.T, path, body string) {
		if strings.ContainsAny(path, "?#% \x00\r\n") || path != strings.ToValidUTF8(path, "") || strings.ContainsFunc(path, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
			return // no path of a request line
		}
		w := post(h, path, body, "carnet-node-1")
		got, err := io.ReadAll(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if w.Code >= 500 && w.Code != 501 {
			t.Errorf("%s %q: %d %s", path, body, w.Code, got)
		}
		if len(got) > 0 && !json.Valid(got) {
			t.Errorf("%s %q: %s", path, body, got)
		}
	})
}
