//go:build !interop

package iam_test

import "testing"

func benchEngines(b *testing.B) []benchEngine { return []benchEngine{benchSQLite(b)} }
