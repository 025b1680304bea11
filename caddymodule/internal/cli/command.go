package cli

import (
	"github.com/spf13/cobra"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admincommand"
)

// command describes a command.
type command struct {
	use, short, long, example string
	args                      cobra.PositionalArgs
	poolArg                   bool // the first argument is the name of a pool
	flags                     func(*cobra.Command)
	run                       func(*call) error
}

func (c command) cobra() *cobra.Command {
	with := admincommand.Command{
		Use: c.use, Short: c.short, Long: c.long, Example: c.example, Args: c.args, Flags: c.flags,
		Run: func(s *admincommand.Call) error { return c.run(&call{s}) },
	}
	if c.poolArg {
		with.Complete = func(s *admincommand.Call) ([]string, error) { return (&call{s}).poolNames() }
	}
	return with.Cobra()
}
