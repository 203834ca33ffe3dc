//go:build unix

package profile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/cli/profile"
	"carnet.dev/carnet/internal/core/secret"
)

func TestSaveLoadRemove(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "carnet")
	f, err := profile.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := profile.Profile{
		Server: "https://carnet.example.com", Token: secret.New("t0ken"), UserName: "alice", CA: "/ca.pem",
		Expires: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Role: "arn:aws:iam::111122223333:role/analyst",
	}
	for range 2 { // the second one replaces
		if err := f.Save("default", want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := f.Load("default")
	if err != nil || !got.Token.Equal(want.Token) || !got.Expires.Equal(want.Expires) ||
		got.Server != want.Server || got.UserName != want.UserName || got.Role != want.Role || got.CA != want.CA {
		t.Errorf("got %+v, %v", got, err)
	}
	entries, _ := os.ReadDir(path)
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	info, err := os.Stat(filepath.Join(path, "default.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v: want mode 0600", info.Mode(), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: got %v, %v: want mode 0700", info.Mode(), err)
	}
	for range 2 {
		if err := f.Remove("default"); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.Load("default"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Remove: %v", err)
	}
}

func TestRefusedFolders(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	open := filepath.Join(base, "open")
	must(t, os.Mkdir(open, 0o700), os.Chmod(open, 0o750))
	private := filepath.Join(base, "private")
	must(t, os.Mkdir(private, 0o700))
	link := filepath.Join(base, "link")
	must(t, os.Symlink(private, link))
	file := filepath.Join(base, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for path, want := range map[string]string{
		open: "can be reached by others (mode 0750): run chmod 700",
		link: "links are not followed",
		file: "is not a folder",
		"/":  "", // root of the machine: another owner, or open to others
	} {
		if f, err := profile.Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v; want %q", path, f, err, want)
		}
	}
	if _, err := profile.Open(filepath.Join(base, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
}

func TestRefusedFiles(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	must(t, os.Chmod(path, 0o700))
	f, err := profile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	elsewhere := filepath.Join(t.TempDir(), "elsewhere.json")
	must(t, os.WriteFile(elsewhere, []byte(`{"token":"planted"}`), 0o600))
	must(t, f.Save("good", profile.Profile{Token: secret.New("x")}))
	must(t, os.Symlink(elsewhere, filepath.Join(path, "outside.json")))
	must(t, os.Symlink("good.json", filepath.Join(path, "inside.json")))
	must(t, os.Mkdir(filepath.Join(path, "folder.json"), 0o700))
	must(t, os.WriteFile(filepath.Join(path, "open.json"), []byte(`{}`), 0o600), os.Chmod(filepath.Join(path, "open.json"), 0o644))
	must(t, os.WriteFile(filepath.Join(path, "broken.json"), []byte(`{"token":"t0ken`), 0o600))
	for name, want := range map[string]string{
		"outside": "links are not followed", "inside": "links are not followed", "folder": "not a regular file",
		"open": "can be reached by others (mode 0644)", "broken": "can't be read as a profile",
		"../x": "profile name", "": "profile name", ".x": "profile name", "a/b": "profile name", "-x": "profile name",
	} {
		_, err := f.Load(name)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "t0ken") {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	// Saving over a link replaces the link, never what it points to.
	must(t, f.Save("outside", profile.Profile{Token: secret.New("mine")}))
	if b, _ := os.ReadFile(elsewhere); !strings.Contains(string(b), "planted") {
		t.Errorf("a link was followed when saving: %s", b)
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	for want, env := range map[string]map[string]string{
		"/s":         {"CARNET_STATE": "/s/", "XDG_RUNTIME_DIR": "/run/user/7"},
		"/r/carnet":  {"XDG_RUNTIME_DIR": "/r", "HOME": "/home/a"},
		"CARNET_STA": {"CARNET_STATE": "s"},
		"XDG_RUNTIM": {"XDG_RUNTIME_DIR": "r"},
	} {
		got, err := profile.Place(func(k string) string { return env[k] })
		if err != nil {
			got = err.Error()[:10]
		}
		if got != want {
			t.Errorf("%v: got %q, want %q", env, got, want)
		}
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
