// Package interrupt runs the commands of this project so that a signal ends them.
package interrupt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// exitCode is the exit code after an interrupt: 128 and the number of the signal, as in a
// shell.
const exitCode = 130

// Main runs a command under a context that SIGINT and SIGTERM cancel, prints its error
// after its name, and ends the process if there is one. The second signal ends the process
// immediately.
func Main(name string, run func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	err := run(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "interrupted")
		os.Exit(exitCode)
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}
