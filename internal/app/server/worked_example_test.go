package server_test

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"carnet.dev/carnet/internal/app/cli"
	"carnet.dev/carnet/internal/app/server"
)

// TestScripts runs the commands of a server's host, each script in a folder of
// its own: carnet ARGUMENT ..., or ! carnet where it has to fail.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/scripts",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"carnet": func(ts *testscript.TestScript, fails bool, args []string) {
				var out, errs bytes.Buffer
				code := cli.Run(context.Background(), cli.Process{
					Args: args, Stdin: bytes.NewReader(nil), Stdout: &out, Stderr: &errs, Now: time.Now,
					Environ: []string{"HOME=" + ts.Getenv("WORK"), "CARNET_STATE=" + ts.MkAbs("state")},
				}, server.Commands()...)
				ts.Check(os.WriteFile(ts.MkAbs("stdout.txt"), out.Bytes(), 0o600))
				ts.Check(os.WriteFile(ts.MkAbs("stderr.txt"), errs.Bytes(), 0o600))
				ts.Logf("%s%s", out.String(), errs.String())
				if (code != 0) != fails {
					ts.Fatalf("exit %d", code)
				}
			},
		},
	})
}
