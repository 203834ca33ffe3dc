// Package nodeapi serves the agents of nodes under /api/v1/node: JSON in, JSON out,
// failures as problem documents (documents: nodedoc).
//
// A node comes with its access token, which it buys by its key; join and token alone
// take other proofs. Each call is about the node that proved itself: no document
// names one. It decides nothing by itself, and must never put a secret in an
// address, an error or a log.
package nodeapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/jdbc"
)

// Nodes are the identities of nodes.
type Nodes interface {
	// Join trades a one-use join token for an identity.
	Join(ctx context.Context, token secret.Text, name string, spki []byte, version string) (cluster.Node, cluster.Cluster, error)
	// Prove reads an assertion, once, that was made for an audience.
	Prove(ctx context.Context, assertion, audience string) (cluster.Node, error)
	// IssueNodeToken gives an access token.
	IssueNodeToken(n cluster.Node) (token secret.Text, expires time.Time, err error)
	// NewKey replaces a node's key; the proof is an assertion by the new one.
	NewKey(ctx context.Context, n cluster.Node, spki []byte, proof, audience string) error
	// Reported keeps what a node says of itself.
	Reported(ctx context.Context, n cluster.Node, r cluster.Report) error
}

// Attaching begins and ends attachments of a node.
type Attaching interface {
	Begin(ctx context.Context, n cluster.Node, p attachment.Place, metadataReachable bool) (attachment.Begun, error)
	ByLoginName(ctx context.Context, n cluster.Node, p attachment.Place, metadataReachable bool) (attachment.Attachment, error)
	Poll(ctx context.Context, n cluster.Node, request secret.Text) (attachment.Polled, error)
	End(ctx context.Context, n cluster.Node, id identity.AttachmentID, why string) error
}

// Serving gives what attachments of a node may have.
type Serving interface {
	// View waits for one of another revision, attachment.Wait at most.
	View(ctx context.Context, n cluster.Node, revision int64) (attachment.View, error)
	// Credentials gives keys; from is where the node asks from.
	Credentials(ctx context.Context, n cluster.Node, id identity.AttachmentID, role string, from netip.Addr) (attachment.Keys, error)
	IDToken(ctx context.Context, n cluster.Node, id identity.AttachmentID, role string) (attachment.IDToken, error)
	Roles(ctx context.Context, n cluster.Node, id identity.AttachmentID) ([]attachment.RoleStatus, error)
	SetRole(ctx context.Context, n cluster.Node, id identity.AttachmentID, role string) ([]attachment.RoleStatus, error)
}

// Trino gives an engine of a node the keys of the people attached in its cluster.
type Trino interface {
	TrinoRules(ctx context.Context, n cluster.Node) (gatewaykeys.TrinoRules, error)
}

// JDBC serves connections to the engines of a node.
type JDBC interface {
	Connect(ctx context.Context, n cluster.Node, user string, password secret.Text, role string, from netip.Addr) (jdbc.Connection, error)
	Renew(ctx context.Context, n cluster.Node, connection secret.Text, from netip.Addr) (jdbc.Connection, error)
}

// Place says where the keys of an account are used.
type Place struct {
	Region string
	S3     string // endpoint; empty: AWS's own
	STS    string // endpoint; empty: AWS's own
}

// Config is what the node API is made of.
type Config struct {
	Nodes     Nodes
	Attaching Attaching
	Serving   Serving
	Trino     Trino
	JDBC      JDBC
	// Web is the base URL of the server: the audience of assertions.
	Web string
	// Home is the place of the local accounts and of gateway keys.
	Home Place
	// Elsewhere are the places of the other accounts, by account number.
	Elsewhere map[string]Place
}

// Below is where the routes lie.
const Below = "/api/v1/node/"

const maxBody = 32 << 10

type nodeAPI struct{ Config }

// Routes gives the rows of the table.
func Routes(c Config) []httpd.Route {
	a := nodeAPI{c}
	row := func(pattern string, h httpd.Handler) httpd.Route {
		return httpd.Route{Method: http.MethodPost, Pattern: Below + pattern, Access: httpd.Node, Rate: httpd.RateNode, MaxBody: maxBody,
			Errors: httpd.Problem, Handler: h}
	}
	join, token := row("join", a.join), row("token", a.token)
	join.Access, join.Rate, join.InFlight = httpd.Public, httpd.RateSecret, 16
	token.Access, token.Rate, token.InFlight = httpd.Public, httpd.RateSignIn, 64
	return []httpd.Route{
		join, token,
		row("key", a.key),
		row("watch", a.watch),
		row("attach", a.attach),
		row("attach/poll", a.poll),
		row("credentials", a.credentials),
		row("id-token", a.idToken),
		row("roles", a.roles),
		row("role", a.setRole),
		row("end", a.end),
		row("report", a.report),
		row("trino", a.trino),
		row("jdbc", a.jdbc),
	}
}

func (a nodeAPI) join(w http.ResponseWriter, r *http.Request) error {
	var in nodedoc.Join
	if err := read(r, &in); err != nil {
		return err
	}
	spki, err := publicKey(in.PublicKey)
	if err != nil {
		return err
	}
	n, c, err := a.Nodes.Join(r.Context(), secret.New(in.JoinToken), in.Name, spki, in.Version)
	if err != nil {
		return err
	}
	return answer(w, nodedoc.Joined{Node: string(n.ID), Cluster: clusterDocument(c)})
}

// token admits a node by its assertion. Whatever an assertion names, the node is
// the one whose key signed it.
func (a nodeAPI) token(w http.ResponseWriter, r *http.Request) error {
	var in nodedoc.TokenRequest
	if err := read(r, &in); err != nil {
		return err
	}
	n, err := a.Nodes.Prove(r.Context(), in.Assertion, a.Web)
	if err != nil {
		return err
	}
	t, expires, err := a.Nodes.IssueNodeToken(n)
	if err != nil {
		return err
	}
	return answer(w, nodedoc.TokenAnswer{AccessToken: t.Reveal(), Expires: seconds(expires)})
}

func (a nodeAPI) key(w http.ResponseWriter, r *http.Request) error {
	var in nodedoc.NewKey
	if err := read(r, &in); err != nil {
		return err
	}
	spki, err := publicKey(in.PublicKey)
	if err != nil {
		return err
	}
	return done(w, a.Nodes.NewKey(r.Context(), httpd.CallerOf(r).Node, spki, in.Proof, a.Web+Below+"key"))
}

func publicKey(text string) ([]byte, error) {
	spki, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(spki) == 0 || len(spki) > 1024 {
		return nil, fault.Coded(fault.Invalid, "node.key", "public_key is not a public key: want SPKI, in base64")
	}
	return spki, nil
}

func (a nodeAPI) report(w http.ResponseWriter, r *http.Request) error {
	var in nodedoc.Report
	if err := read(r, &in); err != nil {
		return err
	}
	return done(w, a.Nodes.Reported(r.Context(), httpd.CallerOf(r).Node, cluster.Report{Version: in.Version, Faces: in.Faces, Troubles: in.Troubles,
		MetadataReachable: in.MetadataReachable}))
}

func (a nodeAPI) watch(w http.ResponseWriter, r *http.Request) error {
	var in nodedoc.Watch
	if err := read(r, &in); err != nil {
		return err
	}
	n := httpd.CallerOf(r).Node
	v, err := a.Serving.View(r.Context(), n, in.Revision)
	if err != nil {
		return err
	}
	out := nodedoc.View{Revision: v.Revision, NodeName: n.Name, Cluster: clusterDocument(v.Cluster), Attachments: []nodedoc.Attachment{}}
	if v.Revision == in.Revision {
		return answer(w, out) // the node has the rest; of thousands it would be a megabyte
	}
	for _, x := range v.Attachments {
		out.Attachments = append(out.Attachments, attachmentDocument(x))
	}
	for _, e := range v.Revoked {
		out.Revoked = append(out.Revoked, nodedoc.Revoked{Kind: e.Kind, ID: e.ID, Epoch: e.Epoch})
	}
	return answer(w, out)
}

// read takes exactly one JSON document. Members that are not known are let be: a
// node may be newer than its server.
func read(r *http.Request, into any) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return fault.Coded(fault.Invalid, "request.content-type", "The request must be of Content-Type application/json")
	}
	d := json.NewDecoder(r.Body)
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
	}
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return err
	}
	return fault.Coded(fault.Invalid, "request.json", "The request is not the JSON document that this call takes").WithCause(err)
}

func answer(w http.ResponseWriter, document any) error {
	b, err := json.Marshal(document)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "The answer could not be written")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(append(b, '\n'))
	return nil
}

// done answers a call that gives nothing.
func done(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
