package localclient_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/node/localclient"
	"carnet.dev/carnet/internal/edge/node/localdoc"
)

// agent serves h at a socket of a folder of its own.
func agent(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "agent") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	socket := filepath.Join(folder, "agent.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
	return socket
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	end := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	var asked []string
	socket := agent(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.RequestURI()+" "+string(b))
		answer := map[string]any{
			"/v1/status":      localdoc.Status{Node: "n1", Attachment: &localdoc.Attachment{ID: "att_1", Expires: end}},
			"/v1/attach":      localdoc.Begun{Request: "r", UserCode: "BCDF-GHJK"},
			"/v1/attach/poll": localdoc.Polled{State: "pending"},
			"/v1/keys":        localdoc.Keys{AccessKeyID: "ASIA", SecretAccessKey: "s", SessionToken: "t", Expiration: end, AccountID: "111122223333"},
			"/v1/roles":       localdoc.Roles{Roles: []localdoc.Role{{ARN: "a", Current: true}}},
			"/v1/role":        localdoc.Roles{Roles: []localdoc.Role{{ARN: "b", Current: true}}},
			"/v1/bearer":      localdoc.Bearer{Token: "second"},
		}[r.URL.Path]
		if answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	c := localclient.New(socket)
	ctx := t.Context()
	if !c.Present() {
		t.Error("the socket is not seen")
	}
	if s, err := c.Status(ctx); err != nil || s.Node != "n1" || s.Attachment == nil || !s.Attachment.Expires.Equal(end) {
		t.Errorf("status %+v, %v", s, err)
	}
	if b, err := c.Attach(ctx, localdoc.Attach{ByLoginName: true}); err != nil || b.UserCode != "BCDF-GHJK" {
		t.Errorf("begun %+v, %v", b, err)
	}
	if p, err := c.Poll(ctx, "r"); err != nil || p.State != "pending" {
		t.Errorf("polled %+v, %v", p, err)
	}
	if k, err := c.Keys(ctx, "a/b c"); err != nil || k.SecretAccessKey.Reveal() != "s" || k.SessionToken.Reveal() != "t" || !k.Expiration.Equal(end) {
		t.Errorf("keys %+v, %v", k, err)
	}
	if r, err := c.Roles(ctx); err != nil || len(r) != 1 || r[0].ARN != "a" {
		t.Errorf("roles %+v, %v", r, err)
	}
	if r, err := c.SetRole(ctx, "b"); err != nil || len(r) != 1 || r[0].ARN != "b" {
		t.Errorf("roles %+v, %v", r, err)
	}
	if b, err := c.Bearer(ctx); err != nil || b.Reveal() != "second" {
		t.Errorf("bearer %v", err)
	}
	if err := c.Detach(ctx); err != nil {
		t.Error(err)
	}
	want := []string{
		"GET /v1/status ", `POST /v1/attach {"by_login_name":true}`, `POST /v1/attach/poll {"request":"r"}`, "GET /v1/keys?role=a%2Fb+c ",
		"GET /v1/roles ", `PUT /v1/role {"role":"b"}`, "GET /v1/bearer ", "POST /v1/detach {}",
	}
	if strings.Join(asked, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked\n%s", strings.Join(asked, "\n"))
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status      int
		contentType string
		body        string
		kind        fault.Kind
		code        string
	}{
		"a refusal":                {403, "application/problem+json", `{"kind":"denied","code":"attest.nobody","detail":"no","mend":"m"}`, fault.Denied, "attest.nobody"},
		"a kind of a newer agent":  {403, "application/problem+json", `{"kind":"puzzled","code":"c","detail":"no"}`, fault.Internal, "c"},
		"a refusal without a text": {404, "application/problem+json", `{"kind":"not-found","code":"c"}`, fault.NotFound, "c"},
		"a broken refusal":         {403, "application/problem+json", `{`, fault.Unavailable, localclient.CodeForeign},
		"another service":          {200, "text/html", `<p>`, fault.Unavailable, localclient.CodeForeign},
		"another service's error":  {500, "text/html", `<p>`, fault.Unavailable, localclient.CodeForeign},
		"a redirect":               {302, "text/html", ``, fault.Unavailable, localclient.CodeForeign},
		"an endless answer":        {200, "application/json", strings.Repeat(" ", 2<<20), fault.Unavailable, localclient.CodeForeign},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket := agent(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.contentType)
				w.Header().Set("Location", "http://127.0.0.1:9/")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			_, err := localclient.New(socket).Keys(t.Context(), "")
			if f := fault.Of(err); f == nil || f.Kind != c.kind || f.Code != c.code || f.Public == "" {
				t.Errorf("fault %+v", f)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	c := localclient.New(filepath.Join(folder, "none.sock"))
	if c.Present() {
		t.Error("a socket is seen")
	}
	if _, err := c.Status(t.Context()); fault.Of(err).Code != localclient.CodeNoAgent || fault.Of(err).Mend == "" {
		t.Errorf("%v", err)
	}
	plain := filepath.Join(folder, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if c := localclient.New(plain); c.Present() {
		t.Error("a plain file is taken for a socket")
	} else if _, err := c.Status(t.Context()); fault.Of(err).Code != localclient.CodeNoAgent {
		t.Errorf("%v", err)
	}
}

// TestAttackSocketOfAnother: in a folder where others can write, somebody else may
// have put the socket there; nothing is asked of it.
func TestAttackSocketOfAnother(t *testing.T) {
	t.Parallel()
	asked := false
	socket := agent(t, func(http.ResponseWriter, *http.Request) { asked = true })
	if err := os.Chmod(filepath.Dir(socket), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := localclient.New(socket).Keys(t.Context(), ""); fault.Of(err).Code != localclient.CodeForeign || asked {
		t.Errorf("asked %v: %v", asked, err)
	}
}
