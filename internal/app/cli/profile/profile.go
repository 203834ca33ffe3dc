// Package profile keeps what the command line remembers between two runs: one
// file per CLI profile with the server, the CLI token and the current role.
//
// The token in it acts as the person, so the folder and every file belong to
// the person alone: owner and mode are checked on what was opened, symbolic
// links are not followed, and files are replaced whole. This package must
// never read a file that another user could have written, nor send anything.
package profile

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"carnet.dev/carnet/internal/core/secret"
)

// maxFile bounds a profile file in bytes.
const maxFile = 64 << 10

// Profile is one sign-in of the command line at one server.
type Profile struct {
	Server   string      // such as https://carnet.example.com; the token goes nowhere else
	CA       string      // absolute path of a PEM file to trust, or ""
	Token    secret.Text // CLI token
	Expires  time.Time   // of the token
	UserName string
	Role     string // ARN of the current role, or "" when none was chosen
}

// wire is Profile as it lies on disk: the one place where the token is in clear.
type wire struct {
	Server   string    `json:"server"`
	CA       string    `json:"ca,omitempty"`
	Token    string    `json:"token"`
	Expires  time.Time `json:"expires"`
	UserName string    `json:"user_name"`
	Role     string    `json:"role,omitempty"`
}

// Folder is an open state folder that was found private to this user.
type Folder struct {
	root *os.Root
	path string
}

// Open opens the state folder at path. The error is fs.ErrNotExist when it was
// never made.
func Open(path string) (*Folder, error) {
	named, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !named.IsDir() {
		return nil, fmt.Errorf("%s is not a folder (links are not followed)", path)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	f := &Folder{root: root, path: path}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(named, opened) {
		err = fmt.Errorf("%s was exchanged while it was opened", path)
	}
	if err == nil {
		err = private(path, opened, "chmod 700 "+path)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return f, nil
}

// Create opens the state folder at path and makes it first where it is missing.
func Create(path string) (*Folder, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	return Open(path)
}

// Close releases the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Load reads the profile of a name; fs.ErrNotExist when there is none.
func (f *Folder) Load(name string) (Profile, error) {
	file, path, err := f.file(name)
	if err != nil {
		return Profile{}, err
	}
	named, err := f.root.Lstat(file)
	if err != nil {
		return Profile{}, err
	}
	if !named.Mode().IsRegular() {
		return Profile{}, fmt.Errorf("%s is not a regular file (links are not followed)", path)
	}
	r, err := f.root.Open(file)
	if err != nil {
		return Profile{}, err
	}
	defer r.Close()
	opened, err := r.Stat()
	if err != nil {
		return Profile{}, err
	}
	if !os.SameFile(named, opened) {
		return Profile{}, fmt.Errorf("%s was exchanged while it was opened", path)
	}
	if err := private(path, opened, "rm "+path+" and sign in again"); err != nil {
		return Profile{}, err
	}
	return decode(r, path)
}

func decode(r io.Reader, path string) (Profile, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile))
	if err != nil {
		return Profile{}, err
	}
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		// The cause could repeat bytes of the token, so it is not passed on.
		return Profile{}, fmt.Errorf("%s can't be read as a profile: remove it and sign in again", path)
	}
	return Profile{
		Server: w.Server, CA: w.CA, Token: secret.New(w.Token),
		Expires: w.Expires, UserName: w.UserName, Role: w.Role,
	}, nil
}

// Save writes the profile of a name whole: a reader sees the old one or the new one.
func (f *Folder) Save(name string, p Profile) error {
	file, _, err := f.file(name)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(wire{p.Server, p.CA, p.Token.Reveal(), p.Expires.UTC(), p.UserName, p.Role}, "", "  ")
	if err != nil {
		return err
	}
	temp := "." + file + "." + rand.Text()
	w, err := f.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	err = errors.Join(err, w.Sync(), w.Close())
	if err == nil {
		err = f.root.Rename(temp, file)
	}
	if err != nil {
		return errors.Join(err, f.root.Remove(temp))
	}
	return nil
}

// Remove forgets the profile of a name. That it is not there is no error.
func (f *Folder) Remove(name string) error {
	file, _, err := f.file(name)
	if err != nil {
		return err
	}
	if err := f.root.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// CheckName holds a profile name to what is safe in a file name, in an AWS
// configuration file and on a command line.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("profile name %q: want 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first", name)
	}
	return nil
}

func (f *Folder) file(name string) (file, path string, err error) {
	if err := CheckName(name); err != nil {
		return "", "", err
	}
	file = name + ".json"
	return file, filepath.Join(f.path, file), nil
}
