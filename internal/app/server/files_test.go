package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/app/config"
)

// TestDatabasePasswordThatOthersCanRead: the file is refused before anything
// connects.
func TestDatabasePasswordThatOthersCanRead(t *testing.T) {
	t.Parallel()
	dsn := filepath.Join(t.TempDir(), "dsn")
	if err := os.WriteFile(dsn, []byte("postgres://carnet:pass@127.0.0.1:1/carnet"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dsn, 0o644); err != nil {
		t.Fatal(err)
	}
	c := &config.Config{Database: config.Database{PostgreSQLDSNFile: dsn}}
	_, err := openDatabase(t.Context(), c, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "can be read by others") || strings.Contains(err.Error(), "pass@") {
		t.Errorf("a connection string that others can read: %v", err)
	}
}

// TestStartRefusesWhatCheckConfigRefuses: a TLS key that others can read stops
// the server too, not only its check.
func TestStartRefusesWhatCheckConfigRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"cert.pem": 0o644, "key.pem": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "carnet.yaml")
	if err := os.WriteFile(file, []byte(`
base_url: https://127.0.0.1:0
data: data
listen:
  web: {address: "127.0.0.1:0", tls: {certificate: cert.pem, key: key.pem}}
  aws: {address: "127.0.0.1:0", url: "http://localhost:0"}
secrets: {key_encryption_key: key-encryption-key}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--config", file}, {"--config", file, "--check-config"}} {
		h := &host{}
		c := h.server()
		c.Flags().StringVar(&h.config, "config", "", "")
		c.SetArgs(args)
		c.SilenceErrors, c.SilenceUsage = true, true
		if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "can be read by others") {
			t.Errorf("%v: %v", args[2:], err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("it began before it refused")
	}
}
