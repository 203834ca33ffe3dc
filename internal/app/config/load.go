package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds carnet.yaml in bytes; real ones have a few hundred lines.
const maxFile = 1 << 20

// Load reads, completes and validates the file at path. Relative paths in it
// are meant from its own folder. Errors about content are *Problems. Nothing
// that the file names is opened: see CheckFiles.
func Load(path string) (*Config, error) { return load(path, false) }

// LoadDevelopment is Load for the file that carnet dev leaves in its folder, in
// which its key-encryption key may lie too.
func LoadDevelopment(path string) (*Config, error) { return load(path, true) }

func load(path string, development bool) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("can't read the configuration (name another with --config): %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("can't read the configuration: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("can't tell the folder of %s: %w", path, err)
	}
	return parse(path, src, dir, development)
}

// Parse is Load on bytes: name stands in errors, dir is the absolute folder
// that relative paths start from.
func Parse(name string, src []byte, dir string) (*Config, error) {
	return parse(name, src, dir, false)
}

// Write gives the text that Load reads as c, defaults filled in.
func Write(c *Config) ([]byte, error) {
	whole := *c
	whole.complete("/")
	return yaml.Marshal(&whole)
}

func parse(name string, src []byte, dir string, development bool) (*Config, error) {
	if len(src) > maxFile {
		return nil, &Problems{File: name, List: []Problem{{Text: fmt.Sprintf("larger than %d bytes", maxFile)}}}
	}
	root, err := document(src)
	if err != nil {
		return nil, &Problems{File: name, List: []Problem{{Text: err.Error()}}}
	}
	c := &Config{}
	r := &reader{lines: map[string]int{}}
	r.value(root, reflect.ValueOf(c).Elem(), "")
	c.complete(dir)
	v := &validator{reader: r, development: development}
	v.config(c)
	if len(r.problems) > 0 {
		p := &Problems{File: name, List: r.problems}
		p.sort()
		return nil, p
	}
	return c, nil
}
