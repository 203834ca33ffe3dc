package fastpath

import (
	"net"
	"net/http"
)

// Parse reads a head.
func Parse(text string) *http.Request { return parse(text) }

// Stream is what a connection has to be.
type Stream = stream

// ServeStream answers on one connection, and passes it to given where it is
// net/http's.
func ServeStream(h *http.Server, s Stream, given func(net.Conn)) {
	over := &handedOver{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	(&Server{HTTP: h}).open(s, over).serve()
	select {
	case c := <-over.conns:
		given(c)
	default:
	}
}
