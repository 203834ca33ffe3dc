package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/app/config"
)

// TestDevNeverMarksARealServersFolder: the mark would stop the server, and a
// later --reset would empty its folder.
func TestDevNeverMarksARealServersFolder(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	database := filepath.Join(data, "carnet.db")
	if err := os.WriteFile(database, []byte("everything"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ClaimDevelopmentFolder(data); err == nil || !strings.Contains(err.Error(), "is not a data folder of carnet dev") {
		t.Errorf("a server's folder: %v", err)
	}
	if IsDevelopmentFolder(data) {
		t.Error("a server's folder was marked as one of carnet dev")
	}
	own := filepath.Join(t.TempDir(), "new", "folder")
	for range 2 {
		if err := ClaimDevelopmentFolder(own); err != nil || !IsDevelopmentFolder(own) {
			t.Fatalf("a folder of dev's own: %v", err)
		}
	}
}

// TestServerRefusesAnythingInADevelopmentFolder: its password and keys are
// shown to whoever starts carnet dev.
func TestServerRefusesAnythingInADevelopmentFolder(t *testing.T) {
	t.Parallel()
	dev, own := filepath.Join(t.TempDir(), "dev"), t.TempDir()
	if err := ClaimDevelopmentFolder(dev); err != nil {
		t.Fatal(err)
	}
	good := config.Config{
		Data:      own,
		Database:  config.Database{SQLite: filepath.Join(own, "carnet.db")},
		Secrets:   config.Secrets{KeyEncryptionKey: filepath.Join(t.TempDir(), "key")},
		Upstreams: []config.Upstream{{Kind: config.UpstreamEmbedded, Folder: filepath.Join(own, "store")}},
	}
	if err := checkData(&good, false); err != nil {
		t.Fatalf("folders of the server's own: %v", err)
	}
	for what, change := range map[string]func(*config.Config){
		"data":                       func(c *config.Config) { c.Data = dev },
		"database.sqlite":            func(c *config.Config) { c.Database.SQLite = filepath.Join(dev, "carnet.db") },
		"secrets.key_encryption_key": func(c *config.Config) { c.Secrets.KeyEncryptionKey = filepath.Join(dev, "key-encryption-key") },
		"upstreams": func(c *config.Config) {
			c.Upstreams = []config.Upstream{{Kind: config.UpstreamEmbedded, Folder: filepath.Join(dev, "store")}}
		},
	} {
		c := good
		change(&c)
		if err := checkData(&c, false); err == nil || !strings.Contains(err.Error(), "is the data folder of carnet dev") {
			t.Errorf("%s in a folder of carnet dev: %v", what, err)
		}
	}
}

// TestDataFolderThatEverybodyCanChange: keys and program could be exchanged in
// it.
func TestDataFolderThatEverybodyCanChange(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(data, 0o777); err != nil { // Mkdir obeys the umask
		t.Fatal(err)
	}
	for name, try := range map[string]func() error{
		"dev":    func() error { return ClaimDevelopmentFolder(data) },
		"server": func() error { return checkData(&config.Config{Data: data}, false) },
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), "can be changed by every user") {
			t.Errorf("%s takes it: %v", name, err)
		}
	}
}
