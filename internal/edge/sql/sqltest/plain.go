//go:build !interop

package sqltest

func engines() []engine { return []engine{sqlite()} }
