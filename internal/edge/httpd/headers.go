package httpd

import (
	"net/http"
	"strings"

	"carnet.dev/carnet/internal/core/identity"
)

// HeaderRequestID carries the id of the request in every answer.
const HeaderRequestID = "X-Request-Id"

const (
	formSelf = "form-action 'self'"
	// policy lets a page load our own style sheet, script and pictures, and
	// nothing inline.
	policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; " +
		"base-uri 'none'; frame-ancestors 'none'; " + formSelf
)

// setHeaders writes what every answer carries. Pages replace Cache-Control
// where their content is the same for everyone.
//
// The referrer stays within this site: "no-referrer" would make browsers send
// "Origin: null" with our own forms.
func (s *Site) setHeaders(h http.Header, id identity.RequestID, document bool) {
	h[HeaderRequestID] = []string{string(id)}
	all := s.always
	if document {
		all = s.documents
	}
	for i := range all {
		h[all[i].name] = all[i].values
	}
}

// header is one header, ready: its name is canonical and its values are shared,
// so nobody changes them in place.
type header struct {
	name   string
	values []string
}

// headers gives the headers of every answer, or those of public documents.
func headers(hsts, document bool) []header {
	all := []header{{"X-Content-Type-Options", []string{"nosniff"}}}
	if hsts {
		all = append(all, header{"Strict-Transport-Security", []string{"max-age=31536000"}})
	}
	if document {
		return all
	}
	return append(all,
		header{"Content-Security-Policy", []string{policy}},
		header{"X-Frame-Options", []string{"DENY"}},
		header{"Referrer-Policy", []string{"same-origin"}},
		header{"Cross-Origin-Opener-Policy", []string{"same-origin"}},
		header{"Cross-Origin-Resource-Policy", []string{"same-origin"}},
		header{"Permissions-Policy", []string{"camera=(), geolocation=(), microphone=(), payment=(), usb=()"}},
		header{"Cache-Control", []string{"no-store"}})
}

// AllowFormTo lets the forms of this one page end, by redirect, at source: an
// origin such as "http://127.0.0.1:4711", or a scheme. Chromium applies
// form-action to redirects too. The caller has parsed source from a URL.
func AllowFormTo(w http.ResponseWriter, source string) {
	if strings.ContainsAny(source, " ;,\r\n") {
		return
	}
	w.Header().Set("Content-Security-Policy", strings.Replace(policy, formSelf, formSelf+" "+source, 1))
}
