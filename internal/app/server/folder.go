package server

import (
	"os"
	"path/filepath"
	"runtime"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/fault"
)

// developmentMark is a file in the data folder of carnet dev: a server that
// people rely on refuses such a folder.
const developmentMark = "carnet-dev"

// IsDevelopmentFolder reports whether a data folder belongs to carnet dev.
func IsDevelopmentFolder(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, developmentMark))
	return err == nil
}

// ClaimDevelopmentFolder makes a data folder one of carnet dev, or leaves it
// alone: one that holds anything else may be a real server's, which the mark
// would stop and a later --reset would empty.
func ClaimDevelopmentFolder(folder string) error {
	if err := makeData(folder); err != nil {
		return err
	}
	if IsDevelopmentFolder(folder) {
		return nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fault.Wrap(err, fault.Misconfigured, "cannot read the data folder "+folder)
	}
	if len(entries) > 0 {
		return fault.New(fault.Misconfigured, folder+" is not a data folder of carnet dev: it is left alone").
			WithMend("name a new or empty folder with --data")
	}
	return os.WriteFile(filepath.Join(folder, developmentMark), []byte("This folder belongs to carnet dev: its password and keys are not fit for anything real.\n"), 0o600)
}

// checkData makes the data folder and keeps the two worlds apart: nothing of a
// real server lies in a folder of carnet dev.
func checkData(c *config.Config, development bool) error {
	if development {
		return ClaimDevelopmentFolder(c.Data)
	}
	folders := []string{c.Data, filepath.Dir(c.Secrets.KeyEncryptionKey)}
	if c.Database.SQLite != "" {
		folders = append(folders, filepath.Dir(c.Database.SQLite))
	}
	for _, u := range c.Upstreams {
		if u.Kind == config.UpstreamEmbedded {
			folders = append(folders, u.Folder, filepath.Dir(u.Folder))
		}
	}
	for _, folder := range folders {
		if IsDevelopmentFolder(folder) {
			return fault.New(fault.Misconfigured, folder+" is the data folder of carnet dev").
				WithMend("give the server folders of its own (data, database.sqlite, secrets and upstreams in the configuration)")
		}
	}
	return makeData(c.Data)
}

// makeData makes a data folder where it is missing, and refuses one in which
// every user of the machine could put files of his own in the place of ours.
func makeData(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fault.Wrap(err, fault.Misconfigured, "cannot make the data folder "+folder)
	}
	info, err := os.Stat(folder)
	if err != nil {
		return fault.Wrap(err, fault.Misconfigured, "cannot look at the data folder "+folder)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0 {
		return fault.New(fault.Misconfigured, "the data folder "+folder+" can be changed by every user of this machine").
			WithMend("chmod 700 " + folder)
	}
	return nil
}
