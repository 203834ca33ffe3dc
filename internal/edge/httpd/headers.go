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
func setHeaders(h http.Header, id identity.RequestID, hsts bool) {
	h.Set(HeaderRequestID, string(id))
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
	if hsts {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
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
