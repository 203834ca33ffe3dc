// Package tokenfiles keeps the files that a node's agent hands to the people attached
// there: the second factor of the loopback endpoints, and a web identity token.
//
//	RUN/new                 0700  files before they are named
//	RUN/people/UID          0711  of the agent
//	RUN/people/UID/token    0400  of UID
//
// Only UID reads the file, and nobody but the agent can put another in its place: the
// folder is the agent's. So a program that is told the path finds what the agent wrote
// or nothing. A file is made under a name that nobody else reaches, given away, and
// then renamed, so that readers see the old one or the new one. Links are never
// followed: a folder is used through its own handle, and only if the agent owns it and
// nobody else writes to it.
//
// It must never write into a folder that others can change, nor give a file to
// anybody but the person whom it is for.
package tokenfiles

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// CodeGive is the code of the fault that says that this agent may not give files away.
const CodeGive = "node.chown"

// Folder is the agent's run folder. Safe for concurrent use.
type Folder struct {
	path string
	mu   sync.Mutex
	base *os.Root
}

const (
	folderNew    = "new"
	folderPeople = "people"
)

// Open opens the run folder, which is made where it is missing. Of what an earlier run
// left, second factors stay until Keep: they are the same after a restart, and programs
// read them at any time. Errors are faults of kind Misconfigured.
func Open(path string) (*Folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, wrong(path, err)
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, wrong(path, err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, wrong(path, err)
	}
	if err := ours(info); err != nil {
		return nil, wrong(path, err)
	}
	f := &Folder{path: path}
	if f.base, err = os.OpenRoot(path); err != nil {
		return nil, wrong(path, err)
	}
	if err := f.prepare(info); err != nil {
		_ = f.base.Close()
		return nil, wrong(path, err)
	}
	return f, nil
}

func wrong(path string, err error) error {
	return fault.Wrap(err, fault.Misconfigured, "The run folder "+path+" can't be used for people's files").
		WithMend("give the agent a folder of its own that nobody else writes to, such as RuntimeDirectory=carnet in its unit")
}

// prepare makes both folders, and removes what must not outlive a run.
func (f *Folder) prepare(expected fs.FileInfo) error {
	if err := same(f.base, expected); err != nil {
		return err
	}
	if err := f.base.RemoveAll(folderNew); err != nil {
		return err
	}
	if err := makeFolder(f.base, folderNew, 0o700); err != nil {
		return err
	}
	people, err := into(f.base, folderPeople)
	if err != nil { // missing, or nothing that can be kept
		if err := f.base.RemoveAll(folderPeople); err != nil {
			return err
		}
		return makeFolder(f.base, folderPeople, 0o711)
	}
	defer people.Close()
	return errors.Join(people.Chmod(".", 0o711), secondFactorsAlone(people))
}

// secondFactorsAlone removes all files of people but the second factors.
func secondFactorsAlone(people *os.Root) error {
	entries, err := fs.ReadDir(people.FS(), ".")
	for _, e := range entries {
		own, inErr := into(people, e.Name())
		if inErr != nil {
			err = errors.Join(err, people.RemoveAll(e.Name()))
			continue
		}
		files, readErr := fs.ReadDir(own.FS(), ".")
		err = errors.Join(err, readErr)
		for _, file := range files {
			if name := file.Name(); !file.Type().IsRegular() || name != NameToken && !strings.HasPrefix(name, NameToken+"-") {
				err = errors.Join(err, own.RemoveAll(name))
			}
		}
		err = errors.Join(err, own.Close())
	}
	return err
}

// makeFolder makes a folder with exactly this mode, whatever the umask.
func makeFolder(in *os.Root, name string, mode fs.FileMode) error {
	if err := in.Mkdir(name, mode); err != nil {
		return err
	}
	return in.Chmod(name, mode)
}

// same holds an opened folder to what was looked at before.
func same(opened *os.Root, expected fs.FileInfo) error {
	info, err := opened.Stat(".")
	if err != nil {
		return err
	}
	if !os.SameFile(info, expected) {
		return errors.New("it was exchanged while it was opened")
	}
	return nil
}

// into opens a folder in another: itself, never what a link in its place leads to.
func into(in *os.Root, name string) (*os.Root, error) {
	info, err := in.Lstat(name)
	if err != nil {
		return nil, err
	}
	if err := ours(info); err != nil {
		return nil, err
	}
	opened, err := in.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	if err := same(opened, info); err != nil {
		_ = opened.Close()
		return nil, err
	}
	return opened, nil
}

// Path is where a file of a person stands, or would.
func (f *Folder) Path(uid uint32, name string) string {
	return filepath.Join(f.path, folderPeople, id(uid), name)
}

func id(uid uint32) string { return strconv.FormatUint(uint64(uid), 10) }

// Put writes a file of a person, in the place of an older one. The fault has the code
// CodeGive where this agent may not give files away; else the kind Unavailable.
func (f *Folder) Put(uid uint32, name string, content secret.Text) error {
	if name == "" || name != filepath.Base(name) || name == "." || name == ".." {
		return fault.New(fault.Internal, "A file of a person needs a plain name")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	draft := folderNew + "/" + rand.Text()
	if err := f.write(draft, uid, content); err != nil {
		_ = f.base.Remove(draft)
		if errors.Is(err, fs.ErrPermission) {
			return fault.Coded(fault.Unsupported, CodeGive, "This agent may not give files to other accounts").WithCause(err).
				WithMend("give it CAP_CHOWN, as its unit does")
		}
		return failed(uid, err)
	}
	if err := f.show(draft, uid, name); err != nil {
		_ = f.base.Remove(draft)
		return failed(uid, err)
	}
	return nil
}

func failed(uid uint32, err error) error {
	return fault.Wrap(err, fault.Unavailable, fmt.Sprintf("The files of uid %d can't be written", uid))
}

// write makes a file that its reader owns, where nobody else reaches it. It is given
// away last: after that it is not ours any more.
func (f *Folder) write(draft string, uid uint32, content secret.Text) error {
	file, err := f.base.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	_, err = file.WriteString(content.Reveal())
	if err == nil {
		err = file.Chmod(0o400)
	}
	if err == nil && uid != uint32(os.Geteuid()) {
		err = file.Chown(int(uid), -1)
	}
	return errors.Join(err, file.Close())
}

// show names the file.
func (f *Folder) show(draft string, uid uint32, name string) error {
	people, err := into(f.base, folderPeople)
	if err != nil {
		return err
	}
	defer people.Close()
	own, err := into(people, id(uid))
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeFolder(people, id(uid), 0o711); err == nil {
			own, err = into(people, id(uid))
		}
	}
	if err != nil {
		return err
	}
	defer own.Close()
	// Both folders are ours alone, so the path is what was just opened.
	return f.base.Rename(draft, folderPeople+"/"+id(uid)+"/"+name)
}

// Keep removes all files but the named ones: by uid, their names. Errors are faults.
func (f *Folder) Keep(files map[uint32][]string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	people, err := into(f.base, folderPeople)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "The files of people can't be looked through")
	}
	defer people.Close()
	wanted := map[string][]string{}
	for uid, names := range files {
		if len(names) > 0 {
			wanted[id(uid)] = names
		}
	}
	entries, err := fs.ReadDir(people.FS(), ".")
	for _, e := range entries {
		if names, ok := wanted[e.Name()]; ok && e.IsDir() {
			err = errors.Join(err, keepIn(people, e.Name(), names))
		} else {
			err = errors.Join(err, people.RemoveAll(e.Name()))
		}
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "Some files of people could not be removed")
	}
	return nil
}

func keepIn(people *os.Root, folder string, names []string) error {
	own, err := into(people, folder)
	if err != nil {
		return err
	}
	defer own.Close()
	entries, err := fs.ReadDir(own.FS(), ".")
	for _, e := range entries {
		if !slices.Contains(names, e.Name()) {
			err = errors.Join(err, own.RemoveAll(e.Name()))
		}
	}
	return err
}

// Close removes all but the second factors, as Open does, and lets the folder go.
func (f *Folder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	people, err := into(f.base, folderPeople)
	if err == nil {
		err = errors.Join(secondFactorsAlone(people), people.Close())
	}
	return errors.Join(err, f.base.Close())
}
