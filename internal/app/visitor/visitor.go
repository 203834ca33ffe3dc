// Package visitor is a person with a plain browser: it follows redirects and
// pages that lead on by themselves, keeps cookies, fills in forms and presses their buttons.
//
// `carnet dev` walks its own path with it, and tests sign people in with it,
// so that both go over the real wire. It runs no script. It keeps a
// browser's SameSite=Lax rule for posts, so a sign-in that works here does not
// rest on a cookie that a browser would not send.
package visitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// mostPage bounds what is read of one page, in bytes.
const mostPage = 4 << 20

// Visitor is one browser profile. Not for use by several goroutines at once.
type Visitor struct {
	client *http.Client
	jar    *cookiejar.Jar
}

// New makes a visitor with an empty profile. A nil transport means the
// standard one.
func New(transport http.RoundTripper) *Visitor {
	jar, _ := cookiejar.New(nil) // New never fails with nil options
	v := &Visitor{jar: jar}
	v.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return v
}

// Page is what stands in the window after redirects.
type Page struct {
	URL    *url.URL
	Status int
	// Header is the header of the last answer; Via holds those of the answers
	// that redirected here, first one first.
	Header http.Header
	Via    []http.Header
	Body   string
	Forms  []Form
}

// Form is one form of a page with the values it would send.
type Form struct {
	Method string
	Action *url.URL
	Fields url.Values
}

// Open fetches a page as if its address had been typed.
func (v *Visitor) Open(ctx context.Context, address string) (*Page, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	return v.fetch(ctx, http.MethodGet, u, nil, nil)
}

// Submit sends a form of page with some fields set.
func (v *Visitor) Submit(ctx context.Context, page *Page, form Form, set map[string]string) (*Page, error) {
	values := url.Values{}
	for k, vs := range form.Fields {
		values[k] = vs
	}
	for k, s := range set {
		values.Set(k, s)
	}
	if form.Method == http.MethodGet {
		u := *form.Action
		u.RawQuery = values.Encode()
		return v.fetch(ctx, http.MethodGet, &u, nil, page.URL)
	}
	return v.fetch(ctx, http.MethodPost, form.Action, values, page.URL)
}

// Do sends a request of a page's own script or of an API user, with the
// profile's cookies for that address, and follows no redirect.
func (v *Visitor) Do(req *http.Request) (*http.Response, error) {
	for _, c := range v.jar.Cookies(req.URL) {
		req.AddCookie(c)
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, err
	}
	v.jar.SetCookies(req.URL, resp.Cookies())
	return resp, nil
}

// FormWith gives the first form of the page that has a field of that name.
func (p *Page) FormWith(field string) (Form, error) {
	for _, f := range p.Forms {
		if _, ok := f.Fields[field]; ok {
			return f, nil
		}
	}
	return Form{}, fmt.Errorf("%s answered %d without a form that has a field %q", p.URL, p.Status, field)
}

func (v *Visitor) fetch(ctx context.Context, method string, u *url.URL, body url.Values, from *url.URL) (*Page, error) {
	page := &Page{}
	crossSite := false
	for range 12 {
		req, err := v.request(ctx, method, u, body, from)
		if err != nil {
			return nil, err
		}
		crossSite = crossSite || (from != nil && from.Hostname() != u.Hostname())
		if !crossSite || method == http.MethodGet {
			for _, c := range v.jar.Cookies(u) {
				req.AddCookie(c)
			}
		}
		resp, err := v.client.Do(req)
		if err != nil {
			return nil, err
		}
		v.jar.SetCookies(u, resp.Cookies())
		next, err := resp.Location()
		redirected := resp.StatusCode >= 301 && resp.StatusCode <= 308 && err == nil
		if _, to, leads := strings.Cut(resp.Header.Get("Refresh"), "url="); leads {
			next, err = u.Parse(to)
			redirected = err == nil
		}
		if !redirected {
			return page, page.read(u, resp)
		}
		_ = resp.Body.Close()
		page.Via = append(page.Via, resp.Header)
		from, u = u, next
		if resp.StatusCode != http.StatusTemporaryRedirect && resp.StatusCode != http.StatusPermanentRedirect { // a page that leads on by itself too
			method, body = http.MethodGet, nil
		}
	}
	return nil, errors.New("more than 12 redirects")
}

func (v *Visitor) request(ctx context.Context, method string, u *url.URL, body url.Values, from *url.URL) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		r = strings.NewReader(body.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/html")
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if from != nil && method == http.MethodPost {
		req.Header.Set("Origin", from.Scheme+"://"+from.Host)
		site := "cross-site"
		if from.Host == u.Host && from.Scheme == u.Scheme {
			site = "same-origin"
		} else if from.Hostname() == u.Hostname() {
			site = "same-site"
		}
		req.Header.Set("Sec-Fetch-Site", site)
	}
	return req, nil
}

func (p *Page) read(u *url.URL, resp *http.Response) error {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostPage))
	if err != nil {
		return err
	}
	p.URL, p.Status, p.Header, p.Body = u, resp.StatusCode, resp.Header, string(body)
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		root, err := html.Parse(strings.NewReader(p.Body))
		if err != nil {
			return err
		}
		p.collect(root, nil)
	}
	return nil
}

// collect walks the tree and keeps each form with its fields.
func (p *Page) collect(n *html.Node, form *Form) {
	if n.Type == html.ElementNode {
		switch n.Data {
		case "form":
			action, err := p.URL.Parse(attr(n, "action"))
			if err == nil {
				method := http.MethodGet
				if strings.EqualFold(attr(n, "method"), "post") {
					method = http.MethodPost
				}
				form = &Form{Method: method, Action: action, Fields: url.Values{}}
			}
		case "input", "button", "textarea", "select":
			form.take(n)
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		p.collect(c, form)
	}
	if n.Type == html.ElementNode && n.Data == "form" && form != nil {
		p.Forms = append(p.Forms, *form)
	}
}

func (f *Form) take(n *html.Node) {
	name := attr(n, "name")
	if f == nil || name == "" {
		return
	}
	kind := strings.ToLower(attr(n, "type"))
	if (kind == "radio" || kind == "checkbox") && !hasAttr(n, "checked") {
		if _, ok := f.Fields[name]; !ok {
			f.Fields[name] = nil // known, and not sent
		}
		return
	}
	switch n.Data {
	case "textarea":
		f.Fields.Add(name, content(n))
	case "select":
		if chosen := option(n, nil); chosen != nil {
			f.Fields.Add(name, attr(chosen, "value"))
		}
	default:
		f.Fields.Add(name, attr(n, "value"))
	}
}

// content gives the text below a node.
func content(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var b strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		b.WriteString(content(c))
	}
	return b.String()
}

// option gives the selected option of a list, else the first.
func option(n, first *html.Node) *html.Node {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Type != html.ElementNode || c.Data != "option" {
			continue
		}
		if hasAttr(c, "selected") {
			return c
		}
		if first == nil {
			first = c
		}
	}
	return first
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func hasAttr(n *html.Node, key string) bool {
	for _, a := range n.Attr {
		if a.Key == key {
			return true
		}
	}
	return false
}
