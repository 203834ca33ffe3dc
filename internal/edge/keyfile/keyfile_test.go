package keyfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/keyfile"
)

func TestCreateThenLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kek")
	if err := keyfile.Create(path, keyfile.Rules{}); err != nil {
		t.Fatal(err)
	}
	keys, err := keyfile.Load(path, keyfile.Rules{})
	if err != nil || len(keys) != 1 {
		t.Fatalf("%v, %v", keys, err)
	}
	if err := keyfile.Create(path, keyfile.Rules{}); err == nil {
		t.Error("an existing key file was written over")
	}
}

func TestLoadRefuses(t *testing.T) {
	data, apart := t.TempDir(), t.TempDir()
	good := filepath.Join(data, "good")
	if err := keyfile.Create(good, keyfile.Rules{}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	place := func(name string, text []byte, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(apart, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := filepath.Join(apart, "link")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	rules := keyfile.Rules{Data: data}
	secretPart := strings.Fields(string(text))[len(strings.Fields(string(text)))-1]
	for name, path := range map[string]string{
		"in the data folder":        good,
		"linked to the data folder": link,
		"readable by the group":     place("group", text, 0o640),
		"readable by all":           place("all", text, 0o604),
		"empty":                     place("empty", nil, 0o600),
		"no such file":              filepath.Join(apart, "none"),
		"a folder":                  apart,
		"cut short":                 place("short", text[:len(text)-9], 0o600),
		"another format":            place("format", []byte("hunter2\n"), 0o600),
		"the same key twice":        place("twice", append(append([]byte{}, text...), text...), 0o600),
	} {
		_, err := keyfile.Load(path, rules)
		f := fault.Of(err)
		if !errors.Is(err, fault.New(fault.Misconfigured, "")) || f.Mend == "" {
			t.Errorf("%s: %v: want a misconfigured fault that says how to mend it", name, err)
			continue
		}
		if strings.Contains(f.Error(), secretPart[:12]) || strings.Contains(f.Error(), "hunter2") {
			t.Errorf("%s: the error repeats the file's text: %v", name, f)
		}
	}
	if _, err := keyfile.Load(good, keyfile.Rules{Data: data, Development: true}); err != nil {
		t.Errorf("development: %v", err)
	}
	if _, err := keyfile.Load(place("credential", text, 0o440), keyfile.Rules{Data: data, Credentials: apart}); err != nil {
		t.Errorf("systemd credential: %v", err)
	}
}
