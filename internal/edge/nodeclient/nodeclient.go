// Package nodeclient is the agent's way to the server: it speaks the node API.
//
// A node is whoever holds the key in its state folder. With it the client signs an
// assertion, buys an access token for ten minutes, and renews it in time; the key
// itself is replaced each day. A lost answer locks nobody out: the next key lies
// beside the old one until the server is known to have taken it.
//
// It must never show the key, an access token or what was fetched in an error or a
// log, nor follow a redirect with them.
package nodeclient

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/protocol/oidc"
)

const (
	below     = "/api/v1/node/"
	maxAnswer = 4 << 20
	// assertionLife is how long an assertion may be used.
	assertionLife = 50 * time.Second
	// early is how long before its end an access token is replaced.
	early = 2 * time.Minute
	// KeyLife is how long a node signs with one key.
	KeyLife = 24 * time.Hour
	// ask bounds one call; watching is longer than the server lets a watch wait.
	ask      = 20 * time.Second
	watching = 40 * time.Second
)

// CodeDismissed: the server does not know this node, or not any more.
const CodeDismissed = "node.dismissed"

// Config is what a Client stands on.
type Config struct {
	Folder Folder
	// Server is the base URL, such as https://carnet.example.com.
	Server string
	// CA is a PEM file of authorities that are trusted beside the system's.
	CA     string
	Now    func() time.Time
	Logger *slog.Logger
	// Random gives numbers in [0, 1).
	Random func() float64
	// Version of the agent.
	Version string
}

// Client speaks for one node. Safe for concurrent use.
type Client struct {
	c    Config
	base *url.URL
	http *http.Client

	mu    sync.Mutex // one renewal at a time
	id    Identity
	key   *ecdsa.PrivateKey
	next  *ecdsa.PrivateKey // offered to the server; nil: none
	token secret.Text
	ends  time.Time
}

// connect makes a client without an identity.
func connect(c Config) (*Client, error) {
	base, err := address(c.Server)
	if err != nil {
		return nil, err
	}
	t, _ := http.DefaultTransport.(*http.Transport)
	own := t.Clone()
	own.MaxIdleConnsPerHost = 16
	own.IdleConnTimeout = 10 * time.Second                                                         // people come in bursts, and in between a connection costs as much as ten of them
	own.HTTP2 = &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second} // a server that is gone without a word
	if c.CA != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		text, err := os.ReadFile(c.CA)
		if err != nil || !pool.AppendCertsFromPEM(text) {
			return nil, fault.Wrap(err, fault.Misconfigured, "no certificate can be read from "+c.CA).WithCode("agent.ca").WithMend("name a PEM file in ca")
		}
		own.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &Client{c: c, base: base, http: &http.Client{
		Transport:     own,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Open reads the identity of a node that joined. Faults: NotFound where it has not,
// Misconfigured.
func Open(c Config) (*Client, error) {
	if err := c.Folder.Check(); err != nil {
		return nil, err
	}
	id, err := c.Folder.Joined()
	if err != nil {
		return nil, err
	}
	if c.Server == "" {
		c.Server = id.Server
	}
	n, err := connect(c)
	if err != nil {
		return nil, err
	}
	n.id = id
	if n.key, err = c.Folder.key(keyFile); err != nil {
		return nil, err
	}
	if n.next, err = c.Folder.key(nextFile); err != nil {
		return nil, err
	}
	if n.key == nil {
		return nil, c.Folder.refuse("holds no key", "join the node anew: carnet agent join", nil)
	}
	return n, nil
}

// Join makes a key and trades a join token for an identity, which is kept in the state
// folder. Faults: those of the server, Conflict where the folder holds an identity.
func Join(ctx context.Context, c Config, token secret.Text, name string) (nodedoc.Joined, error) {
	var out nodedoc.Joined
	if err := c.Folder.Check(); err != nil {
		return out, err
	}
	if id, err := c.Folder.Joined(); err == nil {
		return out, fault.Coded(fault.Conflict, "agent.joined", "this node joined already, as "+id.Node).
			WithMend("remove it at the server and empty " + c.Folder.Path + " first, or name another folder with --state")
	}
	n, err := connect(c)
	if err != nil {
		return out, err
	}
	key, err := newKey()
	if err != nil {
		return out, err
	}
	public, err := spki(key)
	if err != nil {
		return out, err
	}
	// The key is kept first: one that the server knows and that is lost is a dead node.
	if err := c.Folder.keepKey(keyFile, key); err != nil {
		return out, err
	}
	err = n.post(ctx, "join", secret.Text{}, nodedoc.Join{JoinToken: token.Reveal(), Name: name, PublicKey: public, Version: c.Version}, &out)
	if err != nil {
		return out, err
	}
	return out, c.Folder.keepIdentity(Identity{Node: out.Node, Server: n.base.String(), Made: c.Now()})
}

// Node gives the node's id.
func (n *Client) Node() string { return n.id.Node }

// Server gives the address of the server.
func (n *Client) Server() string { return n.base.String() }

// address holds the server's to https, or http on loopback.
func address(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(s, "/"))
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fault.Coded(fault.Misconfigured, "server.address", "the server's address must look like https://carnet.example.com").
			WithMend("give the address of its pages, without a path")
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, fault.Coded(fault.Misconfigured, "server.plain-http", "plain http is for this machine only: "+u.Host+" is another one").WithMend("use https://" + u.Host)
	}
	return u, nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

func spki(k *ecdsa.PrivateKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "the node's key can't be written down")
	}
	return base64.StdEncoding.EncodeToString(der), nil
}

// assertion is a proof by a key of the node, for one audience, good once.
func (n *Client) assertion(k *ecdsa.PrivateKey, audience string) (string, error) {
	now := n.c.Now()
	s, err := oidc.SigningKey{ID: n.id.Node, Algorithm: oidc.ES256, Private: k}.Sign(oidc.TypeIDToken, map[string]any{
		"iss": n.id.Node, "sub": n.id.Node, "aud": audience, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "the node's proof can't be signed")
	}
	return s, nil
}

// access gives an access token that is not used; after "not" it gives another.
func (n *Client) access(ctx context.Context, not secret.Text) (secret.Text, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.token.IsZero() && !n.token.Equal(not) && n.c.Now().Before(n.ends.Add(-early)) {
		return n.token, nil
	}
	out, err := n.buy(ctx, n.key)
	if refused(err) && n.next != nil {
		// The server may have taken the next key without our hearing of it.
		if out, err = n.buy(ctx, n.next); err == nil {
			err = n.changed()
		}
	}
	if refused(err) {
		return secret.Text{}, fault.Wrap(err, fault.Revoked, "the server does not know this node any more").WithCode(CodeDismissed).
			WithMend("look at the node's clock, and whether it was removed from its cluster; then join it anew: carnet agent join")
	}
	if err != nil {
		return secret.Text{}, err
	}
	n.token, n.ends = secret.New(out.AccessToken), out.Expires
	return n.token, nil
}

func (n *Client) buy(ctx context.Context, k *ecdsa.PrivateKey) (out nodedoc.TokenAnswer, err error) {
	proof, err := n.assertion(k, n.base.String())
	if err != nil {
		return out, err
	}
	err = n.post(ctx, "token", secret.Text{}, nodedoc.TokenRequest{Assertion: proof}, &out)
	return out, err
}

// refused reports that the server said no to who we are.
func refused(err error) bool {
	if err == nil {
		return false
	}
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Revoked, fault.Denied:
		return true
	}
	return false
}

// changed makes the next key the node's. n is locked.
func (n *Client) changed() error {
	if err := n.c.Folder.promote(); err != nil {
		return err
	}
	n.key, n.next, n.id.Made = n.next, nil, n.c.Now()
	return n.c.Folder.keepIdentity(n.id)
}

// Rotate replaces the node's key where it is older than KeyLife.
func (n *Client) Rotate(ctx context.Context) error {
	n.mu.Lock()
	due := n.c.Now().Sub(n.id.Made) >= KeyLife
	n.mu.Unlock()
	if !due {
		return nil
	}
	token, err := n.access(ctx, secret.Text{})
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		if n.next, err = newKey(); err != nil {
			return err
		}
		if err := n.c.Folder.keepKey(nextFile, n.next); err != nil {
			n.next = nil
			return err
		}
	}
	proof, err := n.assertion(n.next, n.base.String()+below+"key")
	if err != nil {
		return err
	}
	public, err := spki(n.next)
	if err != nil {
		return err
	}
	if err := n.post(ctx, "key", token, nodedoc.NewKey{PublicKey: public, Proof: proof}, nil); err != nil {
		return err
	}
	return n.changed()
}

// call asks with an access token, and once more with another where that is refused: it
// may have been revoked, or expired by the server's clock, while the node's key counts.
func (n *Client) call(ctx context.Context, path string, in, out any) error {
	token, err := n.access(ctx, secret.Text{})
	if err != nil {
		return err
	}
	err = n.post(ctx, path, token, in, out)
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Revoked, fault.Expired:
	default:
		return err
	}
	if token, err = n.access(ctx, token); err != nil {
		return err
	}
	return n.post(ctx, path, token, in, out)
}

// post sends one document and reads the answer into out, where that is not nil.
func (n *Client) post(ctx context.Context, path string, token secret.Text, in, out any) error {
	limit := ask
	if path == "watch" {
		limit = watching
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "the request can't be written")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.base.String()+below+path, bytes.NewReader(body))
	if err != nil {
		return fault.Wrap(err, fault.Internal, "the request can't be made")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("User-Agent", "carnet-agent/"+n.c.Version)
	if !token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	res, err := n.http.Do(req)
	if err != nil {
		return n.unreachable(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil || len(text) > maxAnswer:
		return n.unreachable(err)
	case res.StatusCode < 200 || res.StatusCode > 299:
		return n.problem(res, text)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return n.foreign(res.StatusCode)
	}
	return nil
}

// problem turns a refusal into a fault. What is no answer of Carnet is a server that is
// away, never a refusal: a proxy in between says many things.
func (n *Client) problem(res *http.Response, body []byte) error {
	var p struct {
		Detail    string `json:"detail"`
		Kind      string `json:"kind"`
		Code      string `json:"code"`
		Mend      string `json:"mend"`
		RequestID string `json:"request_id"`
	}
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json") || json.Unmarshal(body, &p) != nil || p.Kind == "" {
		return n.foreign(res.StatusCode)
	}
	f := &fault.Fault{Kind: fault.Internal, Code: p.Code, Public: p.Detail, Mend: p.Mend, Cause: errors.New("request id " + fault.Clip(p.RequestID))}
	for _, k := range fault.Kinds() {
		if k.String() == p.Kind {
			f.Kind = k
		}
	}
	return f
}

func (n *Client) foreign(status int) error {
	return fault.Coded(fault.Unavailable, "server.foreign-answer", fmt.Sprintf("%s answered with status %d, and not as a Carnet server does", n.base, status)).
		WithMend("check the server's address; a proxy in between may have answered")
}

func (n *Client) unreachable(err error) error {
	mend := "check that the server runs and that this machine reaches it"
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		mend = "name the server's authority in ca"
	}
	return fault.Wrap(err, fault.Unavailable, "no answer from "+n.base.String()).WithCode("server.unreachable").WithMend(mend)
}
