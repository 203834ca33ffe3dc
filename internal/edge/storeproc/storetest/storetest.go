// Package storetest runs the embedded store in tests: the test binary starts
// itself again as the store. It must never be imported by anything but tests.
package storetest

import (
	"context"
	"fmt"
	"os"
	"testing"

	"carnet.dev/carnet/internal/edge/storeproc"
)

// role tells the test binary that it is the store.
const role = "CARNET_TEST_IS_STORE"

// Main is a package's TestMain: it runs the tests, or the store where the
// process was started as one.
func Main(m *testing.M) {
	if os.Getenv(role) == "1" {
		err := storeproc.Main(context.Background(), os.Stdin)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(storeproc.ExitCode(err))
	}
	os.Exit(m.Run())
}

// Child gives what makes this test binary start itself as a store.
func Child() (storeproc.Config, error) {
	binary, err := os.Executable()
	return storeproc.Config{Binary: binary, Args: []string{}, Env: []string{role + "=1"}}, err
}

// Config gives the configuration of a store in a folder of the test's own. The
// package must have Main as its TestMain.
func Config(tb testing.TB) storeproc.Config {
	tb.Helper()
	config, err := Child()
	if err != nil {
		tb.Fatal(err)
	}
	config.Folder = tb.TempDir()
	return config
}

// Start runs a store until the test ends.
func Start(tb testing.TB) *storeproc.Store {
	tb.Helper()
	return start(tb, Config(tb))
}

// StartVersioned runs a store whose buckets can have versioning.
func StartVersioned(tb testing.TB) *storeproc.Store {
	tb.Helper()
	config := Config(tb)
	config.Versions = true
	return start(tb, config)
}

func start(tb testing.TB, config storeproc.Config) *storeproc.Store {
	tb.Helper()
	s, err := storeproc.Start(context.Background(), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}
