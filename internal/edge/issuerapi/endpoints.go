package issuerapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/device"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/oauth"
)

// Clients proves who asks.
type Clients interface {
	Authenticate(ctx context.Context, p oauth.Presented, endpoint string) (oauth.Client, error)
}

// Grants give tokens.
type Grants interface {
	Authorize(ctx context.Context, a oauth.Ask) (oauth.Way, error)
	Token(ctx context.Context, r oauth.TokenRequest) (oauth.TokenResponse, error)
}

// Tokens tells of tokens that were given, and ends them.
type Tokens interface {
	Revoke(ctx context.Context, r oauth.TokenRequest) error
	Introspect(ctx context.Context, c oauth.Client, f oauth.Form, audience string) (oauth.Introspection, error)
	UserInfo(ctx context.Context, token secret.Text) (map[string]string, error)
}

// Devices begins the device authorization grant.
type Devices interface {
	DeviceAuthorization(ctx context.Context, r oauth.TokenRequest) (device.Begun, error)
}

// Rates of the endpoints: a fleet behind one address asks for tokens often.
var (
	rateToken     = httpd.Rate{Name: "token", Every: 10 * time.Millisecond, Burst: 500}
	rateDevice    = httpd.Rate{Name: "device", Every: time.Second, Burst: 60}
	rateAuthorize = httpd.Rate{Name: "authorize", Every: 50 * time.Millisecond, Burst: 100}
)

const (
	// maxForm bounds the body of a request to an endpoint: two tokens of 20,000
	// characters fit.
	maxForm = 64 << 10
	// mostAtOnce bounds the requests of one source that are worked on.
	mostAtOnce = 64
)

// endpoints are those of one issuer.
type endpoints struct {
	Config
	level issuer.Level
}

func (e endpoints) routes() []httpd.Route {
	at := e.Documents.Path(e.level) + "/v1/"
	post := func(name string, h httpd.Handler) httpd.Route {
		return httpd.Route{Method: http.MethodPost, Pattern: at + name, Access: httpd.Public, Rate: rateToken, MaxBody: maxForm, InFlight: mostAtOnce, Errors: WriteError, Handler: h}
	}
	all := []httpd.Route{
		{Method: http.MethodGet, Pattern: at + "authorize", Access: httpd.Visitor, Rate: rateAuthorize, Errors: e.Page, Handler: e.authorize},
		// A form of another site's page brings no cookie of ours; it is answered
		// with the same request as a GET, which does.
		{Method: http.MethodPost, Pattern: at + "authorize", Access: httpd.Public, Rate: rateAuthorize, MaxBody: maxQuery, CrossSite: true, Errors: e.Page, Handler: e.authorizeByForm},
		post("token", e.token),
		post("revoke", e.revoke),
		post("introspect", e.introspect),
		{Method: http.MethodGet, Pattern: at + "userinfo", Access: httpd.Public, Rate: rateToken, InFlight: mostAtOnce, Errors: WriteError, Handler: e.userInfo},
		post("userinfo", e.userInfo),
	}
	if e.Devices != nil {
		begin := post("device_authorization", e.deviceAuthorization)
		begin.Rate = rateDevice // a stranger makes us keep a row
		all = append(all, begin)
	}
	return all
}

// client proves the client of a request and gives its parameters.
func (e endpoints) client(r *http.Request) (oauth.TokenRequest, error) {
	form, err := readForm(r)
	if err != nil {
		return oauth.TokenRequest{}, err
	}
	p, err := presented(r, form)
	if err != nil {
		return oauth.TokenRequest{}, err
	}
	p.Level = e.level
	if strings.HasSuffix(r.URL.Path, "/v1/token") { // elsewhere the parameter means nothing, and proves nobody
		p.Grant = form["grant_type"]
	}
	c, err := e.Clients.Authenticate(r.Context(), p, e.BaseURL.Scheme+"://"+r.Host+r.URL.Path)
	return oauth.TokenRequest{Level: e.level, Client: c, Form: form, Source: httpd.Source(r), UserAgent: r.UserAgent()}, err
}

// tokenDocument is the answer of the token endpoint (RFC 6749 section 5.1, RFC
// 8693 section 2.2.1).
type tokenDocument struct {
	AccessToken     string `json:"access_token"`
	IssuedTokenType string `json:"issued_token_type,omitempty"`
	TokenType       string `json:"token_type"`
	ExpiresIn       int64  `json:"expires_in"`
	RefreshToken    string `json:"refresh_token,omitempty"`
	IDToken         string `json:"id_token,omitempty"`
	Scope           string `json:"scope,omitempty"`
}

func (e endpoints) token(w http.ResponseWriter, r *http.Request) error {
	ask, err := e.client(r)
	if err != nil {
		return err
	}
	t, err := e.Grants.Token(r.Context(), ask)
	if err != nil {
		return err
	}
	return answer(w, tokenDocument{AccessToken: t.AccessToken.Reveal(), IssuedTokenType: t.IssuedTokenType, TokenType: t.TokenType,
		ExpiresIn: int64(t.ExpiresIn / time.Second), RefreshToken: t.RefreshToken.Reveal(), IDToken: t.IDToken.Reveal(), Scope: t.Scope})
}

func (e endpoints) revoke(w http.ResponseWriter, r *http.Request) error {
	ask, err := e.client(r)
	if err != nil {
		return err
	}
	if err := e.Tokens.Revoke(r.Context(), ask); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// introspection is the answer of the introspection endpoint (RFC 7662 section
// 2.2).
type introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	TokenType string `json:"token_type,omitempty"`
	Subject   string `json:"sub,omitempty"`
	Audience  string `json:"aud,omitempty"`
	Issuer    string `json:"iss,omitempty"`
	ID        string `json:"jti,omitempty"`
	Issued    int64  `json:"iat,omitempty"`
	Expires   int64  `json:"exp,omitempty"`
}

func (e endpoints) introspect(w http.ResponseWriter, r *http.Request) error {
	ask, err := e.client(r)
	if err != nil {
		return err
	}
	if ask.Client.Public {
		return fault.Coded(fault.Unauthenticated, oauth.InvalidClient, "only a client that can prove itself may ask about tokens")
	}
	i, err := e.Tokens.Introspect(r.Context(), ask.Client, ask.Form, e.APIAudience)
	if err != nil {
		return err
	}
	if !i.Active {
		return answer(w, introspection{})
	}
	return answer(w, introspection{Active: true, Scope: i.Scope, ClientID: i.ClientID, TokenType: i.Type, Subject: i.Subject, Audience: i.Audience,
		Issuer: i.Issuer, ID: i.ID, Issued: i.Issued.Unix(), Expires: i.Expires.Unix()})
}

// userInfo answers the bearer of an access token, in the header alone.
func (e endpoints) userInfo(w http.ResponseWriter, r *http.Request) error {
	token, err := bearer(r)
	if err != nil {
		return err
	}
	claims, err := e.Tokens.UserInfo(r.Context(), token)
	if err != nil {
		return err
	}
	said := map[string]string{}
	for name, value := range claims {
		if value != "" {
			said[name] = value
		}
	}
	return answer(w, said)
}

// deviceDocument is the answer of the device authorization endpoint (RFC 8628
// section 3.2). It has no address with the code in it: the code is typed.
type deviceDocument struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	VerificationURI string `json:"verification_uri"`
	ExpiresIn       int64  `json:"expires_in"`
	Interval        int64  `json:"interval"`
}

func (e endpoints) deviceAuthorization(w http.ResponseWriter, r *http.Request) error {
	ask, err := e.client(r)
	if err != nil {
		return err
	}
	b, err := e.Devices.DeviceAuthorization(r.Context(), ask)
	if err != nil {
		return err
	}
	return answer(w, deviceDocument{DeviceCode: b.DeviceCode.Reveal(), UserCode: b.UserCode, VerificationURI: b.VerificationURI,
		ExpiresIn: int64(b.Expires / time.Second), Interval: int64(b.Interval / time.Second)})
}

// answer writes a document that nobody may keep.
func answer(w http.ResponseWriter, document any) error {
	b, err := json.Marshal(document)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "The answer could not be written")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	_, _ = w.Write(b)
	return nil
}
