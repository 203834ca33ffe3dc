//go:build interop

package iam_test

import (
	"testing"

	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
)

func benchEngines(b *testing.B) []benchEngine {
	return []benchEngine{benchSQLite(b), {"postgresql", sql.Config{PostgreSQL: sqltest.PostgreSQL(b)}}}
}
