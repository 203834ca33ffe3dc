//go:build !interop

package sql_test

// crashRounds is small where only Go is at hand; the interop build runs the
// full number, on both engines.
const crashRounds = 12
