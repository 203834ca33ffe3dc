package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/app/cli"
	"carnet.dev/carnet/internal/edge/storeproc"
)

// TestStoreEndsWithItsCode: the parent starts a refused store again for ever
// unless the code comes through the command line.
func TestStoreEndsWithItsCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {errors.New("no more memory"), 1}, {fmt.Errorf("%w: it takes two names for one", storeproc.ErrRefused), 3},
	} {
		var stderr bytes.Buffer
		p := cli.Process{Args: []string{"store"}, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &stderr}
		got := cli.Run(t.Context(), p, storeCommand(func(context.Context, io.Reader) error { return tt.err }))
		if got != tt.want || tt.err != nil && !strings.Contains(stderr.String(), tt.err.Error()) {
			t.Errorf("%v: exit code %d and %q, want %d", tt.err, got, stderr.String(), tt.want)
		}
	}
}
