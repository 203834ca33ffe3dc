// Command secretgrep runs tests and then searches everything that was written
// meanwhile for every secret that was handled.
//
//	secretgrep FOLDER PACKAGE…
//
// It builds the tests with an overlay, so nothing in the source knows of it:
// core/secret notes each secret that comes into being, in any process, and with
// them each SAML response that is verified; log/slog writes each line a second
// time, to a file; core/fault writes down what it says to others; and the folders
// of tests stay until they were searched. A new secret is looked for without
// anybody having to name it. What may hold secrets is listed here, with the
// reason. It fails when it found nothing to look for, or nowhere to look.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Least of what has to be noted and read, over all packages.
const (
	leastSecrets = 100
	leastBytes   = 1 << 20
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: secretgrep FOLDER PACKAGE…")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "secretgrep:", err)
		os.Exit(1)
	}
}

func run(folder string, packages []string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	overlay, err := instrument(folder)
	if err != nil {
		return err
	}
	constants, err := sources(".")
	if err != nil {
		return err
	}
	var all []tally
	var trouble []error
	for _, p := range packages {
		found, err := one(overlay, p, constants)
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
func one(overlay, pkg, constants string) (tally, error) {
	// Short, since sockets lie there.
	place, err := os.MkdirTemp("", "sg")
	if err != nil {
		return tally{}, err
	}
	written := filepath.Join(place, "written")
	defer func() { _ = os.RemoveAll(place) }()
	if err := os.MkdirAll(written, 0o700); err != nil {
		return tally{}, err
	}
	output, err := os.Create(filepath.Join(written, "OUTPUT"))
	if err != nil {
		return tally{}, err
	}
	ledger := filepath.Join(place, "ledger")
	cmd := exec.Command("go", "test", "-overlay", overlay, "-count=1", "-timeout", "20m", "-v", pkg)
	cmd.Env = append(os.Environ(), "TMPDIR="+written, "GOTMPDIR=", "CARNET_SECRET_LEDGER="+ledger, "CARNET_SECRET_WRITTEN="+written)
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
	return search(ledger, written, pkg, constants)
}
