// Package oauthclient asks an issuer's token endpoint for ID tokens, as a
// workload without a person does: with a client secret, with a key
// (private_key_jwt), or with a token of another issuer (RFC 8693).
//
// The endpoint is found by discovery at an issuer that the caller names, and
// the document must be that issuer's own. A proof goes over https or loopback
// only, to no other address than the endpoint: redirects are not followed. This
// package must never put a secret, an assertion or a token in an error or an
// address.
package oauthclient

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// maxAnswer bounds what is read of one answer.
const maxAnswer = 1 << 20

// Endpoint is one token endpoint. Safe for concurrent use.
type Endpoint struct {
	Issuer string
	url    *url.URL
	http   *http.Client
}

// Base is scheme and host of the token endpoint: where its server is.
func (e *Endpoint) Base() string { return e.url.Scheme + "://" + e.url.Host }

// Discover finds the token endpoint of an issuer by its discovery document,
// which must carry the issuer's own name.
func Discover(ctx context.Context, issuer string, hc *http.Client) (*Endpoint, error) {
	e, err := discover(ctx, issuer, hc)
	if err != nil {
		return nil, err
	}
	if e.Issuer != issuer {
		return nil, fault.Coded(fault.Misconfigured, "issuer.other", "the discovery document at "+issuer+" is of the issuer "+e.Issuer).
			WithMend("name that issuer, if you trust it")
	}
	return e, nil
}

// DiscoverAt finds the token endpoint of a Carnet server, given by its address.
// Its issuer may have another name; its endpoint may not be elsewhere.
func DiscoverAt(ctx context.Context, server string, hc *http.Client) (*Endpoint, error) {
	e, err := discover(ctx, server+"/oidc", hc)
	if err != nil {
		return nil, err
	}
	if e.Base() != server {
		return nil, fault.Coded(fault.Misconfigured, "issuer.other", "the token endpoint of "+server+" is said to be at "+e.Base()).
			WithMend("give that address as --server, if you trust it")
	}
	return e, nil
}

func discover(ctx context.Context, issuer string, hc *http.Client) (*Endpoint, error) {
	base, err := checkAddress(issuer)
	if err != nil {
		return nil, fault.Coded(fault.Invalid, "issuer.address", issuer+" is not an issuer: "+err.Error())
	}
	own := http.Client{Timeout: time.Minute}
	if hc != nil {
		own = *hc
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Jar = nil
	e := &Endpoint{http: &own}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.String()+"/.well-known/openid-configuration", nil)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the request could not be made")
	}
	status, body, err := e.do(req)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Issuer        string `json:"issuer"`
		TokenEndpoint string `json:"token_endpoint"`
	}
	if status != http.StatusOK || json.Unmarshal(body, &doc) != nil || doc.Issuer == "" {
		return nil, fault.Coded(fault.Unavailable, "issuer.discovery", fmt.Sprintf("%s answered with status %d, and with no discovery document", issuer, status)).
			WithMend("check the address of the issuer")
	}
	if e.url, err = checkAddress(doc.TokenEndpoint); err != nil {
		return nil, fault.Coded(fault.Misconfigured, "issuer.discovery", "the token endpoint of "+issuer+" can't be used: "+err.Error())
	}
	e.Issuer = doc.Issuer
	return e, nil
}

// checkAddress holds an address to https, or http on loopback, without query,
// fragment and user.
func checkAddress(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Host == "", u.Scheme != "https" && u.Scheme != "http", u.User != nil, strings.ContainsAny(s, "?#"), strings.HasSuffix(u.Path, "/"):
		return nil, fmt.Errorf("want an address such as https://carnet.example.com/oidc")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("plain http is for this machine only")
	}
	return u, nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// Proof is who asks, and by what.
type Proof struct {
	ClientID string
	// One of these, or none with a foreign token.
	Secret secret.Text
	Key    *oidc.SigningKey
	// Foreign is another issuer's token that proves the workload.
	Foreign secret.Text
	Now     time.Time
}

// Ask is what is wanted.
type Ask struct {
	Audience   string
	Role       string // for AWS's audience; else empty
	Delegation string // of a job; else empty
}

// The URNs of RFC 7523 and RFC 8693.
const (
	grantExchange   = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	typeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	assertionJWT    = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	assertionLife   = time.Minute
	grantClient     = "client_credentials"
	clientAssertion = "client_assertion"
)

// IDToken asks for one ID token. Faults: Unauthenticated for a proof that is
// not taken, Denied for what the client may not have, Unavailable without an
// answer.
func (e *Endpoint) IDToken(ctx context.Context, p Proof, a Ask) (secret.Text, error) {
	form := url.Values{"grant_type": {grantClient}, "audience": {a.Audience}, "requested_token_type": {typeIDToken}}
	for name, value := range map[string]string{"role": a.Role, "delegation": a.Delegation} {
		if value != "" {
			form.Set(name, value)
		}
	}
	if !p.Foreign.IsZero() {
		form.Set("grant_type", grantExchange)
		form.Set("subject_token", p.Foreign.Reveal())
		form.Set("subject_token_type", typeJWT)
	}
	switch {
	case p.Key != nil:
		assertion, err := e.assertion(p)
		if err != nil {
			return secret.Text{}, fault.Wrap(err, fault.Internal, "the client's assertion could not be signed")
		}
		form.Set("client_id", p.ClientID)
		form.Set("client_assertion_type", assertionJWT)
		form.Set(clientAssertion, assertion)
	case p.Secret.IsZero() && p.ClientID != "":
		form.Set("client_id", p.ClientID)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return secret.Text{}, fault.Wrap(err, fault.Internal, "the request could not be made")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if !p.Secret.IsZero() {
		req.SetBasicAuth(url.QueryEscape(p.ClientID), url.QueryEscape(p.Secret.Reveal())) // RFC 6749, section 2.3.1
	}
	status, body, err := e.do(req)
	if err != nil {
		return secret.Text{}, err
	}
	if status != http.StatusOK {
		return secret.Text{}, e.refusal(status, body)
	}
	return e.read(body)
}

// assertion is a client's own token (RFC 7523, section 2.2; OpenID Connect
// Core, section 9).
func (e *Endpoint) assertion(p Proof) (string, error) {
	return p.Key.Sign(oidc.TypeIDToken, map[string]any{
		"iss": p.ClientID, "sub": p.ClientID, "aud": e.url.String(), "jti": rand.Text(),
		"iat": p.Now.Unix(), "exp": p.Now.Add(assertionLife).Unix(),
	})
}

// read takes the ID token out of an answer: RFC 8693 puts it into access_token
// and names its type.
func (e *Endpoint) read(body []byte) (secret.Text, error) {
	var out struct {
		IDToken     string `json:"id_token"`
		AccessToken string `json:"access_token"`
		Type        string `json:"issued_token_type"`
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return secret.Text{}, fault.Coded(fault.Unavailable, "issuer.answer", "the answer of "+e.Base()+" can't be read")
	}
	switch {
	case out.IDToken != "":
		return secret.New(out.IDToken), nil
	case out.AccessToken != "" && out.Type == typeIDToken:
		return secret.New(out.AccessToken), nil
	}
	return secret.Text{}, fault.Coded(fault.Unavailable, "issuer.answer", "the answer of "+e.Base()+" holds no ID token")
}

// do sends a request and reads its answer within bounds.
func (e *Endpoint) do(req *http.Request) (int, []byte, error) {
	req.Header.Set("Accept", "application/json")
	res, err := e.http.Do(req)
	if err != nil {
		return 0, nil, e.unreachable(req, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil || len(body) > maxAnswer {
		return 0, nil, e.unreachable(req, err)
	}
	return res.StatusCode, body, nil
}

func (e *Endpoint) unreachable(req *http.Request, err error) error {
	return fault.Wrap(err, fault.Unavailable, "no answer from "+req.URL.Scheme+"://"+req.URL.Host).
		WithCode("server.unreachable").WithMend("check that the server runs and that this machine reaches it")
}

// refusal reads an error of RFC 6749, section 5.2.
func (e *Endpoint) refusal(status int, body []byte) error {
	var said struct {
		Code string `json:"error"`
		Text string `json:"error_description"`
	}
	if json.Unmarshal(body, &said) != nil || said.Code == "" {
		kind := fault.Unavailable
		if status == http.StatusTooManyRequests {
			kind = fault.Limited
		}
		return fault.Coded(kind, "issuer.answer", fmt.Sprintf("%s answered with status %d, and not as a token endpoint does", e.Base(), status))
	}
	public := said.Text
	if public == "" {
		public = e.Base() + " refuses"
	}
	return fault.Coded(kindOf(said.Code, status), said.Code, public)
}

// kindOf says what a caller can do about a code.
func kindOf(code string, status int) fault.Kind {
	switch code {
	case "invalid_client", "invalid_grant":
		return fault.Unauthenticated
	case "unauthorized_client", "access_denied", "invalid_target", "invalid_scope":
		return fault.Denied
	case "temporarily_unavailable", "server_error":
		return fault.Unavailable
	case "slow_down":
		return fault.Limited
	case "unsupported_grant_type":
		return fault.Unsupported
	}
	switch {
	case status >= http.StatusInternalServerError:
		return fault.Unavailable
	case status == http.StatusTooManyRequests:
		return fault.Limited
	}
	return fault.Invalid
}
