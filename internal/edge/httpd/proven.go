package httpd

import (
	"context"
	"net/http"
)

// liftKey finds in a request what bounds it.
type liftKey struct{}

// Unproven gives a request along with what takes its bounds off: for one whose
// credential stands in its body, so that it is a stranger's until somebody has
// read that far.
func Unproven(r *http.Request, lift func()) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), liftKey{}, lift))
}

// Proven takes off the bounds of a stranger's request. Whoever verified its
// credential calls it, once.
func Proven(r *http.Request) {
	if lift, ok := r.Context().Value(liftKey{}).(func()); ok {
		lift()
	}
}
