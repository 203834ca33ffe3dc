package agent

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/cgroup"
	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/internal/edge/nodeclient"
)

// attach attaches a uid by code, as a person does, and gives its second factor.
func (w *world) attach(uid uint32) (bearer string) {
	w.t.Helper()
	a := w.local(uid, http.MethodPost, "/v1/attach", localdoc.Attach{})
	begun := into[localdoc.Begun]([]byte(a.Body))
	if a.Status != http.StatusOK || begun.UserCode == "" || begun.Request == "" {
		w.t.Fatalf("attach: %+v", a)
	}
	if a := w.local(uid, http.MethodPost, "/v1/attach/poll", localdoc.Poll{Request: begun.Request}); into[localdoc.Polled]([]byte(a.Body)).State != "pending" {
		w.t.Fatalf("before it was approved: %+v", a)
	}
	w.approve(begun.UserCode)
	a = w.local(uid, http.MethodPost, "/v1/attach/poll", localdoc.Poll{Request: begun.Request})
	if p := into[localdoc.Polled]([]byte(a.Body)); p.State != "attached" || p.Attachment == nil || p.Attachment.Name != "ann@example.com" {
		w.t.Fatalf("after it was approved: %+v", a)
	}
	return into[localdoc.Bearer]([]byte(w.local(uid, http.MethodGet, "/v1/bearer", nil).Body)).Token
}

// offersLoopback reports whether this machine tells the control groups of sockets.
func offersLoopback(t *testing.T) bool {
	tree, err := cgroup.Open("")
	if err != nil {
		t.Fatal(err)
	}
	return tree.Mount != ""
}

func TestAttachAndFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if a := w.local(w.uid, http.MethodGet, "/v1/keys", nil); a.Status != http.StatusNotFound {
		t.Errorf("keys before attaching: %+v", a)
	}
	bearer := w.attach(w.uid)
	k := into[localdoc.Keys]([]byte(w.local(w.uid, http.MethodGet, "/v1/keys", nil).Body))
	if k.SecretAccessKey != "secret-of-att_CODE-1" || k.Role != reader {
		t.Errorf("over the socket: %+v", k)
	}
	st := into[localdoc.Status]([]byte(w.local(w.uid, http.MethodGet, "/v1/status", nil).Body))
	if st.Node != "nod_1" || st.Cluster != "lab" || !st.Fresh || st.Attachment == nil {
		t.Errorf("status: %+v", st)
	}
	if a := w.local(w.uid, http.MethodGet, "/readyz", nil); a.Status != http.StatusOK {
		t.Errorf("ready: %+v", a)
	}
	if !offersLoopback(t) {
		if st.Faces.Container != "" || st.Faces.Missing["container"] == "" {
			t.Errorf("no control groups, and yet: %+v", st.Faces)
		}
		return
	}
	a := w.keys(w.uid, bearer)
	var got map[string]string
	if err := json.Unmarshal([]byte(a.Body), &got); err != nil || a.Status != http.StatusOK {
		t.Fatalf("container credentials: %+v", a)
	}
	if got["SecretAccessKey"] != k.SecretAccessKey || got["Token"] != k.SessionToken || got["RoleArn"] != reader {
		t.Errorf("got %v", got)
	}
	if end, err := time.Parse("2006-01-02T15:04:05Z", got["Expiration"]); err != nil || !end.After(time.Now()) {
		t.Errorf("Expiration %q: %v", got["Expiration"], err)
	}
	for _, role := range []string{"/reader", "/" + reader, "/arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Freader"} {
		if a := w.keys(w.uid, bearer, func(q *ask) { q.Path += role }); a.Status != http.StatusOK {
			t.Errorf("%s: %+v", role, a)
		}
	}
	if n := w.count("credentials"); n > 3 {
		t.Errorf("the server was asked %d times", n)
	}
	if a := w.local(w.uid, http.MethodPost, "/v1/detach", struct{}{}); a.Status != http.StatusNoContent {
		t.Errorf("detach: %+v", a)
	}
	if a := w.keys(w.uid, bearer); a.Status != http.StatusForbidden {
		t.Errorf("after detaching: %+v", a)
	}
	w.until("the server hears of it", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.ended["att_CODE-1"] == "detached" })
}

func TestAttackContainerEndpoint(t *testing.T) {
	t.Parallel()
	if !offersLoopback(t) {
		t.Log("this machine shows no control groups of version 2: the endpoint is not offered here")
		return
	}
	w := newWorld(t)
	bearer := w.attach(w.uid)
	if a := w.keys(w.uid, bearer); a.Status != http.StatusOK {
		t.Fatalf("the ground of this test: %+v", a)
	}
	for name, x := range map[string]struct {
		token  string
		change func(*ask)
		status int
		code   string
	}{
		"no token":                 {"", nil, http.StatusUnauthorized, "node.token"},
		"another token":            {"carnet-local-x", nil, http.StatusUnauthorized, "node.token"},
		"two tokens":               {"", func(q *ask) { q.Header["Authorization"] = []string{bearer, bearer} }, http.StatusUnauthorized, "node.token"},
		"a token with a newline":   {"", func(q *ask) { q.Header["Authorization"] = []string{bearer + " x"} }, http.StatusUnauthorized, "node.token"},
		"a name that resolves":     {bearer, func(q *ask) { q.Host = "evil.example" }, http.StatusForbidden, "node.host"},
		"a name with the port":     {bearer, func(q *ask) { q.Host = "evil.example:1018" }, http.StatusForbidden, "node.host"},
		"no name":                  {bearer, func(q *ask) { q.Host = "x" }, http.StatusForbidden, "node.host"},
		"an Origin":                {bearer, func(q *ask) { q.Header["Origin"] = []string{"null"} }, http.StatusForbidden, "node.browser"},
		"an empty Origin":          {bearer, func(q *ask) { q.Header["Origin"] = []string{""} }, http.StatusForbidden, "node.browser"},
		"Forwarded":                {bearer, func(q *ask) { q.Header["Forwarded"] = []string{"for=1.2.3.4"} }, http.StatusForbidden, "node.forwarded"},
		"X-Forwarded-For":          {bearer, func(q *ask) { q.Header["X-Forwarded-For"] = []string{"1.2.3.4"} }, http.StatusForbidden, "node.forwarded"},
		"X-Forwarded-Whatever":     {bearer, func(q *ask) { q.Header["X-Forwarded-Whatever"] = []string{"1"} }, http.StatusForbidden, "node.forwarded"},
		"Via":                      {bearer, func(q *ask) { q.Header["Via"] = []string{"1.1 proxy"} }, http.StatusForbidden, "node.forwarded"},
		"POST":                     {bearer, func(q *ask) { q.Method = http.MethodPost }, http.StatusMethodNotAllowed, "node.method"},
		"PUT":                      {bearer, func(q *ask) { q.Method = http.MethodPut }, http.StatusMethodNotAllowed, "node.method"},
		"OPTIONS":                  {bearer, func(q *ask) { q.Method = http.MethodOptions }, http.StatusMethodNotAllowed, "node.method"},
		"a query":                  {bearer, func(q *ask) { q.Path += "?role=x" }, http.StatusNotFound, "node.path"},
		"another path":             {bearer, func(q *ask) { q.Path = "/" }, http.StatusNotFound, "node.path"},
		"a path that begins alike": {bearer, func(q *ask) { q.Path += "x" }, http.StatusNotFound, "node.path"},
		"content":                  {bearer, func(q *ask) { q.Body = "x" }, http.StatusBadRequest, "node.path"},
		"a role with a newline":    {bearer, func(q *ask) { q.Path += "/a%0Ab" }, http.StatusBadRequest, "node.role"},
		"a role of somebody else":  {bearer, func(q *ask) { q.Path += "/admin" }, http.StatusNotFound, ""},
		"Trino's mapping":          {bearer, func(q *ask) { q.Path = "/v1/trino" }, http.StatusNotFound, "node.path"},
	} {
		var changes []func(*ask)
		if x.change != nil {
			changes = append(changes, x.change)
		}
		a := w.keys(w.uid, x.token, changes...)
		var said struct {
			Code, Message           string
			LowerCode, LowerMessage string
		}
		var raw map[string]string
		_ = json.Unmarshal([]byte(a.Body), &raw)
		said.Code, said.Message, said.LowerCode, said.LowerMessage = raw["Code"], raw["Message"], raw["code"], raw["message"]
		if a.Status != x.status || x.code != "" && said.Code != x.code {
			t.Errorf("%s: got %d %s, want %d %s", name, a.Status, a.Body, x.status, x.code)
		}
		if said.Code == "" || said.Message == "" || said.Code != said.LowerCode || said.Message != said.LowerMessage {
			t.Errorf("%s: SDKs can't read %s", name, a.Body)
		}
		if strings.Contains(a.Body, "secret-of") || a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: it gives something away: %+v", name, a)
		}
	}
}

// TestAttackStolenToken: the right token from another uid, from root, and from another
// control group.
func TestAttackStolenToken(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Log("only root can run processes under other accounts: make isolation does")
		return
	}
	if !offersLoopback(t) {
		t.Log("this machine shows no control groups of version 2: the endpoint is not offered here")
		return
	}
	w := newWorld(t)
	bearer := w.attach(w.uid)
	if a := w.keys(w.uid, bearer); a.Status != http.StatusOK {
		t.Fatalf("the ground of this test: %+v", a)
	}
	for uid, code := range map[uint32]string{w.uid + 1: "binding.unattached", 0: "attest.nobody", 65534: "attest.nobody"} {
		if a := w.keys(uid, bearer); a.Status != http.StatusForbidden || !strings.Contains(a.Body, code) {
			t.Errorf("uid %d: %+v", uid, a)
		}
		if a := w.local(uid, http.MethodGet, "/v1/keys", nil); a.Status != http.StatusForbidden && a.Status != http.StatusNotFound {
			t.Errorf("uid %d over the socket: %+v", uid, a)
		}
	}
}

func TestServerAwayAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bearer := w.attach(w.uid)
	first := w.local(w.uid, http.MethodGet, "/v1/keys", nil)
	w.mu.Lock()
	w.away = true
	w.mu.Unlock()
	w.http.CloseClientConnections()
	if a := w.local(w.uid, http.MethodGet, "/v1/keys", nil); a.Status != http.StatusOK || a.Body != first.Body {
		t.Errorf("while the server is away: %+v", a)
	}
	if offersLoopback(t) {
		if a := w.keys(w.uid, bearer); a.Status != http.StatusOK {
			t.Errorf("while the server is away: %+v", a)
		}
	}
	if a := w.local(w.uid, http.MethodGet, "/v1/id-token", nil); a.Status != http.StatusServiceUnavailable {
		t.Errorf("something new while the server is away: %+v", a)
	}
	w.mu.Lock()
	w.away = false
	w.mu.Unlock()
	w.until("the server is back", func() bool {
		return w.local(w.uid, http.MethodGet, "/v1/id-token", nil).Status == http.StatusOK
	})
}

func TestRevokedAndRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.attach(w.uid)
	w.change(func() { w.live = nil })
	w.until("what was revoked is gone", func() bool {
		return w.local(w.uid, http.MethodGet, "/v1/keys", nil).Status == http.StatusNotFound
	})
	w.attach(w.uid)
	w.change(func() { w.removed = true })
	w.until("a removed node gives nothing", func() bool {
		return w.local(w.uid, http.MethodGet, "/v1/keys", nil).Status == http.StatusServiceUnavailable
	})
}

// TestRestart: after a restart of the agent the second factor is the same, and keys are
// fetched anew: they were in memory alone.
func TestRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bearer := w.attach(w.uid)
	w.local(w.uid, http.MethodGet, "/v1/keys", nil)
	before := w.count("credentials")
	w.stop()
	w.start()
	w.until("the agent knows its attachments", func() bool {
		return w.local(w.uid, http.MethodGet, "/v1/keys", nil).Status == http.StatusOK
	})
	if w.count("credentials") == before {
		t.Error("keys outlived the agent")
	}
	if again := into[localdoc.Bearer]([]byte(w.local(w.uid, http.MethodGet, "/v1/bearer", nil).Body)).Token; again != bearer {
		t.Error("the second factor is another after a restart")
	}
}

// TestAttackMachineStartedAnew: the machine was started anew while the agent was away.
// Whoever has the uid, and a group of the same number, inherits nothing.
func TestAttackMachineStartedAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.attach(w.uid)
	w.stop()
	if err := (nodeclient.Folder{Path: w.c.State}).KeepBoot("another run"); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.until("the server hears that it ended", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.ended["att_CODE-1"] == "scope-ended"
	})
	if a := w.local(w.uid, http.MethodGet, "/v1/keys", nil); a.Status != http.StatusNotFound {
		t.Errorf("after the machine began anew: %+v", a)
	}
	// Once that is noted, a restart of the agent is one again.
	w.until("it is noted", func() bool {
		w.change(func() {})
		other, err := nodeclient.Folder{Path: w.c.State}.OtherBoot(bootID())
		return err == nil && !other
	})
}

// TestTrinoForTheEngineAlone: the mapping holds everybody's keys.
func TestTrinoForTheEngineAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.EngineAccount = "70124" })
	mapping := func(q *ask) { q.Path = "/v1/trino" }
	engine := uint32(70124)
	if os.Getuid() == 0 {
		if a := w.local(engine, http.MethodGet, "/v1/trino", nil); a.Status != http.StatusOK || !strings.Contains(a.Body, "CNGK") {
			t.Errorf("the engine over the socket: %+v", a)
		}
		if a := w.keys(engine, "", mapping); offersLoopback(t) && (a.Status != http.StatusOK || !strings.Contains(a.Body, "CNGK")) {
			t.Errorf("the engine: %+v", a)
		}
	}
	bearer := w.attach(w.uid)
	for _, a := range []answered{w.local(w.uid, http.MethodGet, "/v1/trino", nil), w.local(uint32(os.Getuid()), http.MethodGet, "/v1/trino", nil)} {
		if a.Status != http.StatusForbidden || strings.Contains(a.Body, "CNGK") {
			t.Errorf("somebody else over the socket: %+v", a)
		}
	}
	if a := w.keys(w.uid, bearer, mapping); offersLoopback(t) && (a.Status != http.StatusForbidden || strings.Contains(a.Body, "CNGK")) {
		t.Errorf("somebody else: %+v", a)
	}
}

// TestJDBCForTheEngineAlone: who connects to the engine is asked for by the engine.
func TestJDBCForTheEngineAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.EngineAccount = "70124" })
	ask := localdoc.JDBC{User: "ann", Password: "e.j.w", Role: "reader"}
	if os.Getuid() == 0 {
		if a := w.local(70124, http.MethodPost, "/v1/jdbc", ask); a.Status != http.StatusOK || !strings.Contains(a.Body, `"access_key_id":"CNJDBC"`) || !strings.Contains(a.Body, `"connection":"carnet-jdbc-x"`) {
			t.Errorf("the engine: %+v", a)
		}
		if a := w.local(70124, http.MethodGet, "/v1/jdbc", nil); a.Status != http.StatusNotFound {
			t.Errorf("another method: %+v", a)
		}
	}
	w.attach(w.uid)
	for _, a := range []answered{w.local(w.uid, http.MethodPost, "/v1/jdbc", ask), w.local(uint32(os.Getuid()), http.MethodPost, "/v1/jdbc", ask)} {
		if a.Status != http.StatusForbidden || strings.Contains(a.Body, "CNJDBC") {
			t.Errorf("somebody else: %+v", a)
		}
	}
	if without := newWorld(t); os.Getuid() == 0 {
		if a := without.local(70124, http.MethodPost, "/v1/jdbc", ask); a.Status != http.StatusForbidden {
			t.Errorf("on a node without an engine: %+v", a)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	at := freePort(t)
	w := newWorld(t, func(c *Config) { c.Listen.Metrics = at })
	w.attach(w.uid)
	w.local(w.uid, http.MethodGet, "/v1/keys", nil)
	a := do(ask{Network: "tcp4", Address: at, Method: http.MethodGet, Path: "/metrics", Host: at})
	for _, want := range []string{"carnet_agent_attachments 1", "carnet_agent_fetches_total 1", "carnet_agent_fetch_failures_total 0", "carnet_agent_view_age_seconds "} {
		if !strings.Contains(a.Body, "\n"+want) {
			t.Errorf("%q is not in the metrics", want)
		}
	}
	for _, secret := range []string{"secret-of", "ann@example.com", "att_CODE"} {
		if strings.Contains(a.Body, secret) {
			t.Errorf("%q is in the metrics", secret)
		}
	}
	if a := do(ask{Network: "tcp4", Address: at, Method: http.MethodGet, Path: "/metrics", Host: "evil.example"}); a.Status == http.StatusOK {
		t.Error("another host name reads the metrics")
	}
}
