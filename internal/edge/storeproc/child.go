package storeproc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

// order is what the parent writes to the child's standard input: one JSON
// document. The pipe stays open; its end tells the child that the parent is
// gone.
type order struct {
	Folder, Socket, Admin, Region string
	Versions                      bool
	AccessKeyID, SecretKey        string
}

// readyPath answers without credentials. No bucket can have this name.
const readyPath = "/_ready"

// exitRefused is the exit status of a child that must not be started again.
const exitRefused = 3

// ErrRefused says that the store can't be used as it is, whatever is retried.
var ErrRefused = errors.New("the store refuses this folder")

// Main is the child: it reads its order from stdin and serves until ctx or
// stdin ends. The program exits with ExitCode of its error.
func Main(ctx context.Context, stdin io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := json.NewDecoder(io.LimitReader(stdin, 16<<10))
	var o order
	if err := d.Decode(&o); err != nil {
		return fmt.Errorf("the store is started by carnet itself, which gives it its orders on standard input: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	private()
	objects := filepath.Join(o.Folder, "objects")
	if err := os.MkdirAll(objects, 0o700); err != nil {
		return err
	}
	if err := probe(objects, aliases); err != nil {
		return err
	}
	metadata, opts, err := metadataStore(o.Folder, objects)
	if err != nil {
		return err
	}
	if o.Versions {
		if opts.VersioningDir = filepath.Join(o.Folder, "versions"); os.MkdirAll(opts.VersioningDir, 0o700) != nil {
			return fmt.Errorf("the folder of versions %s can't be made", opts.VersioningDir)
		}
	}
	opts.SetNewDirPerm(0o700)
	opts.SetNewFilePerm(0o600)
	backend, err := posix.New(objects, metadata, opts)
	if err != nil {
		return err
	}
	err = embedgw.RunVersityGW(ctx, backend, &embedgw.Config{
		RootUserAccess: o.AccessKeyID, RootUserSecret: o.SecretKey, Region: o.Region,
		Ports: []string{o.Socket}, SocketPerm: "0600", HealthPath: readyPath,
		// Without a listener of its own the admin interface would share ours.
		AdminPorts: []string{o.Admin}, AdminMaxConnections: 1, AdminMaxRequests: 1,
		MaxConnections: 4096, MaxRequests: 4096, MultipartMaxParts: 10000,
		Quiet: true, KeepAlive: true, DisableACLs: true,
		// Whoever speaks to us has held bucket names to S3's letters already;
		// the backend still refuses those that are no plain folder names.
		DisableStrictBucketNames: true,
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// ExitCode gives the exit status with which a child ends after Main.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrRefused):
		return exitRefused
	default:
		return 1
	}
}

// metadataStore keeps metadata in extended attributes, or, where the disk has
// none, in files in a folder beside the objects.
func metadataStore(folder, objects string) (meta.MetadataStorer, posix.PosixOpts, error) {
	opts := posix.PosixOpts{ValidateBucketNames: true, CopyObjectThreshold: 5 << 30} // S3's own limit of a copy
	if err := (meta.XattrMeta{}).Test(objects); err == nil {
		return meta.XattrMeta{}, opts, nil
	}
	dir := filepath.Join(folder, "metadata")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, opts, err
	}
	opts.SideCarDir = dir
	sidecar, err := meta.NewSideCar(dir)
	return sidecar, opts, err
}

type alias struct{ what, written, read string }

// aliases are pairs of names that a disk might take for one. Policies are
// written on names, so such a disk would open one object under another's name.
var aliases = []alias{
	{"letter case", "carnet-probe", "CARNET-PROBE"},
	{"Unicode composition (NFC and NFD)", "caf\u00e9", "cafe\u0301"},
	{"a trailing dot", "dot", "dot."},
	{"a trailing space", "space", "space "},
	{"backslash and slash", filepath.Join("back", "slash"), `back\slash`},
}

// probe writes names into the folder and refuses a disk that folds them.
func probe(objects string, pairs []alias) error {
	dir, err := os.MkdirTemp(objects, ".carnet-probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, a := range pairs {
		path := filepath.Join(dir, a.written)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte("probe"), 0o600); err != nil {
			return err
		}
		if _, err := os.Lstat(filepath.Join(dir, a.read)); err == nil {
			return fmt.Errorf("%w: the disk under %s takes two names that differ in %s for one; put the folder on another disk", ErrRefused, objects, a.what)
		}
	}
	return nil
}
