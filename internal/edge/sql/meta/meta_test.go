package meta_test

import (
	"fmt"
	"sync"
	"testing"

	"carnet.dev/carnet/internal/edge/sql"
	sqlmeta "carnet.dev/carnet/internal/edge/sql/meta"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
)

// TestExternalID is the conformance suite of meta.ExternalIDs: servers that start at
// the same time agree, and later ones find the same.
func TestExternalID(t *testing.T) {
	t.Parallel()
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		got := make([]string, 4)
		var all sync.WaitGroup
		for i := range got {
			s := sqlmeta.Store{DB: sqltest.OpenWith(t, c)}
			all.Go(func() {
				id, err := s.ExternalID(t.Context(), fmt.Sprint("made-", i))
				if err != nil {
					t.Error(err)
				}
				got[i] = id
			})
		}
		all.Wait()
		for _, id := range got {
			if id != got[0] || id == "" {
				t.Errorf("servers disagree: %q", got)
			}
		}
	})
}
