// Package keyfile reads the key-encryption key from its file, and says whether
// others can reach a secret file.
//
// The file is what stands between a copied database and every secret in it,
// so it is refused when others can read it, when it isn't a plain file of this
// user, or when it lies in the data folder, where a backup would take it along
// (development excepted). systemd credentials are such files too. It must never
// make a key where an old one could have been: Create is for a new database, and
// for the key that is to replace the one in use.
package keyfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/keyring"
)

// Rules for the file.
type Rules struct {
	// Data is the data folder, in which the file must not lie. Empty: no rule.
	Data string
	// Development lets the file lie in the data folder.
	Development bool
	// Credentials is systemd's credential folder ($CREDENTIALS_DIRECTORY), in
	// which an access list shows up as a group that may read.
	Credentials string
}

const most = 64 << 10

// Load reads and checks the file. Errors are faults Misconfigured that say
// what to do and never repeat the file's text.
func Load(path string, r Rules) (keyring.KEKs, error) {
	if err := outside(path, r); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		mend := "name the file in secrets.key_encryption_key"
		if errors.Is(err, fs.ErrNotExist) {
			mend = "put " + path + " back from where you keep its copy: another key can't open this database " +
				"(the server makes one by itself only at its first start on a new database)"
		}
		return nil, fault.Wrap(err, fault.Misconfigured, "the key-encryption key file can't be opened").
			WithCode("keyring.kek").WithMend(mend)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, refuse(path, "is not a plain file", "name a plain file", err)
	}
	if what, mend := r.Exposed(path, info); what != "" {
		return nil, refuse(path, what, mend, nil)
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, refuse(path, "can't be read", "look at the disk", err)
	}
	return keyring.ParseKEKs(text)
}

// Create makes a new key file, readable by its owner alone. It fails when a
// file is there already.
func Create(path string, r Rules) (err error) {
	if err := outside(path, r); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return refuse(path, "can't be made", "name a new file in a folder of this user", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(keyring.NewKEKFile()); err != nil {
		return refuse(path, "can't be written", "look at the disk", err)
	}
	return f.Sync()
}

// Exposed says who besides this user can reach a secret file, and how to mend
// that; empty when nobody can.
func (r Rules) Exposed(path string, info fs.FileInfo) (what, mend string) {
	if runtime.GOOS == "windows" {
		return "", "" // access lists decide there
	}
	forbidden := fs.FileMode(0o077)
	if r.Credentials != "" && filepath.Dir(path) == filepath.Clean(r.Credentials) {
		forbidden = 0o037
	}
	if foreign(info) {
		return "belongs to another user, who can read and change it", "give it to the user that runs Carnet, or make a new one"
	}
	if perm := info.Mode().Perm(); perm&forbidden != 0 {
		return fmt.Sprintf("can be read by others (mode %04o)", perm), "run chmod 600 " + path
	}
	return "", ""
}

// outside refuses a file in the data folder, also behind links.
func outside(path string, r Rules) error {
	if r.Data == "" || r.Development {
		return nil
	}
	file, err := resolve(path)
	if err != nil {
		return refuse(path, "has no absolute path", "name it by its absolute path", err)
	}
	data, err := resolve(r.Data)
	if err != nil {
		return refuse(path, "can't be compared with the data folder", "look at the data folder", err)
	}
	rel, err := filepath.Rel(data, file)
	if err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return refuse(path, "lies in the data folder, where every backup would take it along",
			"move it elsewhere, for instance to /etc/carnet, and name it in secrets.key_encryption_key", nil)
	}
	return nil
}

// resolve follows links; where the file doesn't exist yet, those of its folder.
func resolve(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) {
		dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
		if err != nil {
			return abs, nil
		}
		return filepath.Join(dir, filepath.Base(abs)), nil
	}
	return real, err
}

func refuse(path, what, mend string, cause error) error {
	return fault.Wrap(cause, fault.Misconfigured, "the key-encryption key file "+path+" "+what).
		WithCode("keyring.kek").WithMend(mend)
}
