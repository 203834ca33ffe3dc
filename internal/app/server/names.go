package server

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/s3"
)

// underOwnNames keeps the AWS port to the names that it may be asked by.
//
// In carnet dev those are this machine's own: a page on the internet whose name
// was pointed at 127.0.0.1 (DNS rebinding) gets nothing. A real server's port
// is known by many names, but never by that of the pages: an object opened
// under it would be of their host, whose cookies go to every port. A listener
// answers whatever name leads to it, so a name of its own in the configuration
// is not enough.
func underOwnNames(c *config.Config, development bool, next http.Handler) http.Handler {
	switch {
	case development:
		return refuseNames("carnet dev answers under 127.0.0.1 and localhost only.", func(name string) bool { return !isLoopback(name) }, next)
	case c.SameHost == config.Accepted:
		return next
	}
	pages := c.WebHost()
	return refuseNames("This port is reached under "+c.Listen.AWS.URL+", never under the name of the pages.",
		func(name string) bool { return strings.EqualFold(strings.TrimSuffix(name, "."), pages) }, next)
}

// refuseNames answers 421 to requests whose Host has a refused name.
func refuseNames(why string, refused func(name string) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !refused(hostName(r.Host)) {
			next.ServeHTTP(w, r)
			return
		}
		refuseXML(w, http.StatusMisdirectedRequest, why)
	})
}

// refuseXML answers before any face was chosen, as S3 does.
func refuseXML(w http.ResponseWriter, status int, why string) {
	id := string(identity.NewRequestID())
	body := s3.Error{Code: "InvalidRequest", Message: why, RequestID: id, Status: status}.XML()
	h := w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Amz-Request-Id", id)
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// A client that went away is none of our failures.
	_, _ = w.Write(body)
}

// hostName gives a Host header without its port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

func isLoopback(name string) bool {
	a, err := netip.ParseAddr(name)
	return strings.EqualFold(name, "localhost") || err == nil && a.IsLoopback()
}
