//go:build interop

package sql_test

const crashRounds = 100
