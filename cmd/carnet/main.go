// Command carnet lets people and jobs reach S3 as themselves. One binary holds
// the server, the development mode and the command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"carnet.dev/carnet/internal/app/agent"
	"carnet.dev/carnet/internal/app/cli"
	"carnet.dev/carnet/internal/app/dev"
	"carnet.dev/carnet/internal/app/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, cli.System(), append(server.Commands(), agent.Command(), dev.Command())...)
	stop()
	os.Exit(code)
}
