//go:build !unix

package agent

// othersIn is not known here.
func othersIn(string) string { return "" }
