package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Attachment is one login to a node of a cluster that works as the person.
type Attachment struct {
	ID          string    `json:"id"`
	State       string    `json:"state"` // live or ended
	ClusterName string    `json:"cluster_name"`
	NodeName    string    `json:"node_name"`
	UID         uint32    `json:"uid"`
	Account     string    `json:"account"` // login name on the node, as its agent says
	Scope       string    `json:"scope"`
	How         string    `json:"how"`  // approved, on-behalf or login-name
	Role        string    `json:"role"` // ARN of the current one; empty: none chosen
	Made        time.Time `json:"made"`
	Expires     time.Time `json:"expires"`
}

// ApprovedAttachment says what was approved.
type ApprovedAttachment struct {
	ClusterName string `json:"cluster_name"`
	NodeName    string `json:"node_name"`
	UID         uint32 `json:"uid"`
	Account     string `json:"account"`
}

// ApproveAttachment lets the login that shows the code work as the person, if its uid on
// its node is one of these.
func (c *Client) ApproveAttachment(ctx context.Context, userCode string, uids []int) (ApprovedAttachment, error) {
	in := struct {
		UserCode string `json:"user_code"`
		UIDs     []int  `json:"uids,omitempty"`
	}{userCode, uids}
	var out ApprovedAttachment
	err := c.call(ctx, http.MethodPost, "/api/v1/attachments/approve", in, &out)
	return out, err
}

// Attachments lists the person's own: live ones, and those that ended lately.
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
