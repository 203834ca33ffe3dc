package issuerapi

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/issuer"
)

// documents are the public documents of one issuer: discovery in the form of
// OpenID Connect and in both places of RFC 8414 (below the issuer's path, and
// before it), and its key set.
func documents(from Documents, l issuer.Level) []httpd.Route {
	path := from.Path(l)
	discovery := public(func() issuer.Document { return from.Discovery(l) })
	var all []httpd.Route
	for pattern, handler := range map[string]httpd.Handler{
		path + "/.well-known/openid-configuration":       discovery,
		path + "/.well-known/oauth-authorization-server": discovery,
		"/.well-known/oauth-authorization-server" + path: discovery,
		path + "/jwks.json":                              public(func() issuer.Document { return from.JWKS(l) }),
	} {
		all = append(all, httpd.Route{
			Method: http.MethodGet, Pattern: pattern, Access: httpd.Open, Rate: httpd.RateStatic, Document: true, Errors: WriteError, Handler: handler,
		})
	}
	return all
}

// public serves a document that every origin may read, and keep for a while. Its
// headers are made once for each document.
func public(get func() issuer.Document) httpd.Handler {
	var last atomic.Pointer[ready]
	return func(w http.ResponseWriter, r *http.Request) error {
		d := get()
		is := last.Load()
		if is == nil || is.tag[0] != d.ETag {
			is = &ready{
				tag: []string{d.ETag}, length: []string{strconv.Itoa(len(d.Body))},
				keep: []string{"public, max-age=" + strconv.Itoa(int(d.MaxAge/time.Second))},
			}
			last.Store(is)
		}
		h := w.Header()
		h["Access-Control-Allow-Origin"] = anyOrigin
		h["Cache-Control"] = is.keep
		h["Etag"] = is.tag
		if known(r.Header.Get("If-None-Match"), d.ETag) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		h["Content-Type"] = jsonType
		h["Content-Length"] = is.length
		// A client that went away is none of our failures.
		_, _ = w.Write(d.Body)
		return nil
	}
}

// ready are the header values of one document. Nobody changes them.
type ready struct{ tag, length, keep []string }

var (
	anyOrigin = []string{"*"}
	jsonType  = []string{"application/json"}
)

// known reports whether the client has the document already (RFC 9110, section
// 13.1.2).
func known(header, etag string) bool {
	if header == "" {
		return false
	}
	for tag := range strings.SplitSeq(header, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}
