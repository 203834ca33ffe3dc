package server

import (
	"context"

	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/service/audit"
)

// readTrail opens the audit trail to administrators, by page and API.
func (srv *Server) readTrail(ctx context.Context) {
	srv.reader = audit.NewReader(audit.ReaderConfig{Trail: sqlaudit.Store{DB: srv.db}, Recorder: srv.trail, Now: srv.now, Logger: srv.log})
	srv.tasks.Go(func() { srv.reader.Run(ctx) })
}
