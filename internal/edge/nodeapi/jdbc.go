package nodeapi

import (
	"net/http"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/service/jdbc"
)

// jdbc serves a connection: a new one by a person's proof, or fresh keys of one.
func (a nodeAPI) jdbc(w http.ResponseWriter, r *http.Request) error {
	var in nodedoc.JDBC
	if err := read(r, &in); err != nil {
		return err
	}
	var c jdbc.Connection
	var err error
	switch n, from := httpd.CallerOf(r).Node, httpd.Source(r); {
	case in.Connection == "":
		c, err = a.JDBC.Connect(r.Context(), n, in.User, secret.New(in.Password), in.Role, from)
	case in.User != "" || in.Password != "" || in.Role != "":
		err = fault.Coded(fault.Invalid, "jdbc.both", "The request has a connection, and a proof beside it").WithMend("give one of them; a connection keeps its person and role")
	default:
		c, err = a.JDBC.Renew(r.Context(), n, secret.New(in.Connection), from)
	}
	if err != nil {
		return err
	}
	return answer(w, nodedoc.JDBCConnection{User: c.Name, Connection: c.Secret.Reveal(), Expires: seconds(c.Expires), Keys: a.keysDocument(c.Keys)})
}
