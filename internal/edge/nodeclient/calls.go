package nodeclient

import (
	"context"
	"encoding/json"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/service/binding"
)

// Attach begins an attachment.
func (n *Client) Attach(ctx context.Context, in nodedoc.AttachRequest) (out nodedoc.AttachBegun, err error) {
	err = n.call(ctx, "attach", in, &out)
	return out, err
}

// Poll asks what became of a request.
func (n *Client) Poll(ctx context.Context, request string) (out nodedoc.AttachState, err error) {
	err = n.call(ctx, "attach/poll", nodedoc.AttachPoll{Request: request}, &out)
	return out, err
}

// Credentials gives keys of an attachment.
func (n *Client) Credentials(ctx context.Context, id identity.AttachmentID, role string) (binding.Keys, error) {
	var k nodedoc.Keys
	err := n.call(ctx, "credentials", nodedoc.Fetch{Attachment: string(id), Role: role}, &k)
	return binding.Keys{
		AccessKeyID: k.AccessKeyID, SecretAccessKey: secret.New(k.SecretAccessKey), SessionToken: secret.New(k.SessionToken), Expiration: k.Expiration,
		Role: k.Role, AccountID: k.AccountID, Region: k.Region, S3: k.S3, STS: k.STS,
	}, err
}

// IDToken gives a web-identity token of an attachment.
func (n *Client) IDToken(ctx context.Context, id identity.AttachmentID, role string) (binding.IDToken, error) {
	var t nodedoc.IDToken
	err := n.call(ctx, "id-token", nodedoc.Fetch{Attachment: string(id), Role: role}, &t)
	return binding.IDToken{Token: secret.New(t.Token), Expires: t.Expires, Role: t.Role, Region: t.Region, STS: t.STS}, err
}

// Roles lists what a person may use here.
func (n *Client) Roles(ctx context.Context, id identity.AttachmentID) ([]binding.Role, error) {
	var out nodedoc.Roles
	err := n.call(ctx, "roles", nodedoc.Fetch{Attachment: string(id)}, &out)
	return roles(out), err
}

// SetRole makes a role the current one.
func (n *Client) SetRole(ctx context.Context, id identity.AttachmentID, role string) ([]binding.Role, error) {
	var out nodedoc.Roles
	err := n.call(ctx, "role", nodedoc.SetRole{Attachment: string(id), Role: role}, &out)
	return roles(out), err
}

func roles(d nodedoc.Roles) []binding.Role {
	out := make([]binding.Role, 0, len(d.Roles))
	for _, r := range d.Roles {
		out = append(out, binding.Role{ARN: r.ARN, Current: r.Current, Trouble: r.Trouble})
	}
	return out
}

// End ends an attachment.
func (n *Client) End(ctx context.Context, id identity.AttachmentID, why binding.Why) error {
	return n.call(ctx, "end", nodedoc.End{Attachment: string(id), Why: string(why)}, nil)
}

// Report says how the node is.
func (n *Client) Report(ctx context.Context, r nodedoc.Report) error {
	return n.call(ctx, "report", r, nil)
}

// Trino gives the mapping for the cluster's engine, as it is.
func (n *Client) Trino(ctx context.Context) (json.RawMessage, error) {
	var out json.RawMessage
	err := n.call(ctx, "trino", struct{}{}, &out)
	return out, err
}

// JDBC asks for the keys of somebody who connects to the node's engine.
func (n *Client) JDBC(ctx context.Context, ask nodedoc.JDBC) (nodedoc.JDBCConnection, error) {
	var out nodedoc.JDBCConnection
	err := n.call(ctx, "jdbc", ask, &out)
	return out, err
}
