package oauth

import (
	"context"
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/openid"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
)

// Ask is an authorization request, as a browser brought it.
type Ask struct {
	Level issuer.Level
	Form  Form
	// Session is the browser's login session; the zero value is a stranger.
	Session login.LoginSession
}

// Way is where an authorization request leads. Exactly one of its ways is set.
type Way struct {
	// Redirect is an address that the client registered, with a code or an error.
	Redirect string
	// SignIn: the person has to sign in first, and then come back with the same
	// request and Marker in it.
	SignIn *SignIn
	// Approval: the person has to be asked first; it finds the request again.
	Approval secret.Text
}

// SignIn is a sign-in that a request waits for.
type SignIn struct {
	// Anew: whatever the identity provider remembers does not count.
	Anew bool
	// Marker is the value of the parameter MarkerName: it proves later that the
	// sign-in came after the request. Empty where any login session will do.
	Marker string
}

// MarkerName is the name of a parameter of our own. A client that sends one gets
// nothing by it.
const MarkerName = "carnet_signed_in"

// Bounds of what a client makes us carry.
const (
	maxState = 1024
	maxNonce = 512
)

// request is an authorization request whose client and redirect URI are proven.
type request struct {
	Ask
	client   Client
	redirect string
	scope    Scopes
	prompt   []string
	maxAge   time.Duration // negative: none was asked for
}

// Authorize holds a request to its client and to the rules, and says where it
// leads. An error is for a page: nothing is redirected to an address that is not
// proven (RFC 6749 section 4.1.2.1, RFC 9700 section 4.11).
func (s *Service) Authorize(ctx context.Context, a Ask) (Way, error) {
	r, err := s.proven(a)
	if err != nil {
		return Way{}, err
	}
	if err := r.read(); err != nil {
		return s.refused(r, err)
	}
	way, err := s.decide(ctx, r)
	if err != nil {
		return s.refused(r, err)
	}
	return way, nil
}

// proven finds the client, and its own address among those it registered.
func (s *Service) proven(a Ask) (request, error) {
	r := request{Ask: a, redirect: a.Form["redirect_uri"], maxAge: -1}
	var ok bool
	if r.client, ok = s.live(a.Form["client_id"]); !ok {
		return r, refuse(InvalidRequest, "No program is registered here under the client_id "+quoted(a.Form["client_id"])).
			WithMend("ask whoever runs the program; an administrator registers it with: carnet client add")
	}
	if r.redirect == "" {
		return r, refuse(InvalidRequest, "The request of "+r.client.Name+" has no redirect_uri").WithMend("ask whoever runs the program")
	}
	if !r.client.admits(r.redirect) {
		return r, refuse(InvalidRequest, "The redirect_uri "+quoted(r.redirect)+" is none of those that "+r.client.Name+" registered").
			WithMend("an administrator can register it, letter for letter: carnet client set --redirect-uri")
	}
	return r, nil
}

// read holds the rest of the request to the rules. Its errors are for the client.
func (r *request) read() (err error) {
	f := r.Form
	for name, code := range map[string]string{"request": RequestNotSupported, "request_uri": RequestURINot, "registration": RegistrationNot} {
		if f.Has(name) {
			return refuse(code, "the parameter "+name+" is not taken here: send the parameters themselves")
		}
	}
	switch {
	case !r.client.May(GrantCode):
		return refuse(UnauthorizedClient, "the client may not use the authorization code grant")
	case f["response_type"] == "":
		return refuse(InvalidRequest, "the request has no response_type: want code")
	case f["response_type"] != "code":
		return refuse(UnsupportedResponse, "the response_type is not offered here: want code")
	case f.Has("response_mode") && f["response_mode"] != "query":
		return refuse(InvalidRequest, "the response_mode is not offered here: want query")
	case f["code_challenge"] == "":
		return refuse(InvalidRequest, "the request has no code_challenge: PKCE is required (RFC 7636)")
	case f["code_challenge_method"] != "S256":
		return refuse(InvalidRequest, "the code_challenge_method must be S256")
	case !isChallenge(f["code_challenge"]):
		return refuse(InvalidRequest, "the code_challenge is not an S256 one: want 43 characters of base64url")
	case len(f["state"]) > maxState || len(f["nonce"]) > maxNonce:
		return refuse(InvalidRequest, "state has at most "+strconv.Itoa(maxState)+" bytes, nonce at most "+strconv.Itoa(maxNonce))
	case f.Has("resource"):
		return refuse(InvalidTarget, "the parameter resource is not taken here: access tokens are for Carnet's own API")
	}
	if r.scope, err = r.client.within(f["scope"]); err != nil {
		return err
	}
	return r.readPrompt()
}

func (r *request) readPrompt() error {
	r.prompt = strings.Fields(r.Form["prompt"])
	for _, p := range r.prompt {
		if !slices.Contains([]string{"none", "login", "consent", "select_account"}, p) || p == "none" && len(r.prompt) > 1 {
			return refuse(InvalidRequest, "prompt is none alone, or some of login, consent and select_account")
		}
	}
	text := r.Form["max_age"]
	if text == "" {
		return nil
	}
	seconds, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return refuse(InvalidRequest, "max_age is a number of seconds")
	}
	r.maxAge = time.Duration(seconds) * time.Second
	return nil
}

func (r *request) asks(prompt string) bool { return slices.Contains(r.prompt, prompt) }

// isChallenge reports whether a text is the base64url of a SHA-256.
func isChallenge(text string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(b) == 32 && len(text) == 43
}

// decide says what comes next: a sign-in, a question to the person, or the code.
func (s *Service) decide(ctx context.Context, r request) (Way, error) {
	if in, wanted, err := s.signIn(r); err != nil || wanted {
		if wanted && r.asks("none") {
			return Way{}, refuse(LoginRequired, "the person has to sign in first")
		}
		return Way{SignIn: &in}, err
	}
	o, err := ownerOf(r.Session)
	if err != nil {
		return Way{}, err
	}
	if r.client.Trusted && !r.asks("consent") {
		to, err := s.grantCode(ctx, r, o, "an administrator, for everybody")
		return Way{Redirect: to}, err
	}
	if r.asks("none") {
		return Way{}, refuse(ConsentRequired, "the person has to be asked first")
	}
	handle, err := s.park(r)
	return Way{Approval: handle}, err
}

// signIn says whether the person has to sign in first. Where they have to do so
// anew, a login session counts that was opened after the marker was made, if they
// proved themselves for it: it may have been opened by a sign-in that was begun
// aside, which the identity provider answered from memory.
func (s *Service) signIn(r request) (SignIn, bool, error) {
	if r.Session.ID == "" && !r.anew() {
		return SignIn{}, true, nil
	}
	stale := r.maxAge >= 0 && s.Now().Sub(r.Session.AuthTime) > r.maxAge
	if r.Session.ID != "" && !r.anew() && !stale {
		return SignIn{}, false, nil
	}
	if at, ok := s.marked(r.Form); ok && r.Session.ID != "" && r.Session.Started.After(at) && !r.Session.AuthTime.Before(at.Add(-openid.Skew)) {
		return SignIn{}, false, nil
	}
	marker, err := s.mark(r.Form)
	return SignIn{Anew: true, Marker: marker}, true, err
}

// anew reports whether a login session that stands already does not count.
func (r *request) anew() bool { return r.asks("login") || r.asks("select_account") || r.maxAge == 0 }

const (
	markerPurpose   = "oauth-signed-in"
	approvalPurpose = "oauth-approval"
	markerLifetime  = login.PreLoginLifetime + 5*time.Minute
)

// canonical is the request without our own parameter, always in one form.
func (f Form) canonical() string {
	v := url.Values{}
	for name, value := range f {
		if name != MarkerName {
			v.Set(name, value)
		}
	}
	return v.Encode()
}

// mark seals the time, bound to the request.
func (s *Service) mark(f Form) (string, error) {
	at := strconv.AppendInt(nil, s.Now().UnixMilli(), 10)
	box, err := s.Sealer.Seal(markerPurpose, []byte(f.canonical()), at)
	return base64.RawURLEncoding.EncodeToString(box), err
}

// marked gives the time of a marker; false where there is none that counts.
func (s *Service) marked(f Form) (time.Time, bool) {
	box, err := base64.RawURLEncoding.Strict().DecodeString(f[MarkerName])
	if err != nil || len(box) == 0 {
		return time.Time{}, false
	}
	plain, err := s.Sealer.Open(markerPurpose, []byte(f.canonical()), box)
	if err != nil {
		return time.Time{}, false
	}
	ms, err := strconv.ParseInt(string(plain), 10, 64)
	at := time.UnixMilli(ms)
	return at, err == nil && s.Now().Sub(at) <= markerLifetime
}

// grantCode makes the code, with its record, and gives the way back to the
// client.
func (s *Service) grantCode(ctx context.Context, r request, o Owner, by string) (string, error) {
	code := secret.Random(32)
	c := Code{Digest: code.Digest(), Level: r.Level, Client: r.client.ID, LoginSession: o.LoginSession, RedirectURI: r.redirect,
		Challenge: r.Form["code_challenge"], Scope: r.scope.String(), Nonce: r.Form["nonce"], Expires: s.Now().Add(CodeLifetime)}
	e := event.Event{Action: "client.approve", Outcome: event.Done, Person: o.Person, UserName: o.UserName, LoginSession: o.LoginSession, Target: r.client.ID,
		Detail: map[string]string{"client": r.client.Name, "scope": c.Scope, "by": by}}
	err := s.recorded(ctx, e, func(ctx context.Context) error { return s.Codes.PutCode(ctx, c) })
	if isNotFound(err) {
		return "", refuse(LoginRequired, "the login session has ended")
	}
	if err != nil {
		return "", err
	}
	return s.answer(r, url.Values{"code": {code.Reveal()}}), nil
}

// answer gives the way back with state and issuer (RFC 9207).
func (s *Service) answer(r request, v url.Values) string {
	v.Set("iss", s.Issuer.URL(r.Level))
	if state := r.Form["state"]; state != "" {
		v.Set("state", state)
	}
	return leadBack(r.redirect, v)
}

// refused takes an error back to the client. What is our own failure is said
// without its reason.
func (s *Service) refused(r request, err error) (Way, error) {
	f := fault.Of(err)
	code, text := f.Code, f.Public
	switch {
	case f.Kind == fault.Internal || f.Kind == fault.Misconfigured:
		return Way{}, err // a page says more than a program could
	case f.Kind == fault.Unavailable || f.Kind == fault.Limited:
		code = TemporarilyAway
	case !slices.Contains(redirectCodes(), code):
		code = AccessDenied
	}
	return Way{Redirect: s.answer(r, url.Values{"error": {code}, "error_description": {Describe(text)}})}, nil
}

// redirectCodes are the errors of the authorization endpoint.
func redirectCodes() []string {
	return []string{InvalidRequest, UnauthorizedClient, AccessDenied, UnsupportedResponse, InvalidScope, InvalidTarget, TemporarilyAway,
		LoginRequired, ConsentRequired, RequestNotSupported, RequestURINot, RegistrationNot}
}

// Describe gives a text in the characters that error_description may have
// (RFC 6749 section 4.1.2.1).
func Describe(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '"':
			return '\''
		case c < 0x20 || c > 0x7e || c == '\\':
			return '?'
		}
		return c
	}, text)
}
