package profile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// Place tells where the state folder of this user is. CARNET_STATE names it;
// else it is the runtime folder of the person's sign-in to the machine, which
// ends with that sign-in and is never on a network disk; else a folder in the
// home.
func Place(getenv func(string) string) (string, error) {
	if p := getenv("CARNET_STATE"); p != "" {
		return absolute("CARNET_STATE", p)
	}
	if runtime.GOOS == "windows" {
		return below(getenv, "LOCALAPPDATA")
	}
	if p := getenv("XDG_RUNTIME_DIR"); p != "" {
		return below(getenv, "XDG_RUNTIME_DIR")
	}
	// Shells without a full sign-in (su, cron) lack the variable, not the folder.
	if p := fmt.Sprintf("/run/user/%d", os.Getuid()); isFolder(p) {
		return filepath.Join(p, "carnet"), nil
	}
	if p := getenv("XDG_STATE_HOME"); p != "" {
		return below(getenv, "XDG_STATE_HOME")
	}
	home := getenv("HOME")
	if home == "" {
		return "", errors.New("no place to keep the sign-in: HOME is not set; name a folder in CARNET_STATE")
	}
	return filepath.Join(home, ".local", "state", "carnet"), nil
}

func below(getenv func(string) string, name string) (string, error) {
	p, err := absolute(name, getenv(name))
	if err != nil {
		return "", err
	}
	return filepath.Join(p, "carnet"), nil
}

func absolute(name, p string) (string, error) {
	if !filepath.IsAbs(p) {
		return "", fmt.Errorf("%s is %q: want an absolute path", name, p)
	}
	return filepath.Clean(p), nil
}

func isFolder(p string) bool {
	info, err := os.Lstat(p)
	return err == nil && info.IsDir()
}
