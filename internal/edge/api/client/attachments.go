package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Attachment is one login to a node of a cluster that works as the person.
type Attachment struct {
	ID      string    `json:"id"`
	Cluster string    `json:"cluster"` // its name
	Node    string    `json:"node"`    // its name
	UID     uint32    `json:"uid"`
	Account string    `json:"account"` // login name on the node
	Scope   string    `json:"scope"`
	How     string    `json:"how"` // approved, on-behalf, login-name
	Role    string    `json:"role"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
}

// ApproveAttachment lets the login that shows the code work as the person, if it is
// one of an account with this uid on its node.
func (c *Client) ApproveAttachment(ctx context.Context, userCode string, uid uint32) (Attachment, error) {
	in := struct {
		UserCode string `json:"user_code"`
		UID      uint32 `json:"uid"`
	}{userCode, uid}
	var out Attachment
	err := c.call(ctx, http.MethodPost, "/api/v1/attachments/approve", in, &out)
	return out, err
}

// Attachments lists the person's own live ones.
func (c *Client) Attachments(ctx context.Context) ([]Attachment, error) {
	var out struct {
		Attachments []Attachment `json:"attachments"`
	}
	err := c.call(ctx, http.MethodGet, "/api/v1/attachments", nil, &out)
	return out.Attachments, err
}

// EndAttachment ends one of the person's own.
func (c *Client) EndAttachment(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/api/v1/attachments/"+url.PathEscape(id), nil, nil)
}
