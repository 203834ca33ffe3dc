package server

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/s3"
)

// underLoopbackNames answers requests for this machine's own names alone: a
// page on the internet whose name was pointed at 127.0.0.1 (DNS rebinding) gets
// nothing. It is for carnet dev; a real server's AWS face is known by many
// names.
func underLoopbackNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if loopbackName(r.Host) {
			next.ServeHTTP(w, r)
			return
		}
		id := string(identity.NewRequestID())
		body := s3.Error{
			Code: "InvalidRequest", Message: "carnet dev answers under 127.0.0.1 and localhost only.",
			RequestID: id, Status: http.StatusMisdirectedRequest,
		}.XML()
		h := w.Header()
		h.Set("Content-Type", "application/xml")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		h.Set("X-Amz-Request-Id", id)
		h.Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusMisdirectedRequest)
		// A client that went away is none of our failures.
		_, _ = w.Write(body)
	})
}

func loopbackName(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	a, err := netip.ParseAddr(name)
	return strings.EqualFold(name, "localhost") || err == nil && a.IsLoopback()
}
