//go:build interop

package idp

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/visitor"
)

// administrator is a login session that `carnet admin recover` opened.
type administrator struct {
	browser *visitor.Visitor
	page    string // of the identity provider's settings
}

var (
	setupLink    = regexp.MustCompile(`https?://\S+/setup\?\S+`)
	providerLink = regexp.MustCompile(`href="(/admin/sso/providers/[^"]+)"`)
)

// administrate opens the page of the one identity provider.
func (c *carnet) administrate(tb testing.TB) *administrator {
	tb.Helper()
	if c.admin != nil {
		return c.admin
	}
	link := setupLink.FindString(c.host(tb, "admin", "recover"))
	a := &administrator{browser: visitor.New(nil)}
	page, err := a.browser.Open(tb.Context(), link)
	must(tb, err)
	form, err := page.FormWith("code")
	must(tb, err)
	_, err = a.browser.Submit(tb.Context(), page, form, nil)
	must(tb, err)
	page, err = a.browser.Open(tb.Context(), c.base+"/admin/sso")
	must(tb, err)
	m := providerLink.FindStringSubmatch(page.Body)
	if m == nil {
		tb.Fatalf("%s shows no identity provider: %d\n%s", page.URL, page.Status, page.Body)
	}
	a.page = c.base + m[1]
	c.admin = a
	return a
}

// set makes Carnet's settings for the identity provider as strict as a mode
// allows.
func (c *carnet) set(tb testing.TB, m mode) {
	tb.Helper()
	values := map[string]string{"signed": m.signed, "encryption": "off", "request_binding": "redirect"}
	if m.cipher != "" {
		values["encryption"] = "required"
	}
	if m.request == "post" {
		values["request_binding"] = "post"
	}
	c.settings(tb, values, map[string]bool{
		"allow_cbc": m.cipher == "CBC", "allow_unsolicited": m.theirs, "sign_requests": m.request != "",
	})
}

// settings fills in the page with the values, and the boxes to tick or not, as
// the administrator does; what it warns of is confirmed.
func (c *carnet) settings(tb testing.TB, values map[string]string, ticks map[string]bool) {
	tb.Helper()
	a := c.administrate(tb)
	page, err := a.browser.Open(tb.Context(), a.page)
	must(tb, err)
	all := map[string]string{"role_patterns": "arn:aws:iam::" + account + ":role/*", "user_name_domains": "*", "certificate_dates": "enforce"}
	for name, value := range values {
		all[name] = value
	}
	for range 2 {
		form, err := page.FormWith("role_patterns")
		if err != nil {
			tb.Fatalf("%v\n%s", err, page.Body)
		}
		for name, on := range ticks {
			form.Fields.Del(name)
			if on {
				form.Fields.Set(name, "yes")
			}
		}
		page, err = a.browser.Submit(tb.Context(), page, form, all)
		must(tb, err)
		if page.Status != http.StatusOK || strings.Contains(page.Body, `class="cause" role="alert"`) {
			tb.Fatalf("the settings are refused: %d\n%s", page.Status, page.Body)
		}
		if form, err := page.FormWith("role_patterns"); err != nil || !form.Fields.Has("confirmed") {
			return
		}
	}
	tb.Fatalf("the settings are not saved:\n%s", page.Body)
}

// signsOut ends the sign-in by single logout and shows that it is over: at
// Carnet, for its keys, and at the identity provider.
func (p *person) signsOut(ctx context.Context, t *testing.T, c *carnet, idp realIdP, m mode) {
	t.Helper()
	must(t, p.open(ctx, c.base+"/"))
	if m.logout == "ours" {
		must(t, p.press(ctx, "/sign-out", nil))
		must(t, p.fill(ctx, "", ""))
		if text := p.text(ctx); !strings.Contains(p.at(ctx), c.base+"/signed-out") || !strings.Contains(text, "signed out") {
			t.Errorf("the sign-out ended at %s:\n%s", p.at(ctx), text)
		}
	} else {
		must(t, p.open(ctx, idp.leave(c)))
		must(t, p.fill(ctx, "", ""))
	}
	must(t, p.open(ctx, c.base+"/"))
	if at := p.at(ctx); strings.HasPrefix(at, c.base) {
		t.Errorf("still signed in at %s", at)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if _, err := p.client(t, analyst); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Error("keys are still given out")
			break
		}
	}
	if text := p.text(ctx); !strings.Contains(text, `type="password"`) {
		t.Errorf("the identity provider still knows the person: %s\n%s", p.at(ctx), text)
	}
}
