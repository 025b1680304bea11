// Package cli has the commands that show and control the pools of a running server. They
// use its admin endpoint only, as docs/openapi.yaml describes it.
package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
)

// call is one run of a command.
type call struct {
	cmd    *cobra.Command
	args   []string
	server server
	json   bool // print answers as JSON
	out    io.Writer
}

// command describes a command.
type command struct {
	use, short, long, example string
	args                      cobra.PositionalArgs
	poolArg                   bool // the first argument is the name of a pool
	flags                     func(*cobra.Command)
	run                       func(*call) error
}

// Commands returns the commands, to be added to "caddy offload".
func Commands() []*cobra.Command {
	var all []*cobra.Command
	for _, list := range [][]command{shows(), changes(), requests(), {topCommand()}} {
		for _, c := range list {
			all = append(all, c.cobra())
		}
	}
	return all
}

// Unknown runs for the parent of the commands. It prints its help, or rejects a command
// that does not exist.
func Unknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return fmt.Errorf("unknown command '%s' of offload%s", args[0], suggest.DidYouMean(": ", args[0], names))
}

func (c command) cobra() *cobra.Command {
	s := new(call)
	cmd := &cobra.Command{
		Use: c.use, Short: c.short, Long: c.long, Example: c.example, Args: c.args,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			s.cmd, s.args, s.out = cmd, args, cmd.OutOrStdout()
			return c.run(s)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.server.address, "address", "", "The address of the server's admin endpoint")
	flags.StringVarP(&s.server.config, "config", "c", "", "The configuration file that names that address")
	flags.StringVarP(&s.server.adapter, "adapter", "a", "", "The name of the adapter for that file")
	flags.BoolVar(&s.json, "json", false, "Print the server's answer as JSON")
	if c.flags != nil {
		c.flags(cmd)
	}
	if c.poolArg {
		cmd.ValidArgsFunction = s.completePool
	}
	return cmd
}

// completePool completes the names of pools in a shell.
func (s *call) completePool(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, err := s.server.poolNames()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
