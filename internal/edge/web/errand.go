package web

import (
	"net/http"
	"net/url"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/login"
)

// errandPage passes a message on to an identity provider: by a form that a
// script sends and a button too, or by a link that the browser follows by
// itself.
type errandPage struct {
	Heading string
	Text    string // what has happened already; may be empty
	To      string // the identity provider's name
	Form    *login.PostForm
	Link    string
	Left    bool // the person is signed out
}

// passOn answers with a page that leads to another site. It is for answers to
// forms of ours, which must not end there by redirect, and for messages that
// are posted.
func (web *Web) passOn(w http.ResponseWriter, r *http.Request, e login.Errand, page errandPage) error {
	page.Form, page.Link = e.Form, e.RedirectURL
	f := frame{Title: page.Heading, Page: page, Left: page.Left}
	if page.Form == nil {
		w.Header().Set("Refresh", "0; url="+page.Link)
		return web.show(w, r, http.StatusOK, "errand", f)
	}
	u, err := url.Parse(page.Form.Action)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return fault.Wrap(err, fault.Misconfigured, "The address of the identity provider is not a URL")
	}
	httpd.AllowFormTo(w, formSource(u))
	f.Script = "errand.js"
	return web.show(w, r, http.StatusOK, "errand", f)
}

// formSource is the source expression for u. The grammar of CSP has no IPv6
// addresses, so there it is the scheme.
func formSource(u *url.URL) string {
	if strings.HasPrefix(u.Host, "[") {
		return u.Scheme + ":"
	}
	return u.Scheme + "://" + u.Host
}
