// Command secretgrep runs tests and then searches everything that was written
// meanwhile for every secret that was handled.
//
//	secretgrep [-tags TAGS] [-run TESTS] FOLDER PACKAGE…
//
// It builds the tests with an overlay, so nothing in the source knows of it:
// core/secret notes each secret that comes into being, in any process, and with
// them each SAML response that is verified; log/slog writes each line a second
// time, to a file; core/fault writes down what it says to others; metrics and
// spans are written down where a server has them on; a database of PostgreSQL is
// dumped when its test ends; and the folders of tests stay until they were
// searched. A new secret is looked for without anybody having to name it. What may
// hold secrets is listed here, with the reason. It fails when it found nothing to
// look for, or nowhere to look.
//
// Tests under a build tag may run the program itself: it is built in the same way,
// and CARNET_BINARY names it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Least of what has to be noted and read, over all packages.
const (
	leastSecrets = 100
	leastBytes   = 1 << 18
)

// run is one run.
type run struct {
	overlay   string
	tags      string
	only      string   // tests to run, as for go test -run
	constants string   // all text of the source
	env       []string // beside this process's own
}

func main() {
	tags := flag.String("tags", "", "build tags of the tests")
	only := flag.String("run", "", "tests to run, as for go test; all")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "usage: secretgrep [-tags TAGS] [-run TESTS] FOLDER PACKAGE…") }
	if flag.Parse(); flag.NArg() < 2 {
		flag.Usage()
		os.Exit(2)
	}
	r, err := prepare(flag.Arg(0), *tags)
	if r.only = *only; err == nil {
		err = r.all(flag.Args()[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "secretgrep:", err)
		os.Exit(1)
	}
}

func prepare(folder, tags string) (r run, err error) {
	if folder, err = filepath.Abs(folder); err != nil {
		return r, err
	}
	r.tags = tags
	if r.overlay, err = instrument(folder); err != nil {
		return r, err
	}
	if r.constants, err = sources("."); err != nil || tags == "" {
		return r, err
	}
	binary := filepath.Join(folder, "carnet")
	if out, err := exec.Command("go", "build", "-overlay", r.overlay, "-o", binary, "./cmd/carnet").CombinedOutput(); err != nil {
		return r, fmt.Errorf("build: %w: %s", err, out)
	}
	r.env = []string{"CARNET_BINARY=" + binary}
	return r, nil
}

func (r run) all(packages []string) error {
	var all []tally
	var trouble []error
	for _, p := range packages {
		found, err := r.one(p)
		if err != nil {
			trouble = append(trouble, fmt.Errorf("%s: %w", p, err))
			continue
		}
		fmt.Printf("%s: %d secrets, %d constants of tests, %d files, %d bytes, %d kept where they may be, %d leaks\n", p, found.secrets, found.constants, found.files, found.bytes, found.allowed, len(found.leaks))
		for _, l := range found.leaks {
			fmt.Println("leak:", l)
		}
		all = append(all, found)
	}
	if len(trouble) > 0 {
		return errors.Join(trouble...)
	}
	return judge(all)
}

// judge says whether the packages prove anything, and what.
func judge(all []tally) error {
	var total tally
	for i, found := range all {
		if found.secrets == 0 {
			return fmt.Errorf("the tests of package %d noted no secret: nothing was looked for there", i+1)
		}
		total.secrets += found.secrets
		total.bytes += found.bytes
		total.leaks = append(total.leaks, found.leaks...)
	}
	fmt.Printf("%d packages: %d secrets, %d bytes, %d leaks\n", len(all), total.secrets, total.bytes, len(total.leaks))
	switch {
	case total.secrets < leastSecrets:
		return fmt.Errorf("only %d secrets were noted: the overlay notes nothing", total.secrets)
	case total.bytes < leastBytes:
		return fmt.Errorf("only %d bytes were searched", total.bytes)
	case len(total.leaks) > 0:
		return fmt.Errorf("%d leaks", len(total.leaks))
	}
	return nil
}

// one runs the tests of a package in a temporary folder of its own, searches that,
// and removes it.
func (r run) one(pkg string) (tally, error) {
	// Short, since sockets lie there.
	place, err := os.MkdirTemp("", "sg")
	if err != nil {
		return tally{}, err
	}
	defer func() { _ = os.RemoveAll(place) }()
	written, ledger := filepath.Join(place, "written"), filepath.Join(place, "ledger")
	if err := open(place, written, ledger); err != nil {
		return tally{}, err
	}
	output, err := os.Create(filepath.Join(written, "OUTPUT"))
	if err != nil {
		return tally{}, err
	}
	cmd := exec.Command("go", "test", "-overlay", r.overlay, "-tags", r.tags, "-count=1", "-timeout", "20m", "-run", r.only, "-v", pkg)
	cmd.Env = append(append(os.Environ(), "TMPDIR="+written, "GOTMPDIR=", "CARNET_SECRET_LEDGER="+ledger, "CARNET_SECRET_WRITTEN="+written), r.env...)
	cmd.Stdout, cmd.Stderr = output, output
	err = cmd.Run()
	if e := output.Close(); err == nil {
		err = e
	}
	if err != nil {
		text, _ := os.ReadFile(output.Name())
		var said []string // what failed; else the last lines, of a build or of a panic
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		for _, line := range lines {
			if strings.Contains(line, "--- FAIL") || strings.Contains(line, "_test.go:") {
				said = append(said, line)
			}
		}
		said = append(said, lines[max(0, len(lines)-8):]...)
		return tally{}, fmt.Errorf("the tests fail: %w\n%s", err, strings.Join(said, "\n"))
	}
	return search(ledger, written, pkg, r.constants)
}

// open makes what tests write to. Some of them start processes as other users, which
// get what /tmp and a file for appending would give them.
func open(place, written, ledger string) error {
	if err := os.Mkdir(written, 0o700); err != nil {
		return err
	}
	errs := []error{os.Chmod(place, 0o711), os.Chmod(written, 0o733|os.ModeSticky)}
	for _, path := range []string{ledger, filepath.Join(written, "LOG"), filepath.Join(written, "FAULTS"), filepath.Join(written, "TRACES")} {
		errs = append(errs, os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o622))
	}
	return errors.Join(errs...)
}
