//go:build interop

package idp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/devidp/forge"
)

// TestAttacks: the corpus, made from what each identity provider sent, goes to
// the assertion consumer and to STS over the wire. No attack gets in, each is
// refused by its own error; every honest variant gets in.
func TestAttacks(t *testing.T) {
	only := wanted(t)
	all := products()
	var results []result
	for _, p := range all {
		if only.MatchString(p.name + ": attacks") {
			t.Run(p.name, func(t *testing.T) { results = append(results, attack(t, p)...) })
		}
	}
	if os.Getenv("IDP_ROWS") == "" && !t.Failed() {
		writeAttacks(t, results)
	}
}

// result is one row of the table.
type result struct {
	class, name, source, want, got, sts string
	cpu                                 time.Duration
}

// refusal is what refusing it cost.
func (r result) refusal() time.Duration {
	if r.want == "" {
		return 0
	}
	return r.cpu
}

// under is one installation under attack.
type under struct {
	*carnet
	t       *testing.T
	request began
	sources int // addresses of loopback that were used
}

// began is a sign-in under way: what goes to the identity provider.
type began struct{ address, id, relay string }

func attack(t *testing.T, p product) []result {
	c := lay(t)
	idp := p.begin(t, c)
	idp.set(t, c, mode{signed: "both"})
	c.begin(t, idp.metadata(t))
	c.encrypts(t, forge.Encrypted) // now our metadata names the key
	_, known := c.provider(t)
	u := &under{carnet: c, t: t}
	u.request = c.signIn(t)
	source := forge.Source{
		IdP:       &forge.IdP{Signer: idp.signer(), EntityID: entityID(t, idp.metadata(t))},
		RequestID: u.request.id,
		Assertion: c.capture(t, idp, mode{signed: "assertion"}, u.request),
		Response:  c.capture(t, idp, mode{signed: "response"}, u.request),
		EncryptTo: known.Encrypt,
	}
	corpus := forge.CorpusFrom(t, source, time.Now())
	results := u.logouts(forge.LogoutCorpus(t, source, time.Now()), idp.name())
	honest := 0
	for _, setting := range []string{"", forge.Encrypted, forge.EncryptedWithCBC, forge.OnlyEncrypted} {
		c.encrypts(t, setting)
		for _, k := range corpus {
			if k.Setting == setting {
				results = append(results, u.try(k, idp.name()))
			}
		}
	}
	for _, r := range results {
		if r.want == "" {
			honest++
		}
	}
	// What is taken costs the exchange of its roles as well.
	most := slices.MaxFunc(results, func(a, b result) int { return cmp.Compare(a.refusal(), b.refusal()) })
	t.Logf("%s: %d attacks, %d honest variants; the dearest took %s of CPU: %s/%s", idp.name(), len(results)-honest, honest, most.cpu, most.class, most.name)
	if attacks := len(results) - honest; attacks < 150 {
		t.Errorf("the corpus holds %d attacks", attacks)
	}
	if os.Getenv("CARNET_FULL") != "" && most.cpu > 100*time.Millisecond {
		t.Errorf("%s/%s took %s of CPU", most.class, most.name, most.cpu)
	}
	return results
}

// try posts one case to the assertion consumer and to STS.
func (u *under) try(k forge.Case, source string) result {
	u.t.Helper()
	r := result{class: k.Class, name: k.Name, source: source, want: onTheWire(k)}
	r.got, r.cpu = u.consume(k.Raw)
	r.sts = u.sts(k.Raw)
	if r.sts != "" && r.want == tooLarge {
		r.sts = tooLarge // or what it answers when it has not read all of it
	}
	if r.got != r.want {
		u.t.Errorf("%s/%s: answered %q, want %q", k.Class, k.Name, r.got, r.want)
	}
	if taken := r.sts == ""; taken != k.AtSTS {
		u.t.Errorf("%s/%s: STS answers %q", k.Class, k.Name, r.sts)
	}
	return r
}

// encrypts makes the settings that cases of the corpus need.
func (c *carnet) encrypts(t *testing.T, setting string) {
	t.Helper()
	value := map[string]string{"": "off", forge.Encrypted: "allowed", forge.EncryptedWithCBC: "allowed", forge.OnlyEncrypted: "required"}[setting]
	c.settings(t, map[string]string{"encryption": value, "signed": "either", "request_binding": "redirect"},
		map[string]bool{"allow_cbc": setting == forge.EncryptedWithCBC, "allow_unsolicited": false, "sign_requests": false})
}

// logouts sends logout messages, by redirect or POST as each is made.
func (u *under) logouts(cases []forge.LogoutCase, source string) []result {
	u.t.Helper()
	var results []result
	for _, k := range cases {
		r := result{class: "logout", name: k.Name, source: source, want: k.Check, sts: notAsked}
		before := u.cpu()
		var resp *http.Response
		var err error
		if k.Query != "" {
			resp, err = u.client().Get(u.url + "?" + k.Query)
		} else {
			resp, err = u.client().PostForm(u.url, url.Values{"SAMLRequest": {k.PostField()}, "RelayState": {"state of theirs"}})
		}
		must(u.t, err)
		body, err := io.ReadAll(resp.Body)
		must(u.t, err)
		_ = resp.Body.Close()
		r.cpu = u.cpu() - before
		switch m := codePattern.FindSubmatch(body); {
		case m != nil && resp.StatusCode >= 400:
			r.got = string(m[1])
		case !bytes.Contains(body, []byte("SAMLResponse")) && !strings.Contains(resp.Header.Get("Location"), "SAMLResponse"):
			r.got = fmt.Sprintf("%d without a logout response", resp.StatusCode)
		}
		if r.got != r.want {
			u.t.Errorf("logout/%s: answered %q, want %q", k.Name, r.got, r.want)
		}
		results = append(results, r)
	}
	return results
}

// notAsked stands where STS has nothing to say.
const notAsked = "-"

// onTheWire is the code that answers a case: some are refused before any SAML
// is read.
func onTheWire(k forge.Case) string {
	switch {
	case len(k.Raw) == 0:
		return "saml.form"
	case k.Check == "saml.size":
		return tooLarge
	case k.Name == "answers no request":
		return "saml.unsolicited" // which is off
	}
	return k.Check
}

// tooLarge stands for the answer to a body over the limit: the page that says
// so, or the connection cut while the rest is still being sent.
const tooLarge = "request.body"

var entityPattern = regexp.MustCompile(`entityID="([^"]+)"`)

func entityID(t *testing.T, metadata []byte) string {
	t.Helper()
	m := entityPattern.FindSubmatch(metadata)
	if m == nil {
		t.Fatalf("no entity ID in %s", metadata)
	}
	return html.UnescapeString(string(m[1]))
}

// signIn opens the sign-in page and reads what goes to the identity provider.
func (c *carnet) signIn(t *testing.T) began {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(c.base + "/sign-in")
	must(t, err)
	_ = resp.Body.Close()
	to, err := resp.Location()
	must(t, err)
	request, err := inflate(to.Query().Get("SAMLRequest"))
	must(t, err)
	id := regexp.MustCompile(`\bID="([^"]+)"`).FindSubmatch(request)
	if id == nil {
		t.Fatalf("the request is %s", request)
	}
	return began{to.String(), string(id[1]), to.Query().Get("RelayState")}
}

// capture takes a sign-in to the identity provider and keeps what it would
// post.
func (c *carnet) capture(t *testing.T, idp realIdP, m mode, request began) []byte {
	t.Helper()
	idp.set(t, c, m)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := &plain{browser: visitor.New(nil)}
	must(t, w.open(ctx, request.address))
	for range 8 {
		if form, err := w.page.FormWith("SAMLResponse"); err == nil && form.Action.String() == c.url {
			raw, err := base64.StdEncoding.DecodeString(form.Fields.Get("SAMLResponse"))
			must(t, err)
			if dir := os.Getenv("CARNET_SHOTS"); dir != "" {
				must(t, os.WriteFile(filepath.Join(dir, strings.Fields(idp.name())[0]+"-"+m.signed+".xml"), raw, 0o600))
			}
			return raw
		}
		form, set, ok := w.next(user, idp.secret())
		if !ok {
			break
		}
		page, err := w.browser.Submit(ctx, w.page, form, set)
		must(t, err)
		w.page = page
	}
	t.Fatalf("%s posts no response: %s\n%s", idp.name(), w.page.Body, tail(idp.log()))
	return nil
}

// client comes from a fresh address of loopback every few posts: each may post
// so often only.
func (u *under) client() *http.Client {
	u.sources++
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(2+u.sources/50))}
	dialer := &net.Dialer{LocalAddr: from}
	return &http.Client{
		Transport:     &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

var codePattern = regexp.MustCompile(`<dt>Code</dt><dd><code>([^<]*)</code>`)

// consume posts a response as a browser does and gives the code of its
// refusal, empty where it was taken, and the CPU time that the server spent.
func (u *under) consume(raw []byte) (code string, cpu time.Duration) {
	u.t.Helper()
	form := url.Values{"SAMLResponse": {forge.Encode(raw)}, "RelayState": {u.request.relay}}
	before := u.cpu()
	resp, err := u.client().PostForm(u.url, form)
	if isCut(err) {
		return tooLarge, u.cpu() - before
	}
	must(u.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(u.t, err)
	cpu = u.cpu() - before
	if to := resp.Header.Get("Location"); resp.StatusCode == http.StatusSeeOther && strings.HasPrefix(to, "/sign-in/complete?") {
		return "", cpu
	}
	if m := codePattern.FindSubmatch(body); m != nil && resp.StatusCode >= 400 {
		return string(m[1]), cpu
	}
	if resp.StatusCode == http.StatusRequestEntityTooLarge {
		return tooLarge, cpu
	}
	return fmt.Sprintf("%d without a code", resp.StatusCode), cpu
}

var stsCode = regexp.MustCompile(`<Code>([^<]*)</Code>`)

// sts trades a response at the public STS and gives the code of its refusal.
func (u *under) sts(raw []byte) string {
	u.t.Helper()
	resp, err := u.client().PostForm(u.aws+"/", url.Values{
		"Action": {"AssumeRoleWithSAML"}, "Version": {"2011-06-15"}, "RoleArn": {analyst}, "PrincipalArn": {provider}, "SAMLAssertion": {forge.Encode(raw)},
	})
	if isCut(err) {
		return tooLarge
	}
	must(u.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(u.t, err)
	if resp.StatusCode == http.StatusRequestEntityTooLarge {
		return tooLarge
	}
	if resp.StatusCode == http.StatusOK && bytes.Contains(body, []byte("<SecretAccessKey>")) {
		return ""
	}
	if m := stsCode.FindSubmatch(body); m != nil {
		return string(m[1])
	}
	return fmt.Sprintf("%d without a code", resp.StatusCode)
}

// isCut reports that the server closed the connection over what it was sent.
func isCut(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// cpu is what the server's threads have spent so far.
func (u *under) cpu() time.Duration {
	u.t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", u.server.pid))
	must(u.t, err)
	var sum time.Duration
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // a thread that ended
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		must(u.t, err)
		sum += time.Duration(ns)
	}
	return sum
}
