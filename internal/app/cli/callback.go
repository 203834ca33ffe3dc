package cli

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// callback waits on loopback for the browser to come back with a code. Other
// programs on this machine reach it too, so only a request with its state
// counts, and the code in it is worthless without the PKCE verifier.
type callback struct {
	host   string
	state  secret.Text
	server *http.Server
	answer chan answer // holds the first one
}

type answer struct {
	code secret.Text
	err  error
}

func newCallback(ln net.Listener) *callback {
	c := &callback{host: ln.Addr().String(), state: secret.Random(24), answer: make(chan answer, 1)}
	c.server = &http.Server{
		Handler:           http.HandlerFunc(c.serve),
		ReadHeaderTimeout: 5 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
	go func() { _ = c.server.Serve(ln) }() // ends by close
	return c
}

func (c *callback) address() string { return "http://" + c.host + "/callback" }

// wait gives the code, or why there is none.
func (c *callback) wait(ctx context.Context) (secret.Text, error) {
	select {
	case a := <-c.answer:
		return a.code, a.err
	case <-ctx.Done():
		return secret.Text{}, ctx.Err()
	}
}

// close lets the last page reach the browser and ends the listener.
func (c *callback) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.server.Shutdown(ctx) // what has not gone out in a second is lost
}

func (c *callback) serve(w http.ResponseWriter, req *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	look := sha256.Sum256([]byte(callbackStyle))
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(look[:])+"'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Connection", "close")
	q := req.URL.Query()
	switch {
	case req.Host != c.host || req.URL.Path != "/callback" || req.Method != http.MethodGet:
		c.page(w, http.StatusNotFound, "Nothing here", "This address takes the answer of one sign-in, and no more.")
	case !secret.New(q.Get("state")).Equal(c.state):
		c.page(w, http.StatusBadRequest, "Not this sign-in", "This answer belongs to another sign-in. Go back to the terminal and open the address that it shows.")
	case q.Get("error") != "":
		c.page(w, http.StatusOK, "You refused", "The command line was not signed in. You can close this window.")
		c.done(answer{err: fault.Coded(fault.Denied, "cli.refused", "the sign-in was refused in the browser")})
	case q.Get("code") == "":
		c.page(w, http.StatusBadRequest, "The sign-in failed", "The answer holds no code. Go back to the terminal and try again.")
	default:
		c.page(w, http.StatusOK, "Approved", "The command line is being signed in. You can close this window and go back to the terminal.")
		c.done(answer{code: secret.New(q.Get("code"))})
	}
}

// done keeps the first answer only.
func (c *callback) done(a answer) {
	select {
	case c.answer <- a:
	default:
	}
}

// callbackStyle is the look of the server's pages, as far as one sentence needs it.
const callbackStyle = `:root{color-scheme:light dark}` +
	`body{margin:0;padding:1.25rem;font:1rem/1.55 system-ui,sans-serif;background:#f6f7f6;color:#17211f}` +
	`main{max-width:31rem;margin:12vh auto 0;padding:2rem;background:#fff;border:1px solid #dbe1df;border-radius:10px}` +
	`h1{margin:0 0 .75rem;font-size:1.5rem;line-height:1.2}p{margin:0}` +
	`@media(prefers-color-scheme:dark){body{background:#101615;color:#e7eeec}main{background:#182120;border-color:#2d3937}}`

// page writes one fixed heading and sentence: nothing of the request is repeated.
func (c *callback) page(w http.ResponseWriter, status int, heading, sentence string) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>`+heading+` · Carnet</title>
<style>`+callbackStyle+`</style>
<main><h1>`+heading+`</h1><p>`+sentence+`</p></main>
</html>
`)
}
