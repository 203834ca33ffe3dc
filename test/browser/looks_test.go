//go:build interop

package browser

import (
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestBrowserPagesFit looks at every page on the way, wide and narrow, light
// and dark: nothing runs over the side, text stands out from its ground, and
// what is pressed is large enough. With CARNET_SHOTS set to a folder it leaves
// pictures there.
func TestBrowserPagesFit(t *testing.T) {
	w := start(t)
	b := w.browser(t, true)

	b.open(b.IdP)
	b.look("idp-home")
	b.open(b.Web)
	b.await("#password")
	b.look("idp-sign-in")
	b.answer("bob")
	b.await("#deliver button")
	b.look("idp-deliver")
	b.click("#deliver button")
	b.await(".cards")
	b.look("access-bob")
	b.click(".card summary")
	b.look("access-bob-open")
	b.open(b.Web + "/nowhere")
	b.look("error")
	b.refused(404, "Nothing here")
	b.open(b.Web)
	b.signOut()
	b.look("signed-out")

	b.enter("carol")
	b.look("access-carol")
	b.click(`nav a[href="/admin/sso"]`)
	b.await("#providers")
	b.look("sso")
	b.click(`.card h3 a`)
	b.await("#provider")
	b.look("sso-provider")
	b.open(b.Web + "/admin/sso/add")
	b.look("sso-add")
	b.signOut()
	b.enter("dave")
	b.look("access-dave")
	b.signOut()
	b.enter("alice")
	b.look("access-alice")

	address, wait := (&shell{world: w, t: t, home: t.TempDir()}).login()
	b.open(address)
	b.look("authorize")
	b.click(`button[value="approve"]`)
	b.await("h1 + p:last-child")
	b.look("cli-approved")
	if said, err := wait(); err != nil {
		t.Errorf("carnet login: %v\n%s", err, said)
	}
	b.open(b.IdP + "/sso?SAMLRequest=none")
	b.look("idp-refused")
	b.forgive("status of 400")
	b.click(".button")
	b.await(".cards")
}

// enter signs in where no script runs.
func (b *tab) enter(user string) {
	b.t.Helper()
	b.open(b.Web)
	b.answer(user)
	b.click("#deliver button")
	b.await(".who")
}

// look measures the page in the window in four forms.
func (b *tab) look(name string) {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		// Without motion: colours are measured at once.
		feature := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}
		if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: feature}); err != nil {
			b.t.Fatal(err)
		}
		for size, width := range map[string]int64{"wide": 1280, "narrow": 390} {
			b.do(chromedp.EmulateViewport(width, 844))
			for fault, find := range map[string]string{"runs over the side": overflow, "too faint": faint, "too small to press": small} {
				found := ask[string](b, find)
				for range 20 { // a new size takes a moment to be laid out
					if found == "" {
						break
					}
					time.Sleep(50 * time.Millisecond)
					found = ask[string](b, find)
				}
				if found != "" {
					b.t.Errorf("%s, %s, %s: %s: %s", name, size, scheme, fault, found)
				}
			}
			b.picture(name + "-" + size + "-" + scheme)
		}
	}
}

// overflow names elements that stick out of the window; blocks that scroll by
// themselves are fine. What a closed <details> holds has no place of its own.
const overflow = `(() => {
  const out = new Set();
  for (const e of document.querySelectorAll("body *")) {
    if (e.closest("pre") && e.tagName !== "PRE" || e.classList.contains("skip") || !e.checkVisibility()) continue;
    const r = e.getBoundingClientRect();
    if (r.width > 0 && (r.right > innerWidth + 1 || r.left < -1)) out.add(e.tagName + "." + e.className);
  }
  return [...out].join(", ");
})()`

// faint names text under the ratio of WCAG 2.2 AA, 4.5 to 1.
const faint = `(() => {
  const lum = c => { const v = c.map(x => { x /= 255; return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; }); return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const rgb = s => s.match(/[\d.]+/g).map(Number);
  const dark = getComputedStyle(document.documentElement).colorScheme.includes("dark") && matchMedia("(prefers-color-scheme: dark)").matches;
  const page = dark ? [18, 18, 18] : [255, 255, 255];
  const out = new Set();
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || e.classList.contains("skip")) continue;
    let ground = page;
    for (let g = e; g; g = g.parentElement) { const c = rgb(getComputedStyle(g).backgroundColor); if (c.length < 4 || c[3] > 0) { ground = c.slice(0, 3); break; } }
    const a = lum(rgb(getComputedStyle(e).color).slice(0, 3)), b = lum(ground);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) out.add(e.tagName + "." + e.className + " " + ratio.toFixed(2));
  }
  return [...out].join(", ");
})()`

// small names what is pressed and is under 24 pixels high, the size of WCAG
// 2.2 AA; links within a sentence may be smaller.
const small = `(() => {
  const out = new Set();
  for (const e of document.querySelectorAll("button, summary, select, input:not([type=hidden]), a.button, nav a")) {
    const r = (e.closest("label") ?? e).getBoundingClientRect();
    if (r.height > 0 && r.height < 24) out.add(e.tagName + "." + e.className + " " + Math.round(r.height));
  }
  return [...out].join(", ");
})()`
