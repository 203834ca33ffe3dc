package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	sqldenial "carnet.dev/carnet/internal/edge/sql/denial"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	"carnet.dev/carnet/internal/service/denial"
)

func (h *host) why() *cobra.Command {
	return &cobra.Command{
		Use: "explain REQUEST-ID", Short: "Say why an S3 request was denied", Args: cobra.ExactArgs(1),
		Long: "Shows who asked, what was checked, and which statement of which policy decided. The request id stands in the\n" +
			"error that the client got (RequestId, x-amz-request-id). Denials are kept for a week.",
		Example: "  carnet explain 4N7D2Q5JXKM3WAYZ",
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withStill(cmd, func(ctx context.Context, db still) error {
				d, err := denials(db.DB, time.Now, warnings(cmd)).Find(ctx, args[0])
				if err != nil {
					return err
				}
				return say(cmd, d, d.String())
			})
		},
	}
}

// denials keeps why S3 requests were denied, in a database.
func denials(db *sql.DB, now func() time.Time, log *slog.Logger) *denial.Keeper {
	people := sqldirectory.On(db, now).People
	return denial.New(denial.Config{Store: sqldenial.Store{DB: db}, Now: now, Logger: log, Name: func(ctx context.Context, id identity.PersonID) (string, error) {
		p, err := people.Person(ctx, id)
		return p.UserName, err
	}})
}
