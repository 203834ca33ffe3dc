//go:build interop

package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	logs "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is one window of a browser with a profile of its own. It takes down what
// the console says and which documents came, until the test ends; then it fails
// the test for each complaint that the test did not announce.
type tab struct {
	*world
	t     *testing.T
	ctx   context.Context
	plain bool // pages run no script

	mu         sync.Mutex
	complaints []string
	documents  []document
}

// document is one answer that the window showed.
type document struct {
	url       string
	status    int64
	requestID string
}

// browser starts Chromium with an empty profile. With plain, pages run no
// script.
func (w *world) browser(t *testing.T, plain bool) *tab {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("there is no Chromium on this machine: these tests need one")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900))
	ctx, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	b := &tab{world: w, t: t, ctx: ctx, plain: plain}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatalf("Chromium does not start: %v", err)
	}
	b.enable(plain)
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, c := range b.complaints {
			t.Errorf("the browser complains: %s", c)
		}
	})
	return b
}

func (b *tab) enable(plain bool) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, logs.Enable, cdp.Empty{})
	if err == nil {
		_, err = chromedp.Call(b.ctx, network.Enable, network.EnableParams{})
	}
	if err == nil {
		_, err = chromedp.Call(b.ctx, audits.Enable, cdp.Empty{})
	}
	if err == nil && plain {
		_, err = chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// note takes down what happened. It runs inside the browser's event loop.
func (b *tab) note(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := ev.(type) {
	case *logs.EventEntryAdded:
		if e.Entry.Level == logs.EntryLevelError || e.Entry.Level == logs.EntryLevelWarning {
			b.complaints = append(b.complaints, fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *runtime.EventExceptionThrown:
		b.complaints = append(b.complaints, "script: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		b.complaints = append(b.complaints, "console: "+string(e.Type))
	case *audits.EventIssueAdded:
		if c := issue(e.Issue); c != "" {
			b.complaints = append(b.complaints, c)
		}
	case *network.EventResponseReceived:
		if e.Type == network.ResourceTypeDocument {
			b.documents = append(b.documents, document{e.Response.URL, e.Response.Status, header(e.Response.Headers, "X-Request-Id")})
		}
	}
}

// issue tells of the issues that are faults of a page: a blocked load and a
// form that can't be used. The rest is advice, some on these tests' own doing.
func issue(i *audits.InspectorIssue) string {
	if d := i.Details.ContentSecurityPolicyIssueDetails; d != nil {
		return fmt.Sprintf("policy: %s blocks %q", d.ViolatedDirective, d.BlockedURL)
	}
	if d := i.Details.GenericIssueDetails; d != nil {
		return "page: " + string(d.ErrorType)
	}
	return ""
}

func header(h network.Headers, name string) string {
	for k, v := range h {
		if strings.EqualFold(k, name) {
			return fmt.Sprint(v)
		}
	}
	return ""
}

// forgive takes back the complaints that hold text, and fails when there are
// none: a page that is refused with 403 is a complaint of the console's too.
func (b *tab) forgive(text string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.complaints)
	b.complaints = slices.DeleteFunc(b.complaints, func(c string) bool { return strings.Contains(c, text) })
	if len(b.complaints) == before {
		b.t.Errorf("the browser does not complain of %q", text)
	}
}

// shown is the document in the window.
func (b *tab) shown() document {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.documents) == 0 {
		b.t.Fatal("no document came")
	}
	return b.documents[len(b.documents)-1]
}

// patience is how long one step may take.
const patience = 10 * time.Second

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v\nat %s", err, b.where())
	}
}

// where tells what the window shows, for a test that failed.
func (b *tab) where() string {
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	at, _ := chromedp.Run(ctx, chromedp.Location())
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
	return at + "\n" + text
}

func (b *tab) open(address string) { b.t.Helper(); b.do(chromedp.Navigate(address)) }

// click presses what fits. A page that came just now may be drawn once more
// between the look for the element and the press: then it is looked for again.
func (b *tab) click(css string) {
	b.t.Helper()
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	for {
		err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(css)))
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "Could not find node with given id") {
			b.t.Fatalf("%v\nat %s", err, b.where())
		}
	}
}

// write types text into a field, key by key.
func (b *tab) write(css, text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(css), text))
}

func (b *tab) await(css string) { b.t.Helper(); b.do(chromedp.WaitVisible(chromedp.CSS(css))) }

func (b *tab) at() string { b.t.Helper(); return ask[string](b, "location.href") }

// text is what a person reads in the first element that fits.
func (b *tab) text(css string) string {
	b.t.Helper()
	return ask[string](b, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", css))
}

func ask[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// reads fails unless the element shows every text.
func (b *tab) reads(css string, texts ...string) {
	b.t.Helper()
	have := b.text(css)
	for _, text := range texts {
		if !strings.Contains(have, text) {
			b.t.Errorf("%s does not say %q; it says:\n%s", css, text, have)
		}
	}
}

// answer fills in the identity provider's page: pick the account, type the
// password, press the button.
func (b *tab) answer(user string) {
	b.t.Helper()
	b.await("#password")
	if at := b.at(); !strings.HasPrefix(at, b.IdP) {
		b.t.Fatalf("the browser is at %s, not at the identity provider", at)
	}
	b.click(`input[name="user"][value="` + user + `"]`)
	b.write("#password", b.Password)
	b.click(`button[type="submit"]`)
}

// signIn goes from Carnet's address to My access.
func (b *tab) signIn(user string) {
	b.t.Helper()
	b.open(b.Web)
	b.answer(user)
	b.await(".who")
}

// signOut goes out of Carnet, to the identity provider and back.
func (b *tab) signOut() {
	b.t.Helper()
	b.click(".who button")
	if b.plain {
		b.click("#deliver button")
	}
	b.await(".choices a")
}

// picture leaves what the window shows in the folder CARNET_SHOTS, if set.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("CARNET_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(dir+"/"+name+".png", png, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
