package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/login"
)

// cliRequest is what a command line asks for (RFC 8252 with PKCE).
type cliRequest struct {
	Challenge string // base64url of a SHA-256: 43 characters
	State     string
	Machine   string // shown to the person, believed by nobody
	Redirect  *url.URL
}

type authorizePage struct {
	cliRequest
	UserName, Source string
}

// authorize shows who asks. Nothing is granted by opening it.
func (web *Web) authorize(w http.ResponseWriter, r *http.Request) error {
	ask, err := parseCLIRequest(r.URL.Query())
	if err != nil {
		return err
	}
	// The form ends, by redirect, at the command line's own port.
	httpd.AllowFormTo(w, formSource(ask.Redirect))
	return web.show(w, r, http.StatusOK, "authorize", frame{Title: "Command line", Page: authorizePage{
		cliRequest: ask, UserName: displayName(httpd.CallerOf(r).Session), Source: httpd.Source(r).String(),
	}})
}

// approve answers the command line with a one-use code, or with the refusal.
func (web *Web) approve(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	ask, err := parseCLIRequest(r.PostForm)
	if err != nil {
		return err
	}
	answer := url.Values{"state": {ask.State}}
	switch r.PostForm.Get("decision") {
	case "approve":
		code, err := web.LoginSessions.StartCode(r.Context(), httpd.CallerOf(r).Session, ask.Challenge, ask.Redirect.String())
		if err != nil {
			return err
		}
		answer.Set("code", code.Reveal())
	case "refuse":
		answer.Set("error", "access_denied")
	default:
		return fault.Coded(fault.Invalid, "cli.decision", "The form says neither yes nor no")
	}
	to := *ask.Redirect
	to.RawQuery = answer.Encode()
	return seeOther(w, to.String())
}

// parseCLIRequest checks every field; it is the same for the page and for its
// form, whose fields a person could have changed.
func parseCLIRequest(q url.Values) (cliRequest, error) {
	for name, values := range q {
		if len(values) != 1 {
			return cliRequest{}, badCLIRequest("the parameter " + strconv.Quote(name) + " stands more than once")
		}
	}
	ask := cliRequest{Challenge: q.Get("code_challenge"), State: q.Get("state"), Machine: q.Get("machine")}
	if q.Get("code_challenge_method") != "S256" || !isChallenge(ask.Challenge) {
		return cliRequest{}, badCLIRequest("code_challenge must be an S256 challenge")
	}
	if len(ask.State) > 128 {
		return cliRequest{}, badCLIRequest("state is longer than 128 characters")
	}
	if len(ask.Machine) > 64 || strings.ContainsFunc(ask.Machine, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return cliRequest{}, badCLIRequest("machine must be at most 64 printable characters")
	}
	to, ok := login.LoopbackURL(q.Get("redirect_uri"))
	if !ok {
		return cliRequest{}, badCLIRequest("redirect_uri must be http on a loopback address with a port")
	}
	ask.Redirect = to
	return ask, nil
}

func badCLIRequest(why string) error {
	return fault.Coded(fault.Invalid, "cli.request", "This is not a request of Carnet’s command line: "+why).
		WithMend("run `carnet login` again and open the address that it prints")
}

func isChallenge(s string) bool {
	if len(s) != 43 {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}
