//go:build !interop

package directory_test

import "testing"

func benchEngines(b *testing.B) []benchEngine { return []benchEngine{benchSQLite(b)} }
