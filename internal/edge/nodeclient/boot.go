package nodeclient

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// bootFile holds the id of the run of the machine in which the agent ran last.
const bootFile = "boot"

// OtherBoot reports whether the agent ran last before the machine was started anew. The
// first time it asks, it ran in this one. An empty id, where the system tells none,
// tells nothing.
func (f Folder) OtherBoot(id string) (bool, error) {
	if id == "" {
		return false, nil
	}
	text, err := os.ReadFile(filepath.Join(f.Path, bootFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, f.KeepBoot(id)
	}
	if err != nil {
		return false, f.refuse("holds a file that can't be read", "look at "+bootFile+" in it", err)
	}
	return strings.TrimSpace(string(text)) != id, nil
}

// KeepBoot notes the run of the machine in which the agent runs.
func (f Folder) KeepBoot(id string) error { return f.keep(bootFile, []byte(id+"\n")) }
