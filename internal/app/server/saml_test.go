package server_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/edge/sql"
)

const (
	closed   = "arn:aws:iam::111122223333:role/closed"
	lake     = "arn:aws:iam::777788889999:role/lake"
	lakeIdP  = "arn:aws:iam::777788889999:saml-provider/corp"
	removed  = "arn:aws:iam::444455556666:role/x,arn:aws:iam::444455556666:saml-provider/corp"
	unlisted = "arn:aws:iam::999999999999:role/x,arn:aws:iam::999999999999:saml-provider/corp"

	passThrough = "X-Databricks-PassThrough-Error"
)

// TestResponses posts responses, bad and odd ones, to the assertion consumer
// of a running server. What the identity provider signs is forge's to make.
func TestResponses(t *testing.T) {
	t.Parallel()
	// STS at AWS is away: the proxy lets nothing through.
	asked := &log{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(asked, r.Method, r.Host)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer proxy.Close()

	p := &post{installation: install(t), idp: forge.New(t, time.Now())}
	metadata := p.write(t, "idp.xml", string(p.idp.Metadata()))
	p.must(t, "sso", "add", "--name", "Corp", "--metadata", metadata, "--accounts", "111122223333,444455556666,777788889999",
		"--roles", "arn:aws:iam::1*:role/*,arn:aws:iam::4*:role/*,arn:aws:iam::7*:role/*", "--domains", "*")
	p.must(t, "authority", "apply", p.authority(t, p.idp.Metadata()))
	p.rewrite(t, replace(`  - {id: "444455556666", name: engineering, kind: local}`+"\n", ""))
	p.running = p.serve(t, "HTTPS_PROXY="+proxy.URL, "NO_PROXY=none.invalid")
	if p.link(p.printed) != "" {
		t.Errorf("a set-up link although people can sign in:\n%s", p.printed)
	}

	t.Run("refused", func(t *testing.T) { refusedResponses(t, p) })
	t.Run("taken", func(t *testing.T) { // in parallel, once nothing counts rows any more
		t.Run("over 100,000 characters", func(t *testing.T) { t.Parallel(); overSTSLimit(t, p) })
		t.Run("roles", func(t *testing.T) { t.Parallel(); oddRoles(t, p) })
		t.Run("STS is away", func(t *testing.T) {
			t.Parallel()
			stsAway(t, p)
			if said := asked.String(); !strings.Contains(said, "CONNECT sts.us-east-1.amazonaws.com:443") {
				t.Errorf("the proxy was asked for %q", said)
			}
		})
	})
	p.stop()
	p.nothingLeaks(t)
}

// post is an installation whose identity provider is the forge.
type post struct {
	*installation
	*running
	idp *forge.IdP

	mu    sync.Mutex
	texts []string // every response that was posted
}

// rewrite changes carnet.yaml.
func (p *post) rewrite(t *testing.T, change func(string) string) {
	t.Helper()
	text := p.read(t, "carnet.yaml")
	changed := change(text)
	if changed == text {
		t.Fatal("the change of carnet.yaml changes nothing")
	}
	p.write(t, "carnet.yaml", changed)
}

// began is a sign-in under way in one browser.
type began struct {
	browser   *visitor.Visitor
	requestID string
}

// begin opens the sign-in page and reads what goes to the identity provider.
func (p *post) begin(t *testing.T) began {
	t.Helper()
	return p.beginAt(t, p.base+"/sign-in")
}

func (p *post) beginAt(t *testing.T, address string) began {
	t.Helper()
	b := began{browser: visitor.New(nil)}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	must(t, err)
	resp, err := b.browser.Do(req)
	must(t, err)
	_ = resp.Body.Close()
	b.requestID = requestOf(t, resp.Header.Get("Location"))
	return b
}

// requestOf gives the ID of the request that an address takes to the identity
// provider. Nothing else goes with it.
func requestOf(t *testing.T, address string) string {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(address, forge.SSOURL+"?") || to.Query().Has("RelayState") {
		t.Fatalf("the sign-in leads to %q", address)
	}
	deflated, err := base64.StdEncoding.DecodeString(to.Query().Get("SAMLRequest"))
	must(t, err)
	asks, err := io.ReadAll(flate.NewReader(bytes.NewReader(deflated)))
	must(t, err)
	id := regexp.MustCompile(`ID="([^"]+)"`).FindSubmatch(asks)
	if id == nil {
		t.Fatalf("the request is %s", asks)
	}
	return string(id[1])
}

// answer is the honest answer to a request, changed as a test likes.
func (p *post) answer(t *testing.T, b began, change ...func(*devidp.Answer)) []byte {
	t.Helper()
	a := p.idp.Answer(b.requestID, time.Now())
	a.Destination, a.Recipient, a.Audiences = p.base+"/saml/consume", p.base+"/saml/consume", []string{p.base + "/saml/consume"}
	a.Attributes[0].Values = []string{analyst + "," + provider}
	for _, f := range change {
		f(&a)
	}
	return p.idp.Respond(t, a)
}

// send posts a response as a browser does from the identity provider's page:
// across sites, so without cookies.
func (p *post) send(t *testing.T, response, relay string) (*http.Response, string) {
	t.Helper()
	p.mu.Lock()
	p.texts = append(p.texts, response)
	p.mu.Unlock()
	form := url.Values{"SAMLResponse": {response}, "RelayState": {relay}}
	if relay == "" {
		form.Del("RelayState")
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.base+"/saml/consume", strings.NewReader(form.Encode()))
	must(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "http://localhost:8482")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp, string(body)
}

// refusedResponses: each is answered with a page that names the cause and the
// request id, and leaves nothing behind.
func refusedResponses(t *testing.T, p *post) {
	db, err := sql.Open(t.Context(), sql.Config{SQLite: filepath.Join(p.folder, "data", "carnet.db")})
	must(t, err)
	defer func() { must(t, db.Close()) }()
	before := rows(t, db)
	if before["identity_provider"] != 1 || before["iam_role"] < 2 {
		t.Fatalf("the rows are counted in another database: %v", before)
	}
	changed := func(f func(*devidp.Answer)) func(*testing.T, began) ([]byte, string) {
		return func(t *testing.T, b began) ([]byte, string) { return p.answer(t, b, f), "" }
	}
	edited := func(old, with string) func(*testing.T, began) ([]byte, string) {
		return func(t *testing.T, b began) ([]byte, string) {
			raw := p.answer(t, b)
			if !bytes.Contains(raw, []byte(old)) {
				t.Fatalf("the response does not hold %q", old)
			}
			return bytes.Replace(raw, []byte(old), []byte(with), 1), ""
		}
	}
	late := func(a *devidp.Answer) {
		a.IssueInstant, a.NotBefore, a.NotOnOrAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	evil := forge.New(t, time.Now())
	const elsewhere = "https://elsewhere.example/saml/consume"
	for name, tt := range map[string]struct {
		response func(*testing.T, began) (raw []byte, relay string)
		status   int
		code     string
		cause    string
	}{
		"unsigned":            {changed(func(a *devidp.Answer) { a.SignAssertion = false }), 401, "saml.unsigned", "Neither the response nor the assertion is signed"},
		"changed":             {edited(">alice<", ">mallory<"), 401, "saml.signature", "signature"},
		"expired":             {changed(late), 401, "saml.confirmation-time", "time"},
		"not valid yet":       {changed(func(a *devidp.Answer) { a.NotBefore = time.Now().Add(time.Hour) }), 401, "saml.not-before", "holds from"},
		"other recipient":     {changed(func(a *devidp.Answer) { a.Recipient = elsewhere }), 401, "saml.recipient", "elsewhere.example"},
		"other destination":   {changed(func(a *devidp.Answer) { a.Destination = elsewhere }), 401, "saml.destination", "elsewhere.example"},
		"other audience":      {changed(func(a *devidp.Answer) { a.Audiences = []string{elsewhere} }), 401, "saml.audience", "elsewhere.example"},
		"other request":       {changed(func(a *devidp.Answer) { a.InResponseTo = "_another" }), 401, "saml.in-response-to", "another"},
		"other issuer":        {changed(func(a *devidp.Answer) { a.Issuer = "https://evil.example" }), 401, "saml.issuer", "evil.example"},
		"over the size limit": {edited("<saml:Subject>", "<saml:Subject>"+strings.Repeat(" ", 600<<10)), 413, "saml.size", "only the groups and roles"},
		"no response at all":  {func(_ *testing.T, b began) ([]byte, string) { return nil, "" }, 400, "saml.form", "SAMLResponse"},
		"not XML":             {func(_ *testing.T, b began) ([]byte, string) { return []byte("hello, I am alice"), "" }, 400, "saml.xml", "XML"},
		"with a DTD":          {edited("<samlp:Response ", `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><samlp:Response `), 400, "saml.dtd", "document type"},
		"another's key": {func(t *testing.T, b began) ([]byte, string) {
			own := p.idp
			p.idp = evil
			defer func() { p.idp = own }()
			return p.answer(t, b), ""
		}, 401, "saml.signature", "signature"},
		"asked by nobody":    {changed(func(a *devidp.Answer) { a.InResponseTo = "" }), 403, "saml.unsolicited", "no sign-in"},
		"made-up request":    {changed(func(a *devidp.Answer) { a.InResponseTo = a.InResponseTo[:100] + strings.Repeat("A", 27) }), 401, "saml.in-response-to", "another request"},
		"a NameID of no one": {changed(func(a *devidp.Answer) { a.NameID = "" }), 400, "saml.subject", "NameID"},
	} {
		t.Run(name, func(t *testing.T) {
			b := p.begin(t)
			raw, relay := tt.response(t, b)
			resp, body := p.send(t, forge.Encode(raw), relay)
			p.mustRefuse(t, resp, body, tt.status, tt.code, tt.cause)
			if after := rows(t, db); !equal(before, after) {
				t.Errorf("it left something behind: before %v, after %v", before, after)
			}
			if page := open(t, b.browser, p.base+"/sign-in/complete?handle=x"); page.Status != http.StatusUnauthorized {
				t.Errorf("completing it answers %d", page.Status)
			}
		})
	}
	t.Run("over the limit of a form", func(t *testing.T) {
		resp, body := p.send(t, strings.Repeat("QUxJ", 512<<10), "x")
		p.mustRefuse(t, resp, body, 413, "request.body", "larger")
	})
	t.Run("not base64", func(t *testing.T) {
		resp, body := p.send(t, "this is * not base64", "")
		p.mustRefuse(t, resp, body, 400, "saml.encoding", "base64")
	})
	if after := rows(t, db); !equal(before, after) {
		t.Errorf("something was left behind: before %v, after %v", before, after)
	}
	t.Run("replayed", func(t *testing.T) {
		b := p.begin(t)
		response := forge.Encode(p.answer(t, b))
		if resp, body := p.send(t, response, ""); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Set-Cookie") != "" || resp.Header.Values(passThrough) != nil {
			t.Fatalf("the first post answers %d %v\n%s", resp.StatusCode, resp.Header, body)
		}
		once := rows(t, db)
		if once["login_session"] != 1 || once["login_ticket"] != 1 || once["role_session"] != 1 || once["person"] != 1 {
			t.Errorf("after the first post: %v", once)
		}
		resp, body := p.send(t, response, "")
		p.mustRefuse(t, resp, body, 403, "saml.replayed", "used before")
		if after := rows(t, db); !equal(once, after) {
			t.Errorf("the replay left something behind: before %v, after %v", once, after)
		}
	})
}

// mustRefuse wants a page that says why and under which id the log has more.
func (p *post) mustRefuse(t *testing.T, resp *http.Response, body string, status int, code, cause string) {
	t.Helper()
	id, text := resp.Header.Get("X-Request-Id"), html.UnescapeString(body)
	if resp.StatusCode != status || !strings.Contains(text, "<code>"+code+"</code>") || !strings.Contains(text, cause) ||
		!strings.Contains(text, "The sign-in was refused") && status != 413 {
		t.Errorf("got %d, want %d %s with %q\n%s", resp.StatusCode, status, code, cause, text)
	}
	if id == "" || !strings.Contains(text, "<code>"+id+"</code>") {
		t.Errorf("the page does not show the request id %q", id)
	}
	if resp.Header.Get("Set-Cookie") != "" || resp.Header.Values(passThrough) != nil || resp.Header.Get("Location") != "" {
		t.Errorf("a refusal came with %v", resp.Header)
	}
	soon(t, "the refusal in the log", func() bool { return strings.Contains(p.log.String(), id) })
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, id) && !strings.Contains(line, `"code":"`+code+`"`) {
			t.Errorf("the log says %s", line)
		}
	}
}

// rows counts what a sign-in may store. The record of a refused one is not counted: it
// goes through a queue, and may come after the answer.
func rows(t *testing.T, db *sql.DB) map[string]int {
	t.Helper()
	counts := map[string]int{}
	must(t, db.Read(t.Context(), func(tx *sql.Tx) error {
		for _, table := range []string{"login_session", "login_ticket", "cli_code", "cli_token", "role_session", "person", "person_identity", "used_once", "identity_provider", "iam_role"} {
			var n int
			where := ""
			if table == "audit_record" { // that it was refused is recorded, and nothing else
				where = ` WHERE body NOT LIKE '%"outcome":"denied"%'`
			}
			if err := tx.QueryRow(`SELECT COUNT(*) FROM ` + table + where).Scan(&n); err != nil {
				return err
			}
			counts[table] = n
		}
		return nil
	}))
	return counts
}

func equal(a, b map[string]int) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// signedIn is what a person has after a response that was taken.
type signedIn struct {
	header http.Header // of the answer to the post
	page   string      // My access
	roles  map[string]role
	notes  string
}

// take posts a response and follows the sign-in to its end.
func (p *post) take(t *testing.T, change func(*devidp.Answer)) signedIn {
	t.Helper()
	b := p.begin(t)
	resp, body := p.send(t, forge.Encode(p.answer(t, b, change)), "")
	if resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("the post answers %d\n%s", resp.StatusCode, body)
	}
	to, err := resp.Location()
	must(t, err)
	page := open(t, b.browser, to.String())
	if page.Status != http.StatusOK || page.URL.Path != "/" {
		t.Fatalf("the sign-in ends at %s, which answers %d\n%s", page.URL, page.Status, page.Body)
	}
	in := signedIn{header: resp.Header, page: html.UnescapeString(page.Body), roles: map[string]role{}}
	var roles struct{ Roles []role }
	ask(t, b.browser, http.MethodGet, p.base+"/api/v1/roles", "", &roles)
	for _, r := range roles.Roles {
		in.roles[r.ARN] = r
	}
	var session struct{ Notes []string }
	ask(t, b.browser, http.MethodGet, p.base+"/api/v1/session", "", &session)
	in.notes = strings.Join(session.Notes, "\n")
	for _, note := range session.Notes {
		if !strings.Contains(in.page, note) {
			t.Errorf("the page does not show the note %q", note)
		}
	}
	return in
}

// failed wants a role that can't be had, with its cause in API and page.
func (in signedIn) failed(t *testing.T, arn, code, message string) {
	t.Helper()
	r := in.roles[arn]
	if r.State != "failed" || r.Error == nil || r.Error.Code != code || !strings.Contains(r.Error.Message, message) || r.Error.Mend == "" {
		t.Errorf("role %s is %+v %+v, want it failed by %s with %q", arn, r, r.Error, code, message)
		return
	}
	if !strings.Contains(in.page, code) || !strings.Contains(in.page, r.Error.Mend) && !strings.Contains(in.page, r.Error.Mend[1:]) {
		t.Errorf("the page does not say why %s can't be had", arn)
	}
}

func (in signedIn) ready(t *testing.T, arns ...string) {
	t.Helper()
	for _, arn := range arns {
		if in.roles[arn].State != "ready" {
			t.Errorf("role %s is %+v", arn, in.roles[arn])
		}
	}
}

// says wants the header on one line, or none at all.
func (in signedIn) says(t *testing.T, want ...string) {
	t.Helper()
	if got := in.header.Values(passThrough); !slices.Equal(got, want) {
		t.Errorf("%s is %q, want %q", passThrough, got, want)
	}
}

func values(roles ...string) func(*devidp.Answer) {
	return func(a *devidp.Answer) { a.Attributes[0].Values = roles }
}

func overSTSLimit(t *testing.T, p *post) {
	in := p.take(t, func(a *devidp.Answer) {
		values(analyst+","+provider, closed+","+provider)(a)
		padding := devidp.Attribute{Name: "padding"}
		for i := range 90 {
			padding.Values = append(padding.Values, fmt.Sprintf("%d %s", i, strings.Repeat("x", 1000)))
		}
		a.Attributes = append(a.Attributes, padding)
	})
	in.says(t, "ValidationError")
	in.failed(t, analyst, "ValidationError", "100000")
	in.failed(t, closed, "ValidationError", "100000")
}

// oddRoles: a value that is wrong or odd costs its own role at most.
func oddRoles(t *testing.T, p *post) {
	good := analyst + "," + provider
	t.Run("malformed", func(t *testing.T) {
		in := p.take(t, values("analyst, please\nX-Evil: 1", good))
		in.says(t, "Malformed role name attribute")
		in.ready(t, analyst)
		if len(in.roles) != 1 || !strings.Contains(in.notes, "role value 1") || !strings.Contains(in.notes, "analyst, please") || in.header.Get("X-Evil") != "" {
			t.Errorf("roles %v, notes %q", in.roles, in.notes)
		}
	})
	t.Run("denied by STS", func(t *testing.T) {
		in := p.take(t, values(closed+","+provider, good, "nonsense"))
		in.says(t, "AccessDenied")
		in.ready(t, analyst)
		in.failed(t, closed, "AccessDenied", "sts:AssumeRoleWithSAML")
	})
	t.Run("both orders and spaces", func(t *testing.T) {
		in := p.take(t, values(" "+provider+" ,  "+analyst+" "))
		in.says(t)
		in.ready(t, analyst)
		if !strings.Contains(in.notes, "SAML provider first") || !strings.Contains(in.notes, "spaces") {
			t.Errorf("notes %q", in.notes)
		}
	})
	t.Run("outside the list", func(t *testing.T) {
		in := p.take(t, values(unlisted, removed, good))
		in.says(t)
		in.ready(t, analyst)
		if len(in.roles) != 1 || !strings.Contains(in.notes, "999999999999") || !strings.Contains(in.notes, "account 444455556666 is not configured") {
			t.Errorf("roles %v, notes %q", in.roles, in.notes)
		}
	})
	t.Run("another's name", func(t *testing.T) {
		in := p.take(t, func(a *devidp.Answer) { a.Attributes[1].Values = []string{"bob"} })
		in.says(t, "InvalidIdentityToken")
		in.failed(t, analyst, "InvalidIdentityToken", "bob")
	})
	t.Run("none", func(t *testing.T) {
		in := p.take(t, func(a *devidp.Answer) { a.Attributes = a.Attributes[1:] })
		in.says(t)
		if len(in.roles) != 0 || !strings.Contains(in.page, "You have no roles yet") {
			t.Errorf("roles %v", in.roles)
		}
	})
}

// stsAway: one account's STS can't be reached; no header, the cause is said,
// and the other account works.
func stsAway(t *testing.T, p *post) {
	in := p.take(t, values(lake+","+lakeIdP, analyst+","+provider))
	in.says(t)
	in.ready(t, analyst)
	r := in.roles[lake]
	if r.State != "failed" || r.Error == nil || r.Error.Code != "ServiceUnavailable" || !strings.Contains(r.Error.Message, "no answer from STS for account 777788889999") ||
		r.Error.Mend == "" || !strings.Contains(in.page, "o answer from STS for account 777788889999") {
		t.Errorf("role %+v %+v", r, r.Error)
	}
}

// nothingLeaks: a response is a credential; none of those posted is in the log
// or at rest.
func (p *post) nothingLeaks(t *testing.T) {
	t.Helper()
	files := map[string]string{"log": p.log.String()}
	for _, name := range []string{"carnet.db", "carnet.db-wal"} {
		files[name] = p.read(t, filepath.Join("data", name))
	}
	if !strings.Contains(files["log"], `"route":"/saml/consume"`) {
		t.Error("the log tells nothing of the posts")
	}
	for _, text := range p.texts {
		if len(text) < 400 {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		for name, content := range files {
			if strings.Contains(content, text[200:260]) || err == nil && strings.Contains(content, string(raw[200:260])) {
				t.Errorf("%s holds a response", name)
			}
		}
	}
}
