package client

import (
	"context"
	"net/http"
	"net/url"

	"carnet.dev/carnet/internal/edge/api/clusterdoc"
)

const clustersPath = "/api/v1/clusters"

func clusterPath(id string) string { return clustersPath + "/" + url.PathEscape(id) }

// Clusters lists clusters, by name: all for administrators, for others those that they
// manage or may attach to.
func (c *Client) Clusters(ctx context.Context) ([]clusterdoc.Cluster, error) {
	out, err := answer[clusterdoc.ClusterList](ctx, c, http.MethodGet, clustersPath, nil)
	return out.Clusters, err
}

// Cluster gives one, by id or name.
func (c *Client) Cluster(ctx context.Context, id string) (clusterdoc.Cluster, error) {
	return answer[clusterdoc.Cluster](ctx, c, http.MethodGet, clusterPath(id), nil)
}

// AddCluster adds one; for administrators.
func (c *Client) AddCluster(ctx context.Context, in clusterdoc.NewCluster) (clusterdoc.Cluster, error) {
	return answer[clusterdoc.Cluster](ctx, c, http.MethodPost, clustersPath, in)
}

// ChangeCluster changes what in holds; for administrators.
func (c *Client) ChangeCluster(ctx context.Context, id string, in clusterdoc.ClusterChange) (clusterdoc.Cluster, error) {
	return answer[clusterdoc.Cluster](ctx, c, http.MethodPatch, clusterPath(id), in)
}

// RemoveCluster removes one with its nodes; for administrators.
func (c *Client) RemoveCluster(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, clusterPath(id), nil, nil)
}

// AssignCluster makes a person the one of a standard cluster; empty: nobody.
func (c *Client) AssignCluster(ctx context.Context, id, person string) (clusterdoc.Cluster, error) {
	return answer[clusterdoc.Cluster](ctx, c, http.MethodPost, clusterPath(id)+"/assign", clusterdoc.Assignment{Person: person})
}

// NewJoinToken makes a join token that is good for some seconds; 0: an hour.
func (c *Client) NewJoinToken(ctx context.Context, id string, lifetimeSeconds int) (clusterdoc.JoinToken, error) {
	return answer[clusterdoc.JoinToken](ctx, c, http.MethodPost, clusterPath(id)+"/join-tokens", clusterdoc.JoinTokenRequest{LifetimeSeconds: lifetimeSeconds})
}

// Nodes lists the nodes of a cluster, by name.
func (c *Client) Nodes(ctx context.Context, id string) ([]clusterdoc.Node, error) {
	out, err := answer[clusterdoc.NodeList](ctx, c, http.MethodGet, clusterPath(id)+"/nodes", nil)
	return out.Nodes, err
}

// RemoveNode removes a node, by id or name.
func (c *Client) RemoveNode(ctx context.Context, id, node string) error {
	return c.call(ctx, http.MethodDelete, clusterPath(id)+"/nodes/"+url.PathEscape(node), nil, nil)
}
