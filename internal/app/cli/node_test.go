package cli_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/login"
)

// agent stands for the agent of a machine below its unix socket: one login, whose
// person approves the code BCDF-GHJK. What a real agent does is tested where it is.
type agent struct {
	mu       sync.Mutex
	status   localdoc.Status
	roles    []localdoc.Role
	polls    int    // until the person has answered
	answer   string // attached, refused, expired
	relayed  bool   // the code is that of a login elsewhere
	approved bool   // by the API: attached at the next poll
	bearer   bool   // the agent keeps no file of the second factor
	expires  time.Time
}

func newAgent() *agent {
	return &agent{
		status: localdoc.Status{
			Node: "login-1", Cluster: "research", Kind: "high-concurrency", Fresh: true,
			Faces: localdoc.Faces{Container: "http://127.0.0.1:1018/v1/credentials"},
		},
		roles: []localdoc.Role{
			{ARN: "arn:aws:iam::111122223333:role/analyst"}, {ARN: "arn:aws:iam::111122223333:role/engineer"},
			{ARN: "arn:aws:iam::777788889999:role/reader", Trouble: "the trust policy of the role refuses"},
		},
		polls: 2, answer: "attached", expires: time.Now().Add(8*time.Hour + 30*time.Second),
	}
}

func (a *agent) attachment() *localdoc.Attachment {
	at := &localdoc.Attachment{ID: "att_1", Name: "alice@example.com", Account: "alice", Scope: "/user.slice/session-3.scope", Expires: a.expires}
	if !a.bearer {
		at.TokenFile = "/run/carnet/people/1000/token"
	}
	return at
}

func (a *agent) refuse(w http.ResponseWriter, status int, kind, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(localdoc.Problem{Status: status, Kind: kind, Code: code, Detail: detail})
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	if a.status.Attachment == nil && r.URL.Path != "/v1/status" && r.URL.Path != "/v1/attach" && r.URL.Path != "/v1/attach/poll" {
		a.refuse(w, 404, "not-found", "binding.unattached", "Nothing is attached here")
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/status":
		answer(a.status)
	case "POST /v1/attach":
		answer(localdoc.Begun{Request: "r-1", UserCode: "BCDF-GHJK", VerificationURI: a.status.Server + "/attach", Expires: time.Now().Add(10*time.Minute + 30*time.Second)})
	case "POST /v1/attach/poll":
		if a.polls--; a.polls > 0 && !a.approved {
			answer(localdoc.Polled{State: "pending"})
			return
		}
		if a.answer == "attached" {
			a.status.Attachment = a.attachment()
		}
		answer(localdoc.Polled{State: a.answer})
	case "POST /v1/detach":
		a.status.Attachment = nil
		w.WriteHeader(http.StatusNoContent)
	case "GET /v1/bearer":
		answer(localdoc.Bearer{Token: "second-factor"})
	case "GET /v1/roles":
		answer(localdoc.Roles{Roles: a.roles})
	case "PUT /v1/role":
		var in localdoc.SetRole
		_ = json.NewDecoder(r.Body).Decode(&in)
		for i := range a.roles {
			a.roles[i].Current = a.roles[i].ARN == in.Role
		}
		answer(localdoc.Roles{Roles: a.roles})
	case "GET /v1/keys":
		a.keys(w, r.URL.Query().Get("role"))
	}
}

func (a *agent) keys(w http.ResponseWriter, wanted string) {
	for _, x := range a.roles {
		name := x.ARN[len("arn:aws:iam::111122223333:role/"):]
		if wanted == "" && x.Current || wanted == x.ARN || wanted == name {
			_ = json.NewEncoder(w).Encode(localdoc.Keys{
				AccessKeyID: "ASIAEXAMPLENODE11111", SecretAccessKey: "secret/of+" + name, SessionToken: "token-of-" + name, Role: x.ARN,
				Expiration: time.Now().Add(time.Hour), AccountID: "111122223333", Region: "us-east-1", S3: "http://127.0.0.1:8481", STS: "http://127.0.0.1:8481",
			})
			return
		}
	}
	if wanted == "" {
		a.refuse(w, 409, "conflict", "binding.no-role", "3 roles may be used here and none is chosen")
		return
	}
	a.refuse(w, 404, "not-found", "binding.role", "There is no role "+wanted+" here")
}

// Review is the server's: whose login shows the code.
func (a *agent) Review(_ context.Context, _ login.LoginSession, _ netip.Addr, code string) (attachment.Review, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := attachment.Review{Cluster: cluster.Cluster{Name: "research"}, Node: cluster.Node{Name: "login-1"}, UID: uint32(os.Geteuid()), Account: "alice"}
	if a.relayed {
		r.UID, r.Account, r.Node.Name = r.UID+1, "mallory", "login-2"
	}
	return r, nil
}

// Decide is the server's: it attaches the login that shows the code.
func (a *agent) Decide(_ context.Context, _ login.LoginSession, _ netip.Addr, code string, _ bool) (attachment.Review, error) {
	if code != "BCDF-GHJK" {
		return attachment.Review{}, fault.Coded(fault.NotFound, "attachment.code", "no login waits under this code")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.approved = true
	return attachment.Review{Cluster: cluster.Cluster{Name: "research"}, Node: cluster.Node{Name: "login-1"}, UID: 1000, Account: "alice"}, nil
}

// Own and EndOwn are not what this command line asks.
func (a *agent) Own(context.Context, login.LoginSession) ([]attachment.Listed, error) {
	return nil, nil
}

// EndOwn ends nothing.
func (a *agent) EndOwn(context.Context, login.LoginSession, identity.AttachmentID) error { return nil }

type agentKey struct{}

// startAgent serves an agent at the script's own socket.
func startAgent(e *testscript.Env, a *agent) error {
	folder, err := os.MkdirTemp("", "agent") // short: a socket's path is
	if err != nil {
		return err
	}
	e.Defer(func() { os.RemoveAll(folder) })
	e.Setenv("CARNET_AGENT_SOCKET", filepath.Join(folder, "none.sock"))
	e.Setenv("AGENT", filepath.Join(folder, "agent.sock"))
	l, err := net.Listen("unix", filepath.Join(folder, "agent.sock"))
	if err != nil {
		return err
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: a}}
	s.Start()
	e.Defer(s.Close)
	return nil
}

// node changes the agent: node answers STATE, node keeps no-token, node offers
// nothing, node belongs SERVER.
func node(ts *testscript.TestScript, _ bool, args []string) {
	a := ts.Value(agentKey{}).(*agent)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch args[0] {
	case "answers":
		a.answer, a.polls, a.approved = args[1], 2, false
	case "keeps":
		a.bearer = args[1] == "no-token"
	case "relays":
		a.relayed = args[1] == "another-login"
	case "offers":
		a.status.Faces = localdoc.Faces{Missing: map[string]string{"container": "the kernel does not tell who calls"}}
	case "belongs":
		a.status.Server = args[1]
	default:
		ts.Fatalf("a node can't %q", args[0])
	}
}
