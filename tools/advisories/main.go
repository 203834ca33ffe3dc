// Command advisories compares the modules linked into carnet with a table of
// first safe versions. It stands in for govulncheck where no advisory database
// can be reached; it knows only what the table says, and says so.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: advisories TABLE")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "advisories:", err)
		os.Exit(1)
	}
}

func run(table string) error {
	have, err := linked()
	if err != nil {
		return err
	}
	f, err := os.Open(table)
	if err != nil {
		return err
	}
	defer f.Close()
	rows, checked := 0, 0
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		cols := strings.Split(lines.Text(), "\t")
		if len(cols) != 3 || strings.HasPrefix(cols[0], "#") {
			continue
		}
		rows++
		version, ok := have[cols[0]]
		if !ok {
			continue
		}
		checked++
		if less(version, cols[1]) {
			return fmt.Errorf("%s %s is older than %s: %s", cols[0], version, cols[1], cols[2])
		}
	}
	if rows == 0 || checked == 0 {
		return fmt.Errorf("%s: %d rows read, %d modules checked: the table holds nothing", table, rows, checked)
	}
	fmt.Printf("advisories: %d rows, %d apply to the build, none older than its first safe version (advisories newer than the table are not seen)\n", rows, checked)
	return lines.Err()
}

// linked gives the modules of the build with their versions, and Go's own.
func linked() (map[string]string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Path}} {{.Version}}", "all").Output()
	if err != nil {
		return nil, fmt.Errorf("list modules: %w", err)
	}
	have := map[string]string{"go": strings.TrimPrefix(runtime.Version(), "go")}
	for _, line := range strings.Split(string(out), "\n") {
		if f := strings.Fields(line); len(f) == 2 {
			have[f[0]] = f[1]
		}
	}
	return have, nil
}

// less compares the numeric fields of two versions.
func less(a, b string) bool {
	x, y := fields(a), fields(b)
	for i := range 3 {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}

func fields(v string) [3]int {
	var out [3]int
	v, _, _ = strings.Cut(strings.TrimPrefix(v, "v"), "-")
	for i, s := range strings.SplitN(v, ".", 3) {
		out[i], _ = strconv.Atoi(s)
	}
	return out
}
