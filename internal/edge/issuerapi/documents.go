package issuerapi

import (
	"net/http"
	"strconv"
	"strings"
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
			Method: http.MethodGet, Pattern: pattern, Access: httpd.Open, Rate: httpd.RateStatic, Errors: WriteError, Handler: handler,
		})
	}
	return all
}

// public serves a document that every origin may read, and keep for a while.
func public(get func() issuer.Document) httpd.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		d := get()
		h := w.Header()
		h["Access-Control-Allow-Origin"] = anyOrigin
		h["Cross-Origin-Resource-Policy"] = crossOrigin
		h["Cache-Control"] = []string{"public, max-age=" + strconv.Itoa(int(d.MaxAge/time.Second))}
		h["Etag"] = []string{d.ETag}
		if known(r.Header.Get("If-None-Match"), d.ETag) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		h["Content-Type"] = jsonType
		h["Content-Length"] = []string{strconv.Itoa(len(d.Body))}
		// A client that went away is none of our failures.
		_, _ = w.Write(d.Body)
		return nil
	}
}

// Values of headers, ready. Nobody changes them.
var (
	anyOrigin   = []string{"*"}
	crossOrigin = []string{"cross-origin"}
	jsonType    = []string{"application/json"}
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
