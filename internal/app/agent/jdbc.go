package agent

import (
	"context"

	"carnet.dev/carnet/internal/edge/node"
	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/edge/nodeclient"
)

// jdbc asks the server for those who connect to the node's engine. Nothing is kept here:
// the engine holds its connections.
type jdbc struct{ client *nodeclient.Client }

var _ node.Connections = jdbc{}

// JDBC gives the keys of a connection.
func (j jdbc) JDBC(ctx context.Context, ask localdoc.JDBC) (localdoc.JDBCConnection, error) {
	c, err := j.client.JDBC(ctx, nodedoc.JDBC(ask))
	return localdoc.JDBCConnection{User: c.User, Connection: c.Connection, Expires: c.Expires, Keys: localdoc.JDBCKeys(c.Keys)}, err
}
