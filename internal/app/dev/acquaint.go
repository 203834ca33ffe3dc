package dev

import (
	"net/http"

	"carnet.dev/carnet/internal/app/server"
	"carnet.dev/carnet/internal/edge/devidp"
)

// acquainted is the identity provider, to which we are introduced before each
// request: our keys exist only after it does, and a change of them counts at
// once.
func acquainted(idp *devidp.IdP, srv *server.Server) http.Handler {
	next := idp.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := introduce(idp, srv); err != nil {
			http.Error(w, "Carnet's metadata can't be read: "+err.Error(), http.StatusInternalServerError)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func introduce(idp *devidp.IdP, srv *server.Server) error {
	metadata, err := srv.SAMLMetadata()
	if err != nil {
		return err
	}
	sp, err := devidp.ParseSP(metadata)
	if err != nil {
		return err
	}
	return idp.Know(sp)
}
