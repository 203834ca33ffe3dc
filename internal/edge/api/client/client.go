// Package client speaks Carnet's HTTP API, /api/v1, for the command line and
// for the walk of `carnet dev`.
//
// It gives back plain values and faults, so that a caller never sees HTTP. The
// CLI token goes only to the server it was made for: no redirect is followed,
// and plain http is refused beyond loopback. It must never write a token or a
// secret key anywhere but on that connection.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// maxAnswer bounds what is read of one answer.
const maxAnswer = 4 << 20

// Client talks to one Carnet server. Safe for use by several goroutines.
type Client struct {
	base  *url.URL
	token secret.Text
	http  *http.Client
}

// New makes a client for the server at baseURL, such as
// "https://carnet.example.com". The token may be zero before sign-in; hc may be
// nil for a default with a timeout of 60 s.
func New(baseURL string, token secret.Text, hc *http.Client) (*Client, error) {
	base, err := ParseBaseURL(baseURL)
	if err != nil {
		return nil, err
	}
	if hc == nil {
		hc = &http.Client{Timeout: 60 * time.Second}
	}
	own := *hc
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Jar = nil
	return &Client{base: base, token: token, http: &own}, nil
}

// ParseBaseURL checks the address of a server: https, or http on loopback,
// without path, query or user.
func ParseBaseURL(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(s, "/"))
	bad := err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil
	if bad || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, fault.Coded(fault.Invalid, "server.address", "the server address must look like https://carnet.example.com").
			WithMend("give the address that you open in the browser, without a path")
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, fault.Coded(fault.Invalid, "server.plain-http", "plain http is for this machine only: "+u.Host+" is another one").
			WithMend("use https://" + u.Host)
	}
	return u, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// Server gives the address of the server, without a trailing slash.
func (c *Client) Server() string { return c.base.String() }

// Session tells who is signed in and where the server's faces are.
func (c *Client) Session(ctx context.Context) (Session, error) {
	var out Session
	err := c.call(ctx, http.MethodGet, "/api/v1/session", nil, &out)
	return out, err
}

// SignOut ends the login session that the token belongs to.
func (c *Client) SignOut(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, "/api/v1/session", nil, nil)
}

// Roles lists the roles of the person, those that can't be had included.
func (c *Client) Roles(ctx context.Context) ([]Role, error) {
	var out struct {
		Roles []Role `json:"roles"`
	}
	err := c.call(ctx, http.MethodGet, "/api/v1/roles", nil, &out)
	return out.Roles, err
}

// Credentials gives the temporary credentials of one role, named by ARN or by a
// name that only one of the person's roles has.
func (c *Client) Credentials(ctx context.Context, role string) (Credentials, error) {
	return c.CredentialsFor(ctx, role, "")
}

// CredentialsFor is Credentials for a bucket, where its rule says how keys reach
// clients.
func (c *Client) CredentialsFor(ctx context.Context, role, bucket string) (Credentials, error) {
	in := struct {
		Role   string `json:"role"`
		Bucket string `json:"bucket,omitempty"` // servers before this release know none
	}{role, bucket}
	var out credentialsWire
	if err := c.call(ctx, http.MethodPost, "/api/v1/roles/credentials", in, &out); err != nil {
		return Credentials{}, err
	}
	return out.value(), nil
}

// RedeemCode trades the one-use code of a CLI sign-in and its PKCE verifier for
// a CLI token.
func (c *Client) RedeemCode(ctx context.Context, code, verifier secret.Text) (CLIToken, error) {
	in := struct {
		Code     string `json:"code"`
		Verifier string `json:"verifier"`
	}{code.Reveal(), verifier.Reveal()}
	var out cliTokenWire
	if err := c.call(ctx, http.MethodPost, "/api/v1/cli/tokens", in, &out); err != nil {
		return CLIToken{}, err
	}
	return CLIToken{Token: secret.New(out.Token), Expires: out.Expires, UserName: out.UserName}, nil
}

// call sends one request and reads its answer into out, when out is not nil.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fault.Wrap(err, fault.Internal, "the request could not be written")
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), body)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "the request could not be made")
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !c.token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	res, err := c.http.Do(req)
	if err != nil {
		return unreachable(c.base, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil || len(b) > maxAnswer {
		return unreachable(c.base, err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return problem(c.base, res, b)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return notCarnet(c.base, res.StatusCode, err)
	}
	return nil
}
