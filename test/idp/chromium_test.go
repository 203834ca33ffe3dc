//go:build interop

package idp

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// chromium is a real browser: what posts itself does so by script, and cookies
// keep all their rules.
type chromium struct {
	ctx  context.Context
	base string // of Carnet
	stop func()
}

// useChromium gives the person a window of Chromium with an empty profile.
func (p *person) useChromium(t *testing.T) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("there is no Chromium: %v", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900))
	ctx, stopAll := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stopTab := chromedp.NewContext(ctx)
	if err := chromedp.Listen(ctx, func(any) {}); err != nil { // starts it, for as long as ctx lives
		t.Fatalf("Chromium does not start: %v", err)
	}
	p.window = &chromium{ctx: ctx, base: p.base, stop: func() { stopTab(); stopAll() }}
}

func (w *chromium) close() { w.stop() }

// do runs steps within the time that ctx leaves.
func (w *chromium) do(ctx context.Context, steps ...chromedp.Action[chromedp.Void]) error {
	left := 20 * time.Second
	if end, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(end))
	}
	limited, stop := context.WithTimeout(w.ctx, left)
	defer stop()
	return chromedp.Do(limited, steps...)
}

func (w *chromium) open(ctx context.Context, address string) error {
	return w.do(ctx, chromedp.Navigate(address))
}

func (w *chromium) state(context.Context) (at, text string, err error) {
	limited, stop := context.WithTimeout(w.ctx, 10*time.Second)
	defer stop()
	if at, err = chromedp.Run(limited, chromedp.Location()); err != nil {
		return "", "", err
	}
	text, err = chromedp.Run(limited, chromedp.Evaluate[string]("document.body ? document.body.innerText : ''"))
	return at, text, err
}

// stands tells what the window shows: a form for the password, a question who
// one is, or nothing to do.
const stands = `document.readyState != "complete" ? "loading" :
  document.querySelector("input[name=username]") && document.querySelector("input[type=password]") ? "password" :
  document.querySelector("form[action$='/sign-in/continue'] button") ? "who" :
  document.querySelector("input[name=SAMLResponse], input[name=SAMLRequest]") ? "loading" : "nothing"`

func (w *chromium) fill(ctx context.Context, user, password string) error {
	given, last := false, ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		at, _, err := w.state(ctx)
		if err != nil {
			continue // between two pages
		}
		limited, stop := context.WithTimeout(w.ctx, 5*time.Second)
		what, err := chromedp.Run(limited, chromedp.Evaluate[string](stands))
		stop()
		last = fmt.Sprintf("%s at %s (%v)", what, at, err)
		switch {
		case err != nil || what == "loading":
		case what == "password" && given:
			// The form may still stand there while its answer is under way.
		case what == "password":
			given = true
			if err := w.do(ctx,
				chromedp.SendKeys(chromedp.CSS("input[name=username]"), user),
				chromedp.SendKeys(chromedp.CSS("input[type=password]"), password+"\r")); err != nil {
				return err
			}
		case what == "who":
			if err := w.do(ctx, chromedp.Click(chromedp.CSS("form[action$='/sign-in/continue'] button"))); err != nil {
				return err
			}
		case strings.HasPrefix(at, w.base+"/"):
			return nil
		}
	}
	return fmt.Errorf("the sign-in does not come to an end: %s", last)
}

// press clicks the button of a form that has the values to set, or any.
func (w *chromium) press(ctx context.Context, ending string, set map[string]string) error {
	button := fmt.Sprintf("form[action$=%q] button", ending)
	for name, value := range set {
		button += fmt.Sprintf("[name=%q][value=%q]", name, value)
	}
	return w.do(ctx, chromedp.Click(chromedp.CSS(button)))
}
