//go:build interop

package engines

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/test/nodes"
)

// block gives the block of a page of docs/use that holds a text, with names replaced.
func block(t *testing.T, page, text string, replace ...string) string {
	t.Helper()
	all, err := os.ReadFile(filepath.Join("../../docs/use", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(all), "\n```")[1:] {
		_, body, _ := strings.Cut(part, "\n")
		if strings.Contains(body, text) {
			return strings.NewReplacer(replace...).Replace(body) + "\n"
		}
	}
	t.Fatalf("docs/use/%s has no block with %s", page, text)
	return ""
}

// typed makes a shell of a sign-in type blocks of a page.
func typed(t *testing.T, l *nodes.Login, env []string, blocks ...string) string {
	t.Helper()
	cmd := l.Command("bash", "-euo", "pipefail", "-c", strings.Join(blocks, "\n"))
	cmd.Env = append(cmd.Env, env...)
	return l.Finish(t, cmd).OK(t)
}

// tools makes programs that a page supposes, before all others on the path.
func (p *place) tools(t *testing.T, programs map[string]string) string {
	t.Helper()
	folder := filepath.Join(p.Folder, "tools")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, body := range programs {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return "PATH=" + folder + ":" + p.Folder + ":" + os.Getenv("PATH")
}
