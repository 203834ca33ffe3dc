// Package localclient speaks with the agent of this node, over its unix socket.
//
// It is for programs of the person who runs them: the agent learns from the kernel
// who is calling, so nothing here says who somebody is. It must never take keys
// from a socket that another account of this machine could have put there.
package localclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/node/localdoc"
)

// maxAnswer bounds what is read of one answer.
const maxAnswer = 1 << 20

// The codes of what can go wrong before the agent answers.
const (
	// CodeNoAgent: nothing listens there.
	CodeNoAgent = "agent.none"
	// CodeForeign: what listens there is not, or need not be, the node's agent.
	CodeForeign = "agent.foreign"
)

// Client talks to one agent. Safe for use by several goroutines.
type Client struct {
	socket string
	http   *http.Client
}

// New makes a client for the agent at socket; "" is the usual place.
func New(socket string) *Client {
	if socket == "" {
		socket = localdoc.Socket
	}
	c := &Client{socket: socket}
	c.http = &http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:             nil, // what the environment says of proxies is not about a socket
			DisableKeepAlives: true,
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, socket) },
		},
	}
	return c
}

// Socket gives where the agent is asked.
func (c *Client) Socket() string { return c.socket }

// Present reports whether there is a socket at all.
func (c *Client) Present() bool {
	info, err := os.Stat(c.socket)
	return err == nil && info.Mode().Type() == fs.ModeSocket
}

// Status says what the calling process has on this node.
func (c *Client) Status(ctx context.Context) (localdoc.Status, error) {
	var out localdoc.Status
	err := c.call(ctx, http.MethodGet, "/v1/status", nil, &out)
	return out, err
}

// Attach begins to attach the calling process's login scope.
func (c *Client) Attach(ctx context.Context, in localdoc.Attach) (localdoc.Begun, error) {
	var out localdoc.Begun
	err := c.call(ctx, http.MethodPost, "/v1/attach", in, &out)
	return out, err
}

// Poll asks what became of a request of Attach.
func (c *Client) Poll(ctx context.Context, request string) (localdoc.Polled, error) {
	var out localdoc.Polled
	err := c.call(ctx, http.MethodPost, "/v1/attach/poll", localdoc.Poll{Request: request}, &out)
	return out, err
}

// Detach ends the caller's attachment.
func (c *Client) Detach(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/detach", struct{}{}, nil)
}

// Keys are temporary keys of one role.
type Keys struct {
	AccessKeyID     string
	SecretAccessKey secret.Text
	SessionToken    secret.Text // zero: a gateway key
	Expiration      time.Time
	Role            string // ARN
	AccountID       string // of 12 digits
	Region          string
	S3, STS         string // where they are used; empty: at AWS itself
}

// Keys gives those of a role, named by ARN or by a name that is unique among those
// usable here; "" is the current one, or the only one.
func (c *Client) Keys(ctx context.Context, role string) (Keys, error) {
	path := "/v1/keys"
	if role != "" {
		path += "?" + url.Values{"role": {role}}.Encode()
	}
	var k localdoc.Keys
	if err := c.call(ctx, http.MethodGet, path, nil, &k); err != nil {
		return Keys{}, err
	}
	return Keys{
		AccessKeyID: k.AccessKeyID, SecretAccessKey: secret.New(k.SecretAccessKey), SessionToken: secret.New(k.SessionToken),
		Expiration: k.Expiration, Role: k.Role, AccountID: k.AccountID, Region: k.Region, S3: k.S3, STS: k.STS,
	}, nil
}

// Roles lists what the caller may use here.
func (c *Client) Roles(ctx context.Context) ([]localdoc.Role, error) {
	var out localdoc.Roles
	err := c.call(ctx, http.MethodGet, "/v1/roles", nil, &out)
	return out.Roles, err
}

// SetRole makes a role the current one of the attachment and gives the list after
// that. A role that is not usable here is NotFound.
func (c *Client) SetRole(ctx context.Context, role string) ([]localdoc.Role, error) {
	var out localdoc.Roles
	err := c.call(ctx, http.MethodPut, "/v1/role", localdoc.SetRole{Role: role}, &out)
	return out.Roles, err
}

// Bearer gives the second factor of the loopback endpoints, where the agent keeps no
// file of it.
func (c *Client) Bearer(ctx context.Context) (secret.Text, error) {
	var out localdoc.Bearer
	err := c.call(ctx, http.MethodGet, "/v1/bearer", nil, &out)
	return secret.New(out.Token), err
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
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, body)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "the request could not be made")
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return c.unreachable(err)
	case len(b) > maxAnswer:
		return c.foreign(nil)
	case res.StatusCode < 200 || res.StatusCode > 299:
		return c.problem(res, b)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return c.foreign(err)
	}
	return nil
}

// problem turns a refusal into a fault.
func (c *Client) problem(res *http.Response, body []byte) error {
	var p localdoc.Problem
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json") || json.Unmarshal(body, &p) != nil {
		return c.foreign(nil)
	}
	f := &fault.Fault{Kind: kind(p.Kind), Code: p.Code, Public: p.Detail, Mend: p.Mend}
	if f.Public == "" {
		f.Public = fmt.Sprintf("the agent refused with status %d", res.StatusCode)
	}
	return f
}

// kind reads the name of a kind; one that a newer agent knows and we do not is
// Internal.
func kind(name string) fault.Kind {
	for _, k := range fault.Kinds() {
		if k.String() == name {
			return k
		}
	}
	return fault.Internal
}

func (c *Client) foreign(cause error) error {
	return fault.Wrap(cause, fault.Unavailable, "what answers at "+c.socket+" is not an agent of Carnet").WithCode(CodeForeign).
		WithMend("ask the administrator of this node")
}

func (c *Client) unreachable(err error) error {
	var own *fault.Fault
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fault.Coded(fault.Unavailable, CodeNoAgent, "no agent of Carnet runs on this node: there is no "+c.socket).
			WithMend("ask the administrator of this node to start carnet agent")
	}
	return fault.Wrap(err, fault.Unavailable, "the agent of this node does not answer at "+c.socket).WithCode(CodeNoAgent).
		WithMend("ask the administrator of this node to look at carnet agent")
}
